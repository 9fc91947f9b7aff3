// Decodes the .kmq files of a folder with kmq.js and prints, as JSON, what each holds or why it was
// refused: node decode_files.mjs KMQ_JS FOLDER LIMITS PIECE [plain]. Files come in pieces of that many
// bytes; 0 stands for all at once. "plain" is without WebAssembly.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [module, folder, limits, piece, plain] = process.argv.slice(2);
if (plain) delete globalThis.WebAssembly;
const { KmqError, decode, decodeStream } = await import(pathToFileURL(module));

const base64 = (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("base64");

async function* pieces(bytes, size) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const found = {};
for (const name of fs.readdirSync(folder).filter((name) => name.endsWith(".kmq"))) {
  const bytes = fs.readFileSync(path.join(folder, name));
  const options = { limits: JSON.parse(limits) };
  try {
    const image =
      piece === "0" ? decode(bytes, options) : await decodeStream(pieces(bytes, Number(piece)), options);
    const { palette, indices, metadata, labels, ...rest } = image;
    const { text, extra, iccProfile, exif, xmp, ...tags } = metadata;
    found[name] = {
      ...rest,
      labels: labels && { ...labels, values: base64(labels.values) },
      palette: base64(palette),
      indices: base64(indices),
      bytes: [iccProfile, exif, xmp].map((content) => content && base64(content)),
      tags,
      text: [...text],
      extra: extra.map(([letter, content]) => [letter, base64(content)]),
    };
  } catch (error) {
    if (!(error instanceof KmqError)) throw new Error(`${name}: ${error.stack}`);
    found[name] = { refused: error.kind, message: error.message };
  }
}
console.log(JSON.stringify(found));
