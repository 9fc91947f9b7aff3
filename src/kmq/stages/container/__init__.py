"""Coded bytes ↔ files: FORMAT.md and what implements it."""
