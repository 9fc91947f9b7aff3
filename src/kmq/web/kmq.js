/**
 * A decoder of .kmq files, written from FORMAT.md; see docs/browser.md for how to use it.
 * One module without dependencies, for pages, Workers and node. Integers only in all that decodes.
 * Pages load kmq.min.js, which build.py makes from this. What it exports beyond docs/browser.md is
 * for kmq-frames.js.
 */

/** What is read unless `limits` says otherwise; the same as kmq.Limits() in Python. */
export const LIMITS = { pixels: 178956970, metadataBytes: 2 ** 26, decisions: 2 ** 24 };

/** Why a file was refused; `kind` is "damaged", "newer" (needs a newer reader) or "too large". */
export class KmqError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = "KmqError";
    this.kind = kind;
  }
}

export function demand(condition, message, kind = "damaged") {
  if (!condition) throw new KmqError(kind, message);
}

export const newer = (fact) => new KmqError("newer", `this file needs a newer reader: ${fact}`);

// Code of a pixel format: channels, bytes of a sample, largest sample.
const PIXEL_FORMATS = [
  [1, 1, 1], [1, 1, 255], [2, 1, 255], [1, 2, 65535], [2, 2, 65535],
  [3, 1, 255], [4, 1, 255], [3, 2, 65535], [4, 2, 65535], [4, 1, 255], [1, 2, 65535],
];
const LABEL_MAP = 10; // in place of a pixel format
const LABEL_TYPES = [
  Uint8Array, Uint8Array, Uint16Array, Uint32Array, BigUint64Array,
  Int8Array, Int16Array, Int32Array, BigInt64Array,
];
const TYPE_NAMES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"];
export const SIGNATURE = [0x8b, 0x4b, 0x4d, 0x51, 13, 10, 26, 10];
const INTENTS = ["perceptual", "relative colorimetric", "saturation", "absolute colorimetric"];
export const MOST = 65536; // of colours, of strips, of ancillary chunks and of frames

/** Number of binary digits of a number below 2^32. */
const digits = (number) => 32 - Math.clz32(number);

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export function asBytes(source) {
  if (ArrayBuffer.isView(source)) {
    return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  }
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  throw new TypeError("a .kmq file must be an ArrayBuffer or a view of one");
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/** The checksum of PNG, gzip and .kmq. */
export function crc32(bytes) {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

export const u32 = (bytes, at) =>
  (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;

/** Takes numbers off a payload. */
export class Numbers {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take() {
    let number = 0;
    for (let count = 0; count < 5; count++) {
      demand(this.at < this.bytes.length, "a number does not end");
      const byte = this.bytes[this.at++];
      number += (byte & 127) * 128 ** count;
      if (byte < 128) {
        demand(byte || !count, "a number is longer than it needs to be");
        demand(number < 2 ** 31, "a number is above 2147483647");
        return number;
      }
    }
    throw new KmqError("damaged", "a number does not end");
  }

  /** Takes so many numbers and checks that nothing follows. */
  all(count) {
    const numbers = Array.from({ length: count }, () => this.take());
    demand(this.at === this.bytes.length, "a chunk goes on after its numbers");
    return numbers;
  }
}

// --- deflate -------------------------------------------------------------------------------------

const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Returns a table of symbol << 4 | length for the next `bits` bits, 0 where there is no code. */
function codeTable(lengths, mayBeShort) {
  const counts = new Uint16Array(16);
  for (const length of lengths) counts[length]++;
  counts[0] = 0;
  let bits = 15;
  while (bits && !counts[bits]) bits--;
  const next = new Uint16Array(16);
  let left = 1;
  for (let length = 1; length < 16; length++) {
    next[length] = (next[length - 1] + counts[length - 1]) << 1;
    left = left * 2 - counts[length];
    demand(left >= 0, "the deflated bytes are damaged");
  }
  demand(!left || (mayBeShort && bits < 2), "the deflated bytes are damaged");
  const table = new Uint16Array(1 << bits);
  lengths.forEach((length, symbol) => {
    if (!length) return;
    let code = 0;
    for (let i = 0, from = next[length]++; i < length; i++, from >>= 1) code = code * 2 + (from & 1);
    for (; code < table.length; code += 1 << length) table[code] = (symbol << 4) | length;
  });
  return { table, mask: table.length - 1 };
}

let fixedTables;

/** Inflates one raw deflate stream of up to `limit` bytes, or of exactly so many. */
function inflate(deflated, limit, exactly) {
  const kind = exactly ? "damaged" : "too large";
  const n = deflated.length;
  demand(!exactly || n * 1032 >= limit, `${n} deflated bytes cannot hold ${limit}`);
  const bytes = new Uint8Array(n + 16);
  bytes.set(deflated);
  let out = new Uint8Array(exactly ? limit : Math.min(limit, n * 4 + 64));
  let at = 0, pos = 0, hold = 0, bits = 0;
  const fill = () => {
    demand(pos <= n + 4, "the deflated bytes end too early");
    while (bits <= 24) {
      hold |= bytes[pos++] << bits;
      bits += 8;
    }
  };
  const take = (count) => {
    fill();
    const value = hold & ((1 << count) - 1);
    hold >>>= count;
    bits -= count;
    return value;
  };
  const symbol = ({ table, mask }) => {
    fill();
    const entry = table[hold & mask];
    demand(entry, "the deflated bytes are damaged");
    hold >>>= entry & 15;
    bits -= entry & 15;
    return entry >> 4;
  };
  const room = (count) => {
    demand(at + count <= limit, `the deflated bytes inflate to more than ${limit}`, kind);
    if (at + count > out.length) {
      const grown = new Uint8Array(Math.min(limit, Math.max(2 * out.length, at + count)));
      grown.set(out);
      out = grown;
    }
  };
  const dynamicTables = () => {
    const counts = [take(5) + 257, take(5) + 1];
    const order = new Uint8Array(19);
    for (let i = 0, end = take(4) + 4; i < end; i++) order[LENGTH_ORDER[i]] = take(3);
    demand(counts[0] < 287 && counts[1] < 31, "the deflated bytes are damaged");
    const code = codeTable(order);
    const lengths = new Uint8Array(counts[0] + counts[1]);
    for (let i = 0; i < lengths.length; ) {
      const length = symbol(code);
      let repeat = 1, value = length;
      if (length > 15) {
        demand(i || length > 16, "the deflated bytes are damaged");
        value = length === 16 ? lengths[i - 1] : 0;
        repeat = length === 16 ? take(2) + 3 : length === 17 ? take(3) + 3 : take(7) + 11;
        demand(i + repeat <= lengths.length, "the deflated bytes are damaged");
      }
      lengths.fill(value, i, (i += repeat));
    }
    demand(lengths[256], "the deflated bytes are damaged");
    return [
      codeTable(lengths.subarray(0, counts[0]), true),
      codeTable(lengths.subarray(counts[0]), true),
    ];
  };

  for (let last = 0; !last; ) {
    last = take(1);
    const type = take(2);
    demand(type < 3, "the deflated bytes are damaged");
    if (type === 0) {
      pos -= (bits & ~7) / 8; // whole bytes go back, the rest of one is passed over
      hold = bits = 0;
      demand(pos + 4 <= n, "the deflated bytes end too early");
      const count = bytes[pos] | (bytes[pos + 1] << 8);
      demand((count ^ bytes[pos + 2] ^ (bytes[pos + 3] << 8)) === 65535,
        "the deflated bytes are damaged");
      pos += 4;
      demand(pos + count <= n, "the deflated bytes end too early");
      room(count);
      out.set(bytes.subarray(pos, pos + count), at);
      pos += count;
      at += count;
      continue;
    }
    if (type === 1 && !fixedTables) {
      const lengths = Uint8Array.from({ length: 288 }, (_, i) =>
        i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8);
      fixedTables = [codeTable(lengths), codeTable(new Uint8Array(32).fill(5))];
    }
    const [codes, distances] = type === 1 ? fixedTables : dynamicTables();
    const { table, mask } = codes;
    for (;;) {
      if (bits < 15) fill();
      const entry = table[hold & mask];
      hold >>>= entry & 15;
      bits -= entry & 15;
      const code = entry >> 4;
      if (code < 256) {
        demand(entry, "the deflated bytes are damaged");
        if (at === out.length) room(1);
        out[at++] = code;
        continue;
      }
      if (code === 256) break;
      const i = code - 257;
      demand(i < 29, "the deflated bytes are damaged");
      let length = i < 8 ? 3 + i : 258;
      if (i > 7 && i < 28) length = 3 + ((4 + (i & 3)) << ((i >> 2) - 1)) + take((i >> 2) - 1);
      const j = symbol(distances);
      demand(j < 30, "the deflated bytes are damaged");
      const distance =
        j < 2 ? 1 + j : 1 + ((2 + (j & 1)) << ((j >> 1) - 1)) + take((j >> 1) - 1);
      demand(distance <= at, "the deflated bytes are damaged");
      room(length);
      for (const end = at + length; at < end; at++) out[at] = out[at - distance];
    }
  }
  pos -= bits >> 3;
  demand(pos <= n, "the deflated bytes end too early");
  demand(pos === n, `${n - pos} bytes follow the end of the deflated ones`);
  demand(!exactly || at === limit, `the deflated bytes hold ${at}, not ${limit}`);
  return out.subarray(0, at);
}

// --- header, palette, metadata -------------------------------------------------------------------

function unpackHeader(payload, limits) {
  const numbers = new Numbers(payload);
  const version = numbers.take();
  if (version > 1) throw newer(`its format has version ${version}`);
  demand(version === 1, "versions start at 1");
  demand(numbers.at < payload.length, "the header ends after its version");
  const pixelFormat = payload[numbers.at++];
  const [width, height, nColors, stripHeight] = [0, 0, 0, 0].map(() => numbers.take());
  if (numbers.at < payload.length) throw newer("its header goes on");
  if (pixelFormat >= PIXEL_FORMATS.length) throw newer(`it has pixel format ${pixelFormat}`);
  demand(width && height, `the picture is ${width} x ${height}; sides are 1 and more`);
  demand(nColors && nColors <= MOST, `the palette has ${nColors} colours; it holds 1 to ${MOST}`);
  demand(stripHeight && stripHeight <= height, `a strip has ${stripHeight} rows`);
  const nStrips = Math.ceil(height / stripHeight);
  demand(nStrips <= MOST, `the picture has ${nStrips} strips; it has up to ${MOST}`);
  demand(width * height <= limits.pixels,
    `the picture is ${width} x ${height}; the limit is ${limits.pixels} pixels`, "too large");
  const [channels, sampleBytes, maxValue] = PIXEL_FORMATS[pixelFormat];
  return { pixelFormat, channels, sampleBytes, maxValue, width, height, nColors, stripHeight, nStrips };
}

function unpackPalette(payload, header) {
  const { nColors, channels, sampleBytes, maxValue } = header;
  const size = nColors * channels;
  const palette = new (sampleBytes === 1 ? Uint8Array : Uint16Array)(size);
  demand(payload.length, "the palette has no method");
  const coded = payload.subarray(1);
  if (payload[0] === 0) {
    demand(coded.length === size * sampleBytes, `the palette has ${coded.length} bytes`);
    for (let i = 0; i < size; i++) {
      palette[i] = sampleBytes === 1 ? coded[i] : coded[2 * i] | (coded[2 * i + 1] << 8);
    }
  } else if (payload[0] === 1) {
    const rows = inflate(coded, size * sampleBytes, true);
    for (let channel = 0; channel < channels; channel++) {
      const row = channel * nColors * sampleBytes;
      for (let i = 0, sample = 0; i < nColors; i++) {
        sample += sampleBytes === 1 ? rows[row + i] : rows[row + i] * 256 + rows[row + nColors + i];
        palette[i * channels + channel] = sample; // modulo 2^8 or 2^16
      }
    }
  } else if (payload[0] === 2) {
    unpackTree(coded, header, palette);
  } else {
    throw newer(`its palette is coded by method ${payload[0]}`);
  }
  demand(palette.every((sample) => sample <= maxValue), `the palette has a sample above ${maxValue}`);
  return palette;
}

/** Returns {type, shape, values} of a label map; the shades that stand for its labels go to `header`. */
function unpackLabels(payload, header) {
  const { nColors, width, height } = header;
  demand(payload.length > 1, "the labels end before their shape");
  const [code, dimensions] = payload;
  if (code >= LABEL_TYPES.length) throw newer(`its labels have type ${code}`);
  demand(dimensions && dimensions <= 32, `the labels have ${dimensions} dimensions`);
  const numbers = new Numbers(payload);
  numbers.at = 2;
  const shape = Array.from({ length: dimensions }, () => numbers.take());
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  demand(shape[dimensions - 1] === width && rows === height, "the labels have another shape");
  demand(numbers.at < payload.length, "the labels end after their shape");
  const method = payload[numbers.at++];
  if (method > 1) throw newer(`its labels are coded by method ${method}`);
  const values = new LABEL_TYPES[code](nColors);
  const bytes = values.BYTES_PER_ELEMENT;
  const planes = inflate(payload.subarray(numbers.at), nColors * bytes, true);
  let label = 0n;
  for (let i = 0; i < nColors; i++) {
    let number = 0n;
    for (let plane = 0; plane < bytes; plane++) {
      number = (number << 8n) | BigInt(planes[plane * nColors + i]);
    }
    label = BigInt.asUintN(8 * bytes, method ? label + number : number);
    values[i] = bytes === 8 ? label : Number(label);
  }
  demand(code || values.every((value) => value < 2), "a label of type bool is above 1");
  header.palette = Uint16Array.from({ length: nColors }, (_, i) =>
    Math.floor((65535 * i) / Math.max(1, nColors - 1)));
  return { type: TYPE_NAMES[code], shape, values };
}

/** Palette method 2: entries in ascending order, by a range coder. */
function unpackTree(coded, { nColors, channels, sampleBytes }, palette) {
  const order = [[0], [1, 0], [1, 0, 2], [3, 1, 0, 2]][channels - 1];
  const lead = channels > 2 ? 1 : 0;
  const leadPlace = order.indexOf(lead);
  const sizes = Array.from({ length: 6 }, () => [2, 4]);
  const guesses = Array.from({ length: 12 }, () => [2, 2]);
  const prefix = [0, 0, 0, 0]; // bits of each channel so far
  let range = 2 ** 32, code = 0, taken = 0, entry = 0;
  const byte = () => coded[taken++] ?? 0;
  const refill = () => {
    while (range < 2 ** 24) {
      range *= 256;
      code = code * 256 + byte();
    }
  };
  const choose = (counts) => {
    const border = Math.floor(range / (counts[0] + counts[1])) * counts[0];
    const outcome = code < border ? 0 : 1;
    if (outcome) code -= border;
    range = outcome ? range - border : border;
    refill();
    counts[outcome]++;
    if (counts[0] + counts[1] > 255) counts.forEach((count, i) => (counts[i] = (count + 1) >> 1));
    return outcome;
  };
  const equal = (count) => {
    const share = Math.floor(range / count);
    const value = Math.min(Math.floor(code / share), count - 1);
    code -= value * share;
    range = value === count - 1 ? range - value * share : share;
    refill();
    return value;
  };
  const node = (depth, n) => {
    if (depth === 8 * sampleBytes * channels) {
      for (; n; n--, entry++) {
        for (let i = 0; i < channels; i++) palette[entry * channels + i] = prefix[i];
      }
      return;
    }
    const place = depth % channels, level = (depth - place) / channels, channel = order[place];
    const own = prefix[channel];
    let guess = -1;
    if (place > leadPlace) {
      if (own === prefix[lead] >> 1) guess = prefix[lead] & 1;
    } else if (place < leadPlace) {
      if (!level) guess = 2;
      else if (!own) guess = 0;
      else if (own === (1 << level) - 1) guess = 1;
    }
    let zeros = n;
    if (n > 1 && choose(sizes[Math.min(n, 4) - 2 + (guess < 0 ? 3 : 0)])) zeros = equal(n - 1) + 1;
    else if (guess < 0 ? equal(2) : choose(guesses[channel * 3 + guess])) zeros = 0;
    prefix[channel] = own * 2;
    if (zeros) node(depth + 1, zeros);
    prefix[channel]++;
    if (zeros < n) node(depth + 1, n - zeros);
    prefix[channel] = own;
  };
  for (let i = 0; i < 4; i++) code = code * 256 + byte();
  node(0, nColors);
  demand(taken >= coded.length, "bytes follow the palette");
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function unpackText(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new KmqError("damaged", "an entry of text is not UTF-8");
  }
}

const NAMES = {
  i: "iccProfile", e: "exif", x: "xmp", d: "dpi", g: "gamma", w: "chromaticities", s: "srgb", c: "cicp",
};

/** Adds what an ancillary chunk holds to `metadata`; returns how many bytes that is. */
function addMetadata(metadata, letter, payload, left) {
  let content = payload;
  const isText = letter === "t";
  if (isText) {
    demand(payload[0] < 2, "an entry of text begins with a byte that is not 0 or 1");
    content = payload.subarray(1);
  }
  if (letter === "i" || letter === "x" || (isText && payload[0])) {
    content = inflate(content, left, false);
  } else {
    content = content.slice();
  }
  const scaled = (count, unit) => new Numbers(content).all(count).map((number) => number / unit);
  const name = NAMES[letter];
  if (isText) {
    const end = content.indexOf(0);
    demand(end > 0, "an entry of text has no keyword");
    const keyword = unpackText(content.subarray(0, end));
    demand(!metadata.text.has(keyword), `there is a second entry of text for ${keyword}`);
    metadata.text.set(keyword, unpackText(content.subarray(end + 1)));
  } else if (!name) {
    metadata.extra.push([letter, content]);
  } else {
    demand(metadata[name] === null, `there is a second chunk ${letter}`);
    let value = content;
    if (letter === "d") value = scaled(2, 10000);
    if (letter === "g") [value] = scaled(1, 100000);
    if (letter === "w") value = scaled(8, 100000);
    if (letter === "s") {
      demand(content.length === 1 && content[0] < 4, "the rendering intent is not 0 to 3");
      value = INTENTS[content[0]];
    }
    if (letter === "c") {
      demand(content.length === 4, "the code points of colour are not 4 bytes");
      value = [...content];
    }
    metadata[name] = value;
  }
  return content.length;
}

// --- chunks --------------------------------------------------------------------------------------

/**
 * Takes a file apart as its bytes come.
 *
 * `onFront(front)` is called once all but the pixels is known, then `onStrip({row, rows, payload})`
 * for each strip, top to bottom. The strips' own checksums are checked by `StripDecoder`.
 */
export class Parser {
  #limits; #onFront; #onStrip;
  #buffer = new Uint8Array(0); // bytes from #at up to #end are yet to be read
  #at = 0; #end = 0; #offset = 0;
  #stage = "signature";
  #front = null;
  #ancillary = 0; #left; #sizes = null; #row = 0;

  constructor({ limits, onFront = () => {}, onStrip = () => {} } = {}) {
    this.#limits = { ...LIMITS, ...limits };
    this.#left = this.#limits.metadataBytes;
    this.#onFront = onFront;
    this.#onStrip = onStrip;
  }

  /** Whether the whole file has come; what follows is not looked at. */
  get done() {
    return this.#stage === "done";
  }

  /** Takes the next bytes of the file, which must stay as they are. Throws KmqError. */
  push(source) {
    const bytes = asBytes(source); // a plain Uint8Array, even of a Buffer
    const kept = this.#end - this.#at;
    if (!kept) {
      [this.#buffer, this.#at, this.#end] = [bytes, 0, bytes.length];
    } else {
      if (this.#end + bytes.length > this.#buffer.length) {
        const grown = new Uint8Array(2 * (kept + bytes.length));
        grown.set(this.#buffer.subarray(this.#at, this.#end));
        [this.#buffer, this.#at, this.#end] = [grown, 0, kept];
      }
      this.#buffer.set(bytes, this.#end); // what has been given out stays as it is
      this.#end += bytes.length;
    }
    while (!this.done && this.#next());
  }

  /** Says that no bytes follow. Throws KmqError if some are missing. */
  end() {
    demand(this.done, `the file ends too early, after ${this.#offset + this.#end - this.#at} bytes`);
  }

  #next() {
    const bytes = this.#buffer.subarray(this.#at, this.#end);
    if (this.#stage === "signature") {
      for (let i = 0; i < Math.min(8, bytes.length); i++) {
        demand(bytes[i] === SIGNATURE[i], i < 4
          ? "not a .kmq file: it does not begin with the signature"
          : "the line ends of this .kmq file were changed on its way");
      }
      if (bytes.length < 8) return false;
      this.#stage = "H";
      return this.#pass(8);
    }
    if (!bytes.length) return false;
    const letter = String.fromCharCode(bytes[0]);
    demand(/[A-Za-z]/.test(letter), `byte ${bytes[0]} stands where a chunk begins`);
    let last = 1;
    while (last < 5 && bytes[last] > 127) last++;
    if (last >= bytes.length) return false;
    const numbers = new Numbers(bytes.subarray(0, last + 1));
    numbers.at = 1;
    const length = numbers.take();
    const isAncillary = letter > "Z" && this.#stage === "ancillary";
    if (isAncillary) {
      demand(this.#ancillary < MOST, `there are more than ${MOST} ancillary chunks`);
      demand(length <= this.#left,
        `metadata exceeds the limit of ${this.#limits.metadataBytes} bytes`, "too large");
    }
    const end = numbers.at + length;
    if (end + 4 > bytes.length) return false;
    demand(crc32(bytes.subarray(0, end)) === u32(bytes, end),
      `chunk ${letter} at ${this.#offset} is damaged: its CRC does not agree`);
    const payload = bytes.subarray(numbers.at, end);
    if (isAncillary) {
      this.#ancillary++;
      this.#left -= addMetadata(this.#front.metadata, letter, payload, this.#left);
    } else {
      this.#critical(letter, payload, end + 4);
    }
    return this.#pass(end + 4);
  }

  #pass(count) {
    this.#at += count;
    this.#offset += count;
    return true;
  }

  #critical(letter, payload, size) {
    if (this.#stage === "ancillary") this.#stage = this.#front.nStrips > 1 ? "T" : "S";
    if (letter <= "Z" && !"HPLTSE".includes(letter)) throw newer(`it has a critical chunk ${letter}`);
    demand(letter === this.#stage, `chunk ${letter} stands where ${this.#stage} belongs`);
    const front = this.#front;
    if (letter === "H") {
      this.#front = unpackHeader(payload, this.#limits);
      this.#stage = this.#front.pixelFormat === LABEL_MAP ? "L" : "P";
    } else if (letter === "P" || letter === "L") {
      if (letter === "P") front.palette = unpackPalette(payload, front);
      else front.labels = unpackLabels(payload, front);
      front.metadata = { text: new Map(), extra: [] };
      for (const name of Object.values(NAMES)) front.metadata[name] = null;
      this.#stage = "ancillary";
    } else if (letter === "T") {
      this.#sizes = new Numbers(payload).all(front.nStrips);
      demand(this.#sizes.every((bytes) => bytes > 10), "a strip has fewer than 11 bytes");
      this.#stage = "S";
    } else if (letter === "S") {
      const number = this.#row / front.stripHeight;
      demand(payload.length > 4, `a strip of ${payload.length} bytes has no checksum`);
      demand(!this.#sizes || this.#sizes[number] === size, `strip ${number} is not as long as T says`);
      if (!number) this.#onFront(front);
      const rows = Math.min(front.stripHeight, front.height - this.#row);
      this.#onStrip({ row: this.#row, rows, payload });
      this.#row += rows;
      if (this.#row === front.height) this.#stage = "E";
    } else {
      demand(!payload.length, "the payload of the last chunk is not empty");
      this.#stage = "done";
    }
  }
}

// --- strip method 0: deflate ---------------------------------------------------------------------

class Deflate {
  constructor({ nColors }) {
    this.bits = digits(nColors - 1);
  }

  fewest(pixels) {
    return Math.ceil(Math.ceil((pixels * this.bits) / 8) / 1032);
  }

  decode(coded, rows, width, out) {
    const { bits } = this;
    const n = rows * width;
    if (!bits) return noBytes(coded, out);
    const packed = inflate(coded, Math.ceil((n * bits) / 8), true);
    const unused = packed.length * 8 - n * bits;
    demand(!(packed[packed.length - 1] & ((1 << unused) - 1)), "a strip ends with bits that are not 0");
    if (bits === 8) {
      out.set(packed);
      return 0;
    }
    const mask = (1 << bits) - 1;
    for (let i = 0, at = 0, hold = 0, held = 0; i < n; i++) {
      while (held < bits) {
        hold = (hold << 8) | packed[at++];
        held += 8;
      }
      held -= bits;
      out[i] = (hold >>> held) & mask;
    }
    return 0;
  }
}

function noBytes(coded, out) {
  demand(!coded.length, "a strip of one colour has coded bytes");
  out.fill(0);
  return 0;
}

// --- strip method 1: rank ------------------------------------------------------------------------

const WEIGHTS = [0];
for (let code = 1; code < 32; code++) WEIGHTS.push(Math.round(16 * Math.sqrt(2 ** (code - 1))));

const FIRST = {
  values: [22, 5, 2, 2, 2, 2, 2, 2, 8], numberBits: 4, thresholdBits: [5, 2, 0, 0, 0, 0, 0, 0, 3],
  most: 255, scale: 14, differences: false, span: 8,
};
const SECOND = {
  values: [8, 8], numberBits: 1, thresholdBits: [3, 3], most: 32, scale: 12, differences: true, span: 32,
};

class Bits {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(count) {
    let value = 0;
    demand(this.at + count <= this.bytes.length * 8, "the tables of a strip end too early");
    for (; count; count--, this.at++) {
      value = value * 2 + ((this.bytes[this.at >> 3] >> (7 - (this.at & 7))) & 1);
    }
    return value;
  }
}

/** Reads the tables of an alphabet: the leaf of each context, and where each share begins. */
function rankTables(bits, alphabet, nSymbols) {
  const { values, numberBits, thresholdBits, most, scale, differences, span } = alphabet;
  const leaves = new Uint8Array(values.reduce((a, b) => a * b));
  let nLeaves = 0;
  const low = values.map(() => 0), high = values.map((count) => count - 1);
  const mark = (variable, context) => {
    if (variable === values.length) {
      leaves[context] = nLeaves;
      return;
    }
    for (let digit = low[variable]; digit <= high[variable]; digit++) {
      mark(variable + 1, context * values[variable] + digit);
    }
  };
  const node = () => {
    if (!bits.take(1)) {
      demand(nLeaves < most, "a strip has too many tables");
      mark(0, 0);
      nLeaves++;
      return;
    }
    const variable = bits.take(numberBits);
    demand(variable < values.length, "the tables of a strip are damaged");
    const threshold = bits.take(thresholdBits[variable]);
    const [from, to] = [low[variable], high[variable]];
    demand(from <= threshold && threshold < to, "the tables of a strip are damaged");
    high[variable] = threshold;
    node();
    [low[variable], high[variable]] = [threshold + 1, to];
    node();
    low[variable] = from;
  };
  node();

  const bounds = new Uint16Array(nLeaves * span).fill(65535); // beyond the last symbol's
  const sums = new Array(nSymbols).fill(0);
  for (let leaf = 0; leaf < nLeaves; leaf++) {
    let last = 31;
    const weights = sums.map((sum, symbol) => {
      if (!bits.take(1)) return 0;
      let r = 0, q = 0;
      while ((leaf + 2) * 2 ** r < 16 + sum) r++;
      while (bits.take(1)) demand(++q < 63, "the tables of a strip are damaged");
      const v = q * 2 ** r + bits.take(r);
      sums[symbol] += v;
      last = !differences ? 31 - v : v % 2 ? last + (v + 1) / 2 : last - v / 2;
      demand(last > 0 && last < 32, "the tables of a strip are damaged");
      return WEIGHTS[last];
    });
    const total = weights.reduce((a, b) => a + b);
    const spread = 2 ** scale - nSymbols;
    const shares = weights.map((weight) => 1 + (total ? Math.floor((weight * spread) / total) : 0));
    shares[weights.indexOf(Math.max(...weights))] += 2 ** scale - shares.reduce((a, b) => a + b);
    bounds[leaf * span] = 0;
    shares.forEach((share, i) => {
      bounds[leaf * span + i + 1] = bounds[leaf * span + i] + share;
    });
  }
  return { leaves, bounds };
}

class Rank {
  constructor({ nColors, channels, sampleBytes, palette }) {
    demand(nColors <= 256, `method 1 is for up to 256 colours; there are ${nColors}`);
    this.nColors = nColors;
    const samples = sampleBytes === 1 ? palette : palette.map((sample) => sample >> 8);
    this.distances = new Uint16Array(65536); // by entry << 8 | entry, as all that follows
    this.levels = new Uint8Array(65536);
    const levelOf = Uint8Array.from({ length: 766 }, (_, distance) =>
      [11, 20, 34, 59, 102, 178, 300].filter((bound) => bound <= distance).length);
    this.order = new Uint8Array(65536);
    this.places = new Uint8Array(65536);
    const keys = new Uint32Array(nColors);
    for (let a = 0; a < nColors; a++) {
      for (let b = 0; b < nColors; b++) {
        let sum = 0;
        for (let i = 0; i < channels; i++) {
          sum += Math.abs(samples[a * channels + i] - samples[b * channels + i]);
        }
        const distance = Math.floor((3 * sum) / channels);
        this.distances[(a << 8) | b] = distance;
        this.levels[(a << 8) | b] = levelOf[distance];
        keys[b] = (a === b ? 1 << 24 : distance << 8) | b;
      }
      keys.sort().forEach((key, place) => {
        this.order[(a << 8) | place] = key;
        this.places[(a << 8) | (key & 255)] = place;
      });
    }
    const most = nColors - 2; // the highest rank
    const bits = digits(most) - 2;
    this.nTokens = most < 0 ? 1 : 1 + (most < 16 ? most : 10 + 2 * bits + ((most >> bits) & 1));
  }

  fewest(pixels) {
    return 10 + 2 * Math.max(0, Math.ceil(pixels / 46400) - 2);
  }

  decode(coded, rows, width, out) {
    const bits = new Bits(coded);
    const first = rankTables(bits, FIRST, 6);
    const second = rankTables(bits, SECOND, this.nTokens);
    const words = coded.subarray((bits.at + 7) >> 3);
    demand(words.length >= 8 && words.length % 2 === 0, "the states of a strip end too early");
    demand(Math.min(u32(words, 0), u32(words, 4)) >= 65536, "a state of a strip is below 65536");
    const hashBits = clamp(digits(rows * width - 1), 8, 16);
    const { distances, levels, order, places } = this;
    const span = width + 5; // rows of the ring go from column -2 to 1 + width, and one more
    const t = laidOut({
      distances, levels, order, places, first: first.leaves, second: second.leaves,
      firstBounds: first.bounds, secondBounds: second.bounds, words,
      narrow: [Int32Array, 1 << hashBits, 0],
      wide: [Int32Array, 1 << hashBits, 0],
      pairs: [Int32Array, 65536, 0],
      ring: [Uint8Array, 3 * span, 0],
    }, [
      u32(words, 0), u32(words, 4), 8, 0, // a, b, at, missed
      hashBits, this.nColors, words.length, width,
    ]);
    for (let y = 0; y < rows; y++) {
      demand(kernels.rank(t, y), "the coded bytes of a strip are damaged");
      const start = (y % 3) * span + 2;
      out.set(t.ring.subarray(start, start + width), y * width);
    }
    const [a, b, at] = t.numbers;
    demand(at === words.length && a === 65536 && b === 65536,
      "the coded bytes of a strip are damaged");
    return 0;
  }
}

// --- strip method 2: mix -------------------------------------------------------------------------

const REACH = 2815;
const DENSE = [256, 256, 512, 1024, 4096]; // slots of a row of each geometric lane
const ROW_SPAN = 6144;

let curves;

/** Squash, stretch and rates (16 of hashed slots, then those of dense ones). */
function mixCurves() {
  if (curves) return curves;
  const squash = new Uint16Array(2 * REACH + 1), stretch = new Int16Array(4096);
  for (let j = 0, falling = 2 ** 26; j <= REACH; j++) {
    const chance = Math.floor((2 ** 42 + Math.floor((2 ** 26 + falling) / 2)) / (2 ** 26 + falling));
    squash[REACH - j] = 65536 - chance;
    squash[REACH + j] = chance;
    falling = Math.floor((falling * 16711808 + 2 ** 23) / 2 ** 24);
  }
  for (let i = 0, j = 0; i < 4096; i++) {
    while (j < 2 * REACH && squash[j] < 16 * i + 8) j++;
    stretch[i] = j - REACH;
  }
  stretch[2048] = 0;
  const rates = Int16Array.from({ length: 272 }, (_, i) => 163840 / (10 * (i < 16 ? i : i - 16) + 16));
  rates[15] = 512;
  return (curves = { squash, stretch, rates });
}

/** Halves the palette again and again: the decisions that name a colour. */
function mixTree({ nColors, channels, sampleBytes, palette }) {
  const shades = new Int32Array(nColors * 4);
  for (let color = 0; color < nColors; color++) {
    for (let i = 0; i < channels; i++) {
      const sample = palette[color * channels + i];
      shades[color * 4 + i] = sampleBytes === 1 ? sample << 4 : sample >> 4;
    }
  }
  const leaves = Int32Array.from({ length: nColors }, (_, color) => color);
  const ranks = new Int32Array(nColors), children = new Int32Array(2 * nColors);
  const depths = new Int32Array(nColors), planes = new Int32Array(8 * nColors);
  const keys = new Float64Array(nColors);
  const mean = (from, to, scale) => {
    const sums = [0, 0, 0, 0];
    for (let i = from; i < to; i++) for (let j = 0; j < 4; j++) sums[j] += shades[leaves[i] * 4 + j];
    return sums.map((sum) => Math.floor((scale * sum) / (to - from)));
  };
  const shorten = (vector) => {
    const largest = Math.max(...vector.map(Math.abs));
    let scale = 1;
    while (largest >= scale * 4096) scale *= 2;
    return vector.map((entry) => Math.floor(entry / scale));
  };
  const halve = (from, to, depth) => {
    if (to - from < 2) return nColors + from;
    const node = from + ((to - from + 1) >> 1);
    leaves.subarray(from, to).sort();
    const center = mean(from, to, 1);
    const matrix = [0, 0, 0, 0].map(() => [0, 0, 0, 0]);
    for (let at = from; at < to; at++) {
      const d = center.map((middle, i) => shades[leaves[at] * 4 + i] - middle);
      for (let i = 0; i < 4; i++) for (let j = 0; j < 4; j++) matrix[i][j] += d[i] * d[j];
    }
    let scale = 1;
    while (Math.max(...matrix.flat()) >= scale * 2 ** 20) scale *= 2;
    const spread = matrix.map((row) => row.map((entry) => Math.floor(entry / scale)));
    let widest = 0;
    for (let i = 1; i < 4; i++) if (spread[i][i] > spread[widest][widest]) widest = i;
    let axis = spread[widest];
    for (let round = 0; round < 8; round++) {
      axis = shorten(axis);
      axis = spread.map((row) => row.reduce((sum, entry, i) => sum + entry * axis[i], 0));
    }
    axis = shorten(axis);
    for (let at = from; at < to; at++) { // by what they measure, then by colour
      let key = 0;
      for (let i = 0; i < 4; i++) key += (shades[leaves[at] * 4 + i] - center[i]) * axis[i];
      keys[at] = key * 65536 + leaves[at];
    }
    keys.subarray(from, to).sort();
    for (let at = from; at < to; at++) leaves[at] = keys[at] - Math.floor(keys[at] / 65536) * 65536;
    const lower = mean(from, node, 16), upper = mean(node, to, 16);
    const across = upper.map((entry, i) => entry - lower[i]);
    const square = Math.max(1, across.reduce((sum, entry) => sum + entry * entry, 0));
    let constant = 0;
    across.forEach((entry, i) => {
      const slope = clamp(Math.floor((entry * 2 ** 21) / square), -16383, 16383);
      planes[node * 8 + i] = slope;
      constant += slope * (lower[i] + upper[i]);
    });
    planes[node * 8 + 4] = -Math.floor(constant / 32);
    depths[node] = depth;
    children[node * 2] = halve(from, node, depth + 1);
    children[node * 2 + 1] = halve(node, to, depth + 1);
    return node;
  };
  halve(0, nColors, 0);
  leaves.forEach((color, leaf) => (ranks[color] = leaf));
  return { shades, leaves, ranks, children, depths, planes };
}

/** Rows of the dense table: own ones for nodes of a depth below `own`, then one for each depth. */
function mixRows(depths, own) {
  const rows = new Int32Array(depths.length);
  let nRows = 1;
  for (let depth = 0; depth < own; depth++) {
    for (let node = 1; node < depths.length; node++) if (depths[node] === depth) rows[node] = nRows++;
  }
  let most = nRows;
  for (let node = 1; node < depths.length; node++) {
    if (depths[node] >= own) {
      rows[node] = nRows + depths[node] - own;
      most = Math.max(most, rows[node] + 1);
    }
  }
  return { rows, nRows: most };
}

class Mix {
  constructor(front) {
    this.nColors = front.nColors;
    if (this.nColors > 1) this.tree = mixTree(front);
    const bits = digits(this.nColors - 1);
    this.group = Math.ceil(bits / Math.ceil(bits / 4));
  }

  fewest(pixels) {
    return this.nColors === 1 ? 0 : Math.max(0, Math.floor(pixels / 16384) - 4);
  }

  /** Decodes a strip; returns the decisions beyond 64 for each coded byte. */
  decode(coded, rows, width, out, most) {
    const { tree, nColors, group } = this;
    if (nColors === 1) return noBytes(coded, out);
    const pixelBits = digits(rows * width - 1);
    const lineBits = clamp(pixelBits - 3, 4, 16);
    const { squash, stretch, rates } = mixCurves();
    const { rows: denseRows, nRows } = mixRows(tree.depths, clamp(pixelBits - 10, 1, 7));
    const n = coded.length;
    const span = width + 5; // rows of the ring go from column -3 to 1 + width
    const { shades, leaves, ranks, children, planes } = tree;
    const numbers = [
      0, 0, 0, 0, 0, -1, 0, 4, 0, // trail; low, high, code, position, decisions
      (nColors + 1) >> 1, nColors, nRows, group, lineBits, n, width,
    ];
    for (let i = 0; i < 4; i++) numbers[6] = (numbers[6] << 8) | coded[i];
    const t = laidOut({
      shades, leaves, ranks, children, planes, rows: denseRows, squash, stretch, rates, coded,
      lines: [Uint16Array, (7 << lineBits) << group, 0],
      dense: [Int32Array, nRows * ROW_SPAN + 768, 1 << 30],
      runs: [Int32Array, 3 << lineBits, 0],
      weights: [Int32Array, (nRows + 48) * 16, 262144],
      shares: [Int32Array, 12, 349525],
      refined: [Int32Array, nRows * 8 * 46, 0],
      ring: [Uint16Array, 4 * span, 0],
    }, numbers);
    for (let i = 0; i < t.refined.length; i++) {
      t.refined[i] = squash[Math.min((i % 46) << 7, 2 * REACH)];
    }
    const paid = 64 * n;
    for (let y = 0; y < rows; y++) {
      kernels.mix(t, y);
      demand(t.numbers[7] <= n + 4, "the coded bytes of a strip end too early");
      if (t.numbers[8] > paid + most) return t.numbers[8] - paid;
      const start = (y & 3) * span + 3;
      out.set(t.ring.subarray(start, start + width), y * width);
    }
    demand(n <= t.numbers[7], "coded bytes follow the last pixel of a strip");
    return Math.max(0, t.numbers[8] - paid);
  }
}

const hash = (key, value) => {
  const mixed = Math.imul(key + value, 648117);
  return mixed ^ (mixed >>> 15);
};

// --- strip method 3: label -----------------------------------------------------------------------

const LEFT = 3, RIGHT = 36; // columns beside those of the strip
const PATTERNS = [ // rows up, columns to the right
  [[0, -2], [2, 0], [1, 2]],
  [[1, -2], [2, -1], [2, 1], [0, -3]],
  [[2, 2], [1, -3], [3, 0], [1, 3], [2, -2], [3, 1]],
  [[3, 2], [3, -2], [1, 4], [2, 3], [2, -3]],
];

class Label {
  constructor({ nColors }) {
    this.nColors = nColors;
    Object.assign(this, mixCurves());
  }

  fewest(pixels) {
    return this.nColors === 1 ? 0 : Math.max(0, Math.floor(pixels / 65536) - 4);
  }

  decode(coded, height, width, out) {
    const { nColors, squash, stretch, rates } = this;
    if (nColors === 1) return noBytes(coded, out);
    const tableBits = clamp(digits(height * width - 1), 8, 16);
    const shift = 32 - tableBits;
    const indexBits = digits(nColors - 1);
    const span = width + LEFT + RIGHT;
    const rows = new Uint16Array(4 * span);
    const slots = new Uint32Array(5 << tableBits).fill(2 ** 31);
    const flatSlots = new Uint32Array(32).fill(2 ** 31);
    const plainSlots = new Uint32Array(4096).fill(2 ** 31);
    const weights = new Int32Array(384 * 6).fill(24576);
    for (let i = 5; i < weights.length; i += 6) weights[i] = 0;
    const keys = new Int32Array(5), places = new Int32Array(5), logits = new Int32Array(6);
    let low = 0, high = 2 ** 32 - 1, code = 0, at = 0, highest = 0;
    const nextByte = () => (at < coded.length ? coded[at++] : (at++, 0));
    for (let i = 0; i < 4; i++) code = code * 256 + nextByte();

    const decide = (chance) => {
      const border = low + Math.floor(((high - low) * chance) / 65536);
      const bit = code <= border;
      if (bit) high = border;
      else low = border + 1;
      while (((low ^ high) & 0xff000000) === 0) {
        low = (low << 8) >>> 0;
        high = ((high << 8) | 255) >>> 0;
        code = ((code << 8) | nextByte()) >>> 0;
      }
      return bit;
    };
    const learn = (table, place, bit, most) => {
      const chance = table[place] >>> 10, count = table[place] & 1023;
      const moved = chance + (((((bit ? 4194303 : 31) - chance) >> 5) * rates[16 + count]) >> 9);
      table[place] = moved * 1024 + Math.min(count + 1, most);
    };
    const known = (place) => {
      const count = slots[place] & 1023;
      return (count > 0) + (count > 3) + (count > 15);
    };

    for (let y = 0; y < height; y++) {
      const starts = [0, 3, 2, 1].map((i) => ((y + i) & 3) * span + LEFT);
      const [here, above, second] = starts;
      rows.fill(rows[above], here - LEFT, here);
      for (let x = 0; x < width; x++) {
        const w = rows[here + x - 1], n = rows[above + x];
        const ne = rows[above + x + 1], nw = rows[above + x - 1];
        let index = w, found = false;
        const flat = w === n && w === ne && w === nw && w === rows[above + x + 2] &&
          w === rows[above + x - 2] && w === rows[here + x - 2] && w === rows[second + x] &&
          w === rows[second + x + 1] && w === rows[second + x - 1];
        if (flat) {
          let d = 0;
          while (d < 31 && rows[above + x + d + 1] === n) d++;
          found = decide(clamp(flatSlots[d] >>> 16, 24, 65528));
          learn(flatSlots, d, found, 255);
        }
        if (!found) {
          const roles = (places) => {
            let number = 0;
            for (const [up, right] of places) {
              const v = rows[starts[up] + x + right];
              number = number * 5 + (v === w ? 0 : v === n ? 1 : v === ne ? 2 : v === nw ? 3 : 4);
            }
            return number;
          };
          keys[0] = 64 * roles(PATTERNS[0]) + (w === n) + 2 * (w === ne) + 4 * (w === nw) +
            8 * (n === ne) + 16 * (n === nw) + 32 * (ne === nw);
          for (let i = 1; i < 4; i++) keys[i] = hash(keys[i - 1], roles(PATTERNS[i]));
          keys[4] = hash(hash(hash(hash(hash(7, w), n), ne), nw), rows[above + x + 2]);
          for (let step = flat ? 1 : 0; step < 6 && !found; step++) {
            if (step === 0) index = w;
            else if (step === 1) [index, found] = [n, n === w];
            else if (step === 2) [index, found] = [ne, ne === w || ne === n];
            else if (step === 3) [index, found] = [nw, nw === w || nw === n || nw === ne];
            else if (step === 4) {
              let c = 1;
              do {
                c++;
                index = rows[above + x + c];
                found = index === w || index === n || index === ne || index === nw;
              } while (found && c < 31);
            } else [index, found] = [highest + 1, highest + 1 === nColors];
            if (found) { // the step is left out
              found = false;
              continue;
            }
            let total = 0;
            for (let i = 0; i < 5; i++) {
              const target = Math.imul(hash(keys[i], step), 742039);
              places[i] = (i << tableBits) + (target >>> shift);
              logits[i] = stretch[slots[places[i]] >>> 20];
            }
            logits[5] = 256;
            const vector =
              6 * (64 * step + 16 * known(places[1]) + 4 * known(places[2]) + known(places[3]));
            for (let i = 0; i < 6; i++) total += logits[i] * weights[vector + i];
            const mixture = clamp(Math.floor(total / 65536), -REACH, REACH);
            const chance = squash[mixture + REACH];
            found = decide(clamp(chance, 24, 65512));
            const error = (found ? 65535 : 0) - chance;
            for (let i = 0; i < 6; i++) {
              const weight = weights[vector + i] + ((logits[i] * error + 8192) >> 14);
              weights[vector + i] = clamp(weight, -2097152, 2097152);
            }
            for (let i = 0; i < 5; i++) learn(slots, places[i], found, 127);
          }
          if (!found) {
            let node = 1;
            for (let i = 0; i < indexBits; i++) {
              const hasSlot = node < 4096;
              const bit = decide(hasSlot ? clamp(plainSlots[node] >>> 16, 24, 65512) : 32768);
              if (hasSlot) learn(plainSlots, node, bit, 255);
              node = node * 2 + (bit ? 1 : 0);
            }
            index = node - 2 ** indexBits;
            demand(index < nColors, "a strip is damaged: an index is beyond the palette");
          }
          if (index > highest) highest = index;
        }
        demand(at <= coded.length + 4, "a strip is damaged: its coded bytes end too early");
        rows[here + x] = index;
        out[y * width + x] = index;
      }
      rows.fill(rows[here + width - 1], here + width, here + width + RIGHT);
    }
    demand(coded.length <= at, "a strip is damaged: bytes are left after its last pixel");
    return 0;
  }
}

// --- kernels: what takes long in "rank" and "mix" -------------------------------------------------

const BASE = 65536; // where the tables begin; the WebAssembly has its stack below

let memory, kernels;

/**
 * Puts tables side by side into the memory of the WebAssembly, or any; those given as [type, length,
 * value] are made. Where each is stands at BASE, in order, and `numbers` after that.
 */
function laidOut(tables, numbers) {
  const entries = Object.entries(tables);
  const aligned = (bytes) => (bytes + 15) & ~15;
  let size = aligned(4 * (entries.length + numbers.length));
  const places = entries.map(([, table]) => {
    const [type, length] = Array.isArray(table) ? table : [table.constructor, table.length];
    const at = BASE + size;
    size += aligned(length * type.BYTES_PER_ELEMENT);
    return [type, at, length];
  });
  demand(kernels, "this needs WebAssembly, or kmq-plain.js beside this script", "newer");
  const more = memory ? BASE + size - memory.buffer.byteLength : 0;
  if (more > 0) memory.grow(Math.ceil(more / 65536));
  const buffer = memory?.buffer ?? new ArrayBuffer(BASE + size);
  const head = new Int32Array(buffer, BASE, entries.length + numbers.length);
  const found = { numbers: head.subarray(entries.length) };
  found.numbers.set(numbers);
  entries.forEach(([name, table], i) => {
    const [type, at, length] = places[i];
    head[i] = at;
    found[name] = new type(buffer, at, length);
    if (Array.isArray(table)) found[name].fill(table[2]);
    else found[name].set(table);
  });
  return found;
}

/** The WebAssembly of rows.c, or where there is none, or none with SIMD, what does the same, slower. */
async function loadKernels() {
  try {
    const deflated = Uint8Array.from(atob(ROWS_WASM), (letter) => letter.charCodeAt(0));
    memory = new WebAssembly.Memory({ initial: 2 });
    const { instance } = await WebAssembly.instantiate(inflate(deflated, 65536), { env: { memory } });
    const { rank, mix } = instance.exports;
    kernels = { rank: (t, y) => rank(BASE, y), mix: (t, y) => mix(BASE, y) };
  } catch {
    memory = null;
    kernels = await import("./kmq-plain.js").catch(() => null);
  }
}

/** What build.py made of rows.c, deflated. */
const ROWS_WASM =
  "zVldbFzHdb4zd/feXe4uuStKK4lLiWdGpCSaokjJylq2ZJGzEpdckqL1Z8dJnERuJDe+pGNzRRIKrIosUKAN0BZ+SNE+NG1fihSoXMNF0vqhDRQgaYOiQFzUCFIgBfzQAkXRAC4MpC9ds9+ZuXe5WklBHxqgou49c87MnHNm5vzdWe/lW68Jz/NEKK7LzU2xKfuEf/MrG8FrN197vflV6Qnfl56XSos3hBBBKDaF2aJc2Cv91169jY7my19Z9kTPd6fk3xzLntoUb+7dDN6Um9k3/U1xN7V5aAv/PPOhXNZy2LbJOyqntc9gS+iUSUc6TcJsRsZfXTFiLVIBMcFf1SHjKiOn5TSJgmc8lc2LHAUTIlDZHPmUiVQPM7qhcgyuqzyDl1SBwYuql8E11YfpKSPmCh6mMGuxI6toSaGRtxxeMsSTbutdy6qfW/vMJ2OR2s3NFbWHwVlVZjCs9jIgtY/BoNrPIK8GGOxWFQZFNcggow4w8NRBBqf0kNlKRYpoyLwFqJh4VGsjI3WI23f0sAF9hNtv6MMGizxCnvmeF6mjRjB1TY+u6SewZWqM0WP6GB02W/fFSqTGidsFrOS4beXRmrCtHFqTttWD1gmeOKlPGkm71owE5Uk6Ce4xcsoIkzN5St0jce9ubWtLXqvoT0HiWqukqiRNMcJ/9RRab2E3ByN1Gs1/EZF6mo+uoZ7BYZ3B4+M5i+dZf1raP/JxDGfUORwkyOcoSwE9CyPA7ms/mhDeLPqzVKIOpIgRPsyETygmFqiPeqlv+W06+/bdWvE3vhlpf6HgWQl95N8y29vb4UU+cdXLNgPgT1PBZNZUAUPyNLxkueylfDTueU1VyFEehgEL6sUg7Ztt0YQB+dTHaN8tA9vNNApeLmeE8qmHrDaUPSM85p9VU3hY+rNGYhgGPMsDtD8hpJpydFZ8Sk1bfbAONZ2Ld8hgbg3PeTwX8MzgqeOZxTOHp4FnHk+IZ4GdwVlzYGXoDLZmQvRgBkAGg9PsICGDFKalWYM5Bp6adZNnrTMZCiE1hNQQUkNIDdUCK1eihOWMY3nBsaw5lufB5JmZmEXNTsGeGHtM9oQCtZAjCa/69t8eWcGxffCNPxCRzpi+DcrcqsrvSXRmbaf5wx/9zOvous9dae5qE6kROT4JXn8QB7ScPv746zLSi0xcBKcfM6d51/Wdez8V7S6aiucn+FwXnn0Qr8oPnFJf+9fvd3Cpdc260IU3urm8z1wybe7tJf/Acf/33/6hxyYOanpndoLPd+G1B3FE0KmuXXpIzt9LOsp+tMoOrjMcjxahT7qtecJ7rguvd+FTXXi2S5eLdL5rxGwXPtOFL3Th092rq0oPm3SSLlL/Bqtfld/iXTsF7RPCe0x4EoTFLmbJgL+SCADS/ImMEFrQ+JZtYBvwH4O3t5FwMlaQ+X03Jm2K647wliMcoAzzwgQm+4jSiBN5OFMOWeMgTDq1FrWQTPUSsPk29lzrXdH6IwFa2KZdAtZoY5fdiNafCbpEPFxfcai+SvhrFTLZnly+0NvnCemn0kHY0cUok7mbh6GrVfFMav2Xl6FdCDXDRsVGmWt0jlMfR9TpesXChRjOxPBCDM/HsB7D2RjOMTRFtEOq1SvYt4ylT6GdaZqUReaBIBpSWNfzTSPt4AZoYVM/39QNM1TXtQpiyhVa4nW8QJftmrF0xo1o/Skv3cjWPaE/7da+b/9AhRc4eODgkLpKS3TpEfQr9AJhPG9GsbSrnzdm957yXvWCG/8QfQl7UkcsqxVsUfJlVc/RBWhrKuoMlOvYdhZjRXza0ZNjYHaW1YsQ8cIjxn/G0R8a/1m75kKiensJn3P0ZGkJVC85eqJ6ewmfd/RkaQlUX6AhOsJRJEAy/yIRHYbbUgibjhDbOZwEazodIS0okNT5Vt7r+qeeg+XINXUdmzRvI/0eNQOIDVIv40lzQqdr2Lo6vRypKZBC62AfiYjrKc7mpGkKlPuJp8We6bNnIkX/7h+PA4GDwj52rTVpdI2zWSOybgjmGWQsKFGwg0WTczKctA6RGfKRd5F00vSEkZwKD2GxSMtjKgMlfCRrecZOlkzNoHDRmTh3z0M7xPHQhOy4NKqu5ahC9dixkXIHgaQ5c7eyXlEtEcO8umRhBsbHMAVjY+jBuJ6ueU9JToY+1orI8B8CkWiCZrn2wvFfoc+0vi1gmp8FYA+/Si/GrUswV9tiN7jcqiCYrCNgY+Vmer5i7tvMuI3l4tWosFJ0HZHsJyxgEgJQ0hGmSVPgadcx7jqmEc+aAjLVMefHPOcE5vSs6dDOEqaXZ93GwNuYlbEJF0hfA67MdmN1/7zT/Qtt3V9q6/65Hd2XOOKAXQPsGgm7Btg1LLuGi8AfsA7HyIm340OMD5PxIcaHdnxoxWfcrPd51nFo3rvGhtWzZrY+8la5O0SzFy2Oo+ZDgdbSz10WrMsMroLlh4LGyRifn7mKrqHCi9h6cYb42GjHe04MDbowZyudDDVohmvGJD2gl79OpmzJWUc5hAH1JZXhAipJMxhD2brK5OAHmSbDpzmPhMnaEBnNFur78MFk4opC504or12++kgkHOfZTaa4Ek4S1vueHbQffP0N88nUanRc2BzFkvpWjTfbIWMwkQH+px3v90VHLnyAJ0p7y7Z/nUu7mGvMiKwDSbMlq/I3+ZRky0tdgjHkUsUYu442xe030J6M21sCyDRH3dNqAYY2hPMNuCzhdGhCRH4Yl7psilZLuHvU7rAfH5aQ8tg4L8MA1WXoVGSd7ntOKcRF/D06ccZdj0mc8CXf/Cok4DVf4aCzh/gFQ2lUZQqqhnTYBlYd7ii11Klv+P9E33NVmaEvPqSkO/rzDyj51GM1nPwFKrhYlXn7wdZHu2mBaia/EunaUZlC+XKPzt27SzV2M0Ya9+7eYSxjsUVgteKv61+qgTG/nq+gDcb8ulr5JqS4b0X9JbMlrDhey7a3qi8u6xtUhr35a/R807yHr2b0pzfMf29vw3H0NPvAzRXUmmil9CsrkQnXIy6cBC9kHwbvs8v4t22f7BsLOfu2+xpNPkUxHB+X/kU9W9H4HEUnGr3uqxSfqf9nn6IcKZAUUbSA/wI2sRGvexnf6Vdi10EQ67BBusJnXOUY/ik++YarR/mwUAT83nbng6T0niV/2et84OJ/gfqzlfM8ZIRLLa5BLtmCodOmWZ1znerEhsfeoTM/T6VMWyViBeh/LW7xEeLmflHivrSsGrGMWiIjlcToxorZKkbI55SxMZXTG47tDjkwX3F4yuEpmFAYx+tblG6irnkoIWyl7CmrGhuRMEPcbrQrLid1KmpnDCsVUcps3V7VKNabSE/hskmv0z6bEyDfBfQVk4V5B+vmjVWIRwKejZo65OrpIWU6M0dH0gDn022J2fW2EP6iiqXQCvCtO6sRv6yYbdFgOY9ctEss09jjV5bp4oqNIPRKxNGXiTeX6YYlZuimTaIw8qZjkGO/ycU3TXW+D6JZTs1ZFeZlLq7yzT/8pbA17LW8n6MBlHs+SovZuAKEqD1zBXvPloLP7VlOKsMwl1zqELYngOOOzBdSbjtwiKm4dtjJ/FxgdpYL2J1NrkVRltjrkCEgQyhLimtcGXR8keoGy5vCvmYIH002IU891jIg9YxJLRZ4I7MsMo3nudbVGYXVhSrLC59BlQ57YXCBGxfoGl8fXkMFhA0z4D7bRGXsq3oeYYVXGelnKcUieNU9EyLQKLlTaANIB/DVRLmqvAGQr8rrAIWqfAmgtypfBOirymsYmXL3YCjFrOoclNOuOA/wPcItaT6UkbsdNiL3s13yxKZ4M745vu8tK2nvjJXvbl9TrmxI28tUFTBYRHXDF6Go0vgyVWXdBW2Pu5LNuUvYvLuutXfDKXc37Kk+BhdU0V2Hlhhc0rv4UrqfLzJfRz7aTSViREYO3zPuSV1+BtFhNwGI+EL5dSWs1e2yd3PIE8VltdcQg31Y4Z1I7SdM9SALQKgBBlJVGPhq0AkB+wPcWaID3HmQga+GqKwIj8Jxa/ieUv00gFxAlci8+/E//+dXV+ggo0P6UNP89U/+7nfuIKeRVkwra4rMOz/6x+9I0Ab1MNP2kGYbGuF0oweb5r++/s47tyG6THs34Jir6jCOrUz77M2JPsL7dBSmSJx+BFWaetR2PMEdY3bRWepnxoh43/+t7y6vUMm8+8N/+nNOrQfIiRkyP/3B177xK6CUWVDM+xhb+7gpruvjlEjXE2zE47ZZZuctm94IOzJuMk67MkpsyDyKaXSYxx61Y0sztvngoDFbvJeILIHGTGZdlQEwxITgmkNqFjTQ1JNWyyLQCi+zP6JhSxkBZdS2RmmERhcqoBRpZKGiTtiVl4mjFb4rR5zAMlUYlzv4MOO+xe0FSZkG6hU1YqMUBYjmKEqs/dkfEorwC1QmI9jCNEqPLAI436AQVeqVJmoZtCs0zO37nqUPcJts05L5cmaYBtFs0okma87XTLo0IaQeeU7z9XtgejdoZAXHpSZ5VyqY2wfzO9iM8yewybgZ2Z6Bjh5BKsEifKyNciFzEntSohInUiq2iq1TrV8Tr2phPb9k7lqn71+mEnMAZAVW+OcIUoGc3vmDK92NetNpT/gSwauignwqR8MAPu/lJNc6KJ8IabNeCFEzwYoDeB8vEuY3iVBKAddQTfBO8cd/ikvXclXyh8dAVR4DGK7KowCVqhwGoKokthA8/XhG7LWGxEc0LDpOCGUa5UuHEfzlcHonm7GpwBDmKxiW4uOkEi8Fp2Zv5vejwb+jlB0ZPltmToKKi0gtZY4GZeyCmFcCYJN/8xIunAd8IBhXL1jzKVGw2MVPMDeuNMrxRWTMjn9Dg4Rg3gbtEgf2EhYY8EQqYmAOuiKu95t0vSBtnB9w4tJmewi+Zn/Hsj9f0QhUw8ufj/AO7LvHvov2vd++T+J9AsbqjIw/iAIKYAIIVa2ifrJ1ymKThFbrZuvGqxb1KOkotjugNuteTmr2IiyERGJxwNImz/YSxDZSZBuYRAYIrP22HcnnH3wCleY1WRMJnIkUd0wkYBMpOhNJt00EkleNbII1V/obusy2hD0xeSov62CDt3cSyRvl1OatVTTzG8Q3a5O5nSPH0UQ4TakCnE/A+b88X+DTTfHplvk4MITXWeLqRqgyGxN2ew60pUIK9URiWypgvgGNcnAbdZErTyexEBhgwIN0iU2wbMIVfPAjWOkRniZgkgEnpiKCLAluIaswEJh4MorIpq2ARafj3ZxM9m2yY998t2+iy7VE177FTuvCr3Dhl2My2y4d5hllzEWwaCqRxGwXnqls4zY2PGxESadwv5xB6gYGbt1dddO6OeXoCAl7Q2ilj+9IP04TVvTEo0SPPyB6/PGixztET3SLPtYpeiyJR2NOB5bNgzukIuFsOIljj5c4ZrY+8RORbQY5esIKQ5mh7ckhgqF4qKByGEbZcBDefQgVgmaf1rTL1Wq7aRefm4yPGiVM3EK9VYVYxM6qPAuQrsrTAEFVnjKiD5En9z8=";

const ready = loadKernels();

// --- strips --------------------------------------------------------------------------------------

const METHODS = [Deflate, Rank, Mix, Label];

/** Decodes the strips of a file, with tables that are made once. */
export class StripDecoder {
  #coders = [];

  /** @param front what `Parser` gives `onFront` */
  constructor(front) {
    this.front = front;
  }

  #coder({ payload, rows }) {
    const method = payload[0];
    if (!METHODS[method]) throw newer(`a strip is coded by method ${method}`);
    const coder = (this.#coders[method] ??= new METHODS[method](this.front));
    const n = rows * this.front.width;
    demand(payload.length - 5 >= coder.fewest(n), `${payload.length - 5} coded bytes cannot hold ${n} pixels`);
    return coder;
  }

  /** Throws KmqError if the method is not known, or the bytes are too few: costs no memory. */
  admit(strip) {
    this.#coder(strip);
  }

  /**
   * Decodes `strip`, {rows, payload}, into `out` or a new array.
   * Returns {indices, work}: row by row, Uint8Array up to 256 colours and Uint16Array above, and the
   * decisions of method "mix" beyond 64 a byte. Throws KmqError if the strip is damaged or takes
   * more than `decisions` of them.
   */
  decode(strip, { decisions = LIMITS.decisions, out } = {}) {
    const coder = this.#coder(strip);
    const { nColors, width } = this.front;
    const { payload, rows } = strip;
    const indices = out ?? new (nColors > 256 ? Uint16Array : Uint8Array)(rows * width);
    const work = coder.decode(asBytes(payload).subarray(5), rows, width, indices, decisions);
    demand(work <= decisions, "the strips take more decisions than the limit", "too large");
    const stored = new Uint8Array(indices.buffer, indices.byteOffset, indices.byteLength);
    demand(crc32(stored) === u32(payload, 1), "a strip is damaged: its checksum does not agree");
    let highest = 0;
    for (const index of indices) if (index > highest) highest = index;
    demand(highest < nColors, `an index is above ${nColors - 1}`);
    return { indices, work };
  }
}

/**
 * Decodes a whole file at once.
 *
 * Returns {width, height, pixelFormat, channels, sampleBytes, maxValue, nColors, palette, indices,
 * metadata, …}; `palette` has `channels` samples for each entry. Of a label map, the palette is a shade of
 * grey for each label, and there is `labels`, {type, shape, values}: index i is label values[i].
 * Throws KmqError, never a wrong picture.
 */
export function decode(source, { limits } = {}) {
  const strips = [];
  let front;
  const parser = new Parser({
    limits,
    onFront: (found) => (front = found),
    onStrip: (strip) => strips.push(strip),
  });
  parser.push(source);
  parser.end();
  const decoder = new StripDecoder(front);
  for (const strip of strips) decoder.admit(strip);
  const { width, height, nColors } = front;
  const indices = new (nColors > 256 ? Uint16Array : Uint8Array)(width * height);
  let decisions = limits?.decisions ?? LIMITS.decisions;
  for (const strip of strips) {
    const out = indices.subarray(strip.row * width, (strip.row + strip.rows) * width);
    decisions -= decoder.decode(strip, { decisions, out }).work;
  }
  return { ...front, indices };
}

// --- streams and Workers -------------------------------------------------------------------------

const WORKER_NAME = "kmq strips";
const workers = []; // {worker, job}, shared by all files of a page
let canWork = typeof Worker === "function" && typeof document === "object";
const queue = [];
let nFiles = 0;

/** Decodes a strip in a Worker where there are some, else here. */
function decodeElsewhere(file, strip, decisions) {
  if (!canWork) return Promise.resolve().then(() => file.decoder.decode(strip, { decisions }));
  return new Promise((resolve, reject) => {
    queue.push({ file, strip, decisions, resolve, reject });
    work();
  });
}

function work() {
  while (queue.length) {
    if (queue[0].file.failed) {
      queue.shift().reject(new Error("another strip is damaged"));
      continue;
    }
    let free = workers.find((one) => !one.job);
    const most = Math.min(8, navigator.hardwareConcurrency || 1);
    if (canWork && !free && workers.length < most) free = newWorker();
    if (!canWork) {
      for (const { file, strip, decisions, resolve, reject } of queue.splice(0)) {
        decodeElsewhere(file, strip, decisions).then(resolve, reject);
      }
      return;
    }
    if (!free) return;
    const job = (free.job = queue.shift());
    const { file, strip, decisions } = job;
    if (free.id !== file.id) {
      free.worker.postMessage({ front: { ...file.decoder.front, metadata: null } });
    }
    free.id = file.id;
    // A copy: the payload is part of a longer buffer, all of which would be sent.
    free.worker.postMessage({ strip: { ...strip, payload: strip.payload.slice() }, decisions });
  }
}

function newWorker() {
  const one = { job: null, id: 0 };
  try {
    one.worker = new Worker(import.meta.url, { type: "module", name: WORKER_NAME });
  } catch {
    canWork = false; // the module comes from another origin
    return null;
  }
  one.worker.onerror = () => {
    canWork = false; // the page's policy allows none: what was sent is decoded here
    for (const { job } of workers) if (job) queue.push(job);
    workers.length = 0;
    work();
  };
  one.worker.onmessage = ({ data: { indices, work: taken, refused } }) => {
    if (!canWork) return;
    const { resolve, reject } = one.job;
    one.job = null;
    if (refused) reject(new KmqError(...refused));
    else resolve({ indices, work: taken });
    work();
  };
  workers.push(one);
  return one;
}

if (globalThis.name === WORKER_NAME && typeof document === "undefined") {
  let decoder;
  globalThis.onmessage = async ({ data: { front, strip, decisions } }) => {
    await ready;
    if (front) {
      decoder = new StripDecoder(front);
      return;
    }
    try {
      const result = decoder.decode(strip, { decisions });
      postMessage(result, [result.indices.buffer]);
    } catch (error) {
      postMessage({ refused: [error.kind ?? "too large", error.message] }); // no memory
    }
  };
}

/** The pieces of a Response, a ReadableStream, something iterable, or bytes. */
export async function* piecesOf(source) {
  const stream = source.body ?? source;
  if (stream.getReader) {
    const reader = stream.getReader();
    try {
      for (let piece; !(piece = await reader.read()).done; ) yield piece.value;
    } finally {
      reader.cancel().catch(() => {});
    }
  } else if (stream[Symbol.asyncIterator]) {
    yield* stream;
  } else {
    yield stream;
  }
}

/**
 * Decodes a file while its bytes come, its strips side by side in Workers where a page has them.
 *
 * `source` is a Response, a ReadableStream, an async iterable of bytes, or bytes. `onFront(front)` is
 * called when size, palette and metadata are known; `onRows({row, rows, indices})` for each strip
 * once it has been decoded and checked, in any order. Resolves to what `decode` returns; rejects
 * with a KmqError, or what the source fails with.
 */
export async function decodeStream(source, { limits, onFront, onRows, signal } = {}) {
  let decisions = limits?.decisions ?? LIMITS.decisions;
  let file, failure;
  const strips = [], jobs = [];
  const parser = new Parser({
    limits,
    onFront(front) {
      file = { id: ++nFiles, decoder: new StripDecoder(front) };
      onFront?.(front);
    },
    onStrip(strip) {
      file.decoder.admit(strip);
      strips.push(strip);
    },
  });
  const start = ({ row, rows, payload }) =>
    decodeElsewhere(file, { rows, payload }, decisions).then(({ indices, work: taken }) => {
      decisions -= taken;
      demand(decisions >= 0, "the strips take more decisions than the limit", "too large");
      if (failure) return null;
      signal?.throwIfAborted();
      onRows?.({ row, rows, indices });
      return { row, indices };
    });
  try {
    for await (const piece of piecesOf(source)) {
      signal?.throwIfAborted();
      parser.push(piece);
      for (const strip of strips.splice(0)) {
        const job = start(strip);
        job.catch((error) => (failure ??= error));
        jobs.push(job);
      }
      if (failure) throw failure;
      if (parser.done) break;
    }
    parser.end();
    const { front } = file.decoder;
    const { width, height, nColors } = front;
    const parts = await Promise.all(jobs);
    if (parts.length === 1) return { ...front, indices: parts[0].indices };
    const indices = new (nColors > 256 ? Uint16Array : Uint8Array)(width * height);
    for (const part of parts) indices.set(part.indices, part.row * width);
    return { ...front, indices };
  } catch (error) {
    failure ??= error;
    if (file) file.failed = true;
    throw error;
  }
}

/** Palette as the screen shows it: k numbers, the bytes of red, green, blue, alpha in memory. */
export function screenPalette({ nColors, channels, pixelFormat, maxValue, palette }) {
  const colors = new Uint8Array(nColors * 4).fill(255);
  for (let i = 0; i < nColors; i++) {
    const entry = [...palette.subarray(i * channels, (i + 1) * channels)].map((sample) =>
      maxValue === 65535 ? Math.floor((sample + 128) / 257) : maxValue === 1 ? sample * 255 : sample);
    if (pixelFormat === 9) {
      const light = 255 - entry[3];
      colors.set(entry.slice(0, 3).map((ink) => light - Math.round((ink * light) / 255)), i * 4);
    } else {
      if (channels < 3) entry.unshift(entry[0], entry[0]);
      colors.set(entry, i * 4);
    }
  }
  return new Uint32Array(colors.buffer);
}

/** Pixels of indices as `ImageData` takes them: 4 bytes each, red, green, blue, alpha. */
export function toRGBA(front, indices, colors = screenPalette(front)) {
  const pixels = new Uint32Array(indices.length);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colors[indices[i]];
  return new Uint8ClampedArray(pixels.buffer);
}

await ready; // last: a Worker loses what is sent before it listens
