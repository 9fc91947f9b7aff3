/**
 * <kmq-viewer>: shows a .kmq file down to its single pixels, with its palette. Sequences are played.
 * See docs/browser.md. Importing this module defines the element. The wheel zooms if the picture has
 * the focus, with Ctrl, or always with the attribute "wheel".
 */
import { decodeStream, piecesOf, toRGBA } from "./kmq.min.js";
import {
  LONGEST_SIDE, SHORTEST_DELAY, convertedPalette, mayMove, orientation, readSequence,
} from "./kmq-image.js";
import { toPNG } from "./kmq-png.js";

const MOST_PIXELS = 2 ** 28; // of a canvas, in most browsers
const CLOSEST = 64; // pixels of the screen for one of the picture
const STEP = 2 ** 0.5; // of zooming
const GRID_FROM = 6; // the pixel pointed at is outlined from this scale on
const LISTED = 1024; // entries of the palette

const STYLE = `
  :host { display: grid; gap: .6rem; min-height: 18rem; grid-template-rows: auto minmax(0, 1fr);
    --ink: #1c2024; --quiet: #5d666f; --card: #fff; --line: #dcdedd; --light: #fff; --dark: #d9dcde;
    --edge: #0003; --accent: #b3261e; color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) { :host { --ink: #e8eaec; --quiet: #9aa4ad; --card: #1e2226;
    --line: #31373c; --light: #4a5056; --dark: #3a4046; --edge: #fff4; --accent: #ff9b8f; } }
  :host([hidden]), [hidden] { display: none !important; }
  .bar { display: flex; flex-wrap: wrap; gap: .3rem .6rem; align-items: center; }
  .bar > span { flex: 1 1 16rem; min-width: 0; overflow-wrap: anywhere; }
  small { color: var(--quiet); font-size: .87rem; }
  button, select { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
    border-radius: .35rem; padding: .25rem .6rem; min-width: 2.2rem; min-height: 2.2rem; cursor: pointer; }
  button:hover, select:hover { border-color: var(--quiet); }
  :focus-visible { outline: 3px solid #1a73e8; outline-offset: 1px; }
  .room { display: grid; gap: .8rem; grid-template-columns: minmax(0, 1fr) 17rem; min-height: 0; }
  .left { display: flex; flex-direction: column; gap: .4rem; min-width: 0; min-height: 0; }
  .stage { position: relative; flex: 1; min-height: 14rem; overflow: hidden; border: 1px solid var(--line);
    border-radius: .35rem; touch-action: none; cursor: crosshair; }
  .stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
  .side { display: flex; flex-direction: column; gap: .4rem; min-height: 0; }
  .side .bar { justify-content: space-between; }
  ol { flex: 1; margin: 0; padding: 3px; list-style: none; overflow-y: auto; min-height: 6rem; }
  li button { display: grid; grid-template-columns: 1.6rem 1fr auto; gap: .5rem; align-items: center;
    width: 100%; padding: .1rem .4rem; min-height: 1.9rem; border-color: transparent;
    background: none; text-align: left; font-size: .87rem; font-variant-numeric: tabular-nums; }
  li button[aria-pressed="true"] { border-color: var(--accent); }
  li i { height: 1.3rem; border: 1px solid var(--edge); border-radius: .2rem; }
  li code { overflow-wrap: anywhere; }
  output { display: flex; gap: .5rem; align-items: center; min-height: 1.6rem; font-variant-numeric: tabular-nums; }
  output i { flex: none; width: 1.3rem; height: 1.3rem; border: 1px solid var(--edge); border-radius: .2rem; }
  .player input { flex: 1 1 8rem; min-width: 0; accent-color: var(--accent); cursor: pointer; }
  .player [data-do="play"] { min-width: 4.6rem; }
  .player small { min-width: 9.5rem; font-variant-numeric: tabular-nums; }
  [role="alert"] { margin: 0; padding: .8rem 1rem; border: 1px solid var(--accent); border-radius: .35rem; }
  @media (max-width: 44rem) {
    .room { grid-template-columns: minmax(0, 1fr); grid-template-rows: minmax(45vh, 1fr) auto; }
    ol { max-height: 16rem; }
  }
`;

const BODY = `
  <div class="bar">
    <span><strong></strong> <small></small></span>
    <div class="bar">
      <button data-do="closer" title="Closer (+)" aria-label="Closer">+</button>
      <button data-do="farther" title="Farther (−)" aria-label="Farther">−</button>
      <button data-do="single" title="A pixel of the screen for each pixel (1)">1 : 1</button>
      <button data-do="whole" title="The whole picture (0)">Fit</button>
      <button data-do="save" title="A PNG of the same pixels">PNG</button>
    </div>
  </div>
  <p role="alert" hidden></p>
  <div class="room">
    <div class="left">
      <div class="stage" tabindex="0" role="application">
        <canvas></canvas>
      </div>
      <div class="player bar" role="group" aria-label="Frames">
        <button data-do="previous" title="The frame before (,)" aria-label="Previous frame">‹</button>
        <button data-do="play" title="Play or pause (space bar)">Play</button>
        <button data-do="next" title="The frame after (.)" aria-label="Next frame">›</button>
        <input type="range" min="1" aria-label="Frame">
        <small></small>
      </div>
      <output aria-live="polite"></output>
    </div>
    <div class="side">
      <div class="bar"><strong>Palette</strong>
        <select aria-label="Order of the palette">
          <option value="share">by share</option><option value="place">by index</option>
        </select>
      </div>
      <ol aria-label="Palette: choose a colour to see where it is"></ol>
      <small class="more"></small>
    </div>
  </div>
`;

const STAGE_LABEL = "Picture. Arrow keys move from pixel to pixel, plus and minus zoom, 0 shows all.";
const FRAMES_LABEL = " The space bar plays and pauses, comma and period go from frame to frame.";

// How to find the stored column and row of a pixel of the upright picture, by EXIF orientation;
// w and h are those of the stored one.
const STORED = {
  1: (x, y) => [x, y],
  2: (x, y, w) => [w - 1 - x, y],
  3: (x, y, w, h) => [w - 1 - x, h - 1 - y],
  4: (x, y, w, h) => [x, h - 1 - y],
  5: (x, y) => [y, x],
  6: (x, y, w, h) => [y, h - 1 - x],
  7: (x, y, w, h) => [w - 1 - y, h - 1 - x],
  8: (x, y, w) => [w - 1 - y, x],
};

/** The image as it is looked at: turned as its EXIF block says. */
function upright(image) {
  const { width: w, height: h, indices, metadata } = image;
  const turn = orientation(metadata.exif);
  if (turn === 1) return image;
  const [width, height] = turn > 4 ? [h, w] : [w, h];
  const turned = new indices.constructor(indices.length);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const [column, row] = STORED[turn](x, y, w, h);
      turned[at] = indices[row * w + column];
    }
  }
  return { ...image, width, height, indices: turned };
}

/** The frames of a file, and of each palette among them how the screen shows it; a picture is one frame. */
async function readFrames(source) {
  const pieces = piecesOf(source), kept = [];
  const passed = async function* () {
    for (let piece; !(piece = await pieces.next()).done; yield piece.value) kept.push(piece.value);
  };
  try {
    const image = await decodeStream(passed(), { onFront: refuseTooLarge });
    const colors = new Map([[image.palette, await convertedPalette(image)]]);
    return { ...image, plays: 0, frames: [{ ...image, delay: 0 }], colors };
  } catch (error) {
    if (error.kind !== "newer") throw error;
    const read = async () => {
      for await (const piece of pieces) kept.push(piece);
      await new Promise((go) => requestAnimationFrame(() => setTimeout(go))); // "reading …" is shown
      return new Blob(kept).arrayBuffer();
    };
    const sequence = await readSequence(read, error);
    refuseTooLarge(sequence);
    return sequence;
  } finally {
    pieces.return().catch(() => {}); // it may still load
  }
}

/** An entry with all its bits: #rrggbb, with alpha #rrggbbaa, of 16-bit samples twice as long. */
export function code({ palette, channels, maxValue, pixelFormat }, entry) {
  let samples = [...palette.subarray(entry * channels, (entry + 1) * channels)];
  if (maxValue === 1) samples = [samples[0] * 255];
  const written = samples.map((sample) => sample.toString(16).padStart(maxValue > 255 ? 4 : 2, "0"));
  if (pixelFormat === 9) return `cmyk ${written.join(" ")}`;
  if (channels < 3) written.unshift(written[0], written[0]);
  return `#${written.join("")}`;
}

const grouped = (number) => number.toLocaleString("en");

function share(part, whole) {
  const percent = (100 * part) / whole;
  if (!part) return "0 %";
  return percent < 0.1 ? "< 0.1 %" : `${percent.toFixed(1)} %`;
}

export class KmqViewer extends HTMLElement {
  #sequence = null; // a picture is one of one frame
  #number = 0; // of the frame that is shown
  #timer = 0; // of the next frame, while it plays
  #image = null; // the frame, upright
  #colors = null; // as the screen shows them, Uint32Array
  #counts = [];
  #picture = document.createElement("canvas"); // one of its pixels for each of the image
  #others = document.createElement("canvas"); // hides what does not show the chosen colour
  #chosen = -1;
  #scale = 1; // CSS pixels for one of the image
  #left = 0; // of the image, in CSS pixels from the stage's corner
  #top = 0;
  #place = null; // column and row pointed at
  #isFitted = true;
  #turn = 0; // counts what was asked to be shown: the last wins
  #waiting = false;
  #fingers = new Map();

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>${STYLE}</style>${BODY}`;
    this.#hear(root);
    new ResizeObserver(() => (this.#isFitted ? this.#fit() : this.#paintSoon())).observe(this.#stage);
    this.#setUsable(false);
  }

  disconnectedCallback() {
    this.#pause();
  }

  /** The upright image that is shown, of a sequence the frame, or null. */
  get image() { return this.#image; }

  /**
   * Shows a file: its bytes, or what `decodeStream` of kmq.js takes. Resolves when it is shown.
   * One that breaks a rule is told of in its place, and the promise is rejected.
   */
  async show(source, name = "") {
    const turn = ++this.#turn;
    this.#setUsable(false);
    this.#tell("");
    this.#$("strong").textContent = name;
    this.#$("small").textContent = "reading …";
    try {
      const sequence = await readFrames(source);
      if (turn !== this.#turn) return;
      this.#take(sequence, source.byteLength);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#$("small").textContent = "";
      this.#tell(`${name || "The file"} cannot be shown: ${error.message}`);
      throw error;
    }
  }

  // --- what is shown -----------------------------------------------------------------------------

  get #stage() { return this.#$(".stage"); }
  #$(selector) { return this.shadowRoot.querySelector(selector); }

  #setUsable(usable) {
    this.#$(".room").hidden = !usable;
    for (const button of this.shadowRoot.querySelectorAll("[data-do]")) button.disabled = !usable;
    if (usable) return;
    this.#pause();
    this.#image = null;
  }

  #tell(fault) {
    const alert = this.#$("[role=alert]");
    alert.hidden = !fault;
    alert.textContent = fault;
  }

  #take(sequence, size) {
    this.#sequence = { ...sequence, size };
    const moves = sequence.frames.length > 1;
    this.#$(".player").hidden = !moves;
    this.#$(".player input").max = sequence.frames.length;
    this.#stage.setAttribute("aria-label", STAGE_LABEL + (moves ? FRAMES_LABEL : ""));
    this.#place = null;
    this.#setUsable(true);
    this.#showFrame(0);
    this.#fit();
    if (moves && mayMove()) this.#play();
  }

  #showFrame(number) {
    const { frames, colors, size, ...front } = this.#sequence;
    const frame = frames[number], hasOtherPalette = frame.palette !== this.#image?.palette;
    this.#number = number;
    const image = (this.#image = upright({ ...front, ...frame }));
    this.#colors = colors.get(frame.palette);
    this.#counts = new Uint32Array(image.nColors);
    for (const index of image.indices) this.#counts[index]++;
    const { width, height } = image;
    Object.assign(this.#picture, { width, height });
    const pixels = new ImageData(toRGBA(image, image.indices, this.#colors), width, height);
    this.#picture.getContext("2d").putImageData(pixels, 0, 0);
    const facts = [`${grouped(width)} × ${grouped(height)} pixels`, `${grouped(image.nColors)} colours`];
    if (frames.length > 1) facts.unshift(`${grouped(frames.length)} frames`);
    if (size) {
      const bits = ((8 * size) / (width * height * frames.length)).toFixed(3);
      facts.push(`${grouped(size)} bytes`, `${bits} bits per pixel`);
    }
    this.#$("small").textContent = facts.join(", ");
    if (hasOtherPalette) {
      this.#chosen = -1;
      this.#$("ol").replaceChildren(); // so nothing is pressed
    } else if (this.#chosen >= 0) this.#cover();
    if (hasOtherPalette || !this.#timer) this.#list();
    else this.#tellShares(); // while it plays, colours keep their places
    this.#tellFrame();
    this.#say();
    this.#paintSoon();
  }

  #css(entry) {
    const [red, green, blue, alpha] = new Uint8Array(this.#colors.buffer, 4 * entry, 4);
    return `rgb(${red} ${green} ${blue} / ${alpha / 255})`;
  }

  #list() {
    const order = Array.from({ length: this.#image.nColors }, (_, entry) => entry);
    if (this.#$("select").value === "share") order.sort((a, b) => this.#counts[b] - this.#counts[a] || a - b);
    const pressed = this.#pressed;
    this.#$("ol").replaceChildren(...order.slice(0, LISTED).map((entry) => {
      const button = document.createElement("button");
      button.dataset.entry = entry;
      button.setAttribute("aria-pressed", entry === pressed);
      const [swatch, written, part] = ["i", "code", "span"].map((tag) => document.createElement(tag));
      swatch.style.background = this.#css(entry);
      written.textContent = code(this.#image, entry);
      button.append(swatch, written, part);
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
    const left = order.length - LISTED;
    this.#$(".more").textContent = left > 0 ? `and ${grouped(left)} more` : "";
    this.#tellShares();
  }

  #tellShares() {
    const whole = this.#image.indices.length;
    for (const button of this.shadowRoot.querySelectorAll("[data-entry]")) {
      const { entry } = button.dataset, count = this.#counts[entry];
      button.title = `index ${entry}, ${grouped(count)} pixels`;
      button.lastChild.textContent = share(count, whole);
    }
  }

  /** The entry that is chosen for good, or -1. */
  get #pressed() { return Number(this.#$("ol [aria-pressed=true]")?.dataset.entry ?? -1); }

  /** Shows where a colour is, or all of the picture again if `entry` is below 0. */
  #mark(entry) {
    if (!this.#image || entry === this.#chosen) return;
    this.#chosen = entry;
    if (entry >= 0) this.#cover();
    this.#paintSoon();
  }

  #cover() {
    const { width, height, indices } = this.#image;
    Object.assign(this.#others, { width, height });
    const cover = new Uint32Array(indices.length);
    for (let i = 0; i < cover.length; i++) cover[i] = indices[i] === this.#chosen ? 0 : 0xe0808080;
    const pixels = new ImageData(new Uint8ClampedArray(cover.buffer), width, height);
    this.#others.getContext("2d").putImageData(pixels, 0, 0);
  }

  #paintSoon() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      if (this.#image) this.#paint();
    });
  }

  #paint() {
    const canvas = this.#$("canvas"), context = canvas.getContext("2d");
    const ratio = devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.#stage;
    canvas.width = Math.round(clientWidth * ratio);
    canvas.height = Math.round(clientHeight * ratio);
    context.scale(ratio, ratio);
    const { width, height } = this.#image, scale = this.#scale;
    context.save();
    context.beginPath();
    context.rect(this.#left, this.#top, width * scale, height * scale);
    context.clip();
    this.#chequer(context, clientWidth, clientHeight);
    context.translate(this.#left, this.#top);
    context.scale(scale, scale);
    context.imageSmoothingEnabled = scale < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#picture, 0, 0);
    if (this.#chosen >= 0) context.drawImage(this.#others, 0, 0);
    context.restore();
    if (this.#place && scale >= GRID_FROM) {
      const [x, y] = [this.#left + this.#place[0] * scale, this.#top + this.#place[1] * scale];
      context.strokeStyle = "#000";
      context.strokeRect(x - 0.5, y - 0.5, scale + 1, scale + 1);
      context.strokeStyle = "#fff";
      context.strokeRect(x - 1.5, y - 1.5, scale + 3, scale + 3);
    }
  }

  #chequer(context, width, height) {
    const style = getComputedStyle(this);
    context.fillStyle = style.getPropertyValue("--light");
    context.fillRect(0, 0, width, height);
    context.fillStyle = style.getPropertyValue("--dark");
    for (let y = 0; y < height; y += 12) {
      for (let x = (y / 12) % 2 ? 12 : 0; x < width; x += 24) context.fillRect(x, y, 12, 12);
    }
  }

  // --- frames ------------------------------------------------------------------------------------

  #play() {
    const { frames, plays } = this.#sequence, last = frames.length - 1;
    if (plays && this.#number === last) this.#showFrame(0);
    let played = 0;
    const wait = (number) => {
      this.#timer = setTimeout(() => {
        if (number === last && ++played === plays) return this.#pause();
        const next = number === last ? 0 : number + 1;
        wait(next); // first, since it takes time to show a frame
        this.#showFrame(next);
      }, Math.max(SHORTEST_DELAY, frames[number].delay));
    };
    wait(this.#number);
    this.#tellFrame();
  }

  #pause() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#tellFrame();
    this.#list(); // in the order of this frame
  }

  #goTo(number) {
    const { frames } = this.#sequence;
    this.#pause();
    this.#showFrame((number + frames.length) % frames.length);
  }

  #tellFrame() {
    const { frames } = this.#sequence, slider = this.#$(".player input");
    const place = `frame ${grouped(this.#number + 1)} of ${grouped(frames.length)}`;
    slider.value = this.#number + 1;
    slider.setAttribute("aria-valuetext", place);
    this.#$(".player small").textContent = `${place}, ${grouped(frames[this.#number].delay)} ms`;
    this.#$("[data-do=play]").textContent = this.#timer ? "Pause" : "Play";
    this.#$("output").setAttribute("aria-live", this.#timer ? "off" : "polite");
  }

  // --- zoom --------------------------------------------------------------------------------------

  get #fitting() {
    const { clientWidth, clientHeight } = this.#stage;
    const { width, height } = this.#image;
    const scale = Math.min(clientWidth / width, clientHeight / height);
    return Math.min(scale > 1 ? Math.max(1, Math.floor(scale)) : scale, CLOSEST) || 1;
  }

  #fit() {
    if (!this.#image) return;
    this.#scale = this.#fitting;
    this.#isFitted = true;
    this.#keepInside();
  }

  /** Zooms so that what is at a point of the stage stays there. */
  #zoom(scale, x = this.#stage.clientWidth / 2, y = this.#stage.clientHeight / 2) {
    const before = this.#scale;
    this.#scale = Math.min(Math.max(scale, Math.min(this.#fitting, 1)), CLOSEST);
    this.#left = x - ((x - this.#left) * this.#scale) / before;
    this.#top = y - ((y - this.#top) * this.#scale) / before;
    this.#isFitted = false;
    this.#keepInside();
  }

  #keepInside() {
    const { clientWidth, clientHeight } = this.#stage;
    const [width, height] = [this.#image.width * this.#scale, this.#image.height * this.#scale];
    const inside = (at, length, room) =>
      length <= room ? (room - length) / 2 : Math.min(Math.max(at, room - length), 0);
    this.#left = inside(this.#left, width, clientWidth);
    this.#top = inside(this.#top, height, clientHeight);
    this.#paintSoon();
  }

  // --- the pixel pointed at ----------------------------------------------------------------------

  #pointAt(x, y) {
    const { width, height } = this.#image;
    const column = Math.floor((x - this.#left) / this.#scale), row = Math.floor((y - this.#top) / this.#scale);
    const isInside = column >= 0 && row >= 0 && column < width && row < height;
    this.#place = isInside ? [column, row] : null;
    this.#say();
    this.#paintSoon();
  }

  #step(dx, dy) {
    const { width, height } = this.#image;
    const [x, y] = this.#place ?? [width >> 1, height >> 1];
    const [column, row] = this.#place ? [x + dx, y + dy] : [x, y];
    this.#place = [Math.min(Math.max(column, 0), width - 1), Math.min(Math.max(row, 0), height - 1)];
    this.#bringIntoView();
    this.#say();
    this.#paintSoon();
  }

  #bringIntoView() {
    const margin = this.#scale;
    const inside = (at, offset, room) => {
      const start = offset + at * this.#scale;
      if (start < margin) return offset + margin - start;
      if (start + 2 * margin > room) return offset + room - 2 * margin - start;
      return offset;
    };
    this.#left = inside(this.#place[0], this.#left, this.#stage.clientWidth);
    this.#top = inside(this.#place[1], this.#top, this.#stage.clientHeight);
    this.#keepInside();
  }

  #say() {
    const output = this.#$("output");
    if (!this.#place) {
      output.textContent = "Point at a pixel to see its index and colour.";
      return;
    }
    const [x, y] = this.#place;
    const { width, indices } = this.#image;
    const index = indices[y * width + x];
    const swatch = document.createElement("i");
    swatch.style.background = this.#css(index);
    const part = share(this.#counts[index], indices.length);
    output.replaceChildren(swatch, `column ${x}, row ${y}: index ${index}, ${code(this.#image, index)}, ${part}`);
  }

  // --- events ------------------------------------------------------------------------------------

  #hear(root) {
    const stage = this.#stage;
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.do) this.#do(button.dataset.do);
      else if (button?.dataset.entry) this.#press(button);
    });
    root.querySelector("select").addEventListener("change", () => this.#list());
    const list = root.querySelector("ol");
    const hover = (event) => {
      const button = event.target.closest("[data-entry]");
      if (button) this.#mark(Number(button.dataset.entry));
    };
    list.addEventListener("pointerover", hover);
    list.addEventListener("focusin", hover);
    list.addEventListener("pointerleave", () => this.#mark(this.#pressed));
    list.addEventListener("focusout", () => this.#mark(this.#pressed));
    const slider = root.querySelector(".player input");
    slider.addEventListener("input", () => this.#goTo(slider.value - 1));
    root.querySelector(".left").addEventListener("keydown", (event) => this.#frameKey(event));
    stage.addEventListener("wheel", (event) => {
      const isMeant = this.hasAttribute("wheel") || event.ctrlKey || root.activeElement === stage;
      if (!this.#image || !isMeant) return; // the page scrolls
      event.preventDefault();
      this.#zoom(this.#scale * 2 ** (-Math.sign(event.deltaY) / 2), event.offsetX, event.offsetY);
    }, { passive: false });
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      this.#fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    });
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      stage.addEventListener(kind, (event) => this.#fingers.delete(event.pointerId));
    }
    stage.addEventListener("pointerleave", () => {
      if (!this.#image || this.#fingers.size) return;
      this.#place = null;
      this.#say();
      this.#paintSoon();
    });
  }

  /** One finger or a pressed mouse moves the picture; two fingers zoom it, too. */
  #move(event) {
    if (!this.#image) return;
    const before = this.#fingers.get(event.pointerId);
    const now = [event.offsetX, event.offsetY];
    if (before) {
      const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1];
      this.#fingers.set(event.pointerId, now);
      if (other) {
        const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
        this.#zoom((this.#scale * apart(now)) / Math.max(apart(before), 1), ...other);
        return;
      }
      this.#left += now[0] - before[0];
      this.#top += now[1] - before[1];
      this.#isFitted = false;
      this.#keepInside();
    }
    this.#pointAt(...now);
  }

  #press(button) {
    const isPressed = button.getAttribute("aria-pressed") === "true";
    for (const one of this.shadowRoot.querySelectorAll("ol [aria-pressed=true]")) {
      one.setAttribute("aria-pressed", "false");
    }
    button.setAttribute("aria-pressed", String(!isPressed));
    this.#mark(isPressed ? -1 : Number(button.dataset.entry));
  }

  #key(event) {
    const far = event.shiftKey ? 10 : 1;
    const actions = {
      ArrowLeft: () => this.#step(-far, 0),
      ArrowRight: () => this.#step(far, 0),
      ArrowUp: () => this.#step(0, -far),
      ArrowDown: () => this.#step(0, far),
      "+": () => this.#do("closer"),
      "=": () => this.#do("closer"),
      "-": () => this.#do("farther"),
      1: () => this.#do("single"),
      0: () => this.#do("whole"),
    };
    if (!this.#image || event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  #frameKey(event) {
    const what = { " ": "play", ",": "previous", ".": "next" }[event.key];
    const isPress = event.key === " " && event.target.closest("button");
    if (!what || isPress || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!this.#image || this.#sequence.frames.length === 1) return;
    event.preventDefault();
    this.#do(what);
  }

  #do(what) {
    if (!this.#image) return;
    if (what === "whole") this.#fit();
    else if (what === "save") this.#save();
    else if (what === "play") this.#timer ? this.#pause() : this.#play();
    else if (what === "previous") this.#goTo(this.#number - 1);
    else if (what === "next") this.#goTo(this.#number + 1);
    else {
      const place = this.#place ?? [];
      const at = place.map((n, i) => [this.#left, this.#top][i] + (n + 0.5) * this.#scale);
      this.#zoom({ closer: this.#scale * STEP, farther: this.#scale / STEP, single: 1 }[what], ...at);
    }
  }

  async #save() {
    const stem = this.#$("strong").textContent.replace(/\.kmq$/i, "") || "picture";
    const count = this.#sequence.frames.length;
    const number = String(this.#number + 1).padStart(String(count).length, "0");
    const name = count > 1 ? `${stem}-${number}` : stem;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await toPNG(this.#image));
    link.download = `${name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
}

function refuseTooLarge({ width, height }) {
  if (Math.max(width, height) > LONGEST_SIDE || width * height > MOST_PIXELS) {
    throw new Error(`the picture is ${width} × ${height} pixels; a browser shows up to ` +
      `${LONGEST_SIDE} a side and ${MOST_PIXELS} in all`);
  }
}

if (!customElements.get("kmq-viewer")) customElements.define("kmq-viewer", KmqViewer);
