// The layers, one below the other: where each head lets a token look, and what CLS would answer after each layer.

import { MOST_CLASSES } from "./answer.js";
import { argmax, softmax } from "./vit.js";
import { boxOf, element, fresh, hatch, percent, rgba, say, set, strength, walkable } from "./paint.js";
import { rowInWords, tokenName } from "./tokens.js";

/**
 * The tower of layers. `onToggle(layer, head)` is called for a head that is clicked, `onPoint(layer, head)` for one that
 * the mouse or the keyboard is at, `onPoint(null)` when it leaves.
 */
export function makeTower(root, model, names, { onToggle, onPoint }) {
  const buttons = [];
  root.style.setProperty("--heads", model.h);
  const rows = Array.from({ length: model.L + 1 }, (_, l) => {
    const heads = l ? Array.from({ length: model.h }, (_, head) => makeHead(l - 1, head, onToggle, onPoint)) : [];
    buttons.push(...heads.map((head) => head.button));
    const told = "CLS has not looked at anything yet. It is the same for every picture.";
    const left = l
      ? element(
          "div",
          { class: "heads", role: "group", "aria-label": `The heads of layer ${l}` },
          ...heads.map((head) => head.button),
        )
      : element("p", { class: "told", text: told });
    const reading = makeReading(names);
    root.append(
      element(
        "div",
        { class: l ? "layer" : "layer before" },
        element("h3", { text: l ? `Layer ${l}` : "Before" }),
        left,
        reading.element,
      ),
    );
    return { heads, reading };
  });
  const columns = () => buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
  walkable(buttons, columns);

  return {
    update({ shown, drawn, palette, result, token, off, covered, classes }) {
      rows.forEach(({ heads, reading }, l) => {
        reading.update(result.reads[l], classes);
        heads.forEach((head, i) => {
          const row = rowOf(model, result, l - 1, i, token);
          drawHead(head, model, { shown, drawn, row, token, covered, isOff: off.has(`${l - 1}.${i}`) }, palette);
        });
      });
    },
    /** The same in words, for those who hear the page. Slower than drawing: not for every frame. */
    describe({ result, token, off }) {
      rows.forEach(({ heads, reading }, l) => {
        reading.describe(result.reads[l], l);
        heads.forEach(({ button }, i) => {
          const row = rowOf(model, result, l - 1, i, token);
          const state = off.has(`${l - 1}.${i}`) ? "; switched off" : "";
          set(
            button,
            "aria-label",
            `Layer ${l}, head ${i}: ${tokenName(model, token)} looks ${rowInWords(model, row, token)}${state}`,
          );
        });
      });
    },
  };
}

/** The row of attention of a token in a head: (T). */
export function rowOf({ T }, result, layer, head, token) {
  return result.layers[layer].heads[head].weights.subarray(token * T, (token + 1) * T);
}

function makeHead(layer, head, onToggle, onPoint) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const cls = element("span", { class: "at-cls", text: "CLS" });
  const button = element(
    "button",
    {
      type: "button",
      class: "head",
      role: "switch",
      "aria-checked": "true",
      "aria-label": `Layer ${layer + 1}, head ${head}`,
    },
    element("span", { class: "name" }, element("span", { text: `${head}` }), cls),
    canvas,
  );
  button.addEventListener("click", () => onToggle(layer, head));
  for (const name of ["pointerenter", "focus"]) button.addEventListener(name, () => onPoint([layer, head]));
  for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => onPoint(null));
  return { button, canvas, cls };
}

function drawHead({ button, canvas, cls }, model, { shown, drawn, row, token, covered, isOff }, palette) {
  set(button, "aria-checked", !isOff);
  cls.style.setProperty("--share", strength(row[0], model.T));
  cls.classList.toggle("chosen", token === 0);
  drawRow(canvas, model, shown, row, palette, { token, covered, drawn });
}

/** A row of attention over the image: its patches glow with their shares. */
export function drawRow(
  canvas,
  { T, gh, gw },
  shown,
  row,
  palette,
  { token = 0, covered = new Set(), scale = strength, drawn = true } = {},
) {
  const [width, height] = boxOf(canvas);
  const context = fresh(canvas, width, height);
  const [wide, high] = [width / gw, height / gh];
  const faint = () => {
    context.globalAlpha = 0.42;
    context.drawImage(shown, 0, 0, width, height);
    context.globalAlpha = 1;
  };
  if (!drawn) faint(); // a picture would hide what glows below it; ink lets it through
  for (let n = 0; n < gh * gw; n++) {
    const [x, y] = [(n % gw) * wide, Math.floor(n / gw) * high];
    const value = scale(row[n + 1], T);
    context.fillStyle = rgba(value < 0 ? palette.cls : palette.look, Math.abs(value));
    context.fillRect(x + 0.5, y + 0.5, wide - 1, high - 1);
  }
  if (drawn) faint();
  for (const n of covered)
    hatch(context, (n % gw) * wide, Math.floor(n / gw) * high, wide, high, rgba(palette.ink, 0.4));
  if (token === 0) return;
  context.strokeStyle = rgba(palette.cls, 1);
  context.lineWidth = 2;
  context.strokeRect(((token - 1) % gw) * wide + 1, Math.floor((token - 1) / gw) * high + 1, wide - 2, high - 2);
}

/** What the model's head reads off CLS at one place: its probabilities as columns, the likeliest as a word. */
function makeReading(names) {
  const short = names.length <= MOST_CLASSES && names.every((name) => name.length < 3);
  const bars = names.slice(0, MOST_CLASSES).map(() => element("span", { class: "column" }));
  const labels = short ? names.map((text) => element("span", { text })) : [];
  const word = element("span", { class: short ? "word" : "word long" });
  const share = element("span", { class: "share" });
  const made = element(
    "div",
    { class: "reading", role: "img" },
    element("span", { class: "columns" }, ...bars),
    element("span", { class: "names" }, ...labels),
    word,
    share,
  );
  return {
    element: made,
    update(logits, classes) {
      const shares = softmax(logits);
      const best = argmax(shares);
      bars.forEach((bar, k) => {
        bar.style.setProperty("--share", shares[classes[k]]);
        bar.classList.toggle("best", classes[k] === best);
      });
      say(word, names[best]);
      say(share, percent(shares[best]));
    },
    describe(logits, layer) {
      const shares = softmax(logits);
      const best = argmax(shares);
      const when = layer ? `After layer ${layer}` : "Before the first layer";
      set(made, "aria-label", `${when} the model would answer ${names[best]}, with ${percent(shares[best])}`);
    },
  };
}
