"""Decode mutated files: ``python tests/fuzz.py --seconds 60 [--seed 1] [--workers 1]``.

Mutates the golden files and small encoded pictures, some by bits and bytes, most chunk by chunk
with lengths, strip table and CRCs put right, so that what lies behind them is reached. Whatever
the bytes are, each way to read them must give an image or a FormatError, the ways must agree with
each other, and of each sixteenth file the plain decoder must say the same. A fifth of the files
are sequences. Files for which that is not so are kept in tests/crashers, which the tests go
through. Prints how many files were tried.
"""

import argparse
import contextlib
import hashlib
import io
import mmap
import multiprocessing
import random
import sys
import time
import traceback
import warnings
from pathlib import Path

import kmq.files
import kmq.frames
import plain_decoder
from images import FULL_METADATA, indexed_image, same
from kmq.deflate import deflate, inflate
from kmq.errors import (
    FormatError,
    InputError,
    LimitError,
    NewerFormatError,
    SalvageWarning,
)
from kmq.model.file_info import Limits
from kmq.model.image import Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding.methods import STRIP_METHODS
from kmq.stages.container.chunks import (
    LETTERS,
    SIGNATURE,
    chunk_size,
    pack_chunk,
    pack_varint,
    unpack_varint,
)

GOLDEN = Path(__file__).parent / "golden"
CRASHERS = Path(__file__).parent / "crashers"
LIMITS = Limits(pixels=4_000, metadata_bytes=100_000)
COMPARED = Limits(pixels=300, metadata_bytes=100_000)  # the plain decoder takes its time
LONGEST = 300  # seconds that one file may take, compilation included
_TELLING = (b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff", b"\xff\xff\xff\xff\x07", bytes(9))


# Judging


def judge(encoded, *, thoroughly=False, salvaging=False):
    """Return whether the bytes are a file; raise AssertionError if they are judged wrongly.

    Also raises what no reader may raise. `thoroughly` asks all readers, `salvaging` that one more.
    """
    try:
        image = kmq.files.decode(encoded, limits=LIMITS, n_threads=1)
    except FormatError as error:
        image, refusal = None, error
    if salvaging or thoroughly:
        left = _salvaged(encoded, kmq.files.decode)
        if image is not None:
            assert left == image, "salvage changes a sound file"
        else:
            assert not isinstance(refusal, LimitError) or left is None, "salvage has no limits"
    if thoroughly:
        if image is not None:
            _check_parts(encoded, image)
        else:
            _check_parts_of_damaged(encoded)
        _compare(encoded, kmq.files.decode, COMPARED, same)
    return image is not None


def judge_sequence(encoded, *, thoroughly=False, salvaging=False):
    """Do as `judge` does with what was a sequence once."""
    try:
        images = kmq.frames.read_frames(encoded, limits=LIMITS, n_threads=1)
    except FormatError:
        images = None
    if salvaging or thoroughly:
        left = _salvaged(encoded, kmq.frames.read_frames)
        assert images in (None, left), "salvage changes a sound file"
    if thoroughly:
        if images is not None:
            assert kmq.frames.read_frames(encoded, len(images) - 1) == images[-1:], "last frame"
        _compare(encoded, kmq.frames.read_frames, LIMITS, _are_same)
    return images is not None


def _are_same(images, plain):
    """Whether images are the frames that the plain decoder found."""
    frames = plain.get("frames") or [(0, plain["palette"], plain["indices"])]
    return len(images) == len(frames) and all(
        same(image, {**plain, "palette": palette, "indices": rows})
        for image, (_, palette, rows) in zip(images, frames, strict=True)
    )


def _salvaged(encoded, read):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SalvageWarning)
        try:
            return read(encoded, on_error="salvage", limits=LIMITS, n_threads=1)
        except FormatError:
            return None


def _check_parts(encoded, image):
    box = image.width // 3, image.height // 2, image.width, image.height // 2 + 1
    part = kmq.files.read_region(io.BytesIO(encoded), box, limits=LIMITS)
    assert (part.indices == image.indices[box[1] : box[3], box[0] : box[2]]).all(), "region"
    facts = kmq.files.info(io.BytesIO(encoded), limits=LIMITS)
    assert (facts.height, facts.width) == image.indices.shape, "info"
    again = kmq.files.decode(kmq.files.encode(image, method="deflate"))
    assert again == image, "an image that was decoded does not come back"


def _check_parts_of_damaged(encoded):
    """What fails is a FormatError here too, but that a box may lie beyond the picture."""
    for read in (
        lambda: kmq.files.read_region(io.BytesIO(encoded), (0, 0, 1, 1), limits=LIMITS),
        lambda: kmq.files.read_region(io.BytesIO(encoded), (1, 4, 3, 5), limits=LIMITS),
        lambda: kmq.files.info(io.BytesIO(encoded), limits=LIMITS),
    ):
        with contextlib.suppress(FormatError):
            try:
                read()
            except InputError as error:
                if "box is" not in str(error):
                    raise


def _compare(encoded, read, limits, agree):
    """Both decoders must agree on what it shows, or else on what is wrong and in which chunk."""
    shown, refusal = None, None
    try:
        shown = read(encoded, limits=limits, n_threads=1)
    except LimitError:
        return
    except FormatError as error:
        refusal = isinstance(error, NewerFormatError), error.chunk or ""
    plain, plain_refusal = None, None
    try:
        plain = plain_decoder.decode(encoded)
    except ValueError as error:
        plain_refusal = isinstance(error, plain_decoder.NewerError), error.args[-1]
    assert refusal == plain_refusal, f"kmq refuses {refusal}, the plain decoder {plain_refusal}"
    assert shown is None or agree(shown, plain), "the decoders differ"


# Making files


def seeds(rng):
    """Return encoded files: the small golden ones and small pictures of all methods."""
    golden = [path.read_bytes() for path in sorted(GOLDEN.glob("*.kmq"))]
    found = [encoded for encoded in golden if len(encoded) < 3500]
    for number in range(60):
        method = STRIP_METHODS[number % len(STRIP_METHODS)]
        n_colors = min(rng.choice([1, 2, 3, 5, 16, 17, 40, 256, 257, 700]), method.most_colors)
        height, width = rng.randint(1, 30), rng.randint(1, 30)
        metadata = FULL_METADATA if rng.random() < 0.2 else Metadata()
        pixel_format = rng.choice(list(PixelFormat))
        image = indexed_image(pixel_format, n_colors, height, width, seed=number, metadata=metadata)
        strip_height = rng.randint(1, height)
        found.append(kmq.files.encode(image, method=method.name, strip_height=strip_height))
    return found


def sequences(_):
    """Return the small golden sequences."""
    golden = [path.read_bytes() for path in sorted((GOLDEN / "sequences").glob("*.kmq"))]
    return [encoded for encoded in golden if len(encoded) < 1000]


def split(encoded):
    """Return (letter, payload) of each chunk, as far as there are letters and lengths."""
    chunks, position = [], len(SIGNATURE)
    while position < len(encoded) and encoded[position] in LETTERS:
        try:
            length, start = unpack_varint(encoded, position + 1)
        except FormatError:
            break
        chunks.append((chr(encoded[position]), encoded[start : start + length]))
        position = start + length + 4
    return chunks


def joined(chunks, *, with_table=True):
    """Return a file of these chunks, the strip table put right if there is one."""
    sizes = b"".join(pack_varint(chunk_size(len(b))) for a, b in chunks if a == "S")
    chunks = [(a, sizes if a == "T" and with_table else b) for a, b in chunks]
    return SIGNATURE + b"".join(pack_chunk(letter, payload) for letter, payload in chunks)


class Mutator:
    """Makes files from golden and small ones, the same from the same seed."""

    def __init__(self, seed, files=seeds):
        self._rng = random.Random(seed)  # noqa: S311  # nothing secret
        self._files = files(self._rng)
        self._chunks = [split(encoded) for encoded in self._files]

    def make(self):
        """Return one mutated file."""
        rng = self._rng
        number = rng.randrange(len(self._files))
        if rng.random() < 0.2:
            return self._changed(self._files[number])
        chunks = list(self._chunks[number])
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            self._change_chunks(chunks)
        encoded = joined(chunks, with_table=rng.random() < 0.9)
        return self._changed(encoded) if rng.random() < 0.05 else encoded

    def _change_chunks(self, chunks):
        rng = self._rng
        at = rng.randrange(len(chunks))
        if rng.random() < 0.6:  # what is worth most
            at = rng.choice([i for i, (letter, _) in enumerate(chunks) if letter in "SPHF"] or [at])
        letter, payload = chunks[at]
        kind = rng.random()
        if kind < 0.7 and letter == "F":
            with contextlib.suppress(FormatError):  # where it is broken already
                chunks[at] = letter, deflate(self._changed(inflate(payload, 1 << 16)))
        elif kind < 0.7:
            chunks[at] = letter, self._changed(payload)
        elif kind < 0.85:
            other = rng.choice(self._chunks)
            chunks[at] = letter, dict(other).get(letter, payload)
        elif kind < 0.88:
            chunks[at] = rng.choice("HPTSEiexdtgwscqZ"), payload
        elif kind < 0.92 and len(chunks) > 1:
            del chunks[at]
        elif kind < 0.96:
            chunks.insert(at, chunks[rng.randrange(len(chunks))])
        else:
            other = rng.randrange(len(chunks))
            chunks[at], chunks[other] = chunks[other], chunks[at]

    def _changed(self, content):
        rng = self._rng
        changed = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 3, 8])):
            at = rng.randint(0, len(changed))
            kind = rng.randrange(7)
            if kind == 0 and at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            elif kind == 1 and at < len(changed):
                changed[at] = rng.randrange(256)
            elif kind == 2:
                del changed[at : at + rng.choice([1, 1, 2, 8, len(changed)])]
            elif kind == 3:
                changed[at:at] = rng.randbytes(rng.choice([1, 1, 2, 8, 40]))
            elif kind == 4:
                telling = rng.choice(_TELLING)
                changed[at : at + len(telling)] = telling
            elif kind == 5:
                other = rng.choice(self._files)
                start = rng.randrange(len(other))
                size = rng.choice([2, 8, 64])
                changed[at : at + size] = other[start : start + size]
            else:
                start = rng.randint(0, len(changed))
                changed[at:at] = changed[start : start + rng.choice([1, 4, 16])]
        return bytes(changed)


# Running


class Slate:
    """Memory of two processes: what the one is trying, should it not live to tell."""

    def __init__(self):
        self._memory = mmap.mmap(-1, 1 << 20)

    def note(self, encoded):
        self._memory[:4] = len(encoded).to_bytes(4, "little")
        self._memory[4 : 4 + len(encoded)] = encoded

    def noted(self):
        return self._memory[4 : 4 + int.from_bytes(self._memory[:4], "little")]


def keep(encoded, reason):
    """Write a finding to tests/crashers."""
    CRASHERS.mkdir(exist_ok=True)
    path = CRASHERS / f"{hashlib.sha256(encoded).hexdigest()[:16]}.kmq"
    path.write_bytes(encoded)
    print(f"{path}: {reason}", flush=True)


def try_files(seed, seconds, slate, results):
    """Try files until the time is over; tell how many, how many of them sound, and findings."""
    kinds = (Mutator(seed), judge), (Mutator(seed, sequences), judge_sequence)
    ends = time.monotonic() + seconds
    tried = sound = findings = 0
    while time.monotonic() < ends:
        tried += 1
        mutator, judged = kinds[tried % 5 == 0]
        encoded = mutator.make()
        slate.note(encoded)
        try:
            sound += judged(encoded, thoroughly=tried % 16 == 0, salvaging=tried % 4 == 0)
        except Exception:
            keep(encoded, traceback.format_exc())
            findings += 1
        if tried % 64 == 0:
            results.put(("alive", tried, sound, findings))
    results.put(("done", tried, sound, findings))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    context = multiprocessing.get_context("fork")
    jobs = []
    for worker in range(options.workers):
        slate, results = Slate(), context.Queue()
        arguments = (1000 * options.seed + worker, options.seconds, slate, results)
        jobs.append(
            (context.Process(target=try_files, args=arguments, daemon=True), slate, results)
        )
    for process, _, _ in jobs:
        process.start()
    totals = [await_worker(*job) for job in jobs]
    tried, sound, findings = map(sum, zip(*totals, strict=True))
    print(f"{tried} mutated files, {sound} of them sound; {findings} findings")
    sys.exit(findings > 0)


def await_worker(process, slate, results):
    """Return the worker's figures; a worker that dies or hangs is a finding."""
    figures = (0, 0, 0)
    while True:
        try:
            word, *figures = results.get(timeout=LONGEST)
        except Exception:  # Empty: the worker is dead, or at one file for too long
            keep(slate.noted(), f"the worker died or hung, exit code {process.exitcode}")
            process.kill()
            return figures[0], figures[1], figures[2] + 1
        if word == "done":
            process.join()
            return figures


if __name__ == "__main__":
    main()
