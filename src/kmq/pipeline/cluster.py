"""Work on a Dask cluster: values made where there is room, and added up there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")

_BATCH = 1024
"""Items that the scheduler knows of at a time: it remembers each for as long."""

_FAN_IN = 4
"""Values that are added up at a time."""


def summed(
    items: Iterable[_Item],
    make: Callable[[_Item], _Value],
    add: Callable[[Sequence[_Value]], _Value],
    client: Any,
    hear: Callable[[int], None],
) -> _Value | None:
    """Return what `make` gives for each item, added up by `add` in a tree; None if there is none.

    A worker that is lost costs the values it had, which others make again: `make` and `add` must
    give the same each time.

    Args:
        client: a ``distributed.Client``.
        hear: called with the number of items made so far.

    Raises:
        Whatever `make` or `add` raise; the rest of the work is then left out.
    """
    from distributed import as_completed

    ahead, n_made, total = iter(items), 0, None
    while batch := list(islice(ahead, _BATCH)):
        parts = [client.submit(make, item, pure=False) for item in batch]
        # It alone holds them, so that each goes once it is added up.
        waited = as_completed(parts, loop=client.loop)
        while len(parts) > 1:
            groups = range(0, len(parts), _FAN_IN)
            parts = [
                client.submit(add, parts[first : first + _FAN_IN], pure=False) for first in groups
            ]
        (root,) = parts if total is None else [client.submit(add, [total, *parts], pure=False)]
        try:
            for future in waited:
                if future.status == "error":
                    future.result()
                n_made += 1
                hear(n_made)
        except BaseException:
            for future in [*waited.futures, root]:
                future.release()
            raise
        total = root
    return None if total is None else total.result()
