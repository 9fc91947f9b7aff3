"""Palette → indices: nearest entries, dithering, the price of bits; and how far they are off."""
