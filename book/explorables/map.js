// Figure 1 as a map: choose a part, and see the tensor that it makes of the running image, and the exercise that makes it.

import { element, fresh, percent, rgba, say } from "./paint.js";
import { makeChoice, makeVoice, onLooks, running } from "./stage.js";
import { tokenName } from "./tokens.js";
import { argmax, forward, layerNorm, softmax } from "./vit.js";

const NAMES = {
  patches: "patches", embedding: "patch embedding", cls: "CLS", positions: "positions", encoder: "encoder",
  norm1: "norm before attention", qkv: "q, k, v", split: "split heads", dot: "attention weights", merge: "merge heads",
  out: "out", attention: "attention", norm2: "norm before the MLP", mlp: "MLP", head: "norm, head", training: "training",
}; // prettier-ignore
const IN_A_BLOCK = ["encoder", "norm1", "qkv", "split", "dot", "merge", "out", "attention", "norm2", "mlp"];

/** The tensors of a part: name, shape in symbols, and planes of values, each (rows, columns). */
export function tensorsOf(model, result, key, l) {
  const { T, D, P, C, h, dh, K } = model;
  const [N, M] = [T - 1, result.layers[0].hidden.length / T];
  const one = (name, shape, values, columns) => ({ name, shape, planes: [values], columns });
  const layer = result.layers[l];
  const { norm1, norm2 } = model.blocks[l];
  const each = (name, shape, part, columns) => ({
    name,
    shape,
    planes: layer.heads.map((head) => head[part]),
    columns,
  });
  const merged = () => {
    const values = new Float32Array(T * D);
    layer.heads.forEach(({ output }, i) => {
      for (let t = 0; t < T; t++) values.set(output.subarray(t * dh, (t + 1) * dh), t * D + i * dh);
    });
    return values;
  };
  return {
    patches: () => [one("the pixels, standardised", "(N, C·P·P)", result.patches, C * P * P)],
    embedding: () => [one("the patches, embedded", "(N, D)", result.embedded, D)],
    cls: () => [one("the CLS token", "(1, D)", model.cls, D)],
    positions: () => [one("the positions", "(T, D)", model.positions, D), one("the tokens, z₀", "(T, D)", result.tokens, D)],
    encoder: () => [one("the tokens before it", "(T, D)", result.streams[l], D), one("the tokens after it", "(T, D)", result.streams[l + 1], D)],
    norm1: () => [one("the tokens, normalised", "(T, D)", layerNorm(result.streams[l], norm1), D)],
    qkv: () => ["q", "k", "v"].map((part) => one(`${part} of head 0`, "(T, dh)", layer.heads[0][part], dh)),
    split: () => [each("q of every head", "(h, T, dh)", "q", dh)],
    dot: () => [each("the weights of every head", "(h, T, T)", "weights", T), each("its output", "(h, T, dh)", "output", dh)],
    merge: () => [one("the heads' outputs, merged", "(T, D)", merged(), D)],
    out: () => [one("the heads, mixed", "(T, D)", layer.attended, D)],
    attention: () => [one("what attention adds", "(T, D)", layer.attended, D)],
    norm2: () => [one("the tokens, normalised", "(T, D)", layerNorm(layer.middle, norm2), D)],
    mlp: () => [one("after GELU", "(T, M)", layer.hidden, M), one("what the MLP adds", "(T, D)", layer.mlp, D)],
    head: () => [one("CLS, normalised", "(D)", layerNorm(result.streams.at(-1).subarray(0, D), model.norm), D), one("the logits", "(K)", result.logits, K)],
    training: () => [one("the probabilities: softmax of the logits", "(K)", softmax(result.logits), K)],
  }[key](); // prettier-ignore
}

/** The explorable of chapter 5. */
export function makeMap(root, told, model) {
  const drawing = root.parentElement.querySelector(".architecture");
  const result = forward(model, running(told));
  const state = { key: "encoder", layer: 0, result };
  let palette;
  const layers = makeChoice(
    "block",
    Object.fromEntries(result.layers.map((_, l) => [l, `block ${l + 1}`])),
    "0",
    (l) => {
      state.layer = Number(l);
      show();
    },
  );
  const choices = makeChoice("part of the model", NAMES, state.key, (key) => choose(key));
  const title = element("p", { class: "map-title" });
  const tensors = element("div", { class: "tensors" });
  const pointed = element("p", { class: "told", "aria-hidden": "true" });
  const links = element("p", { class: "told" });
  root.append(
    element("p", { class: "step", text: "Click a part, above or here: its tensors, for the seven" }),
    element("div", { class: "controls" }, choices),
    element("div", { class: "map-head" }, title, layers),
    tensors,
    pointed,
    links,
  );
  const speak = makeVoice(root);

  function choose(key) {
    state.key = key;
    choices.querySelector(`[value="${key}"]`).checked = true;
    show();
  }

  function show() {
    if (!palette) return;
    const { key, layer } = state;
    root.living = state;
    for (const part of drawing.querySelectorAll(".part")) part.classList.toggle("lit", part.dataset.part === key);
    layers.hidden = !IN_A_BLOCK.includes(key);
    say(title, NAMES[key]);
    const made = tensorsOf(model, result, key, layer);
    tensors.replaceChildren(...made.map(drawTensor));
    const best = argmax(result.logits);
    const said = {
      head: `The largest logit is that of ${told.classes[best]}.`,
      training: `The label is 7. The loss is −ln ${softmax(result.logits)[7].toFixed(3)} = ${(-Math.log(softmax(result.logits)[7])).toFixed(3)}, and the answer ${told.classes[best]}, ${percent(softmax(result.logits)[best])} sure.`,
    }[key];
    say(pointed, said ?? "Point at a number to read it.");
    const exercises = [...drawing.querySelectorAll(`a[data-of="${key}"]`)];
    links.replaceChildren(
      "Made by ",
      ...exercises.flatMap((link, i) => [i ? " and " : "", asLink(link)]),
      exercises.length ? "." : "the paper.",
    );
    speak(
      `${NAMES[key]}: ${made.map(({ name, shape }) => `${name} ${shape} = ${sizesOf(shape)}`).join("; ")}. ${said ?? ""}`,
    );
  }

  const asLink = (link) =>
    element("a", {
      href: link.getAttribute("href"),
      text: link.getAttribute("aria-label").replace("Exercise", "exercise"),
    });

  /** (T, D) in numbers. */
  const sizesOf = (shape) => {
    const { P, C, K } = model;
    const sizes = {
      ...model,
      N: model.T - 1,
      M: result.layers[0].hidden.length / model.T,
      "C·P·P": C * P * P,
      K,
      1: 1,
    };
    return `(${shape
      .slice(1, -1)
      .split(", ")
      .map((symbol) => sizes[symbol])
      .join(", ")})`;
  };

  function drawTensor({ name, shape, planes, columns }) {
    const most = Math.max(...planes.flatMap((plane) => [...plane]).map(Math.abs), 1e-6);
    const rows = planes[0].length / columns;
    const canvases = planes.map((plane, i) => {
      const canvas = element("canvas", {
        width: columns,
        height: rows,
        role: "img",
        "aria-label": `${name} ${shape}${planes.length > 1 ? `, head ${i}` : ""}`,
      });
      const context = canvas.getContext("2d");
      plane.forEach((value, j) => {
        context.fillStyle = rgba(value < 0 ? palette.cls : palette.look, (Math.abs(value) / most) ** 0.7);
        context.fillRect(j % columns, Math.floor(j / columns), 1, 1);
      });
      canvas.style.aspectRatio = `${columns} / ${Math.max(0.7 * rows, columns / 24)}`;
      canvas.addEventListener("pointermove", (event) => {
        const box = canvas.getBoundingClientRect();
        const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        const [column, row] = [
          Math.min(columns - 1, Math.floor(x * columns)),
          Math.min(rows - 1, Math.floor(y * rows)),
        ];
        const who =
          rows === model.T
            ? `${tokenName(model, row)}, `
            : rows === model.T - 1
              ? `${tokenName(model, row + 1)}, `
              : "";
        say(pointed, `${who}number ${column}: ${plane[row * columns + column].toFixed(2).replace("-", "−")}`);
      });
      return canvas;
    });
    const box = element("div", { class: "planes" }, ...canvases);
    box.style.setProperty("--planes", planes.length);
    const made = element(
      "figure",
      { class: columns * planes.length < 40 ? "tensor narrow" : "tensor" },
      box,
      element(
        "figcaption",
        {},
        element("span", { text: name }),
        " ",
        element("code", { text: `${shape} = ${sizesOf(shape)}` }),
      ),
    );
    return made;
  }

  drawing.addEventListener("click", (event) => {
    const part = event.target.closest(".part");
    if (!part) return;
    event.preventDefault();
    choose(part.dataset.part);
  });
  onLooks(root, (colours) => {
    if (JSON.stringify(colours) === JSON.stringify(palette)) return;
    palette = colours;
    show();
  });
}
