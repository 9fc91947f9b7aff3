"""Chunk F: which frames a sequence has, and in what stacks. FORMAT.md says which bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kmq.deflate import deflate, inflate
from kmq.errors import FormatError, LimitError, NewerFormatError
from kmq.model.image import MAX_COLORS, MAX_SIDE
from kmq.stages.container.chunks import NEWER, pack_varint, unpack_varint

WHOLE, CHANGES, MARKED = 0, 1, 2
"""Kinds of stacks: it begins with a key frame; it changes what was shown before; and 2, in which
index 0 marks pixels that stay, and all others are one higher."""

DELAY_UNIT = 100
"""Units of a delay in a millisecond."""

_MOST_BYTES = 41  # that the table has for each frame, if all numbers were as long as they can be


class Patch(NamedTuple):
    """What a frame shows anew.

    Attributes:
        delay: how long the frame is shown, in hundredths of a millisecond.
        top: first row.
        height: rows, 0 where the frame is what was shown before.
    """

    delay: int
    top: int
    height: int


class Stack(NamedTuple):
    """Frames that follow each other, whose patches lie one below the other in one strip.

    Attributes:
        kind: WHOLE, CHANGES or MARKED.
        first: number of its first frame, from 0.
        n_colors: entries of its own palette, 0 if it has none.
        left: first column of all patches.
        width: columns of all patches.
        patches: of each frame.
        size: bytes of its chunks.
    """

    kind: int
    first: int
    n_colors: int
    left: int
    width: int
    patches: tuple[Patch, ...]
    size: int = 0

    @property
    def height(self) -> int:
        """Rows of all patches."""
        return sum(patch.height for patch in self.patches)


def pack_frames(stacks: Sequence[Stack]) -> bytes:
    """Return the payload of chunk F."""
    table = bytearray()
    for stack in stacks:
        table.append(stack.kind)
        numbers = [len(stack.patches), stack.n_colors]
        if stack.kind != WHOLE:
            numbers += [stack.left, stack.width]
        for number, patch in enumerate(stack.patches):
            numbers.append(patch.delay)
            if stack.kind == WHOLE and number == 0:
                continue
            numbers += [patch.height, patch.top] if patch.height else [0]
        for number in (*numbers, stack.size):
            table += pack_varint(number)
    return deflate(bytes(table))


def unpack_frames(
    payload: bytes, width: int, height: int, n_frames: int, n_colors: int
) -> tuple[Stack, ...]:
    """Return what chunk F says of a sequence whose header has these numbers.

    Raises:
        FormatError: it is damaged, or has stacks of an unknown kind.
    """
    try:
        table = _Table(inflate(payload, _MOST_BYTES * n_frames))
    except LimitError:
        raise FormatError(
            f"the frames take more than {_MOST_BYTES} bytes each, which there cannot be"
        ) from None
    stacks: list[Stack] = []
    first, before = 0, n_colors
    while first < n_frames:
        kind = table.byte()
        inherited = n_colors if kind == WHOLE else before
        stack = _unpack_stack(table, kind, (height, width), range(first, n_frames), inherited)
        before = stack.n_colors or inherited
        first += len(stack.patches)
        stacks.append(stack)
    if table.rest:
        raise FormatError("the frames go on after the last one")
    return tuple(stacks)


class _Table:
    """Takes numbers off the inflated payload."""

    def __init__(self, content: bytes):
        self._content = content
        self._position = 0

    @property
    def rest(self) -> int:
        return len(self._content) - self._position

    def byte(self) -> int:
        if not self.rest:
            raise FormatError("the frames end too early")
        self._position += 1
        return self._content[self._position - 1]

    def number(self) -> int:
        number, self._position = unpack_varint(self._content, self._position)
        return number


def _unpack_stack(
    table: _Table, kind: int, shape: tuple[int, int], left_over: range, inherited: int
) -> Stack:
    """Take a stack, of which the kind has been taken.

    `left_over` are the numbers of the frames that are left, and `inherited` the colours it has
    without a palette of its own.
    """
    first, name = left_over.start, f"frame {left_over.start + 1}"
    if kind not in (WHOLE, CHANGES, MARKED):
        raise NewerFormatError(f"{NEWER}: {name} is coded by method {kind}")
    if first == 0 and kind != WHOLE:
        raise FormatError("the first frame is no key frame, and nothing stands before it")
    n_frames = table.number()
    if not 1 <= n_frames <= len(left_over):
        raise FormatError(
            f"{n_frames} frames are in a stack from {name} on; there are {len(left_over)}"
        )
    own = table.number()
    most = MAX_COLORS - (kind == MARKED)
    if (own or inherited) > most:
        raise FormatError(
            f"the palette of {name} has {own or inherited} colours; it holds 1 to {most} there"
        )
    height, width = shape
    left, columns = 0, width
    if kind != WHOLE:
        left, columns = table.number(), table.number()
        if columns < 1 or left + columns > width:
            raise FormatError(
                f"{name} has {columns} columns from {left} on; the picture has {width}"
            )
    patches = []
    for number in left_over[:n_frames]:
        delay, top, rows = table.number(), 0, height
        if kind != WHOLE or number > first:
            rows = table.number()
            top = table.number() if rows else 0
        if top + rows > height:
            raise FormatError(
                f"frame {number + 1} has {rows} rows from {top} on; the picture has {height}"
            )
        patches.append(Patch(delay, top, rows))
    stack = Stack(kind, first, own, left, columns, tuple(patches), table.number())
    if stack.height > MAX_SIDE:
        raise FormatError(f"the stack of {name} has {stack.height} rows; it holds up to {MAX_SIDE}")
    return stack
