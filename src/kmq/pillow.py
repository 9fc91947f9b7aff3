"""Pillow plugin: after ``import kmq.pillow``, Pillow opens and saves ``.kmq`` files.

>>> import kmq.pillow
>>> Image.open("photo.png").save("photo.kmq", k=64)
>>> Image.open("photo.kmq").show()

Opening reads the header only; pixels are decoded when they are first needed. Modes are those of
`kmq.IndexedImage.to_pillow`; `info` carries icc_profile, exif, xmp, dpi, gamma, chromaticity, srgb,
cicp, transparency and, under ``"text"``, a dict.

Saving takes the options of `kmq.encode`, and ``icc_profile``, ``exif``, ``xmp``, ``dpi`` and
``text`` in place of what `info` has, None to leave one out. Modes P and PA keep palette and
indices unless ``k``, ``psnr`` or another option is given that asks for others (``effort`` alone
does not); other modes are quantized, to 64 colours if no option says how many. An option of another
name raises TypeError. Of an animation the current frame is saved, as everywhere in Pillow. Pixels
are stored as they stand: as everywhere in Pillow, saving does not apply the EXIF orientation, and
the EXIF keeps it.

With ``save_all``, all frames and those of ``append_images`` become a sequence, with the options of
`kmq.write_frames` in Pillow's words: ``duration`` is milliseconds, for all frames or a list, and
``loop`` is the number of plays, 0 for without end. Without them, `info` of the frames counts. A
sequence opens with `n_frames`, `is_animated`, `seek` and `tell`, and has ``duration`` and ``loop``
in `info`. The next frame takes the least time; any other is decoded from a key frame on.

A file appears whole or not at all; an error leaves an existing file as it was. Pillow
empties a file before it asks a plugin; therefore this module wraps ``Image.Image.save``. The
wrapper hands on everything but paths of ``.kmq`` files.

Errors are those that callers of Pillow expect. Damage before the strips makes ``Image.open`` raise
UnidentifiedImageError. A file it cannot open for another reason (it needs a newer kmq, or is one of
the 16-bit formats for which Pillow has no mode), and damage found by ``load`` or ``verify``, raise
OSError; its ``__cause__`` is kmq's own error. With ``ImageFile.LOAD_TRUNCATED_IMAGES`` set, opening
and loading get over all damage but that of header and palette: lost rows show the first colour of
the palette, and a `kmq.SalvageWarning` names them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial, wraps
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from PIL import Image, ImageFile, ImagePalette, ImageSequence

from kmq import checks, color_tags, files, frames
from kmq.atomic import replacing
from kmq.contradictions import FILE, QUANTIZE
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError
from kmq.model.file_info import Limits
from kmq.model.image import MAX_SIDE, IndexedImage, Metadata
from kmq.pipeline.sequences import FrameReader
from kmq.stages.coding.palettes import decode_palette
from kmq.stages.container import salvage
from kmq.stages.container.chunks import SIGNATURE, ChunkReader
from kmq.stages.container.file import FRAMES, Front, unpack_front
from kmq.stages.pictures import tiff
from kmq.stages.pictures.animation import DEFAULT_DELAY, plays_of
from kmq.stages.pictures.metadata import pillow_metadata
from kmq.stages.pictures.pillow import indexed_from_pillow, pillow_bytes, pillow_info, pillow_mode
from kmq.streams import check_name, write_all
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from PIL.Image import DecoderInput

    from kmq.model.arrays import Array
    from kmq.model.choices import OnError

# Pillow checks the size that it finds in a header itself, against a limit its callers can change.
_LIMITS = Limits(pixels=MAX_SIDE**2)

_EXTENSION = ".kmq"
_WRAPPED = "_kmq_wrapped"

_ENCODE_OPTIONS = tuple(dict.fromkeys((*QUANTIZE, *FILE)))
_METADATA_OPTIONS = tuple(item.name for item in fields(Metadata) if item.name != "extra")
_CODING = ("effort", "method", "key_interval", "n_threads", "limits")
_SEQUENCE_OPTIONS = ("k", "palette", "space", "mapping", "progress", *_CODING)
_TIMES = ("duration", "loop")

_OPTIONS = {"kmq.encode": _ENCODE_OPTIONS, "kmq.write_frames": _SEQUENCE_OPTIONS}
"""What `save` takes for the function that writes the file, besides metadata."""

_OF_PILLOW = ("append", "append_images")
"""Options of `save` itself that reach a plugin; kmq takes what asks for nothing."""


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


class KmqImageFile(ImageFile.ImageFile):
    """A ``.kmq`` file that Pillow has opened."""

    format = "KMQ"
    format_description = "k-means palette image"
    _frame = 0
    _frames: _Frames | None = None

    def _open(self) -> None:
        try:
            front = _front(cast(BinaryIO, self.fp))
            n_colors = max(front.header.n_colors, *(stack.n_colors for stack in front.stacks), 1)
            self._mode = pillow_mode(front.header.pixel_format, n_colors)
        except (NewerFormatError, LimitError, InputError) as error:
            raise OSError(str(error)) from error
        except FormatError as error:
            raise SyntaxError(str(error)) from error
        self._size = front.header.width, front.header.height
        self._metadata = front.metadata
        if front.stacks:
            self._open_frames(front)
        self._show(front.palette, None if self._frames is None else partial(self._frames.image, 0))

    def _open_frames(self, front: Front) -> None:
        largest = max(front.stacks, key=lambda stack: stack.width * stack.height)
        Image._decompression_bomb_check((largest.width, largest.height))
        self.n_frames = front.header.n_frames
        self.is_animated = self.n_frames > 1
        self.info["loop"] = front.header.plays
        self._close_exclusive_fp_after_loading = False
        self._fp = cast(BinaryIO, self.fp)  # Pillow forgets `fp` once a frame is loaded
        self._frames = _Frames(self._fp, self.n_frames)
        self._delays = [frame.delay for frame in front.frames]

    def _show(self, palette: Array, decode: Callable[[], IndexedImage] | None) -> None:
        """Have `load` decode the current frame, which has that palette."""
        self.info.pop("transparency", None)
        self.info.update(pillow_info(self._metadata, palette, self.mode))
        if self._frames is not None:
            self.info["duration"] = self._delays[self._frame]
        if self.mode == "P":
            self.palette = ImagePalette.raw("RGB", palette[:, :3].tobytes())
        arguments = None if decode is None else (decode,)
        self.tile = [ImageFile._Tile("kmq", (0, 0, *self.size), 0, arguments)]

    def tell(self) -> int:
        """Return the number of the current frame, counted from 0."""
        return self._frame

    def seek(self, frame: int) -> None:
        """Go to a frame, which is decoded from the key frame before it; the next one costs little.

        Raises:
            EOFError: there is none of that number.
            OSError: it is damaged.
        """
        if self._frames is None:
            super().seek(frame)
        elif self._seek_check(frame):
            image = self._frames.image(frame)
            self.fp = cast(BinaryIO, self._fp)
            self._frame = frame
            self._show(image.palette, lambda: image)

    def load_seek(self, pos: int) -> None:
        """Go to where `load` begins to read.

        `ImageFile.Parser` feeds decoders piece by piece, but for formats that have this method:
        those it decodes once it has the whole file, as this one needs.
        """
        cast(BinaryIO, self.fp).seek(pos)

    def verify(self) -> None:
        """Decode everything, against all checksums, and forget it."""
        fp = cast(BinaryIO, self.fp)
        fp.seek(0)
        if self._frames is None:
            _read(fp, "raise")
        else:
            for number in range(self.n_frames):
                self._frames.image(number)
        super().verify()


class _Frames:
    """The frames of a file; those that are asked for in their order are decoded once."""

    def __init__(self, fp: BinaryIO, n_frames: int):
        self.n_frames = n_frames
        self._fp = fp
        self._next = self._place = 0
        self._images: Iterator[IndexedImage] | None = None

    def image(self, number: int) -> IndexedImage:
        """Decode a frame; raise OSError if it cannot be."""
        follows = self._images is not None and number == self._next
        self._fp.seek(self._place if follows else 0)
        try:
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                (image,) = frames.read_frames(
                    self._fp, number, number + 1, on_error="salvage", limits=_LIMITS
                )
                return image
            if self._images is None or not follows:
                reader = FrameReader(self._fp, _LIMITS, resolve_threads(None))
                self._images = reader.images(range(number, self.n_frames))
            image = next(self._images)
        except FormatError as error:
            self._images = None
            raise OSError(str(error)) from error
        self._next, self._place = number + 1, self._fp.tell()
        return image


class _KmqDecoder(ImageFile.PyDecoder):
    _pulls_fd = True

    def decode(self, buffer: DecoderInput) -> tuple[int, int]:
        on_error: OnError = "salvage" if ImageFile.LOAD_TRUNCATED_IMAGES else "raise"
        image = self.args[0]() if self.args else _read(cast(BinaryIO, self.fd), on_error)
        content, rawmode = pillow_bytes(image, self.mode)
        self.set_as_raw(content, rawmode)
        return -1, 0


def _front(fp: BinaryIO) -> Front:
    try:
        return unpack_front(ChunkReader(fp), _LIMITS, decode_palette, FRAMES)
    except FormatError as error:
        if isinstance(error, LimitError) or not ImageFile.LOAD_TRUNCATED_IMAGES:
            raise
    fp.seek(0)
    return salvage.salvage_file(fp, _LIMITS, decode_palette).front


def _read(fp: BinaryIO, on_error: OnError) -> IndexedImage:
    try:
        return files.read(fp, on_error=on_error, limits=_LIMITS)
    except FormatError as error:
        raise OSError(str(error)) from error


def _save(picture: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    given = picture.encoderinfo
    encode = _options(given, "kmq.encode")
    metadata = _metadata(picture, given)
    if picture.mode in ("P", "PA") and encode.keys() <= {*files.CODING}:
        image = indexed_from_pillow(tiff.frame(picture))  # of an animation the current frame
        files.write(fp, replace(image, metadata=metadata), **encode)
    else:
        write_all(fp, files.encoded(_bare(picture), encode, metadata).pieces)


def _save_all(picture: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    given = picture.encoderinfo
    appended = list(given.pop("append_images", None) or ())
    times = {name: given.pop(name, None) for name in _TIMES}
    if sum(getattr(each, "n_frames", 1) for each in (picture, *appended)) == 1:
        _save(picture, fp, filename)
        return
    options = _options(given, "kmq.write_frames")
    coding = {name: options.pop(name) for name in _CODING if name in options}
    copies, delays = _copies((picture, *appended))
    images: list[IndexedImage]
    if not options and all(copy.mode in ("P", "PA") for copy in copies):
        images = [indexed_from_pillow(copy) for copy in copies]
    else:
        shared = {
            name: coding[name] for name in ("effort", "n_threads", "limits") if name in coding
        }
        images = [*frames.quantize_frames(map(_bare, copies), **options, **shared)]
    metadata = _metadata(picture, given)
    frames.write_frames(
        fp,
        [replace(images[0], metadata=metadata), *images[1:]],
        delays=delays if times["duration"] is None else times["duration"],
        plays=plays_of(picture) if times["loop"] is None else times["loop"],
        **coding,
    )


def _copies(pictures: Sequence[Image.Image]) -> tuple[list[Image.Image], list[float]]:
    """Return copies of all frames, and how long each is shown; pictures stay where they stand."""
    copies, delays = [], []
    for picture in pictures:
        current = picture.tell()
        try:
            for frame in ImageSequence.Iterator(picture):
                copies.append(tiff.frame(frame))
                delays.append(float(frame.info.get("duration", DEFAULT_DELAY)))
        finally:
            picture.seek(current)
    return copies, delays


def _options(given: dict[str, Any], function: str) -> dict[str, Any]:
    """Return the options of a function that are given; None asks for nothing, whatever its name.

    Raises:
        TypeError: an option of another name is given.
    """
    known = _OPTIONS[function]
    asking = {
        name
        for name, value in given.items()
        if (value if name in _OF_PILLOW else value is not None)
    }
    options = {*known, *_METADATA_OPTIONS}
    if unknown := sorted(asking - options):
        meant = {name: checks.meant(name, options) for name in unknown}
        hints = [f"{name} (did you mean {meant[name]}?)" if meant[name] else name for name in meant]
        raise TypeError(
            f"saving as .kmq has no option {', '.join(hints)}; it has those of {function} and "
            f"{', '.join(_METADATA_OPTIONS)}"
        )
    return {name: given[name] for name in known if given.get(name) is not None}


def _bare(picture: Image.Image) -> Image.Image:
    """Return the current frame without its metadata, so that no orientation is applied."""
    bare = tiff.frame(picture)
    kept = ("transparency", "icc_profile", tiff.TAGS, *color_tags.to_info(Metadata()))
    bare.info = {key: bare.info[key] for key in kept if key in bare.info}
    return bare


def _metadata(picture: Image.Image, given: dict[str, Any]) -> Metadata:
    """Return the metadata of the picture, replaced by what `save` was given."""
    overrides = {name: given[name] for name in _METADATA_OPTIONS if name in given}
    if isinstance(overrides.get("exif"), Image.Exif):
        overrides["exif"] = overrides["exif"].tobytes()
    if isinstance(overrides.get("xmp"), str):
        overrides["xmp"] = overrides["xmp"].encode()
    if "text" in overrides:
        overrides["text"] = overrides["text"] or {}
    return replace(pillow_metadata(picture), **overrides)


def _replacing_whole(save: Callable[..., None]) -> Callable[..., None]:
    """Wrap Pillow's `save` so that a .kmq file takes the place of another once it is complete."""

    @wraps(save)
    def save_whole(
        picture: Image.Image,
        fp: Any,
        format: str | None = None,  # noqa: A002  # Pillow's name
        **params: Any,
    ) -> None:
        if not _is_kmq_path(fp, format):
            save(picture, fp, format, **params)
            return
        path = os.fsdecode(fp)
        check_name(path)
        content = io.BytesIO()
        save(picture, content, KmqImageFile.format, **params)
        with replacing(path) as file:
            file.write(content.getbuffer())

    vars(save_whole)[_WRAPPED] = True
    return save_whole


def _is_kmq_path(fp: Any, given: str | None) -> bool:
    """Whether Pillow would open a file for `fp` and hand it to this plugin."""
    if not isinstance(fp, str | bytes | os.PathLike):
        return False
    if given:
        return given.upper() == KmqImageFile.format
    return os.path.splitext(os.fsdecode(fp))[1].lower() == _EXTENSION


Image.register_open(KmqImageFile.format, KmqImageFile, _accept)
Image.register_decoder("kmq", _KmqDecoder)
Image.register_save(KmqImageFile.format, _save)
Image.register_save_all(KmqImageFile.format, _save_all)
Image.register_extension(KmqImageFile.format, _EXTENSION)
Image.register_mime(KmqImageFile.format, "image/x-kmq")
if not hasattr(Image.Image.save, _WRAPPED):  # where this module is loaded anew, it has one
    Image.Image.save = _replacing_whole(Image.Image.save)  # type: ignore[method-assign]
