// Decodes the sequences of a folder with kmq-frames.js and prints, as JSON, what each holds or why it
// was refused: node decode_frames.mjs KMQ_FRAMES_JS FOLDER LIMITS.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [module, folder, limits] = process.argv.slice(2);
const { decodeFrames } = await import(pathToFileURL(module));

const base64 = (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("base64");

const found = {};
for (const name of fs.readdirSync(folder).filter((name) => name.endsWith(".kmq"))) {
  try {
    const bytes = fs.readFileSync(path.join(folder, name));
    const { frames, plays, width, height, pixelFormat, metadata } = decodeFrames(bytes, {
      limits: JSON.parse(limits),
    });
    found[name] = {
      size: [width, height, pixelFormat, plays],
      profile: metadata.iccProfile && base64(metadata.iccProfile),
      frames: frames.map(({ delay, isKey, nColors, palette, indices }) =>
        [delay, isKey, nColors, base64(palette), base64(indices)]),
    };
  } catch (error) {
    if (error.name !== "KmqError") throw new Error(`${name}: ${error.stack}`);
    found[name] = { refused: error.kind, message: error.message };
  }
}
console.log(JSON.stringify(found));
