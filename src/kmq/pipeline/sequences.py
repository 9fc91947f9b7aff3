"""Images of a sequence → the pieces of a `.kmq` file, and back.

Frames from one key frame to the next are a *group*. They are coded as few strips as can be: the
rows that each frame changes stand one below the other, so that a coder knows in one frame what it
has learned from those before.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np

from kmq.errors import FormatError, InputError, LimitError
from kmq.model.arrays import Array
from kmq.model.choices import Effort
from kmq.model.file_info import MAX_FRAMES, Limits, check_pixels
from kmq.model.image import MAX_COLORS, MAX_SIDE, IndexedImage, check_sizes, index_dtype
from kmq.pipeline import decoding
from kmq.stages.coding.methods import plan_strips
from kmq.stages.coding.palettes import decode_palette, encode_palette
from kmq.stages.coding.strips import StripDecoder, Work, encode_strips
from kmq.stages.container import file
from kmq.stages.container.chunks import MAX_VARINT, ChunkReader
from kmq.stages.container.frames import CHANGES, DELAY_UNIT, MARKED, WHOLE, Patch, Stack
from kmq.threads import run_chunks

_GROUP_PIXELS, _GROUP_PICTURES = 1 << 20, 4
"""Changed pixels after which the next frame is a key frame, and as a multiple of a whole picture:
the greater counts. So a frame is there in less than a second, and key frames of pictures that
change wholly cost a few per cent. Of those that hardly change a key frame comes late."""

MAX_DELAY = MAX_VARINT // DELAY_UNIT
"""Most milliseconds that a frame is shown."""


# --- writing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceCoding:
    """How a sequence is to be coded: as `encoding.Coding` says of an image.

    Attributes:
        key_interval: frames at most from one key frame to the next; None leaves that to kmq.
    """

    effort: Effort
    method: str | None
    key_interval: int | None
    n_threads: int
    limits: Limits

    def pieces(
        self, images: Sequence[IndexedImage], delays: Sequence[float], plays: int
    ) -> list[bytes]:
        """Return the pieces of a file, front to back.

        Args:
            images: at least one.
            delays: of each, in milliseconds up to MAX_DELAY.
            plays: how often they are played.

        Raises:
            InputError: they differ in size or pixel format, or are too many.
        """
        first = images[0]
        check_alike(images)
        check_pixels(self.limits, first.width, first.height, n_frames=len(images))
        frames = _Frames(images, delays)
        groups = frames.groups(self.key_interval)
        coded: list[list[_Coded]] = [[] for _ in groups]

        def encode(number: int) -> None:
            coded[number] = self._group(frames, groups[number])

        run_chunks(encode, len(groups), self.n_threads)
        header = file.Header(
            first.pixel_format,
            first.width,
            first.height,
            first.n_colors,
            first.height,
            "sequence",
            len(images),
            plays,
        )
        stacks = [(each.stack, each.palette, each.strip) for group in coded for each in group]
        palette = encode_palette(first.palette)
        return file.pack_sequence(header, palette, first.metadata, stacks, self.limits)

    def _group(self, frames: _Frames, group: range) -> list[_Coded]:
        """Code the frames of a group, those of one palette together."""
        coded: list[_Coded] = []
        for part in frames.of_one_palette(group):
            ways = [[(WHOLE, part)]]
            kinds = (CHANGES, MARKED) if len(frames.palette(part)) < MAX_COLORS else (CHANGES,)
            if part.start > group.start:
                ways += [[(kind, part)] for kind in kinds]
            elif len(part) > 1:
                key = (WHOLE, part[:1])
                ways += [[key, (kind, part[1:])] for kind in kinds]
            coded += self._smallest(frames, ways)
        return coded

    def _smallest(self, frames: _Frames, ways: list[list[tuple[int, range]]]) -> list[_Coded]:
        """Code stacks, given as kinds and frames, in the way that takes the fewest bytes.

        Unless size is all that counts, the quickest coder tells which way that is.
        """
        efforts: tuple[Effort, ...] = ("fast", self.effort)
        if self.method is not None or self.effort in ("fast", "best") or len(ways) == 1:
            efforts = (self.effort,)
        for effort in efforts:
            results = [[self._coded(frames, *each, effort) for each in way] for way in ways]
            best = min(range(len(ways)), key=lambda way: sum(each.size for each in results[way]))
            ways = [ways[best]]
        return results[best]

    def _coded(self, frames: _Frames, kind: int, part: range, effort: Effort) -> _Coded:
        stack, indices = frames.stack(kind, part)
        entries = frames.palette(part)
        palette = encode_palette(entries) if stack.n_colors else None
        if not indices.size:
            return _Coded(stack, palette, None)
        entries = coded_palette(kind, entries)
        plan = plan_strips(self.method, effort, indices.size, len(entries))
        share = self.limits.decisions * indices.size // frames.n_pixels
        strips = encode_strips(indices, entries, plan.methods, len(indices), share, 1)
        return _Coded(stack, palette, strips[0])


class _Coded(NamedTuple):
    """A stack with the payloads of its chunks P and S, where it has them."""

    stack: Stack
    palette: bytes | None
    strip: bytes | None

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(len(payload) for payload in (self.palette, self.strip) if payload is not None)


class _Box(NamedTuple):
    """The part that a frame changes, rows and columns; empty where it changes nothing."""

    top: int
    bottom: int
    left: int
    right: int


class _Frames:
    """Images with what each changes of the one before."""

    def __init__(self, images: Sequence[IndexedImage], delays: Sequence[float]):
        self._images = images
        self._delays = [round(delay * DELAY_UNIT) for delay in delays]
        self._boxes = [_box(~self._still(number)) for number in range(len(images))]
        self.n_pixels = sum(image.indices.size for image in images)

    def palette(self, part: range) -> Array:
        """Return the palette of frames that have one."""
        return self._images[part.start].palette

    def groups(self, key_interval: int | None) -> list[range]:
        """Return the frames of each group."""
        height, width = self._images[0].indices.shape
        most = max(_GROUP_PIXELS, _GROUP_PICTURES * height * width)
        starts, changed, rows = [0], 0, height
        for number, box in enumerate(self._boxes[1:], 1):
            is_due = changed >= most
            if key_interval is not None:
                is_due = number - starts[-1] >= key_interval
            if is_due or rows + height > MAX_SIDE:
                starts.append(number)
                changed = rows = 0
            changed += (box.bottom - box.top) * width
            rows += height
        return [range(*bounds) for bounds in pairwise([*starts, len(self._images)])]

    def of_one_palette(self, group: range) -> Iterator[range]:
        """Yield the parts of a group that share a palette."""
        start = group.start
        for number in group[1:]:
            if not self._has_palette_of(number, number - 1):
                yield range(start, number)
                start = number
        yield range(start, group.stop)

    def stack(self, kind: int, part: range) -> tuple[Stack, Array]:
        """Return a stack of these frames, and the indices of its strip."""
        height, width = self._images[0].indices.shape
        boxes = [self._boxes[number] for number in part]
        left, right = 0, width
        if kind == WHOLE:
            boxes[0] = _Box(0, height, 0, width)
        elif any(box.bottom > box.top for box in boxes):
            left = min(box.left for box in boxes if box.bottom > box.top)
            right = max(box.right for box in boxes)
        patches = [
            Patch(self._delays[number], box.top, box.bottom - box.top)
            for number, box in zip(part, boxes, strict=True)
        ]
        own = 0
        if not self._has_palette_of(part.start, 0 if kind == WHOLE else part.start - 1):
            own = len(self.palette(part))
        rows = [
            self._rows(kind, number, np.s_[box.top : box.bottom, left:right])
            for number, box in zip(part, boxes, strict=True)
            if box.bottom > box.top
        ]
        dtype = index_dtype(len(self.palette(part)) + (kind == MARKED))
        indices = np.concatenate(rows).astype(dtype) if rows else np.empty((0, 0), dtype)
        return Stack(kind, part.start, own, left, right - left, tuple(patches)), indices

    def _rows(self, kind: int, number: int, area: tuple[slice, slice]) -> Array:
        indices = self._images[number].indices[area]
        if kind != MARKED:
            return indices
        return np.where(self._still(number)[area], 0, indices.astype(np.int32) + 1)

    def _has_palette_of(self, number: int, other: int) -> bool:
        return np.array_equal(self._images[number].palette, self._images[other].palette)

    def _still(self, number: int) -> Array:
        """Return which pixels (height, width) of a frame a reader has from the one before."""
        image = self._images[number]
        if number == 0:
            return np.zeros(image.indices.shape, np.bool_)
        before = self._images[number - 1]
        indices: Array = before.indices
        if not self._has_palette_of(number, number - 1):
            indices = places_in(image.palette, before.palette)[indices]
        still: Array = indices == image.indices
        return still


def _box(changed: Array) -> _Box:
    rows = np.flatnonzero(changed.any(axis=1))
    if not len(rows):
        return _Box(0, 0, 0, 0)
    columns = np.flatnonzero(changed.any(axis=0))
    return _Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def check_alike(images: Sequence[IndexedImage]) -> None:
    """Raise InputError if frames of a file are too many, or differ in size or pixel format."""
    first = images[0]
    if len(images) > MAX_FRAMES:
        raise InputError(f"there are {len(images)} frames; a .kmq file holds up to {MAX_FRAMES}")
    check_sizes(image.size for image in images)
    for number, image in enumerate(images, 1):
        if image.pixel_format is not first.pixel_format:
            raise InputError(
                f"frame {number} is {image.pixel_format.label} and the first "
                f"{first.pixel_format.label}; frames of a file have one pixel format"
            )


# --- both ways -----------------------------------------------------------------------------------


def coded_palette(kind: int, palette: Array) -> Array:
    """Return the palette that the strip of a stack is coded with."""
    if kind != MARKED:
        return palette
    return np.concatenate([np.zeros((1, palette.shape[1]), palette.dtype), palette])


def places_in(other: Array, palette: Array) -> Array:
    """Return where another palette first has each entry of a palette, -1 where it has not."""
    first: dict[tuple[int, ...], int] = {}
    for place, entry in enumerate(map(tuple, other.tolist())):
        first.setdefault(entry, place)
    return np.array([first.get(tuple(entry), -1) for entry in palette.tolist()], np.int32)


# --- reading -------------------------------------------------------------------------------------


class FrameReader:
    """Frames of a file, decoded on demand; a picture is one frame.

    Attributes:
        front: what stands before the frames.
        n_frames: how many there are.
        delays: how long each is shown, in milliseconds.
        plays: how often all are played, 0 for without end.

    Raises:
        FormatError: the file is damaged, holds a label map, needs a newer kmq or exceeds the
            limits.
    """

    def __init__(self, stream: BinaryIO, limits: Limits, n_threads: int):
        self._reader = ChunkReader(stream)
        self._limits = limits
        self._n_threads = n_threads
        self.front = file.unpack_front(self._reader, limits, decode_palette, file.FRAMES)
        self.n_frames = self.front.header.n_frames
        self.plays = self.front.header.plays
        self.delays = [frame.delay for frame in self.front.frames] or [0.0]

    @property
    def offset(self) -> int:
        """Bytes read up to now."""
        return self._reader.offset

    def images(self, frames: range) -> Iterator[IndexedImage]:
        """Yield the images of frames, counted from 0; there must be one at least. Call this once.

        Frames are decoded as they are asked for, from the key frame before the first of them on,
        as many stacks at a time as there are threads.

        Raises:
            FormatError: the file is damaged.
            LimitError: it takes more work to decode than the limits allow.
        """
        front = self.front
        if not front.stacks:
            contents = file.unpack_rest(self._reader, front, decode_palette)
            yield decoding.decoded_picture(contents, self._limits, self._n_threads)
            return
        needed = _needed(front.stacks, frames)
        file.pass_stacks(self._reader, front, needed.start)
        stacks = front.stacks[needed.start : needed.stop]
        decoder, screen = _StackDecoder(front, self._limits), _Screen(front)
        for start in range(0, len(stacks), self._n_threads):
            batch = stacks[start : start + self._n_threads]
            results = decoder.decode(self._reader, batch, self._n_threads)
            for stack, result in zip(batch, results, strict=False):
                for number, image in enumerate(screen.shown(stack, result), stack.first):
                    if number in frames:
                        yield image
        if frames.stop == self.n_frames:
            file.take_end(self._reader)


def salvaged(
    stream: BinaryIO, limits: Limits, n_threads: int
) -> tuple[list[IndexedImage], str | None]:
    """Return all frames of the stream's content, or what is left of them; then say what was lost.

    A frame is lost if its stack is damaged, or one before it and no key frame is between. It shows
    what was shown before, or else index 0, and has lost all its rows.
    """
    content = ChunkReader(stream).take_rest()
    header, _, _ = file.unpack_head(
        ChunkReader(io.BytesIO(content)), limits, decode_palette, file.FRAMES
    )
    if header.kind == "picture":
        image, damage = decoding.salvaged(io.BytesIO(content), limits, n_threads)
        return [image], damage
    reader = FrameReader(io.BytesIO(content), limits, n_threads)
    front, start = reader.front, reader.offset
    try:
        return list(reader.images(range(reader.n_frames))), None
    except LimitError:
        raise
    except FormatError as error:
        damage = str(error)
    images: list[IndexedImage] = []
    lost: list[str] = []
    decoder, screen = _StackDecoder(front, limits), _Screen(front)
    is_lost = False
    for stack in front.stacks:
        part = ChunkReader(io.BytesIO(content[start : start + stack.size]))
        part.offset, start = start, start + stack.size
        try:
            if is_lost and stack.kind != WHOLE:
                raise _of_frames(stack, FormatError("what they change is lost"))
            (result,) = decoder.decode(part, [stack], 1)
            images += list(screen.shown(stack, result))
            is_lost = False
        except LimitError:
            raise
        except FormatError as error:
            is_lost = True
            lost.append(str(error))
            image = replace(images[-1] if images else screen.blank(), lost=((0, screen.height),))
            images += [image] * len(stack.patches)
    return images, f"{damage}; lost: {decoding.listed(lost, 'stacks of frames')}"


def _needed(stacks: Sequence[Stack], frames: range) -> range:
    """Return which stacks hold these frames, and those before from a key frame on."""
    first = last = 0
    for number, stack in enumerate(stacks):
        if stack.kind == WHOLE and stack.first <= frames.start:
            first = number
        if stack.first < frames.stop:
            last = number
    return range(first, last + 1)


def _of_frames(stack: Stack, error: FormatError) -> FormatError:
    """Return an error that says in which frames it is."""
    last = stack.first + len(stack.patches)
    name = f"frame {last}" if last == stack.first + 1 else f"frames {stack.first + 1} to {last}"
    told = type(error)(f"{name}: {error}")
    told.chunk, told.offset = error.chunk, error.offset
    return told


class _Decoded(NamedTuple):
    """The palette of a stack, and the indices of its strip, if it has one."""

    palette: Array
    indices: Array | None


class _StackDecoder:
    """Reads and decodes stacks in their order, beginning with a key frame."""

    def __init__(self, front: file.Front, limits: Limits):
        self._front = front
        self._work = Work(limits.decisions)
        self._palette = front.palette

    def decode(
        self, reader: ChunkReader, stacks: Sequence[Stack], n_threads: int
    ) -> list[_Decoded | FormatError]:
        """Return what stacks hold or what is wrong with them, up to the first that cannot be read.

        So the fault that is found first does not depend on how many are read at a time.
        """
        contents: list[tuple[Array, file.StackContent]] = []
        results: list[_Decoded | FormatError] = []
        for stack in stacks:
            try:
                contents.append(self._taken(reader, stack))
            except FormatError as error:
                results.append(_of_frames(stack, error))
                break
        results[:0] = [FormatError("") for _ in contents]

        def decode(place: int) -> None:
            palette, content = contents[place]
            try:
                results[place] = _Decoded(palette, self._indices(stacks[place], palette, content))
            except FormatError as error:
                results[place] = _of_frames(stacks[place], error)

        run_chunks(decode, len(contents), n_threads)
        return results

    def _taken(self, reader: ChunkReader, stack: Stack) -> tuple[Array, file.StackContent]:
        content = file.take_stack(reader, stack, self._front.header, decode_palette)
        if content.palette is not None:
            self._palette = content.palette
        elif stack.kind == WHOLE:
            self._palette = self._front.palette
        return self._palette, content

    def _indices(self, stack: Stack, palette: Array, content: file.StackContent) -> Array | None:
        if content.strip is None:
            return None
        entries = coded_palette(stack.kind, palette)
        decoder = StripDecoder(entries, self._work)
        decoder.admit(content.strip, content.payload, stack.width)
        indices = np.empty((stack.height, stack.width), index_dtype(len(entries)))
        decoder.decode(content.strip, content.payload, indices)
        return indices


class _Screen:
    """What is shown, frame after frame."""

    def __init__(self, front: file.Front):
        self._front = front
        self._palette = front.palette
        self.height = front.header.height
        self._indices = self._room(front.palette)

    def shown(self, stack: Stack, result: _Decoded | FormatError) -> Iterator[IndexedImage]:
        """Yield the frames of a stack.

        Raises:
            FormatError: that of the result; or pixels stay that its palette has no colour for.
        """
        if isinstance(result, FormatError):
            raise result
        missing = self._begin(stack, result.palette)
        row = 0
        for number, patch in enumerate(stack.patches):
            if result.indices is not None and patch.height:
                rows = result.indices[row : row + patch.height]
                row += patch.height
                area = np.s_[
                    patch.top : patch.top + patch.height, stack.left : stack.left + stack.width
                ]
                stays = rows == 0 if stack.kind == MARKED else np.zeros(rows.shape, np.bool_)
                shift = rows.dtype.type(stack.kind == MARKED)
                self._indices[area] = np.where(stays, self._indices[area], rows - shift)
                if missing is not None:
                    missing[area] &= stays
            if missing is not None and missing.any():
                raise FormatError(
                    f"frame {stack.first + number + 1} keeps a pixel of a colour that its palette "
                    "does not have",
                    chunk="S" if stack.height else "P",
                )
            missing = None
            yield self._image()

    def blank(self) -> IndexedImage:
        """Return a frame of index 0 alone, for one that was lost."""
        self._palette = self._front.palette
        self._indices = self._room(self._palette)
        return self._image()

    def _begin(self, stack: Stack, palette: Array) -> Array | None:
        """Take the palette of a stack; return which pixels have a colour that it has not."""
        if stack.kind == WHOLE:
            self._palette, self._indices = palette, self._room(palette)
            return None
        if palette is self._palette:
            return None
        places = places_in(palette, self._palette)[self._indices]
        self._palette, self._indices = palette, self._room(palette)
        self._indices[...] = np.maximum(places, 0)
        missing: Array = places < 0
        return missing

    def _room(self, palette: Array) -> Array:
        return np.zeros((self.height, self._front.header.width), index_dtype(len(palette)))

    def _image(self) -> IndexedImage:
        header = self._front.header
        return IndexedImage(self._palette, self._indices, header.pixel_format, self._front.metadata)
