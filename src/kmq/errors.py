"""Exceptions and warnings of kmq. Arguments of the wrong type raise TypeError.

::

    KmqError
    ├── InputError         (also ValueError)   the caller's argument cannot be used
    │   └── InputTypeError (also TypeError)    one of `kmq.KMeans` has the wrong type
    ├── FormatError        (also ValueError)   the bytes of a .kmq file cannot be used
    │   ├── NewerFormatError                   sound, but this version cannot decode it
    │   └── LimitError                         sound so far, but larger than the limits allow
    └── MissingExtraError  (also ImportError)  an optional package, or Numba, is missing

    SalvageWarning         (a UserWarning)     a damaged file was read, and some of it is lost
    MetadataWarning        (a UserWarning)     a picture was written, and some metadata left out
    ColorWarning           (a UserWarning)     a picture was read whose colours are not sRGB
"""

from __future__ import annotations


class KmqError(Exception):
    """Base of every error kmq defines.

    >>> try:
    ...     kmq.quantize("photo.png", 0)
    ... except kmq.KmqError as error:
    ...     print(error)
    k is 0; it must be from 1 to 65536
    """


class InputError(KmqError, ValueError):
    """An argument cannot be used; the message names the fact and the rule.

    >>> kmq.quantize("photo.png", 0)
    Traceback (most recent call last):
        ...
    kmq.errors.InputError: k is 0; it must be from 1 to 65536
    """


class InputTypeError(InputError, TypeError):
    """An argument of `kmq.KMeans` has the wrong type: a ValueError, too, as in scikit-learn."""


class FormatError(KmqError, ValueError):
    """The bytes of a ``.kmq`` file cannot be used.

    Attributes:
        chunk: letter of the chunk at fault, or None outside any chunk.
        offset: byte offset in the file where that chunk (or the fault) begins, or None.

    >>> encoded = bytearray(kmq.encode("photo.png", 16))
    >>> encoded[-20] ^= 1
    >>> try:
    ...     kmq.decode(encoded)
    ... except kmq.FormatError as error:
    ...     print(error.chunk)
    S
    """

    def __init__(self, message: str, *, chunk: str | None = None, offset: int | None = None):
        """Append chunk and offset, where known, to the message."""
        where = [f"chunk {chunk!r}"] if chunk is not None else []
        where += [f"offset {offset}"] if offset is not None else []
        super().__init__(f"{message} ({', '.join(where)})" if where else message)
        self.chunk = chunk
        self.offset = offset


class NewerFormatError(FormatError):
    """The file uses a version, method or critical chunk that this kmq does not know.

    >>> kmq.write("photo.kmq", "photo.png", 16)
    >>> try:
    ...     image = kmq.read("photo.kmq")
    ... except kmq.NewerFormatError as error:
    ...     print(error)  # a newer kmq wrote the file
    """


class LimitError(FormatError):
    """The file asks for more pixels, bytes or work than the reader's limits allow.

    >>> encoded = kmq.encode("photo.png", 16)
    >>> kmq.decode(encoded, limits=kmq.Limits(pixels=1000))
    Traceback (most recent call last):
        ...
    kmq.errors.LimitError: the picture is 96 x 64, 6144 pixels; the limit is 1000, ...
    """


class MissingExtraError(KmqError, ImportError):
    """An optional package is needed; the message names the extra that installs it.

    >>> try:
    ...     axes = kmq.error_curve("photo.png", 8).plot()
    ... except kmq.MissingExtraError as error:
    ...     print(error)  # plot needs matplotlib: pip install 'kmq[plot]'
    """


class SalvageWarning(UserWarning):
    """A damaged ``.kmq`` file was read on request; the message says what of it is lost.

    >>> import warnings
    >>> encoded = kmq.encode("photo.png", 16, strip_height=32)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", kmq.SalvageWarning)
    ...     image = kmq.decode(encoded[:-30], on_error="salvage")
    >>> caught[0].category is kmq.SalvageWarning, image.lost
    (True, ((32, 64),))
    """


class MetadataWarning(UserWarning):
    """A picture was written to a file that cannot hold all its metadata; the message says which.

    >>> import warnings
    >>> noted = kmq.Metadata(text={"Title": "Harbour"})
    >>> palette, indices = kmq.Palette(["#000000", "#ffffff"]), np.eye(2, dtype=np.uint8)
    >>> image = kmq.IndexedImage(palette, indices, metadata=noted)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", kmq.MetadataWarning)
    ...     image.save("small.bmp")
    Traceback (most recent call last):
        ...
    kmq.errors.MetadataWarning: ...
    """


class ColorWarning(UserWarning):
    """A picture was read that says its colours are not sRGB, which kmq takes them for.

    >>> import warnings
    >>> warnings.simplefilter("error", kmq.ColorWarning)  # refuse pictures that are not sRGB
    """


class located:  # noqa: N801  # used as a function is
    """Context that adds chunk and offset to a FormatError which leaves it without them.

    A class: with a generator, errors are parts of reference cycles from Python 3.12 on, and keep
    what their frames hold until the next collection.
    """

    def __init__(self, chunk: str, offset: int):
        self.chunk = chunk
        self.offset = offset

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise the error anew."""
        if isinstance(error, FormatError) and error.chunk is None:
            raise type(error)(str(error), chunk=self.chunk, offset=self.offset) from error
