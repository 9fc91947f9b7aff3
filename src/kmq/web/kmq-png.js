/** PNG files of .kmq images, made in a browser: the same samples and colours. See docs/browser.md. */
import { crc32, screenPalette } from "./kmq.min.js";

const SIGNATURE = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
const CMYK = 9; // of .kmq's pixel formats
const INDEXED = 3; // of PNG's colour types
const SAMPLED = [0, 4, 2, 6]; // PNG's colour types of 1 to 4 channels

async function zlib(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function chunk(name, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes.subarray(4, content.length + 8)));
  return bytes;
}

function bigEndian(numbers) {
  const view = new DataView(new ArrayBuffer(4 * numbers.length));
  numbers.forEach((number, i) => view.setUint32(4 * i, number));
  return new Uint8Array(view.buffer);
}

/** The chunks of a PNG that say what the colours of an image mean; none where they are sRGB. */
export async function colorChunks({ metadata, channels, pixelFormat }) {
  const { cicp, iccProfile, srgb, gamma, chromaticities } = metadata;
  const chunks = [];
  if (cicp) chunks.push(chunk("cICP", cicp));
  const space = pixelFormat === CMYK ? "CMYK" : channels < 3 ? "GRAY" : "RGB ";
  const isOurs = iccProfile && String.fromCharCode(...iccProfile.subarray(16, 20)) === space;
  if (isOurs && pixelFormat !== CMYK) {
    const named = [...new TextEncoder().encode("profile"), 0, 0];
    chunks.push(chunk("iCCP", new Uint8Array([...named, ...(await zlib(iccProfile))])));
  } else if (!srgb && !iccProfile) {
    if (gamma) chunks.push(chunk("gAMA", bigEndian([Math.round(gamma * 1e5)])));
    if (chromaticities) {
      chunks.push(chunk("cHRM", bigEndian(chromaticities.map((place) => Math.round(place * 1e5)))));
    }
  }
  return chunks;
}

/**
 * A PNG file as a Blob.
 *
 * `rows` holds the scan lines, each after a byte for its filter; `chunks` come before them.
 */
export async function pngFile({ width, height, depth, colorType, chunks, rows }) {
  const header = [...bigEndian([width, height]), depth, colorType, 0, 0, 0];
  return new Blob([
    SIGNATURE, chunk("IHDR", header), ...chunks, chunk("IDAT", await zlib(rows)), chunk("IEND", []),
  ], { type: "image/png" });
}

/** A PNG file, as a Blob, of what `decode` of kmq.js returns: palette and all bits; CMYK as RGB. */
export async function toPNG(image) {
  const chunks = await colorChunks(image);
  const { width, height, channels, nColors, maxValue, pixelFormat } = image;
  if (pixelFormat === CMYK || (channels > 2 && maxValue === 255 && nColors <= 256)) {
    const colors = new Uint8Array(screenPalette(image).buffer);
    if (nColors <= 256) return indexed(image, colors, chunks);
    const samples = colors.filter((_, i) => i % 4 < 3);
    return sampled({ ...image, channels: 3, maxValue: 255, palette: samples }, chunks);
  }
  if (maxValue > 1) return sampled(image, chunks);
  const entries = image.palette; // 0 or 1
  const rows = packed(width, height, 1, (i) => entries[image.indices[i]]);
  return pngFile({ width, height, depth: 1, colorType: SAMPLED[0], chunks, rows });
}

function indexed({ width, height, nColors, indices }, colors, chunks) {
  const depth = [1, 2, 4, 8].find((bits) => nColors <= 2 ** bits);
  const alphas = Array.from({ length: nColors }, (_, i) => colors[4 * i + 3]);
  const nTranslucent = alphas.findLastIndex((alpha) => alpha < 255) + 1;
  const all = [...chunks, chunk("PLTE", colors.slice(0, 4 * nColors).filter((_, i) => i % 4 < 3))];
  if (nTranslucent) all.push(chunk("tRNS", alphas.slice(0, nTranslucent)));
  const rows = packed(width, height, depth, (i) => indices[i]);
  return pngFile({ width, height, depth, colorType: INDEXED, chunks: all, rows });
}

/** Scan lines of `depth` bits a pixel, the first pixel in the highest bits. */
function packed(width, height, depth, valueAt) {
  const span = 1 + Math.ceil((width * depth) / 8);
  const rows = new Uint8Array(span * height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const bit = x * depth;
      rows[y * span + 1 + (bit >> 3)] |= valueAt(i) << (8 - depth - (bit & 7));
    }
  }
  return rows;
}

function sampled({ width, height, channels, maxValue, palette, indices }, chunks) {
  const sampleBytes = maxValue > 255 ? 2 : 1;
  const rows = new Uint8Array((1 + width * channels * sampleBytes) * height);
  for (let y = 0, i = 0, at = 0; y < height; y++) {
    at++; // filter 0
    for (let x = 0; x < width; x++, i++) {
      for (let channel = 0; channel < channels; channel++) {
        const sample = palette[indices[i] * channels + channel];
        if (sampleBytes > 1) rows[at++] = sample >> 8;
        rows[at++] = sample & 255;
      }
    }
  }
  const depth = 8 * sampleBytes;
  return pngFile({ width, height, depth, colorType: SAMPLED[channels - 1], chunks, rows });
}
