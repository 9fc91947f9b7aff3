"""What kmq raises, beside TypeError for an argument of the wrong type.

::

    KmqError
    ├── InputError         (also ValueError)   the caller's argument cannot be used
    ├── FormatError        (also ValueError)   the bytes of a .kmq file cannot be used
    │   ├── NewerFormatError                   sound, but this version cannot decode it
    │   └── LimitError                         sound so far, but larger than the limits allow
    └── MissingExtraError  (also ImportError)  an optional package is not installed

    SalvageWarning         (a UserWarning)     a damaged file was read, and some of it is lost
    MetadataWarning        (a UserWarning)     a picture was written, and some metadata left out
    ColorWarning           (a UserWarning)     a picture was read whose colours are not sRGB
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class KmqError(Exception):
    """Base of every error kmq defines."""


class InputError(KmqError, ValueError):
    """An argument cannot be used; the message names the fact and the rule."""


class FormatError(KmqError, ValueError):
    """The bytes of a ``.kmq`` file cannot be used.

    Attributes:
        chunk: letter of the chunk at fault, or None outside any chunk.
        offset: byte offset in the file where that chunk (or the fault) begins, or None.
    """

    def __init__(self, message: str, *, chunk: str | None = None, offset: int | None = None):
        """Append chunk and offset, where known, to the message."""
        where = [f"chunk {chunk!r}"] if chunk is not None else []
        where += [f"offset {offset}"] if offset is not None else []
        super().__init__(f"{message} ({', '.join(where)})" if where else message)
        self.chunk = chunk
        self.offset = offset


class NewerFormatError(FormatError):
    """The file uses a version, method or critical chunk that this kmq does not know."""


class LimitError(FormatError):
    """The file asks for more pixels, bytes or work than the reader's limits allow."""


class MissingExtraError(KmqError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class SalvageWarning(UserWarning):
    """A damaged ``.kmq`` file was read on request; the message says what of it is lost."""


class MetadataWarning(UserWarning):
    """A picture was written to a file that cannot hold all its metadata; the message says which."""


class ColorWarning(UserWarning):
    """A picture was read that says its colours are not sRGB, which kmq takes them for."""


@contextmanager
def located(chunk: str, offset: int) -> Iterator[None]:
    """Add chunk and offset to a FormatError that leaves the block without them."""
    try:
        yield
    except FormatError as error:
        if error.chunk is not None:
            raise
        raise type(error)(str(error), chunk=chunk, offset=offset) from error
