"""A plain, slow decoder of .kmq files, written from FORMAT.md alone: the second opinion.

It follows the document section by section, uses nothing of kmq and no NumPy, and raises ValueError
for anything that breaks a rule.
"""

import struct
import zlib

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
}


def demand(condition, message):
    if not condition:
        raise ValueError(message)


def decode(file):
    """Return a dict of what the file holds; palette: list of tuples, indices: list of rows."""
    demand(file[:8] == bytes.fromhex("8B4B4D510D0A1A0A"), "signature")
    chunks = split_chunks(file)
    letters = "".join(letter for letter, _, _ in chunks)
    demand(letters[:2] == "HP" and letters[-1] == "E", "order of chunks")
    demand(chunks[-1][1] == b"", "payload of E")

    picture = decode_header(chunks[0][1])
    picture["palette"] = decode_palette(chunks[1][1], picture)
    rest = chunks[2:-1]
    ancillary = []
    while rest and rest[0][0].islower():
        ancillary.append(rest.pop(0))
    demand(len(ancillary) <= 65536, "number of ancillary chunks")
    picture.update(decode_ancillary(ancillary))

    n_strips = -(-picture["height"] // picture["strip_height"])
    demand(n_strips <= 65536, "number of strips")
    if n_strips > 1:
        demand(rest and rest[0][0] == "T", "no strip table")
        table = decode_table(rest.pop(0)[1], n_strips)
        demand(table == [size for _, _, size in rest], "strip table")
    demand([letter for letter, _, _ in rest] == ["S"] * n_strips, "strips")

    picture["indices"] = []
    for number, (_, payload, _) in enumerate(rest):
        first = number * picture["strip_height"]
        rows = min(picture["strip_height"], picture["height"] - first)
        sample_bytes = PIXEL_FORMATS[picture["pixel_format"]][1]
        picture["indices"] += decode_strip(
            payload, rows, picture["width"], picture["palette"], sample_bytes
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


def split_chunks(file):
    """Return (letter, payload, size of the whole chunk) from the signature through E."""
    chunks = []
    position = 8
    while not chunks or chunks[-1][0] != "E":
        start = position
        demand(position < len(file), "no E")
        letter = chr(file[position])
        demand("A" <= letter <= "Z" or "a" <= letter <= "z", "letter")
        length, position = varint(file, position + 1)
        end = position + length
        demand(end + 4 <= len(file), "chunk ends early")
        demand(struct.unpack("<I", file[end : end + 4])[0] == zlib.crc32(file[start:end]), "CRC")
        demand(letter.islower() or letter in "HPTSE", "critical chunk of a newer version")
        chunks.append((letter, file[position:end], end + 4 - start))
        position = end + 4
    return chunks


# H: header


def decode_header(payload):
    version, position = varint(payload, 0)
    demand(version == 1, "version")
    demand(position < len(payload) and payload[position] in PIXEL_FORMATS, "pixel format")
    header = {"pixel_format": payload[position]}
    position += 1
    for name in ("width", "height", "n_colors", "strip_height"):
        header[name], position = varint(payload, position)
        demand(header[name] > 0, name)
    demand(position == len(payload), "header goes on")
    demand(header["n_colors"] <= 65536, "colours")
    demand(header["strip_height"] <= header["height"], "strip height")
    return header


# P: palette


def decode_palette(payload, header):
    channels, sample_size, largest = PIXEL_FORMATS[header["pixel_format"]]
    n_colors = header["n_colors"]
    demand(payload and payload[0] in (0, 1, 2), "palette method")
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


# T: strip table


def decode_table(payload, n_strips):
    sizes, position = [], 0
    for _ in range(n_strips):
        size, position = varint(payload, position)
        sizes.append(size)
    demand(position == len(payload), "strip table goes on")
    return sizes


# S: strip


def decode_strip(payload, rows, width, palette, sample_bytes):
    demand(len(payload) >= 5, "size of a strip")
    demand(payload[0] in (0, 1, 2), "strip method")
    n_colors = len(palette)
    if payload[0] == 0:
        indices = unpacked(payload[5:], rows * width, n_colors)
    else:
        method = plain_rank.decode_strip if payload[0] == 1 else plain_mix.decode_strip
        decoded = method(payload[5:], rows, width, palette, sample_bytes)
        indices = [index for row in decoded for index in row]
    demand(all(index < n_colors for index in indices), "index")
    stored = struct.pack("<" + ("B" if n_colors <= 256 else "H") * len(indices), *indices)
    demand(zlib.crc32(stored) == struct.unpack("<I", payload[1:5])[0], "checksum")
    return [indices[i : i + width] for i in range(0, len(indices), width)]


def unpacked(coded, n_pixels, n_colors):
    n_bits = 0
    while 2**n_bits < n_colors:
        n_bits += 1
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
    for letter, payload, _ in chunks:
        if letter == "t":
            keyword, value = text_entry(payload)
            demand(keyword not in found["text"], "keyword twice")
            found["text"][keyword] = value
        elif letter in readers:
            demand(found[letter] is None, f"{letter} twice")
            found[letter] = readers[letter](payload)
        else:
            found["extra"].append((letter, payload))
    return found


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
