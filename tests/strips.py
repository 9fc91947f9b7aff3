"""Strips of indices of all kinds, their palettes, and what both decoders make of their codes."""

import numpy as np


def palette_of(n_colors, channels=3, dtype=np.uint8, seed=0):
    rng = np.random.default_rng([seed, n_colors, channels])
    return rng.integers(0, np.iinfo(dtype).max + 1, (n_colors, channels)).astype(dtype)


def noise(n_colors, height, width, seed=0):
    rng = np.random.default_rng([seed, n_colors, height, width])
    indices = rng.integers(0, n_colors, (height, width))
    return indices.astype(np.uint8 if n_colors <= 256 else np.uint16)


def blotches(n_colors, height, width, seed=0):
    """Noise of a coarser grid, with a few stray pixels."""
    coarse = noise(n_colors, -(-height // 4), -(-width // 4), seed)
    indices = coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
    stray = np.random.default_rng(seed).random((height, width)) < 0.1
    return np.where(stray, noise(n_colors, height, width, seed + 1), indices)


def ramp(n_colors, height, width, seed=0):
    """A slope with a little noise, as photographs have them."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(height), np.arange(width)) * n_colors / (height + width)
    indices = np.clip(slope + rng.normal(0, 0.7, slope.shape), 0, n_colors - 1)
    return indices.astype(np.uint8 if n_colors <= 256 else np.uint16)


def constant(n_colors, height, width, seed=0):
    return np.full((height, width), n_colors - 1, np.uint8 if n_colors <= 256 else np.uint16)


PICTURES = (noise, blotches, ramp, constant)


def decoded(coder, coded, shape, n_colors):
    """What a coder of kmq decodes, in a buffer that held something else."""
    out_indices = np.full(shape, 99, np.uint8 if n_colors <= 256 else np.uint16)
    coder.decode(memoryview(bytes(coded)), out_indices)
    return out_indices


def plainly_decoded(plain, coded, shape, palette):
    """What one of the plain decoders decodes, as lists."""
    entries = [tuple(entry) for entry in palette.tolist()]
    return plain.decode_strip(bytes(coded), *shape, entries, palette.dtype.itemsize)
