/**
 * Sequences of frames in .kmq files, written from FORMAT.md; see docs/browser.md for how to use it.
 *
 * The strip of a stack is that of a picture. So each stack becomes a file of one picture here, and
 * the decoder of pictures does the rest.
 */
import {
  KmqError, LIMITS, MOST, Numbers, SIGNATURE, asBytes, crc32, decode, demand, newer, u32,
} from "./kmq.min.js";

const MOST_NUMBER = 2 ** 31 - 1;
const WHOLE = 0, MARKED = 2; // kinds of stacks
const TABLE_BYTES = 41; // of the table for each frame, if all numbers were as long as they can be

function varint(number) {
  const bytes = [];
  for (; number > 127; number = Math.floor(number / 128)) bytes.push((number & 127) | 128);
  return [...bytes, number];
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const bytesOf = (number) => [number, number >> 8, number >> 16, number >> 24].map((byte) => byte & 255);

function chunk(letter, payload) {
  const stored = joined([[letter.charCodeAt(0)], varint(payload.length), payload]);
  return joined([stored, bytesOf(crc32(stored))]);
}

/** Takes chunks, numbers and bytes off the front. */
class Reader extends Numbers {
  get letter() {
    demand(this.at < this.bytes.length, `the file ends too early, after ${this.at} bytes`);
    return String.fromCharCode(this.bytes[this.at]);
  }

  byte() {
    demand(this.at < this.bytes.length, "the bytes end too early");
    return this.bytes[this.at++];
  }

  /** Takes a chunk, which must have this letter; returns its payload. */
  chunk(wanted) {
    const { letter, at: start } = this;
    demand(/[A-Za-z]/.test(letter), `byte ${this.bytes[start]} stands where a chunk begins`);
    this.at++;
    const length = this.take(), from = this.at;
    this.at += length + 4;
    demand(this.at <= this.bytes.length, `the file ends too early, in chunk ${letter}`);
    const stored = this.bytes.subarray(start, from + length);
    const crc = u32(this.bytes, from + length);
    demand(crc32(stored) === crc, `chunk ${letter} at ${start} is damaged: its CRC does not agree`);
    if (letter < "a" && !"HPLTFSE".includes(letter)) throw newer(`it has a critical chunk ${letter}`);
    demand(letter === wanted, `chunk ${letter} stands where ${wanted} belongs`);
    return this.bytes.subarray(from, from + length);
  }
}

/** Decodes a picture of these sizes. `palette` and `strip` are payloads, `others` chunks. */
function picture({ pixelFormat, width, height, nColors, palette, others = [], strip }, limits) {
  const numbers = [width, height, nColors, height].flatMap(varint);
  return decode(joined([
    SIGNATURE,
    chunk("H", [1, pixelFormat, ...numbers]),
    chunk("P", palette),
    ...others,
    chunk("S", strip),
    chunk("E", []),
  ]), { limits });
}

/** Decodes palette and metadata, as those of a picture of one pixel. */
function pixel(pixelFormat, nColors, palette, others, limits) {
  const size = nColors > 256 ? 2 : 1;
  const stored = [1, size, 0, 255 - size, 255, ...new Array(size).fill(0)]; // a block of deflate
  const strip = [0, ...bytesOf(crc32(new Uint8Array(size))), ...(nColors > 1 ? stored : [])];
  return picture({ pixelFormat, width: 1, height: 1, nColors, palette, others, strip }, limits);
}

function unpackStacks(bytes, { width, height, nFrames, nColors }) {
  const table = new Reader(bytes), stacks = [];
  let first = 0, before = nColors;
  while (first < nFrames) {
    const kind = table.byte(), name = `frame ${first + 1}`;
    if (kind > MARKED) throw newer(`${name} is coded by method ${kind}`);
    demand(first || kind === WHOLE, "the first frame is no key frame");
    const count = table.take();
    demand(count && count <= nFrames - first, `${count} frames are in a stack from ${name} on`);
    const own = table.take();
    before = own || (kind === WHOLE ? nColors : before);
    demand(before <= MOST - (kind === MARKED), `the palette of ${name} has ${before} colours`);
    let left = 0, columns = width, rows = 0;
    if (kind !== WHOLE) {
      left = table.take();
      columns = table.take();
      demand(columns && left + columns <= width, `${name} has ${columns} columns from ${left} on`);
    }
    const patches = [];
    for (let number = first; number < first + count; number++) {
      const patch = { delay: table.take() / 100, rows: height, top: 0 };
      if (kind !== WHOLE || number > first) {
        patch.rows = table.take();
        if (patch.rows) patch.top = table.take();
      }
      demand(patch.top + patch.rows <= height, `frame ${number + 1} has rows beyond the picture`);
      rows += patch.rows;
      patches.push(patch);
    }
    stacks.push({ kind, first, own, left, columns, rows, patches, size: table.take() });
    demand(rows <= MOST_NUMBER, `the stack of ${name} has ${rows} rows`);
    first += count;
  }
  demand(table.at === bytes.length, "the frames go on after the last one");
  return stacks;
}

/** The samples of a palette as chunk P has them without coding, after one entry of 0 if wanted. */
function plainPalette(palette, channels, marked) {
  const samples = new palette.constructor(palette.length + (marked ? channels : 0));
  samples.set(palette, samples.length - palette.length);
  return joined([[0], new Uint8Array(samples.buffer)]);
}

/**
 * Decodes a sequence, or a picture, which is one frame. Throws KmqError as `decode` does.
 *
 * Returns what `decode` returns of a picture, but for `indices`, and `plays` (0 is without end) and
 * `frames`: an array of {delay in milliseconds, isKey, palette, nColors, indices}.
 */
export function decodeFrames(source, { limits } = {}) {
  const given = { ...LIMITS, ...limits };
  const bytes = asBytes(source);
  const isSigned = SIGNATURE.every((byte, i) => byte === bytes[i]);
  if (!isSigned || bytes[10] !== 2) return alone(decode(bytes, { limits }));
  const file = new Reader(bytes);
  file.at = 8;
  const head = new Reader(file.chunk("H"));
  const version = head.take();
  if (version !== 2) return alone(decode(bytes, { limits }));
  demand(head.at < head.bytes.length, "the header ends after its version");
  const pixelFormat = head.byte();
  if (pixelFormat > 9) throw newer(`it has pixel format ${pixelFormat}`);
  const [width, height, nColors, nFrames, plays] = [0, 0, 0, 0, 0].map(() => head.take());
  if (head.at < head.bytes.length) throw newer("its header goes on");
  demand(width && height, `the picture is ${width} x ${height}; sides are 1 and more`);
  demand(nColors && nColors <= MOST, `the palette has ${nColors} colours; it holds 1 to ${MOST}`);
  demand(nFrames && nFrames <= MOST, `there are ${nFrames} frames; a file holds 1 to ${MOST}`);
  demand(width <= Math.floor(given.pixels / (height * nFrames)),
    `there are ${nFrames} frames of ${width} x ${height}; the limit is ${given.pixels} pixels`,
    "too large");
  const coded = file.chunk("P");
  const others = [];
  while (file.letter > "Z") {
    const start = file.at;
    file.chunk(file.letter);
    others.push(bytes.subarray(start, file.at));
  }
  const base = pixel(pixelFormat, nColors, coded, others, { ...limits, pixels: 1 });
  const deflated = chunk("i", file.chunk("F")); // inflated where a colour profile would be
  let table;
  try {
    const room = { metadataBytes: TABLE_BYTES * nFrames };
    table = pixel(1, 1, [0, 0], [deflated], room).metadata.iccProfile;
  } catch (error) {
    throw new KmqError("damaged", `the frames are damaged: ${error.message}`);
  }
  const header = { width, height, nFrames, nColors };
  const share = given.decisions / (width * height * nFrames);
  const frames = [];
  let palette, shown;

  const decodeStack = (stack) => {
    const start = file.at, { kind, own, columns, rows } = stack;
    const before = palette;
    if (own) palette = pixel(pixelFormat, own, file.chunk("P"), [], {}).palette;
    else if (kind === WHOLE) palette = base.palette;
    const strip = rows ? file.chunk("S") : null;
    demand(!strip || strip.length > 4, "a strip has no checksum");
    demand(file.at - start === stack.size, `a stack has ${file.at - start} bytes, not ${stack.size}`);
    const marked = kind === MARKED ? 1 : 0;
    const count = palette.length / base.channels;
    const indices = strip && picture({
      pixelFormat, width: columns, height: rows, nColors: count + marked, strip,
      palette: plainPalette(palette, base.channels, marked),
    }, { pixels: given.pixels, decisions: Math.floor(share * columns * rows) }).indices;
    const room = () => new (count > 256 ? Uint16Array : Uint8Array)(width * height);
    let missing = null; // pixels that stay in a colour that is not in the palette
    if (kind === WHOLE) {
      shown = room();
    } else if (own) {
      const places = placesOf(before, palette, base.channels);
      missing = shown.map((index) => places[index] < 0);
      const translated = room();
      shown.forEach((index, i) => (translated[i] = Math.max(0, places[index])));
      shown = translated;
    }
    let at = 0;
    stack.patches.forEach((patch, number) => {
      const next = shown.slice();
      for (let row = patch.top; row < patch.top + patch.rows; row++) {
        for (let i = row * width + stack.left, end = i + columns; i < end; i++, at++) {
          if (marked && !indices[at]) continue;
          next[i] = indices[at] - marked;
          if (missing) missing[i] = 0;
        }
      }
      demand(!missing?.includes(1), "a pixel stays in a colour that is not in the palette");
      missing = null;
      shown = next;
      const isKey = kind === WHOLE && !number;
      frames.push({ delay: patch.delay, isKey, palette, nColors: count, indices: shown });
    });
  };

  for (const stack of unpackStacks(table, header)) {
    try {
      decodeStack(stack);
    } catch (error) {
      if (!(error instanceof KmqError)) throw error;
      throw new KmqError(error.kind, `from frame ${stack.first + 1} on: ${error.message}`);
    }
  }
  demand(!file.chunk("E").length, "the payload of the last chunk is not empty");
  const { indices, nStrips, stripHeight, ...front } = base;
  return { ...front, width, height, plays, frames };
}

function alone({ indices, ...front }) {
  const { palette, nColors } = front;
  return { ...front, plays: 0, frames: [{ delay: 0, isKey: true, palette, nColors, indices }] };
}

/** Where another palette first has each entry of a palette, -1 where it has not. */
function placesOf(palette, other, channels) {
  const keyOf = (entries, i) => entries.subarray(i * channels, (i + 1) * channels).join();
  const first = new Map();
  for (let i = other.length / channels - 1; i >= 0; i--) first.set(keyOf(other, i), i);
  return Array.from({ length: palette.length / channels }, (_, i) => first.get(keyOf(palette, i)) ?? -1);
}
