"""Pixels → the distinct colours and how often each occurs."""
