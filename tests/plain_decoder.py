"""A plain, slow decoder of .kmq files, written from FORMAT.md alone: the second opinion.

It follows the document section by section, uses nothing of kmq and no NumPy, and raises ValueError
for anything that breaks a rule.
"""

import struct
import zlib

import plain_label
import plain_mix
import plain_rank
import plain_tree

# code: (channels, bytes of a sample, largest sample)
PIXEL_FORMATS = {
    0: (1, 1, 1),
    1: (1, 1, 255),
    2: (2, 1, 255),
    3: (1, 2, 65535),
    4: (2, 2, 65535),
    5: (3, 1, 255),
    6: (4, 1, 255),
    7: (3, 2, 65535),
    8: (4, 2, 65535),
    9: (4, 1, 255),
    10: (1, 2, 65535),  # a label map
}
# code: (bytes of a label, whether it has a sign)
LABEL_TYPES = [(1, False), *((2**i, False) for i in range(4)), *((2**i, True) for i in range(4))]


class NewerError(ValueError):
    """The file needs a newer reader."""


def demand(condition, message):
    if not condition:
        raise ValueError(message)


def know(condition, message):
    if not condition:
        raise NewerError(message)


def decode(file):
    """Return a dict of what the file holds; palette: list of tuples, indices: list of rows.

    Of a sequence it has instead frames: a list of (delay, palette, rows).

    Of several faults it tells the first in the order of "Of several faults"; the letter of its
    chunk is the error's last argument.
    """
    chunks = Chunks(file)
    try:
        return decode_chunks(chunks)
    except ValueError as error:
        error.args = (*error.args, chunks.letter)
        raise


def decode_chunks(chunks):
    demand(chunks.file[:8] == bytes.fromhex("8B4B4D510D0A1A0A"), "signature")
    picture = decode_header(chunks.take("H"))
    if picture["pixel_format"] == 10:
        picture.update(decode_labels(chunks.take("L"), picture))
    else:
        picture["palette"] = decode_palette(chunks.take("P"), picture)
    picture.update(decode_ancillary(chunks))
    if "n_frames" in picture:
        decode_frames(chunks, picture)
        return picture

    n_strips = -(-picture["height"] // picture["strip_height"])
    table = decode_table(chunks.take("T"), n_strips) if n_strips > 1 else None
    strips = []
    for number in range(n_strips):
        strips.append(chunks.take("S"))
        demand(len(strips[-1]) >= 5, "size of a strip")
        demand(table is None or table[number] == chunks.size, "strip table")
    demand(chunks.take("E") == b"", "payload of E")

    chunks.letter = "S"
    first_rows = range(0, picture["height"], picture["strip_height"])
    rows = [min(picture["strip_height"], picture["height"] - first) for first in first_rows]
    for strip, height in zip(strips, rows, strict=True):
        admit_strip(strip, height * picture["width"], len(picture["palette"]))
    sample_bytes = PIXEL_FORMATS[picture["pixel_format"]][1]
    picture["indices"] = []
    for strip, height in zip(strips, rows, strict=True):
        picture["indices"] += decode_strip(
            strip, height, picture["width"], picture["palette"], sample_bytes
        )
    return picture


# Notation


def varint(payload, position):
    """Return a number and the position after it."""
    number = 0
    for count in range(5):
        demand(position + count < len(payload), "varint ends early")
        byte = payload[position + count]
        number += (byte % 128) * 128**count
        if byte < 128:
            demand(count == 0 or byte != 0, "varint is too long")
            demand(number < 2**31, "varint is too large")
            return number, position + count + 1
    raise ValueError("varint has more than 5 bytes")


def inflate(deflated):
    stream = zlib.decompressobj(-15)
    try:
        content = stream.decompress(deflated)
    except zlib.error as error:
        raise ValueError("deflated bytes") from error
    demand(stream.eof and not stream.unused_data, "end of deflated bytes")
    return content


# Chunks


class Chunks:
    """Takes chunks from the front to the back; `letter` and `size` are those of the last."""

    def __init__(self, file):
        self.file = file
        self.position = 8
        self.letter = ""
        self.size = 0

    def next_letter(self):
        self.letter = ""
        demand(self.position < len(self.file), "no E")
        letter = chr(self.file[self.position])
        demand("A" <= letter <= "Z" or "a" <= letter <= "z", "letter")
        return letter

    def take(self, letter):
        self.letter = self.next_letter()
        start = self.position
        length, begin = varint(self.file, start + 1)
        end = begin + length
        demand(end + 4 <= len(self.file), "chunk ends early")
        crc = struct.unpack("<I", self.file[end : end + 4])[0]
        demand(crc == zlib.crc32(self.file[start:end]), "CRC")
        know(self.letter.islower() or self.letter in "HPLTFSE", "critical chunk")
        demand(letter == self.letter, "order of chunks")
        self.position = end + 4
        self.size = self.position - start
        return self.file[begin:end]


# H: header


def decode_header(payload):
    version, position = varint(payload, 0)
    demand(version >= 1, "version 0")
    know(version <= 2, "version")
    demand(position < len(payload), "header ends")
    know(payload[position] in PIXEL_FORMATS, "pixel format")
    know(version == 1 or payload[position] != 10, "pixel format")
    header = {"pixel_format": payload[position]}
    position += 1
    more = ("strip_height",) if version == 1 else ("n_frames", "plays")
    for name in ("width", "height", "n_colors", *more):
        header[name], position = varint(payload, position)
    know(position == len(payload), "header goes on")
    demand(header["width"] >= 1 and header["height"] >= 1, "sides")
    demand(1 <= header["n_colors"] <= 65536, "colours")
    if version == 2:
        demand(1 <= header["n_frames"] <= 65536, "number of frames")
        return header
    demand(1 <= header["strip_height"] <= header["height"], "strip height")
    demand(-(-header["height"] // header["strip_height"]) <= 65536, "number of strips")
    return header


# P: palette


def decode_palette(payload, header):
    channels, sample_size, largest = PIXEL_FORMATS[header["pixel_format"]]
    n_colors = header["n_colors"]
    demand(payload, "no palette method")
    know(payload[0] in (0, 1, 2), "palette method")
    if payload[0] == 0:
        entries = plain_entries(payload[1:], n_colors, channels, sample_size)
    elif payload[0] == 1:
        entries = summed_entries(inflate(payload[1:]), n_colors, channels, sample_size)
    else:
        entries = plain_tree.decode_entries(payload[1:], n_colors, channels, sample_size)
    demand(all(sample <= largest for entry in entries for sample in entry), "sample")
    return entries


def plain_entries(stored, n_colors, channels, sample_size):
    demand(len(stored) == n_colors * channels * sample_size, "size of the palette")
    samples = struct.unpack("<" + "BH"[sample_size - 1] * (n_colors * channels), stored)
    return [samples[i : i + channels] for i in range(0, len(samples), channels)]


def summed_entries(stored, n_colors, channels, sample_size):
    demand(len(stored) == n_colors * channels * sample_size, "size of the palette")
    columns = []
    for channel in range(channels):
        start = channel * n_colors * sample_size
        row = list(stored[start : start + n_colors])
        if sample_size == 2:
            low = stored[start + n_colors : start + 2 * n_colors]
            row = [256 * high + low for high, low in zip(row, low, strict=True)]
        column, sample = [], 0
        for difference in row:
            sample = (sample + difference) % 256**sample_size
            column.append(sample)
        columns.append(column)
    return list(zip(*columns, strict=True))


# L: labels


def decode_labels(payload, header):
    demand(len(payload) >= 2, "labels end")
    know(payload[0] < len(LABEL_TYPES), "type of labels")
    demand(1 <= payload[1] <= 32, "dimensions")
    shape, position = [], 2
    for _ in range(payload[1]):
        size, position = varint(payload, position)
        shape.append(size)
    rows = 1
    for size in shape[:-1]:
        rows *= size
    demand(shape[-1] == header["width"] and rows == header["height"], "shape")
    demand(position < len(payload), "labels end after their shape")
    know(payload[position] in (0, 1), "method of labels")
    n_labels = header["n_colors"]
    size, has_sign = LABEL_TYPES[payload[0]]
    planes = inflate(payload[position + 1 :])
    demand(len(planes) == n_labels * size, "size of the labels")
    values, before = [], 0
    for i in range(n_labels):
        value = int.from_bytes(planes[i::n_labels], "big")
        if payload[position] == 1:
            value = (value + before) % 256**size
        before = value
        demand(payload[0] > 0 or value <= 1, "label of type bool")
        negative = has_sign and value >= 256**size // 2
        values.append(value - 256**size if negative else value)
    shades = [(65535 * i // max(1, n_labels - 1),) for i in range(n_labels)]
    return {"type": payload[0], "shape": tuple(shape), "labels": values, "palette": shades}


# T: strip table


def decode_table(payload, n_strips):
    sizes, position = [], 0
    for _ in range(n_strips):
        size, position = varint(payload, position)
        demand(size >= 11, "size in the strip table")
        sizes.append(size)
    demand(position == len(payload), "strip table goes on")
    return sizes


# F: frames


def decode_stacks(payload, picture):
    """Return a dict for each stack."""
    table = inflate(payload)
    demand(len(table) <= 41 * picture["n_frames"], "size of the frames")
    position = 0

    def number():
        nonlocal position
        value, position = varint(table, position)
        return value

    stacks, first, before = [], 0, picture["n_colors"]
    while first < picture["n_frames"]:
        demand(position < len(table), "frames end")
        kind = table[position]
        position += 1
        know(kind in (0, 1, 2), "kind of a stack")
        demand(first > 0 or kind == 0, "the first frame is no key frame")
        n_frames = number()
        demand(1 <= n_frames <= picture["n_frames"] - first, "frames of a stack")
        own = number()
        before = own or (picture["n_colors"] if kind == 0 else before)
        demand(before <= (65535 if kind == 2 else 65536), "colours of a stack")
        left, columns = 0, picture["width"]
        if kind > 0:
            left, columns = number(), number()
            demand(columns > 0 and left + columns <= picture["width"], "columns of a stack")
        patches = []
        for place in range(n_frames):
            delay, rows, top = number(), picture["height"], 0
            if kind > 0 or place > 0:
                rows = number()
                top = number() if rows > 0 else 0
            demand(top + rows <= picture["height"], "rows of a patch")
            patches.append((delay, rows, top))
        stack = {"kind": kind, "n_colors": own, "left": left, "columns": columns}
        stacks.append({**stack, "patches": patches, "size": number()})
        demand(sum(rows for _, rows, _ in patches) < 2**31, "rows of a stack")
        first += n_frames
    demand(position == len(table), "frames go on")
    return stacks


def decode_frames(chunks, picture):
    stacks = decode_stacks(chunks.take("F"), picture)
    picture["frames"] = []
    shown, palette = None, None
    for stack in stacks:
        begin, before = chunks.position, palette
        palette = picture["palette"] if stack["kind"] == 0 else palette
        if stack["n_colors"] > 0:
            own = {**picture, "n_colors": stack["n_colors"]}
            palette = decode_palette(chunks.take("P"), own)
        rows, strip = sum(rows for _, rows, _ in stack["patches"]), None
        if rows > 0:
            strip = chunks.take("S")
            demand(len(strip) >= 5, "size of a strip")
        demand(chunks.position - begin == stack["size"], "size of a stack")
        patch_rows = iter(decode_patches(strip, rows, stack, palette, picture) if strip else [])
        if stack["kind"] == 0:
            shown = [[None] * picture["width"] for _ in range(picture["height"])]
        elif stack["n_colors"] > 0:
            places = [palette.index(entry) if entry in palette else None for entry in before]
            shown = [[places[index] for index in row] for row in shown]
        for delay, rows, top in stack["patches"]:
            shown = [list(row) for row in shown]
            for row in shown[top : top + rows]:
                for column, index in enumerate(next(patch_rows), stack["left"]):
                    if stack["kind"] < 2:
                        row[column] = index
                    elif index > 0:
                        row[column] = index - 1
            demand(all(None not in row for row in shown), "a colour that stays")
            picture["frames"].append((delay, palette, shown))
    demand(chunks.take("E") == b"", "payload of E")


def decode_patches(strip, rows, stack, palette, picture):
    if stack["kind"] == 2:
        palette = [(0,) * len(palette[0]), *palette]
    admit_strip(strip, rows * stack["columns"], len(palette))
    sample_bytes = PIXEL_FORMATS[picture["pixel_format"]][1]
    return decode_strip(strip, rows, stack["columns"], palette, sample_bytes)


# S: strip


def admit_strip(payload, n_pixels, n_colors):
    """Check what is known before anything is decoded."""
    know(payload[0] in (0, 1, 2, 3), "strip method")
    demand(payload[0] != 1 or n_colors <= 256, "colours of a strip by rank")
    n_coded = len(payload) - 5
    if payload[0] == 0:
        demand(1032 * n_coded >= -(-n_pixels * index_bits(n_colors) // 8), "too few coded bytes")
    elif payload[0] == 1:
        demand(n_coded >= plain_rank.fewest_bytes(n_pixels), "too few coded bytes")
    else:
        method = plain_mix if payload[0] == 2 else plain_label
        demand(n_coded >= method.fewest_bytes(n_pixels, n_colors), "too few coded bytes")


def index_bits(n_colors):
    n_bits = 0
    while 2**n_bits < n_colors:
        n_bits += 1
    return n_bits


def decode_strip(payload, rows, width, palette, sample_bytes):
    n_colors = len(palette)
    if payload[0] == 0:
        indices = unpacked(payload[5:], rows * width, n_colors)
    else:
        method = (plain_rank, plain_mix, plain_label)[payload[0] - 1]
        decoded = method.decode_strip(payload[5:], rows, width, palette, sample_bytes)
        indices = [index for row in decoded for index in row]
    stored = struct.pack("<" + ("B" if n_colors <= 256 else "H") * len(indices), *indices)
    demand(zlib.crc32(stored) == struct.unpack("<I", payload[1:5])[0], "checksum")
    demand(all(index < n_colors for index in indices), "index")
    return [indices[i : i + width] for i in range(0, len(indices), width)]


def unpacked(coded, n_pixels, n_colors):
    n_bits = index_bits(n_colors)
    if n_bits == 0:
        demand(coded == b"", "coded bytes for one colour")
        return [0] * n_pixels
    bits = "".join(f"{byte:08b}" for byte in inflate(coded))
    demand(len(bits) == -(-n_pixels * n_bits // 8) * 8, "size of the packed indices")
    demand("1" not in bits[n_pixels * n_bits :], "filling bits")
    return [int(bits[i * n_bits : (i + 1) * n_bits], 2) for i in range(n_pixels)]


# Ancillary chunks


def decode_ancillary(chunks):
    readers = {
        "i": inflate,
        "e": bytes,
        "x": inflate,
        "d": lambda payload: varints(payload, 2),
        "g": lambda payload: varints(payload, 1),
        "w": lambda payload: varints(payload, 8),
        "s": intent,
        "c": code_points,
    }
    found = {**dict.fromkeys(readers), "text": {}, "extra": []}
    for number in range(65537):
        if not chunks.next_letter().islower():
            return found
        letter, payload = chunks.next_letter(), chunks.take(chunks.next_letter())
        demand(number < 65536, "number of ancillary chunks")
        if letter == "t":
            keyword, value = text_entry(payload)
            demand(keyword not in found["text"], "keyword twice")
            found["text"][keyword] = value
        elif letter in readers:
            demand(found[letter] is None, f"{letter} twice")
            found[letter] = readers[letter](payload)
        else:
            found["extra"].append((letter, payload))
    raise AssertionError("not reached")


def text_entry(payload):
    demand(payload and payload[0] in (0, 1), "flag of text")
    entry = inflate(payload[1:]) if payload[0] == 1 else payload[1:]
    keyword, separator, value = entry.partition(b"\0")
    demand(keyword and separator, "keyword")
    return keyword.decode(), value.decode()  # UnicodeDecodeError is a ValueError


def varints(payload, count):
    """So many numbers and no byte beside them."""
    numbers, position = [], 0
    for _ in range(count):
        number, position = varint(payload, position)
        numbers.append(number)
    demand(position == len(payload), "a chunk of numbers goes on")
    return tuple(numbers)


def intent(payload):
    demand(len(payload) == 1 and payload[0] <= 3, "rendering intent")
    return ("perceptual", "relative colorimetric", "saturation", "absolute colorimetric")[
        payload[0]
    ]


def code_points(payload):
    demand(len(payload) == 4, "code points")
    return tuple(payload)
