// Positions of a grid of patches: click a place, and see how its vector agrees with those of all others.

import { element, fresh, rgba, say, set } from "./paint.js";
import { makeChoice, makeSlider, makeVoice, oncePerFrame, onLooks } from "./stage.js";

const CLOCKS = 8;
const TABLES = { none: "None", "1-d": "1-d", "2-d": "2-d", learned: "Learned" };
const TABLES_IN_WORDS = {
  none: "Without positions every place is the same: the tokens are a set.",
  "1-d":
    "One number counts along the rows. The places to the left and right are near; the one below is a whole row away. Make the grid wider, and it moves further off.",
  "2-d": "Half of the vector tells the row, half the column: what is near is alike in every direction.",
  learned:
    "What the model on the first page has learned for its grid of 4 by 4, resized to yours as in exercise 2.5. It only had to tell places apart, so neighbours need not be alike.",
};

/** The sinusoidal table of chapter 2: (n, D), sines and cosines in turn. */
export function sinusoidal(n, D) {
  const table = new Float32Array(n * D);
  for (let p = 0; p < n; p++) {
    for (let j = 0; j < D; j++) {
      const angle = p / 10000 ** ((j - (j % 2)) / D);
      table[p * D + j] = j % 2 ? Math.cos(angle) : Math.sin(angle);
    }
  }
  return table;
}

/** The same for a grid: half of the columns for the row, half for the column. (gh·gw, D) */
export function sinusoidal2d(gh, gw, D) {
  const [rows, columns, half] = [sinusoidal(gh, D / 2), sinusoidal(gw, D / 2), D / 2];
  const table = new Float32Array(gh * gw * D);
  for (let p = 0; p < gh * gw; p++) {
    const [row, column] = [Math.floor(p / gw), p % gw];
    table.set(rows.subarray(row * half, (row + 1) * half), p * D);
    table.set(columns.subarray(column * half, (column + 1) * half), p * D + half);
  }
  return table;
}

/** A table (gh·gw, D) for another grid, bicubic as PyTorch has it: align_corners=False, the edges repeated. */
export function resized(table, D, [gh, gw], [newH, newW]) {
  const cubic = (x) => {
    const [a, t] = [-0.75, Math.abs(x)];
    if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? a * (((t - 5) * t + 8) * t - 4) : 0;
  };
  const taps = (size, to) =>
    Array.from({ length: to }, (_, i) => {
      const at = ((i + 0.5) * size) / to - 0.5;
      const base = Math.floor(at);
      return [-1, 0, 1, 2].map((k) => [Math.min(Math.max(base + k, 0), size - 1), cubic(at - base - k)]);
    });
  const [down, across] = [taps(gh, newH), taps(gw, newW)];
  const result = new Float32Array(newH * newW * D);
  down.forEach((rows, y) =>
    across.forEach((columns, x) => {
      for (const [row, high] of rows)
        for (const [column, wide] of columns)
          for (let d = 0; d < D; d++)
            result[(y * newW + x) * D + d] += high * wide * table[(row * gw + column) * D + d];
    }),
  );
  return result;
}

/** The dot products of one row of a table (n, D) with all of them, each row scaled to length 1; 0 where there is none. */
export function likeness(table, D, chosen) {
  const dot = (p, q) => {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += table[p * D + d] * table[q * D + d];
    return sum;
  };
  const lengths = Array.from({ length: table.length / D }, (_, p) => Math.sqrt(dot(p, p)));
  return lengths.map((length, q) => (length ? dot(chosen, q) / (length * lengths[chosen]) : 0));
}

/** The explorable of chapter 2. */
export function makePositions(root, told, model) {
  const { D } = model;
  const state = { kind: "2-d", gh: 10, gw: 10, chosen: 33, pointed: null };
  let palette;
  const sizes = Array.from({ length: 13 }, (_, i) => i + 2);
  const slide = (name, label) =>
    makeSlider(label, sizes, state[name], (n) => `${n}`, (n) => {
      const [row, column] = [Math.floor(state.chosen / state.gw), state.chosen % state.gw];
      state[name] = n;
      state.chosen = Math.min(row, state.gh - 1) * state.gw + Math.min(column, state.gw - 1);
      state.pointed = null;
      change();
    }); // prettier-ignore
  const controls = element(
    "div",
    { class: "controls" },
    makeChoice("kind of positions", TABLES, state.kind, (kind) => {
      state.kind = kind;
      change();
    }),
    slide("gh", "rows").element,
    slide("gw", "columns").element,
  );
  const canvas = element("canvas", { "aria-hidden": "true" });
  const stage = element(
    "div",
    {
      class: "grid-stage",
      role: "slider",
      tabindex: "0",
      "aria-label": "The place that is chosen",
      "aria-valuemin": "0",
    },
    canvas,
  );
  const scale = element("p", { class: "grid-scale told", "aria-hidden": "true" });
  const words = element("p", { class: "told" });
  const title = element("p", { class: "step" });
  const value = element("p", { class: "likeness" });
  const clocks = element("canvas", { class: "clocks", "aria-hidden": "true" });
  const clocksTold = element("p", { class: "told" });
  const side = element("div", { class: "positions-side" }, words, title, value, clocks, clocksTold);
  root.append(controls, element("div", { class: "positions" }, element("div", {}, stage, scale), side));
  const speak = makeVoice(root);

  function tableOf() {
    const { kind, gh, gw } = state;
    if (kind === "1-d") return sinusoidal(gh * gw, D);
    if (kind === "2-d") return sinusoidal2d(gh, gw, D);
    if (kind === "none") return new Float32Array(gh * gw * D);
    return resized(model.positions.subarray(D), D, [model.gh, model.gw], [gh, gw]);
  }

  const change = oncePerFrame(() => {
    state.table = tableOf();
    state.row = likeness(state.table, D, state.chosen);
    root.living = state;
    const { gw, chosen, row } = state;
    say(words, TABLES_IN_WORDS[state.kind]);
    set(stage, "aria-valuemax", row.length - 1);
    set(stage, "aria-valuenow", chosen);
    const order = [...row.keys()].filter((q) => q !== chosen).sort((a, b) => row[b] - row[a]);
    const what = `${place(chosen)}. Most like it: ${place(order[0])}, ${row[order[0]].toFixed(2)}`;
    set(stage, "aria-valuetext", state.kind === "none" ? place(chosen) : what);
    speak(
      state.kind === "none"
        ? TABLES_IN_WORDS.none
        : `${what}; least: ${place(order.at(-1))}, ${row[order.at(-1)].toFixed(2)}`,
    );
    tell();
    draw();
    stage.style.setProperty("--ratio", `${gw} / ${state.gh}`);
  });

  const place = (p) => `row ${Math.floor(p / state.gw)}, column ${p % state.gw}`;

  function tell() {
    const { chosen, pointed, row } = state;
    const other = pointed ?? chosen;
    say(title, pointed === null ? place(chosen) : `${place(chosen)} · ${place(pointed)}`);
    say(value, row[other].toFixed(2).replace("-", "−"));
  }

  function draw() {
    if (!palette || !state.row) return;
    const { gh, gw, row, chosen, pointed } = state;
    const width = stage.clientWidth;
    const cell = Math.min(width / gw, 320 / gh);
    const [wide, high] = [cell * gw, cell * gh];
    stage.style.height = `${high}px`;
    const context = fresh(canvas, width, high);
    const [least, most] = [Math.min(...row), 1];
    row.forEach((similar, p) => {
      const [x, y] = [(p % gw) * cell, Math.floor(p / gw) * cell];
      context.fillStyle = rgba(palette.ink, 0.06);
      context.fillRect(x + 0.75, y + 0.75, cell - 1.5, cell - 1.5);
      const share = least < 0 ? similar : (similar - least) / (most - least || 1);
      context.fillStyle = rgba(similar < 0 ? palette.cls : palette.look, Math.abs(share) ** 1.3);
      context.fillRect(x + 0.75, y + 0.75, cell - 1.5, cell - 1.5);
    });
    outline(context, chosen, cell, palette.cls);
    if (pointed !== null && pointed !== chosen) outline(context, pointed, cell, palette.ink);
    say(
      scale,
      state.kind === "none"
        ? "all dot products are 0"
        : `${least.toFixed(2).replace("-", "−")} to 1.00, each vector scaled to length 1`,
    );
    canvas.style.width = `${width}px`;
    state.cell = cell;
    drawClocks();
  }

  function outline(context, p, cell, colour) {
    const [x, y] = [(p % state.gw) * cell, Math.floor(p / state.gw) * cell];
    Object.assign(context, { strokeStyle: rgba(colour, 1), lineWidth: 2.5 });
    context.strokeRect(x + 1, y + 1, cell - 2, cell - 2);
  }

  /** A sine and its cosine are the hand of a clock: the chosen place's in blue, the other's in orange. */
  function drawClocks() {
    const { kind, table, chosen, pointed } = state;
    const rows = { "1-d": 1, "2-d": 2 }[kind] ?? 0;
    clocks.hidden = rows === 0;
    say(
      clocksTold,
      rows
        ? "Each pair of sine and cosine is the hand of a clock, fast ones to the left. Blue: the chosen place. Orange: the one pointed at."
        : "",
    );
    if (!rows) return;
    const width = clocks.clientWidth;
    const pitch = Math.min(width / CLOCKS, 44);
    const [r, high] = [pitch * 0.42, rows * (pitch + 18)];
    clocks.style.height = `${high}px`;
    const context = fresh(clocks, width, high);
    const pairs = D / 2 / rows;
    context.font = "11px system-ui, sans-serif";
    for (let line = 0; line < rows; line++) {
      const y = line * (pitch + 18) + 14 + pitch / 2;
      context.fillStyle = rgba(palette.ink, 0.7);
      context.fillText(rows === 1 ? "the index" : ["the row", "the column"][line], 0, y - pitch / 2 - 4);
      for (let i = 0; i < CLOCKS; i++) {
        const x = pitch * (i + 0.5);
        Object.assign(context, { strokeStyle: rgba(palette.ink, 0.25), lineWidth: 1 });
        context.beginPath();
        context.arc(x, y, r, 0, 2 * Math.PI);
        context.stroke();
        const column = 2 * (line * pairs + Math.round((i * pairs) / CLOCKS));
        for (const [p, colour] of [
          [pointed, palette.look],
          [chosen, palette.cls],
        ]) {
          // prettier-ignore
          if (p === null) continue;
          const [sine, cosine] = [table[p * D + column], table[p * D + column + 1]];
          Object.assign(context, { strokeStyle: rgba(colour, 1), lineWidth: 2, lineCap: "round" });
          context.beginPath();
          context.moveTo(x, y);
          context.lineTo(x + 0.86 * r * sine, y - 0.86 * r * cosine);
          context.stroke();
        }
      }
    }
  }

  const under = (event) => {
    const box = stage.getBoundingClientRect();
    const [column, row] = [event.clientX - box.left, event.clientY - box.top].map((at) => Math.floor(at / state.cell));
    return column >= 0 && column < state.gw && row >= 0 && row < state.gh ? row * state.gw + column : null;
  };
  stage.addEventListener("pointermove", (event) => {
    state.pointed = under(event);
    tell();
    draw();
  });
  stage.addEventListener("pointerleave", () => {
    state.pointed = null;
    tell();
    draw();
  });
  stage.addEventListener("click", (event) => {
    state.chosen = under(event) ?? state.chosen;
    change();
  });
  stage.addEventListener("keydown", (event) => {
    const { gw, gh } = state;
    const [row, column] = [Math.floor(state.chosen / gw), state.chosen % gw];
    const moves = {
      ArrowRight: [0, 1],
      ArrowLeft: [0, -1],
      ArrowDown: [1, 0],
      ArrowUp: [-1, 0],
      Home: [0, -gw],
      End: [0, gw],
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const within = (at, size) => Math.min(Math.max(at, 0), size - 1);
    state.chosen = within(row + move[0], gh) * gw + within(column + move[1], gw);
    change();
  });
  onLooks(root, (colours) => {
    palette = colours;
    draw();
  });
  change();
}
