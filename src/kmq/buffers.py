"""Arrays that are filled once and then unchangeable."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np


class Unsealed:
    """An array of zeros to be filled, which `seal` puts over bytes without a copy.

    The model, whose arrays lie over bytes, then takes it as it is, too.

    Attributes:
        array: what to fill; there must be no other reference to it when it is sealed.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]):
        # Large ones are zeros of the system's: the threads that fill them touch them first.
        self._file = io.BytesIO(bytes(math.prod(shape) * dtype.itemsize))
        self.array = np.frombuffer(self._file.getbuffer(), dtype).reshape(shape)

    def seal(self) -> np.ndarray[Any, Any]:
        """Return the filled array, read-only."""
        dtype, shape = self.array.dtype, self.array.shape
        del self.array
        return np.frombuffer(self._file.getvalue(), dtype).reshape(shape)
