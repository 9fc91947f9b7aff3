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
name raises TypeError. Of an animation the current frame is saved, as everywhere in Pillow;
``save_all`` of several frames raises InputError. Pixels are stored as they stand: as everywhere in
Pillow, saving does not apply the EXIF orientation, and the EXIF keeps it.

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
from collections.abc import Callable
from dataclasses import fields, replace
from functools import wraps
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from PIL import Image, ImageFile, ImagePalette

from kmq import checks, color_tags, files
from kmq.atomic import replacing
from kmq.contradictions import FILE, QUANTIZE
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError
from kmq.model.file_info import Limits
from kmq.model.image import MAX_SIDE, IndexedImage, Metadata
from kmq.stages.coding.palettes import decode_palette
from kmq.stages.container import salvage
from kmq.stages.container.chunks import SIGNATURE, ChunkReader
from kmq.stages.container.file import Front, unpack_front
from kmq.stages.pictures import tiff
from kmq.stages.pictures.metadata import pillow_metadata
from kmq.stages.pictures.pillow import indexed_from_pillow, pillow_bytes, pillow_info, pillow_mode
from kmq.streams import check_name, write_all

if TYPE_CHECKING:
    from PIL.Image import DecoderInput

    from kmq.model.choices import OnError

# Pillow checks the size that it finds in a header itself, against a limit its callers can change.
_LIMITS = Limits(pixels=MAX_SIDE**2)

_EXTENSION = ".kmq"
_WRAPPED = "_kmq_wrapped"

_ENCODE_OPTIONS = tuple(dict.fromkeys((*QUANTIZE, *FILE)))
_METADATA_OPTIONS = tuple(item.name for item in fields(Metadata) if item.name != "extra")
_OPTIONS = frozenset((*_ENCODE_OPTIONS, *_METADATA_OPTIONS))

_OF_PILLOW = ("append", "append_images")
"""Options of `save` itself that reach a plugin; kmq takes what asks for nothing."""


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


class KmqImageFile(ImageFile.ImageFile):
    """A ``.kmq`` file that Pillow has opened."""

    format = "KMQ"
    format_description = "k-means palette image"

    def _open(self) -> None:
        try:
            front = _front(cast(BinaryIO, self.fp))
            palette = front.palette
            self._mode = pillow_mode(front.header.pixel_format, len(palette))
        except (NewerFormatError, LimitError, InputError) as error:
            raise OSError(str(error)) from error
        except FormatError as error:
            raise SyntaxError(str(error)) from error
        self._size = front.header.width, front.header.height
        self.info.update(pillow_info(front.metadata, palette, self.mode))
        if self.mode == "P":
            self.palette = ImagePalette.raw("RGB", palette[:, :3].tobytes())
        self.tile = [ImageFile._Tile("kmq", (0, 0, *self.size), 0, None)]

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
        _read(fp, "raise")
        super().verify()


class _KmqDecoder(ImageFile.PyDecoder):
    _pulls_fd = True

    def decode(self, buffer: DecoderInput) -> tuple[int, int]:
        on_error: OnError = "salvage" if ImageFile.LOAD_TRUNCATED_IMAGES else "raise"
        content, rawmode = pillow_bytes(_read(cast(BinaryIO, self.fd), on_error), self.mode)
        self.set_as_raw(content, rawmode)
        return -1, 0


def _front(fp: BinaryIO) -> Front:
    try:
        return unpack_front(ChunkReader(fp), _LIMITS, decode_palette)
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
    _refuse_unknown(given)
    encode = {name: given[name] for name in _ENCODE_OPTIONS if given.get(name) is not None}
    metadata = _metadata(picture, given)
    if picture.mode in ("P", "PA") and encode.keys() <= {*files.CODING}:
        image = indexed_from_pillow(tiff.frame(picture))  # of an animation the current frame
        files.write(fp, replace(image, metadata=metadata), **encode)
    else:
        write_all(fp, files.encoded(_bare(picture), encode, metadata).pieces)


def _save_all(picture: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    appended = list(picture.encoderinfo.pop("append_images", None) or ())
    n_frames = sum(getattr(each, "n_frames", 1) for each in (picture, *appended))
    if n_frames > 1:
        raise InputError(
            f"save_all and append_images ask for {n_frames} frames; a .kmq file holds one picture"
        )
    _save(picture, fp, filename)


def _refuse_unknown(given: dict[str, Any]) -> None:
    """Raise TypeError for options that are none; None asks for nothing, whatever its name."""
    asking = {
        name
        for name, value in given.items()
        if (value if name in _OF_PILLOW else value is not None)
    }
    if unknown := sorted(asking - _OPTIONS):
        meant = {name: checks.meant(name, _OPTIONS) for name in unknown}
        hints = [f"{name} (did you mean {meant[name]}?)" if meant[name] else name for name in meant]
        raise TypeError(
            f"saving as .kmq has no option {', '.join(hints)}; it has those of kmq.encode and "
            f"{', '.join(_METADATA_OPTIONS)}"
        )


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
