/**
 * <kmq-image src="photo.kmq" alt="…">: an element that shows a .kmq file as <img> shows a picture.
 * See docs/browser.md. Importing this module defines the element.
 */
import { decodeStream, screenPalette, toRGBA } from "./kmq.min.js";
import { colorChunks, pngFile } from "./kmq-png.js";

export const LONGEST_SIDE = 32767; // of a canvas, in all browsers
export const SHORTEST_DELAY = 10; // milliseconds from frame to frame

/** Whether sequences may start to play. */
export const mayMove = () => !matchMedia("(prefers-reduced-motion: reduce)").matches;

const STYLE = `
  :host { display: inline-block; }
  :host([hidden]) { display: none; }
  canvas { display: block; width: 100%; height: 100%; object-fit: inherit; }
  :host([pixelated]) canvas { image-rendering: pixelated; }
  [hidden] { display: none; }
`;

// Canvas transforms by EXIF orientation, for a picture w wide and h high as it is stored.
const TURNS = {
  2: (w) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w) => [0, -1, 1, 0, 0, w],
};

/** Orientation that an EXIF block names, 1 if it names none that there is. */
export function orientation(exif) {
  if (!exif) return 1;
  const start = String.fromCharCode(...exif.subarray(0, 6)) === "Exif\0\0" ? 6 : 0;
  const view = new DataView(exif.buffer, exif.byteOffset + start, exif.byteLength - start);
  try {
    const little = view.getUint16(0) === 0x4949;
    const first = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(first, little); i++) {
      const at = first + 2 + 12 * i;
      if (view.getUint16(at, little) !== 0x112) continue;
      const value = view.getUint16(at + 8, little);
      return view.getUint16(at + 2, little) === 3 && value >= 1 && value <= 8 ? value : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // a block that ends early
  }
  return 1;
}

// --- colours -------------------------------------------------------------------------------------

/**
 * The palette as the canvas needs it, in sRGB. The browser itself converts it: it is handed over as
 * a small PNG with the file's profile or tags, without alpha, which a canvas would round.
 */
export async function convertedPalette(front) {
  const colors = screenPalette(front);
  const chunks = await colorChunks(front);
  if (!chunks.length) return colors;
  const isGrey = front.channels < 3;
  const width = Math.min(256, front.nColors), height = Math.ceil(front.nColors / width);
  const span = width * (isGrey ? 1 : 3) + 1;
  const rows = new Uint8Array(span * height);
  const bytes = new Uint8Array(colors.buffer);
  for (let i = 0; i < front.nColors; i++) {
    const at = Math.floor(i / width) * span + 1 + (i % width) * (isGrey ? 1 : 3);
    rows.set(bytes.subarray(4 * i, 4 * i + (isGrey ? 1 : 3)), at);
  }
  const png = await pngFile({ width, height, depth: 8, colorType: isGrey ? 0 : 2, chunks, rows });
  let bitmap;
  try {
    bitmap = await createImageBitmap(png);
  } catch {
    return colors; // a profile that the browser cannot use, which <img> passes over, too
  }
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const shown = context.getImageData(0, 0, width, height).data;
  for (let i = 0; i < front.nColors; i++) bytes.set(shown.subarray(4 * i, 4 * i + 3), 4 * i);
  return colors;
}

/**
 * What `decodeFrames` makes of the bytes that `read` returns, and `colors`, a Map from each palette to
 * the one that the canvas needs. Where the module is missing, `error` is thrown, that of the file.
 */
export async function readSequence(read, error) {
  const { decodeFrames } = await import("./kmq-frames.js").catch(() => {
    throw error;
  });
  const sequence = decodeFrames(await read());
  const colors = new Map();
  for (const { palette, nColors } of sequence.frames) {
    if (!colors.has(palette)) colors.set(palette, await convertedPalette({ ...sequence, palette, nColors }));
  }
  return { ...sequence, colors };
}

// --- the element ---------------------------------------------------------------------------------

const lazily = "IntersectionObserver" in globalThis
  ? new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) target.loadNow();
    }, { rootMargin: "800px" })
  : null;

export class KmqImage extends HTMLElement {
  static observedAttributes = ["src", "alt", "width", "height", "loading"];

  #internals = this.attachInternals();
  #canvas = document.createElement("canvas");
  #words = document.createElement("span"); // the alternative text, shown where the picture is not
  #sizes = document.createElement("style");
  #abort = null;
  #state = "empty"; // waiting, loading, complete or broken
  #outcome = resolvers();
  #src = "";
  #resume = null; // goes on playing a sequence

  constructor() {
    super();
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.#words.hidden = true;
    this.attachShadow({ mode: "open" }).append(style, this.#sizes, this.#canvas, this.#words);
    this.#canvas.width = this.#canvas.height = 0;
    this.#outcome.promise.catch(() => {});
  }

  connectedCallback() {
    this.#describe();
    if (this.#state === "waiting") this.#schedule();
    this.#resume?.();
  }

  disconnectedCallback() {
    lazily?.unobserve(this);
  }

  attributeChangedCallback(name, before, value) {
    if (name === "src") this.#start();
    else if (name === "alt") this.#describe();
    else if (name === "loading") {
      if (this.#state === "waiting") this.#schedule();
    } else this.#resize();
  }

  // As those of <img>.
  get src() { return this.hasAttribute("src") ? new URL(this.getAttribute("src"), document.baseURI).href : ""; }
  set src(value) { this.setAttribute("src", value); }
  get currentSrc() { return this.#src; }
  get alt() { return this.getAttribute("alt") ?? ""; }
  set alt(value) { this.setAttribute("alt", value); }
  get loading() { return this.getAttribute("loading") === "lazy" ? "lazy" : "eager"; }
  set loading(value) { this.setAttribute("loading", value); }
  get pixelated() { return this.hasAttribute("pixelated"); }
  set pixelated(value) { this.toggleAttribute("pixelated", value); }
  get width() { return this.isConnected ? Math.round(this.getBoundingClientRect().width) : this.naturalWidth; }
  set width(value) { this.setAttribute("width", value); }
  get height() { return this.isConnected ? Math.round(this.getBoundingClientRect().height) : this.naturalHeight; }
  set height(value) { this.setAttribute("height", value); }
  get naturalWidth() { return this.#canvas.width; }
  get naturalHeight() { return this.#canvas.height; }
  get complete() { return ["empty", "complete", "broken"].includes(this.#state); }

  /** Resolves when the picture is shown; rejects with an EncodingError if it cannot be. */
  decode() {
    if (this.#state === "empty") {
      return Promise.reject(new DOMException("there is no picture to decode", "EncodingError"));
    }
    if (this.#state === "waiting") this.loadNow();
    return this.#outcome.promise;
  }

  /** Loads a picture that is waiting to come near the viewport. */
  loadNow() {
    lazily?.unobserve(this);
    if (this.#state === "waiting") this.#load();
  }

  #start() {
    this.#abort?.abort();
    const failure = new DOMException("the picture was replaced by another", "EncodingError");
    this.#outcome.reject(failure);
    this.#outcome = resolvers();
    this.#outcome.promise.catch(() => {}); // nobody need ask
    this.#state = this.hasAttribute("src") ? "waiting" : "empty";
    this.#paint(0, 0);
    this.#show(true);
    if (this.#state === "waiting") this.#schedule();
  }

  #schedule() {
    if (this.loading === "lazy" && lazily) lazily.observe(this);
    else queueMicrotask(() => this.loadNow());
  }

  async #load() {
    this.#state = "loading";
    this.#src = this.src;
    const abort = (this.#abort = new AbortController());
    const { signal } = abort;
    const outcome = this.#outcome;
    try {
      await this.#loadPicture(signal).catch((error) => {
        if (error.kind !== "newer" || signal.aborted) throw error;
        return this.#loadFrames(signal, error);
      });
      if (signal.aborted) return;
      this.#state = "complete";
      outcome.resolve();
      this.dispatchEvent(new Event("load"));
    } catch (error) {
      if (signal.aborted) return;
      abort.abort();
      this.#state = "broken";
      this.#paint(0, 0);
      this.#show(false);
      outcome.reject(new DOMException(error.message, "EncodingError"));
      this.dispatchEvent(new ErrorEvent("error", { error, message: error.message }));
    }
  }

  async #fetch(signal) {
    const credentials = this.getAttribute("crossorigin") === "use-credentials" ? "include" : "same-origin";
    const response = await fetch(this.#src, { signal, credentials });
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    return response;
  }

  async #loadPicture(signal) {
    let front, colors;
    const drawn = [];
    await decodeStream(await this.#fetch(signal), {
      signal,
      onFront: (found) => {
        front = found;
        this.#prepare(front);
        colors = convertedPalette(front);
        colors.catch(() => {});
      },
      onRows: ({ row, rows, indices }) => {
        drawn.push(colors.then((palette) => {
          if (!signal.aborted) this.#draw(front, row, rows, toRGBA(front, indices, palette));
        }));
      },
    });
    await Promise.all(drawn);
  }

  /** Shows a sequence; where its decoder is missing, `error` says that the file is too new. */
  async #loadFrames(signal, error) {
    const read = async () => (await this.#fetch(signal)).arrayBuffer();
    const sequence = await readSequence(read, error);
    const { frames, plays, width, height, colors } = sequence;
    if (signal.aborted) return;
    this.#prepare(sequence);
    let number = 0, played = 0;
    const show = () => {
      this.#resume = null;
      if (signal.aborted) return;
      const { indices, palette, nColors, delay } = frames[number];
      const front = { ...sequence, palette, nColors };
      this.#canvas.getContext("2d").clearRect(0, 0, width, height);
      this.#draw(front, 0, height, toRGBA(front, indices, colors.get(palette)));
      number = (number + 1) % frames.length;
      if (!number && ++played === plays) return;
      if (frames.length > 1 && mayMove()) {
        const wait = Math.max(SHORTEST_DELAY, delay);
        setTimeout(() => (this.isConnected ? show() : (this.#resume = show)), wait);
      }
    };
    show();
  }

  #prepare(front) {
    if (Math.max(front.width, front.height) > LONGEST_SIDE) {
      throw new Error(`the picture is ${front.width} x ${front.height}; a canvas has ${LONGEST_SIDE} a side`);
    }
    const turn = orientation(front.metadata.exif);
    const { width, height } = front;
    if (turn > 4) this.#paint(height, width);
    else this.#paint(width, height);
    if (turn > 1) this.#canvas.getContext("2d").setTransform(...TURNS[turn](width, height));
  }

  #draw(front, row, rows, pixels) {
    const context = this.#canvas.getContext("2d");
    const strip = new ImageData(pixels, front.width, rows);
    if (context.getTransform().isIdentity) {
      context.putImageData(strip, 0, row);
      return;
    }
    const part = Object.assign(document.createElement("canvas"), { width: front.width, height: rows });
    part.getContext("2d").putImageData(strip, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(part, 0, row);
  }

  #paint(width, height) {
    Object.assign(this.#canvas, { width, height });
    this.#resize();
  }

  #resize() {
    const [width, height] = ["width", "height"].map((name) => {
      const value = this.getAttribute(name)?.trim().match(/^\d+%?/)?.[0];
      return value ? `${name}: ${value.endsWith("%") ? value : `${value}px`};` : "";
    });
    const { naturalWidth, naturalHeight } = this;
    const ratio = naturalWidth ? `aspect-ratio: ${naturalWidth} / ${naturalHeight};` : "";
    this.#sizes.textContent = `:host { ${width} ${height} ${ratio} }`;
  }

  #describe() {
    this.#words.textContent = this.alt;
    const isNothing = this.getAttribute("alt") === ""; // an ornament
    this.#internals.role = isNothing ? "presentation" : "img";
    this.#internals.ariaLabel = this.alt || null;
  }

  #show(picture) {
    this.#canvas.hidden = !picture;
    this.#words.hidden = picture;
  }
}

function resolvers() {
  const found = {};
  found.promise = new Promise((resolve, reject) => Object.assign(found, { resolve, reject }));
  return found;
}

if (!customElements.get("kmq-image")) customElements.define("kmq-image", KmqImage);
