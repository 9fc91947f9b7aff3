"""Anything → pixels, and back to picture files."""
