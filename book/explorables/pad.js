// A pad to draw on: with a finger, a pen, a mouse, or the arrow keys.

import { colours, element, fresh, rgba } from "./paint.js";

const STEP = 0.02; // how far an arrow key moves the pen, as a share of the pad
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HOW =
  "Drawing pad. Arrow keys move the pen, the space bar puts it down or lifts it, Delete clears the pad. " +
  "A digit's key writes that digit.";

/** A place for pictures that can't be drawn on: what of a pad shows them. */
export function makeFrame(root) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const frame = element("div", { class: "pad still" }, canvas);
  root.append(frame);
  let picture = null;
  const draw = () =>
    picture &&
    fresh(canvas, frame.clientWidth, frame.clientHeight).drawImage(
      picture,
      0,
      0,
      frame.clientWidth,
      frame.clientHeight,
    );
  const show = (image) => {
    picture = image;
    draw();
  };
  return { draw, show };
}

/**
 * A pad within `root`. `onStrokes(strokes)` is called at every change; strokes are lists of points [x, y] in [0, 1].
 * `onDigit(digit)` is called when a digit's key is pressed on it.
 */
export class Pad {
  constructor(root, { onStrokes, onDigit }) {
    Object.assign(this, { root, onStrokes, onDigit });
    this.strokes = [];
    this.cursor = null; // where the keyboard's pen is, once it is used
    this.down = false; // whether that pen writes
    this.picture = null; // drawn in place of strokes
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.told = element("span", { class: "unseen", role: "status" });
    this.element = element("div", { class: "pad", tabindex: "0", role: "application", "aria-label": HOW }, this.canvas);
    root.append(this.element, this.told);
    this.listen();
  }

  listen() {
    const on = (name, act) => this.element.addEventListener(name, act);
    on("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.element.setPointerCapture(event.pointerId);
      this.cursor = null;
      this.begin(this.where(event));
    });
    on("pointermove", (event) => {
      if (!this.element.hasPointerCapture(event.pointerId)) return;
      // A fast hand moves further between two frames than one event tells.
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length ? events : [event]) this.go(this.where(one));
    });
    on("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.press(event.key, event.shiftKey)) return;
      event.preventDefault();
      this.draw();
    });
    for (const name of ["focus", "blur"]) on(name, () => this.draw());
  }

  where({ clientX, clientY }) {
    const box = this.element.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  }

  /** A key of the keyboard; whether it means something here. */
  press(key, fast) {
    if (/^[0-9]$/.test(key)) {
      this.onDigit(Number(key));
    } else if (key === "Delete" || key === "Backspace") {
      this.clear();
    } else if (key === " ") {
      this.cursor ??= [0.5, 0.5];
      this.down = !this.down;
      if (this.down) this.begin([...this.cursor]);
      this.tell();
    } else if (ARROWS[key]) {
      const step = fast ? 4 * STEP : STEP;
      const from = this.cursor ?? [0.5, 0.5];
      this.cursor = from.map((value, i) => Math.min(Math.max(value + step * ARROWS[key][i], 0), 1));
      if (this.down) this.go([...this.cursor]);
      this.tell();
    } else {
      return false;
    }
    return true;
  }

  tell() {
    const [x, y] = this.cursor.map((value) => Math.round(100 * value));
    this.told.textContent = `pen ${this.down ? "down" : "up"}, ${x}% from the left, ${y}% from the top`;
  }

  /** Begin a stroke; on a picture, begin anew. */
  begin(point) {
    this.finish();
    if (this.picture) this.strokes = [];
    this.picture = null;
    this.strokes.push([point]);
    this.changed();
  }

  /** Go on with the stroke. */
  go(point) {
    const stroke = this.strokes.at(-1);
    const [x, y] = stroke.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) < 0.004) return;
    stroke.push(point);
    this.changed();
  }

  changed() {
    this.draw();
    this.onStrokes(this.strokes);
  }

  /** Take all strokes away. */
  clear() {
    this.show(null);
    this.onStrokes(this.strokes);
  }

  /** Show a canvas in place of what was drawn. */
  show(picture) {
    clearInterval(this.writing);
    Object.assign(this, { strokes: [], picture, down: false });
    this.draw();
  }

  /** Write strokes as a hand would, or at once where motion isn't wanted. */
  write(strokes) {
    this.clear();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.strokes = strokes;
      this.changed();
      this.finish();
      return;
    }
    const points = strokes.flatMap((stroke, s) => stroke.map((point) => [s, point]));
    this.writing = setInterval(() => {
      const [s, point] = points.shift();
      (this.strokes[s] ??= []).push(point);
      this.changed();
      if (points.length === 0) this.finish();
    }, 24);
  }

  /** The last point is written. `written` is done once, if somebody waits for it. */
  finish() {
    clearInterval(this.writing);
    const { written } = this;
    this.written = null;
    written?.();
  }

  draw() {
    const side = this.element.clientWidth;
    const context = fresh(this.canvas, side, side);
    const { ink, look } = colours(this.root);
    if (this.picture) context.drawImage(this.picture, 0, 0, side, side);
    Object.assign(context, { lineCap: "round", lineJoin: "round", lineWidth: side / 13, strokeStyle: rgba(ink, 1) });
    for (const [first, ...others] of this.strokes) {
      context.beginPath();
      context.moveTo(first[0] * side, first[1] * side);
      for (const [x, y] of others.length ? others : [first]) context.lineTo(x * side, y * side);
      context.stroke();
    }
    if (!this.cursor || document.activeElement !== this.element) return;
    context.beginPath();
    context.arc(this.cursor[0] * side, this.cursor[1] * side, side / 22, 0, 2 * Math.PI);
    Object.assign(context, { lineWidth: 3, strokeStyle: rgba(look, 1), fillStyle: rgba(look, 0.6) });
    context.stroke();
    if (this.down) context.fill();
  }
}
