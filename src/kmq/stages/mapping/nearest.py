"""The rule of alpha for nearest entries: opaque colours have opaque ones."""

from __future__ import annotations

import numpy as np

from kmq.model import alpha
from kmq.model.arrays import Array


def astray(labels: Array, color_kinds: Array, entry_kinds: Array) -> tuple[Array, Array]:
    """Return which colours have a nearest entry that they may not have, and which they may have.

    Args:
        labels: (m,) int, the nearest of all entries for each colour.
        color_kinds: (m,) the kind of each colour, as `alpha.kinds` says.
        entry_kinds: (k,) that of each entry.

    Returns:
        Indices of colours, and indices of entries, both ascending.
    """
    allowed = alpha.allowed_entries(alpha.OPAQUE, entry_kinds)
    may_not = (color_kinds == alpha.OPAQUE) & ~np.isin(labels, allowed)
    return np.flatnonzero(may_not), allowed
