// Draw a digit, choose a token, and see its row of attention in every head, live.

import { answerInWords } from "./answer.js";
import { handwritten } from "./hand.js";
import { drawRow, rowOf } from "./heads.js";
import { asRead, inkImage, pointsOf } from "./ink.js";
import { Pad } from "./pad.js";
import { element, imageCanvas, percent, say, set, strength } from "./paint.js";
import { makeVoice, oncePerFrame, onLooks, running, whenSeen } from "./stage.js";
import { makeSequence, rowInWords, tokenName } from "./tokens.js";
import { argmax, forward, softmax } from "./vit.js";

/** The explorable of chapter 3. */
export function makeAttention(root, told, model) {
  const { L, h, T } = model;
  const state = { token: 0, head: [L - 1, 0], image: running(told), covered: new Set(), drawn: true, blank: false };
  const padPlace = element("div", {});
  const clear = element("button", { type: "button", text: "Clear" });
  const another = element("button", { type: "button", text: "Write another" });
  const verdict = element("p", { class: "told" });
  const hand = element(
    "div",
    { class: "hand" },
    element("p", { class: "step", text: "Draw a digit" }),
    padPlace,
    element("p", { class: "tools" }, clear, another),
    verdict,
  );
  const places = element("div", {});
  const told2 = element("p", { class: "told" });
  const heads = [];
  const rows = Array.from({ length: L }, (_, l) => {
    const buttons = Array.from({ length: h }, (_, head) => makeHead(l, head));
    heads.push(...buttons);
    return element(
      "div",
      { class: "attention-layer" },
      element("p", { class: "step", text: `layer ${l + 1}` }),
      element("div", { class: "heads" }, ...buttons.map((one) => one.element)),
    );
  });
  const grid = element("div", { class: "attention-heads" }, ...rows);
  grid.style.setProperty("--heads", h);
  const title = element("p", { class: "step", text: `Its ${L * h} heads, for the token that is chosen` });
  const asks = element("p", { class: "step", text: "Choose a token: the arcs show where it looks in the marked head" });
  root.append(
    element("div", { class: "attention" }, hand, element("div", {}, title, grid)),
    element("div", { class: "attention-tokens" }, asks, places, told2),
  );
  const speak = makeVoice(root);

  function makeHead(layer, head) {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const cls = element("span", { class: "at-cls", text: "CLS" });
    const button = element(
      "button",
      { type: "button", class: "head", "aria-pressed": "false", "aria-label": `Layer ${layer + 1}, head ${head}` },
      element("span", { class: "name" }, element("span", { text: `${head}` }), cls),
      canvas,
    );
    for (const name of ["click", "pointerenter", "focus"])
      button.addEventListener(name, () => {
        state.head = [layer, head];
        change();
      });
    return { layer, head, canvas, cls, element: button };
  }

  const sequence = makeSequence(places, model, {
    onSelect: (token) => {
      state.token = token;
      change();
    },
  });
  const pad = new Pad(padPlace, {
    onStrokes: (strokes) => {
      state.image = asRead(inkImage(pointsOf(strokes), told.source), 1, told.source);
      state.blank = strokes.length === 0;
      change();
    },
    onDigit: (digit) => pad.write(handwritten(digit)),
  });
  let digit = 4;
  clear.addEventListener("click", () => pad.clear());
  another.addEventListener("click", () => {
    digit = (digit + 3) % 10;
    pad.write(handwritten(digit));
  });

  const change = oncePerFrame(() => {
    if (!state.palette) return;
    const { token, image, palette } = state;
    state.result = forward(model, image);
    state.shown = imageCanvas(model, image, palette.ink);
    root.living = state;
    sequence.update(state);
    const [layer, head] = state.head;
    const row = rowOf(model, state.result, layer, head, token);
    sequence.look(token, row);
    const where = `In layer ${layer + 1}, head ${head}, ${tokenName(model, token)} looks ${rowInWords(model, row, token)}.`;
    say(told2, where);
    for (const one of heads) {
      const theirs = rowOf(model, state.result, one.layer, one.head, token);
      one.cls.style.setProperty("--share", strength(theirs[0], T));
      one.cls.classList.toggle("chosen", token === 0);
      set(one.element, "aria-pressed", one.layer === layer && one.head === head);
      drawRow(one.canvas, model, state.shown, theirs, palette, { token });
    }
    const shares = softmax(state.result.logits);
    const best = argmax(shares);
    say(verdict, state.blank ? "" : `The model says ${told.classes[best]}, ${percent(shares[best])} sure.`);
    speak(state.blank ? "" : `${where} ${answerInWords(told.classes, state.result.logits)}`);
  });
  onLooks(root, (palette) => {
    state.palette = palette;
    pad.draw();
    change();
  });
  pad.show(imageCanvas(model, state.image, state.palette.ink));
  change();
  whenSeen(grid, () => pad.write(handwritten(digit)));
}
