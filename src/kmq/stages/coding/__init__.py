"""Indices and palettes ↔ coded bytes."""
