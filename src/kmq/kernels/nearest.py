"""Nearest centroid of each point, and the sums k-means needs: the inner loop of everything.

Points run in the vector lanes: blocks are transposed into `scratch` (d, BLOCK), then compared with
four centroids a pass, value and index chosen without branches. Measured against one point at a
time with the centroids in the lanes, this is two to three times as fast at k = 16 to 256.

Every kernel takes points (n, d) and centroids (k_padded, d) of one float type, C order, where
k_padded is a multiple of GROUP and the padding is infinite, so that it is never nearest. Squared
distances are Σ (x - c)² from the first channel to the last with fused multiply-adds. Ties go to the
lowest index. The naive twin of all of them is `tests/naive.py:nearest`.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import fma, inlined, kernel, named

BLOCK = 512
"""Points of one block: with four channels and the running minimum it fills 12 KiB of L1."""

GROUP = 4
"""Centroids compared in one pass over a block."""


def _make_nearest_in_block(d):
    """Return the block kernel for d = 1 to 4 channels, fully unrolled."""
    y, z, w = min(1, d - 1), min(2, d - 1), min(3, d - 1)  # in bounds, and unused where not needed

    def nearest_in_block(block, size, centroids, distances, labels):
        for i in range(size):
            distances[i] = np.inf
            labels[i] = 0
        for j in range(0, centroids.shape[0], 4):
            # Named scalars: read inside the loop, the stores to `distances` would force reloads.
            j0, j1, j2, j3 = np.int32(j), np.int32(j + 1), np.int32(j + 2), np.int32(j + 3)
            x0, x1 = centroids[j, 0], centroids[j + 1, 0]
            x2, x3 = centroids[j + 2, 0], centroids[j + 3, 0]
            y0, y1 = centroids[j, y], centroids[j + 1, y]
            y2, y3 = centroids[j + 2, y], centroids[j + 3, y]
            z0, z1 = centroids[j, z], centroids[j + 1, z]
            z2, z3 = centroids[j + 2, z], centroids[j + 3, z]
            w0, w1 = centroids[j, w], centroids[j + 1, w]
            w2, w3 = centroids[j + 2, w], centroids[j + 3, w]
            for i in range(size):
                x = block[0, i]
                u0, u1, u2, u3 = x - x0, x - x1, x - x2, x - x3
                d0, d1, d2, d3 = u0 * u0, u1 * u1, u2 * u2, u3 * u3
                if d > 1:
                    x = block[1, i]
                    u0, u1, u2, u3 = x - y0, x - y1, x - y2, x - y3
                    d0, d1 = fma(u0, u0, d0), fma(u1, u1, d1)
                    d2, d3 = fma(u2, u2, d2), fma(u3, u3, d3)
                if d > 2:
                    x = block[2, i]
                    u0, u1, u2, u3 = x - z0, x - z1, x - z2, x - z3
                    d0, d1 = fma(u0, u0, d0), fma(u1, u1, d1)
                    d2, d3 = fma(u2, u2, d2), fma(u3, u3, d3)
                if d > 3:
                    x = block[3, i]
                    u0, u1, u2, u3 = x - w0, x - w1, x - w2, x - w3
                    d0, d1 = fma(u0, u0, d0), fma(u1, u1, d1)
                    d2, d3 = fma(u2, u2, d2), fma(u3, u3, d3)
                least, label = distances[i], labels[i]
                label = j0 if d0 < least else label
                least = d0 if d0 < least else least
                label = j1 if d1 < least else label
                least = d1 if d1 < least else least
                label = j2 if d2 < least else label
                least = d2 if d2 < least else least
                label = j3 if d3 < least else label
                least = d3 if d3 < least else least
                distances[i] = least
                labels[i] = label

    return inlined(named(nearest_in_block, f"nearest_in_block_{d}"))


@inlined
def _nearest_in_block_of_many(block, size, centroids, distances, labels):
    """Do the same for any number of channels: four channels and four centroids at a time.

    `block` is (d + 4, BLOCK) with d a multiple of four (zeros beyond the channels there are); its
    last four rows collect the distances to four centroids.
    """
    d = block.shape[0] - 4
    for i in range(size):
        distances[i] = np.inf
        labels[i] = 0
    for j in range(0, centroids.shape[0], 4):
        for i in range(size):
            block[d, i] = block[d + 1, i] = block[d + 2, i] = block[d + 3, i] = 0
        for c in range(0, d, 4):
            x0, x1, x2, x3 = (
                centroids[j, c],
                centroids[j + 1, c],
                centroids[j + 2, c],
                centroids[j + 3, c],
            )
            y0, y1, y2, y3 = (
                centroids[j, c + 1],
                centroids[j + 1, c + 1],
                centroids[j + 2, c + 1],
                centroids[j + 3, c + 1],
            )
            z0, z1, z2, z3 = (
                centroids[j, c + 2],
                centroids[j + 1, c + 2],
                centroids[j + 2, c + 2],
                centroids[j + 3, c + 2],
            )
            w0, w1, w2, w3 = (
                centroids[j, c + 3],
                centroids[j + 1, c + 3],
                centroids[j + 2, c + 3],
                centroids[j + 3, c + 3],
            )
            for i in range(size):
                d0, d1, d2, d3 = block[d, i], block[d + 1, i], block[d + 2, i], block[d + 3, i]
                x = block[c, i]
                u0, u1, u2, u3 = x - x0, x - x1, x - x2, x - x3
                d0, d1, d2, d3 = fma(u0, u0, d0), fma(u1, u1, d1), fma(u2, u2, d2), fma(u3, u3, d3)
                x = block[c + 1, i]
                u0, u1, u2, u3 = x - y0, x - y1, x - y2, x - y3
                d0, d1, d2, d3 = fma(u0, u0, d0), fma(u1, u1, d1), fma(u2, u2, d2), fma(u3, u3, d3)
                x = block[c + 2, i]
                u0, u1, u2, u3 = x - z0, x - z1, x - z2, x - z3
                d0, d1, d2, d3 = fma(u0, u0, d0), fma(u1, u1, d1), fma(u2, u2, d2), fma(u3, u3, d3)
                x = block[c + 3, i]
                u0, u1, u2, u3 = x - w0, x - w1, x - w2, x - w3
                d0, d1, d2, d3 = fma(u0, u0, d0), fma(u1, u1, d1), fma(u2, u2, d2), fma(u3, u3, d3)
                block[d, i], block[d + 1, i], block[d + 2, i], block[d + 3, i] = d0, d1, d2, d3
        j0, j1, j2, j3 = np.int32(j), np.int32(j + 1), np.int32(j + 2), np.int32(j + 3)
        for i in range(size):
            d0, d1, d2, d3 = block[d, i], block[d + 1, i], block[d + 2, i], block[d + 3, i]
            least, label = distances[i], labels[i]
            label = j0 if d0 < least else label
            least = d0 if d0 < least else least
            label = j1 if d1 < least else label
            least = d1 if d1 < least else least
            label = j2 if d2 < least else label
            least = d2 if d2 < least else least
            label = j3 if d3 < least else label
            least = d3 if d3 < least else least
            distances[i] = least
            labels[i] = label


# Globals, not closures of the kernels that call them: numba's cache recognises a kernel by what its
# closure holds, and a compiled function never looks the same in the next process.
_nearest_in_block_1 = _make_nearest_in_block(1)
_nearest_in_block_2 = _make_nearest_in_block(2)
_nearest_in_block_3 = _make_nearest_in_block(3)
_nearest_in_block_4 = _make_nearest_in_block(4)


def _make_kernels(d):
    """Return (assign, assign_and_sum) for d channels, 1 to 4, or any number if d is 0."""

    def assign(points, centroids, block, distances, labels, out_labels, out_distances):
        """Write the label of each point and, unless `out_distances` is empty, its distance."""
        channels = d if d > 0 else points.shape[1]
        for start in range(0, points.shape[0], labels.size):
            size = min(labels.size, points.shape[0] - start)
            for i in range(size):
                for c in range(channels):
                    block[c, i] = points[start + i, c]
            if d == 1:
                _nearest_in_block_1(block, size, centroids, distances, labels)
            elif d == 2:
                _nearest_in_block_2(block, size, centroids, distances, labels)
            elif d == 3:
                _nearest_in_block_3(block, size, centroids, distances, labels)
            elif d == 4:
                _nearest_in_block_4(block, size, centroids, distances, labels)
            else:
                _nearest_in_block_of_many(block, size, centroids, distances, labels)
            for i in range(size):
                out_labels[start + i] = labels[i]
            if out_distances.size:
                for i in range(size):
                    out_distances[start + i] = distances[i]

    def assign_and_sum(points, weights, centroids, block, distances, labels, out_labels, out_sums):
        """Assign, add weight · (x, 1) to the row of `out_sums` (k, d + 1), return the inertia.

        Empty `weights` count each point once; labels are written unless `out_labels` is empty.
        Sums are float64: exact while they are whole numbers below 2^53, whatever the order.
        """
        channels = d if d > 0 else points.shape[1]
        inertia = 0.0
        for start in range(0, points.shape[0], labels.size):
            size = min(labels.size, points.shape[0] - start)
            for i in range(size):
                for c in range(channels):
                    block[c, i] = points[start + i, c]
            if d == 1:
                _nearest_in_block_1(block, size, centroids, distances, labels)
            elif d == 2:
                _nearest_in_block_2(block, size, centroids, distances, labels)
            elif d == 3:
                _nearest_in_block_3(block, size, centroids, distances, labels)
            elif d == 4:
                _nearest_in_block_4(block, size, centroids, distances, labels)
            else:
                _nearest_in_block_of_many(block, size, centroids, distances, labels)
            if out_labels.size:
                for i in range(size):
                    out_labels[start + i] = labels[i]
            for i in range(size):
                weight = weights[start + i] if weights.size else 1.0
                label = labels[i]
                inertia += weight * distances[i]
                for c in range(channels):
                    out_sums[label, c] += weight * points[start + i, c]
                out_sums[label, channels] += weight
        return inertia

    return kernel(named(assign, f"assign_{d}")), kernel(
        named(assign_and_sum, f"assign_and_sum_{d}")
    )


assign_1, assign_and_sum_1 = _make_kernels(1)
assign_2, assign_and_sum_2 = _make_kernels(2)
assign_3, assign_and_sum_3 = _make_kernels(3)
assign_4, assign_and_sum_4 = _make_kernels(4)
assign_many, assign_and_sum_many = _make_kernels(0)


@kernel
def accumulate(points, labels, weights, out_sums):
    """Add weight · (x, 1) to the row of `out_sums` (k, d + 1) that each point's label names."""
    d = points.shape[1]
    for i in range(points.shape[0]):
        weight = weights[i] if weights.size else 1.0
        label = labels[i]
        for c in range(d):
            out_sums[label, c] += weight * points[i, c]
        out_sums[label, d] += weight
