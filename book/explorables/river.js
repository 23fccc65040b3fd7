// A digit as it flows through the model: drawn, cut, made tokens, mixed by attention layer by layer, read off CLS.
//
// A line from one column to the next is attention, the mean of the layer's heads, times what of it reaches the chosen
// token at the end (rollout, backwards): so one sees where an answer comes from, and all else only faintly.

import { answerInWords } from "./answer.js";
import { handwritten } from "./hand.js";
import { asRead, inkImage, pointsOf } from "./ink.js";
import { meanRow } from "./looking.js";
import { Pad } from "./pad.js";
import { element, fresh, imageCanvas, percent, rgba, say, set, walkable } from "./paint.js";
import { eased, makeVoice, oncePerFrame, onLooks, play, running, whenSeen } from "./stage.js";
import { tokenName } from "./tokens.js";
import { argmax, forward, softmax } from "./vit.js";

const GAP = 0.14; // between two patches, in patches

/** Where everything of the river is, in CSS pixels of its canvas: of one width, for a model. */
function layout({ T, L }, width, height, columns) {
  const pitch = height / T;
  const icon = Math.min(pitch * 0.86, 21);
  const strip = width < 420 ? 40 : 78;
  const first = icon + 6 + strip + 12;
  const last = width - columns - (width < 420 ? 24 : 62);
  return {
    pitch,
    icon,
    strip: [icon + 6, strip],
    y: (t) => (t + 0.5) * pitch,
    x: (l) => first + ((last - first) * l) / L,
    answer: width - columns,
  };
}

/** How much of each token of each column reaches the chosen token at the end: L + 1 rows of T. */
function reaching(model, result, token) {
  const { T, L } = model;
  const rows = Array.from({ length: L + 1 }, () => new Float32Array(T));
  rows[L][token] = 1;
  const attention = result.layers.map((_, l) => Array.from({ length: T }, (_, t) => meanRow(model, result, l, t)));
  for (let l = L - 1; l >= 0; l--) {
    for (let t = 0; t < T; t++) {
      rows[l][t] += 0.5 * rows[l + 1][t];
      for (let s = 0; s < T; s++) rows[l][s] += 0.5 * rows[l + 1][t] * attention[l][t][s];
    }
  }
  return { rows, attention };
}

/** The explorable that opens the book. */
export function makeRiver(root, told, model) {
  const { T, D, L, P, gw, gh } = model;
  const names = told.classes;
  const state = { token: 0, reveal: 1, image: new Float32Array(model.H * model.W), blank: true };
  let palette;

  const cut = element("canvas", { class: "cut", "aria-hidden": "true" });
  const padPlace = element("div", {});
  const clear = element("button", { type: "button", text: "Clear" });
  const again = element("button", { type: "button", text: "Write another" });
  const hand = element(
    "div",
    { class: "hand" },
    element("p", { class: "step", text: "Draw a digit" }),
    padPlace,
    element("p", { class: "tools" }, clear, again),
    element("p", { class: "step", text: `cut into ${T - 1} patches` }),
    cut,
  );
  const canvas = element("canvas", { "aria-hidden": "true" });
  const strip = element("canvas", { width: D, height: T });
  const tokens = Array.from({ length: T }, (_, t) =>
    element("button", {
      type: "button",
      role: "radio",
      class: "river-token",
      "aria-label": tokenName(model, t),
      "aria-checked": String(t === 0),
    }),
  );
  const list = element(
    "div",
    { class: "river-tokens", role: "radiogroup", "aria-label": "Tokens: choose one to see what reaches it" },
    ...tokens,
  );
  const rows = names.map((name) => {
    const bar = element("span", { class: "river-bar" });
    const share = element("span", { class: "river-share" });
    const row = element("li", {}, element("span", { class: "river-name", text: name }), bar, share);
    return { row, bar, share };
  });
  const answer = element("ol", { class: "river-answer", "aria-hidden": "true" }, ...rows.map((one) => one.row));
  const stage = element("div", { class: "river-stage" }, canvas, list, answer);
  const headings = element(
    "div",
    { class: "river-steps", "aria-hidden": "true" },
    element("p", { class: "step", text: `${T} tokens` }),
    element("p", { class: "step middle", text: `${L} layers of attention` }),
    element("p", { class: "step right", text: "the answer" }),
  );
  const told2 = element("p", { class: "told river-told" });
  root.append(element("div", { class: "river" }, hand, element("div", { class: "flow" }, headings, stage, told2)));
  const speak = makeVoice(root);

  const pad = new Pad(padPlace, {
    onStrokes: (strokes) => {
      state.image = asRead(inkImage(pointsOf(strokes), told.source), 1, told.source);
      state.blank = strokes.length === 0;
      compute();
    },
    onDigit: (digit) => write(digit),
  });
  let digit = 7;
  function write(next) {
    digit = next;
    pad.write(handwritten(next));
  }
  clear.addEventListener("click", () => pad.clear());
  again.addEventListener("click", () => write((digit + 1 + Math.floor(8 * Math.random())) % 10));
  const choose = (t) => {
    state.token = t;
    tokens.forEach((button, i) => set(button, "aria-checked", i === t));
    compute();
  };
  tokens.forEach((button, t) => {
    button.addEventListener("click", () => choose(t));
    button.addEventListener("pointerenter", () => choose(t));
    button.addEventListener("pointerleave", () => choose(0));
  });
  walkable(
    tokens,
    () => 1,
    (button) => button.click(),
  );

  const compute = oncePerFrame(() => {
    state.result = forward(model, state.image);
    state.flow = reaching(model, state.result, state.token);
    state.shares = softmax(state.result.logits);
    root.living = state; // for whoever wants to look, tests among them
    draw();
    tell();
  });

  function tell() {
    const best = argmax(state.shares);
    rows.forEach(({ row, bar, share }, k) => {
      row.classList.toggle("best", !state.blank && k === best);
      bar.style.setProperty("--share", state.blank ? 0 : state.shares[k]);
      say(share, state.blank ? "" : percent(state.shares[k]));
    });
    const source = state.flow.rows[0];
    const order = [...source.keys()].filter((t) => t !== state.token).sort((a, b) => source[b] - source[a]);
    const [first, second] = order.map((t) => tokenName(model, t));
    const who = state.token ? tokenName(model, state.token) : "CLS, from which the answer is read,";
    const next = second.replace("the patch in ", "");
    const text = `Besides what it keeps, ${who} collects most from ${first}; next comes ${next}.`;
    say(told2, state.blank ? "Draw something: with the mouse, a finger, or the arrow keys and the space bar." : text);
    speak(state.blank ? "" : `${answerInWords(names, state.result.logits)} ${text}`);
  }

  function drawCut(shown) {
    const side = cut.clientWidth;
    const context = fresh(cut, side, side);
    const patch = side / (gw + GAP * (gw - 1));
    for (let n = 0; n < gh * gw; n++) {
      const [x, y] = [(n % gw) * patch * (1 + GAP), Math.floor(n / gw) * patch * (1 + GAP)];
      context.fillStyle = rgba(palette.ink, 0.06);
      context.fillRect(x, y, patch, patch);
      context.drawImage(shown, (n % gw) * P, Math.floor(n / gw) * P, P, P, x, y, patch, patch);
      if (state.token !== n + 1) continue;
      Object.assign(context, { strokeStyle: rgba(palette.cls, 1), lineWidth: 2.5 });
      context.strokeRect(x, y, patch, patch);
    }
    const [box, place] = [cut.getBoundingClientRect(), canvas.getBoundingClientRect()];
    return (n) => [
      box.left - place.left + (n % gw) * patch * (1 + GAP),
      box.top - place.top + Math.floor(n / gw) * patch * (1 + GAP),
      patch,
    ];
  }

  function draw() {
    if (!palette || !state.result) return;
    const shown = imageCanvas(model, state.image, palette.ink);
    const places = drawCut(shown);
    const [width, height] = [stage.clientWidth, stage.clientHeight];
    const at = layout(model, width, height, answer.clientWidth);
    stage.style.setProperty("--tokens", `${at.x(0)}px`);
    // The canvas reaches to the left, over the hand: patches fly from there.
    const reach = Math.max(0, stage.getBoundingClientRect().left - root.getBoundingClientRect().left);
    canvas.style.left = `${-reach}px`;
    canvas.style.width = `${width + reach}px`;
    const context = fresh(canvas, width + reach, height);
    context.imageSmoothingEnabled = false;
    context.translate(reach, 0);
    const offset = reach;
    drawLines(context, at);
    drawTokens(context, at, shown, (n) => {
      const [x, y, side] = places(n);
      return [x - offset, y, side];
    });
    drawFan(context, at, height);
  }

  /** How far column l is revealed, from 0 to 1: the patches fly first, then one layer after the other. */
  const revealed = (l) => eased((state.reveal - 0.4) * 2.2 * (L + 1) * 0.75 - l);

  function drawLines(context, at) {
    const { rows: parts, attention } = state.flow;
    context.lineCap = "round";
    for (let l = 0; l < L; l++) {
      const shownShare = revealed(l);
      if (shownShare <= 0) continue;
      const [x0, x1] = [at.x(l), at.x(l + 1)];
      const end = x0 + (x1 - x0) * shownShare;
      const middle = (x0 + x1) / 2;
      context.save();
      context.beginPath();
      context.rect(x0 - 4, 0, end - x0 + 4, at.pitch * T);
      context.clip();
      // The stream itself: what every token keeps.
      context.strokeStyle = rgba(palette.ink, 0.13);
      context.lineWidth = 1;
      context.beginPath();
      for (let t = 0; t < T; t++) {
        context.moveTo(x0, at.y(t));
        context.lineTo(x1, at.y(t));
      }
      context.stroke();
      for (let t = 0; t < T; t++) {
        for (let s = 0; s < T; s++) {
          const flow = attention[l][t][s] * parts[l + 1][t];
          const alpha = Math.min(1, 0.08 * attention[l][t][s] + 1.6 * flow ** 0.6);
          if (alpha < 0.045) continue;
          context.strokeStyle = rgba(palette.look, alpha);
          context.lineWidth = 0.8 + 11 * flow;
          context.beginPath();
          context.moveTo(x0, at.y(s));
          context.bezierCurveTo(middle, at.y(s), middle, at.y(t), x1, at.y(t));
          context.stroke();
        }
      }
      context.restore();
    }
  }

  function drawTokens(context, at, shown, from) {
    const { result, flow, token } = state;
    const strips = inStrips(result.tokens);
    for (let l = 0; l <= L; l++) {
      const appears = l ? revealed(l - 1) : 1;
      for (let t = 0; t < T && appears >= 0.98; t++) {
        const share = flow.rows[l][t];
        context.fillStyle =
          t === token ? rgba(palette.cls, 1) : rgba(palette.ink, 0.28 + 0.72 * Math.min(1, 3 * share));
        context.beginPath();
        context.arc(at.x(l), at.y(t), t === token && l === L ? 5 : 1.7 + 4 * Math.sqrt(share), 0, 2 * Math.PI);
        context.fill();
      }
    }
    const [stripX, stripWidth] = at.strip;
    for (let t = 0; t < T; t++) {
      const flown = t ? eased(state.reveal * 3.2 - (1.1 * t) / T) : 1;
      const [y, high] = [at.y(t) - at.icon / 2, at.icon];
      if (t === 0) {
        context.fillStyle = rgba(palette.cls, 1);
        context.font = `650 ${Math.min(11, at.icon * 0.6)}px system-ui, sans-serif`;
        context.textBaseline = "middle";
        context.fillText("CLS", 0, at.y(0) + 0.5);
      } else {
        const [x0, y0, side] = from(t - 1);
        const [x, top] = [x0 + (0 - x0) * flown, y0 + (y - y0) * flown];
        const size = side + (at.icon - side) * flown;
        context.fillStyle = rgba(palette.ink, 0.06);
        context.fillRect(x, top, size, size);
        context.drawImage(shown, ((t - 1) % gw) * P, Math.floor((t - 1) / gw) * P, P, P, x, top, size, size);
      }
      if (flown < 0.99) continue;
      context.drawImage(strips, 0, t, D, 1, stripX, y + 1, stripWidth, high - 2);
    }
  }

  /** All tokens (T, D) as an image, a number a pixel: one drawing each is quicker than one for each number. */
  function inStrips(values) {
    let most = 0;
    for (const value of values) most = Math.max(most, Math.abs(value));
    const pixels = strip.getContext("2d").createImageData(D, T);
    values.forEach((value, i) => {
      pixels.data.set(value < 0 ? palette.cls : palette.look, 4 * i);
      pixels.data[4 * i + 3] = Math.min(255, (510 * Math.abs(value)) / most);
    });
    strip.getContext("2d").putImageData(pixels, 0, 0);
    return strip;
  }

  function drawFan(context, at, height) {
    const shownShare = revealed(L);
    if (state.blank || shownShare <= 0) return;
    const [x0, x1, y0] = [at.x(L), at.answer - 8, at.y(0)];
    const pitch = height / names.length;
    state.shares.forEach((share, k) => {
      const y1 = (k + 0.5) * pitch;
      context.strokeStyle = rgba(palette.cls, Math.min(1, (0.16 + 0.84 * share) * shownShare));
      context.lineWidth = 0.7 + 5 * share;
      context.beginPath();
      context.moveTo(x0, y0);
      context.bezierCurveTo((x0 + x1) / 2, y0, (x0 + x1) / 2, y1, x1, y1);
      context.stroke();
    });
  }

  onLooks(root, (colours) => {
    palette = colours;
    pad.draw();
    draw();
  });
  state.image = running(told);
  state.blank = false;
  compute();
  pad.show(imageCanvas(model, state.image, palette.ink));
  whenSeen(stage, () => {
    state.reveal = 0;
    write(7);
    pad.written = () =>
      play(3600, (share) => {
        state.reveal = share;
        draw();
      });
  });
}
