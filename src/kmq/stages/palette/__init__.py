"""Histogram → palette: spaces, k-means, the search for better optima, palette files."""
