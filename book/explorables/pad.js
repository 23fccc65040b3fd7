// A pad to draw on: with a finger, a pen, a mouse, or the arrow keys.

import { colours, element, fresh, rgba } from "./paint.js";

const STEP = 0.02; // how far an arrow key moves the pen, as a share of the pad

/** A place for pictures that can't be drawn on: what of a pad shows them. */
export function makeFrame(root) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const frame = element("div", { class: "pad still" }, canvas);
  root.append(frame);
  let picture = null;
  const draw = () => picture && fresh(canvas, frame.clientWidth, frame.clientHeight).drawImage(picture, 0, 0, frame.clientWidth, frame.clientHeight);
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
export function makePad(root, { onStrokes, onDigit }) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const told = element("span", { class: "unseen", role: "status" });
  const pad = element(
    "div",
    {
      class: "pad",
      tabindex: "0",
      role: "application",
      "aria-label": "Drawing pad. Arrow keys move the pen, the space bar puts it down or lifts it, Delete clears the pad. A digit's key writes that digit.",
    },
    canvas,
  );
  root.append(pad, told);

  let strokes = [];
  let cursor = null; // where the keyboard's pen is, once it is used
  let down = false; // whether that pen writes
  let picture = null; // drawn in place of strokes
  let writing = 0; // the timer of a digit that writes itself

  const draw = () => {
    const side = pad.clientWidth;
    const context = fresh(canvas, side, side);
    const { ink, look } = colours(root);
    if (picture) context.drawImage(picture, 0, 0, side, side);
    Object.assign(context, { lineCap: "round", lineJoin: "round", lineWidth: side / 13, strokeStyle: rgba(ink, 1) });
    for (const stroke of strokes) {
      context.beginPath();
      context.moveTo(stroke[0][0] * side, stroke[0][1] * side);
      for (const [x, y] of stroke.length > 1 ? stroke : [stroke[0], stroke[0]]) context.lineTo(x * side, y * side);
      context.stroke();
    }
    if (!cursor || document.activeElement !== pad) return;
    context.beginPath();
    context.arc(cursor[0] * side, cursor[1] * side, side / 22, 0, 2 * Math.PI);
    Object.assign(context, { lineWidth: 3, strokeStyle: rgba(look, 1), fillStyle: rgba(look, 0.6) });
    context.stroke();
    if (down) context.fill();
  };
  const changed = () => {
    draw();
    onStrokes(strokes);
  };
  const begin = (point) => {
    clearInterval(writing);
    if (picture) strokes = [];
    picture = null;
    strokes.push([point]);
    changed();
  };
  const go = (point) => {
    const stroke = strokes.at(-1);
    const [x, y] = stroke.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) < 0.004) return;
    stroke.push(point);
    changed();
  };

  const where = (event) => {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    cursor = null;
    begin(where(event));
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pad.hasPointerCapture(event.pointerId)) return;
    // A fast hand moves further between two frames than one event tells.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) go(where(one));
  });

  const api = {
    element: pad,
    draw,
    /** Take all strokes away. */
    clear() {
      clearInterval(writing);
      [strokes, picture, down] = [[], null, false];
      changed();
    },
    /** Show a canvas in place of what was drawn. */
    show(image) {
      clearInterval(writing);
      [strokes, picture, down] = [[], image, false];
      draw();
    },
    /** Write strokes as a hand would, or at once where motion isn't wanted. */
    write(whole) {
      api.clear();
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
        strokes = whole;
        changed();
        return;
      }
      const points = whole.flatMap((stroke, s) => stroke.map((point) => [s, point]));
      let next = 0;
      writing = setInterval(() => {
        const [s, point] = points[next++];
        if (strokes.length <= s) strokes.push([point]);
        else strokes[s].push(point);
        changed();
        if (next === points.length) clearInterval(writing);
      }, 24);
    },
  };

  const tell = () => {
    const [x, y] = cursor.map((value) => Math.round(100 * value));
    told.textContent = `pen ${down ? "down" : "up"}, ${x}% from the left, ${y}% from the top`;
  };
  const arrows = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  pad.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[0-9]$/.test(event.key)) onDigit(Number(event.key));
    else if (event.key === "Delete" || event.key === "Backspace") api.clear();
    else if (event.key === " ") {
      cursor ??= [0.5, 0.5];
      down = !down;
      if (down) begin([...cursor]);
      tell();
    } else if (arrows[event.key]) {
      const far = event.shiftKey ? 4 : 1;
      cursor = (cursor ?? [0.5, 0.5]).map((value, i) => Math.min(Math.max(value + far * arrows[event.key][i], 0), 1));
      if (down) go([...cursor]);
      tell();
    } else return;
    event.preventDefault();
    draw();
  });
  for (const name of ["focus", "blur"]) pad.addEventListener(name, draw);
  return api;
}
