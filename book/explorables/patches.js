// An image is cut and becomes a sequence, for any patch size; or it is only reshaped, and one sees what that gives.

import { element, fresh, imageCanvas, rgba, say, set } from "./paint.js";
import { eased, makeChoice, makeSlider, makeVoice, onLooks, play, running, whenSeen } from "./stage.js";
import { patchify } from "./vit.js";

const WAVES = [[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [2, 0], [1, 2], [2, 1]]; // prettier-ignore
const SHOWN = 64; // numbers of a patch that are printed into it, at most

/** Kernels that are waves along rows and columns (the basis of JPEG): (P·P) each, of length 1. */
export function waves(P) {
  const wave = (u, i) => Math.cos((Math.PI * u * (i + 0.5)) / P) * Math.sqrt((u ? 2 : 1) / P);
  return WAVES.filter(([u, v]) => u < P && v < P).map(([u, v]) =>
    Float32Array.from({ length: P * P }, (_, i) => wave(u, Math.floor(i / P)) * wave(v, i % P)),
  );
}

/** The tokens of an image: (N, C·P·P), cut as chapter 1 does, or only reshaped. */
export const tokensOf = (picture, reshaped) => (reshaped ? picture.values : patchify(picture, picture.values));

/** Where the numbers of token n come from when they are only reshaped: runs of pixels, [channel, row, from, to]. */
export function runsOf({ C, H, W, P }, n) {
  const runs = [];
  const end = (n + 1) * C * P * P;
  for (let i = n * C * P * P; i < end;) {
    const [channel, row, from] = [Math.floor(i / (H * W)), Math.floor((i % (H * W)) / W), i % W];
    const to = Math.min(W, from + end - i);
    runs.push([channel, row, from, to]);
    i += to - from;
  }
  return runs;
}

const divisors = (side, least) => [...Array(side + 1).keys()].filter((P) => P >= least && side % P === 0);

/** The pictures: each its numbers (C, H, W) in [0, 1], and its patch sizes. */
function makePictures(told, model) {
  const seven = { C: 1, H: model.H, W: model.W, values: running(told), sizes: divisors(model.H, 1), P: 4 };
  const photograph = new Promise((done) => {
    const image = new Image();
    image.onload = () => {
      const [W, H] = [image.naturalWidth, image.naturalHeight];
      const canvas = element("canvas", { width: W, height: H });
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, W, H);
      const values = Float32Array.from(
        { length: 3 * H * W },
        (_, i) => data[4 * (i % (H * W)) + Math.floor(i / (H * W))] / 255,
      );
      done({ C: 3, H, W, values, sizes: divisors(H, 4), P: 16 });
    };
    image.src = told.photograph;
  });
  return { seven, photograph };
}

/** The explorable of chapter 1. */
export function makePatches(root, told, model) {
  const pictures = makePictures(told, model);
  const state = { kind: "photograph", reshaped: false, chosen: 0, flight: 1, picture: null };
  let palette;

  const slider = makeSlider("P", [16], 16, (P) => `${P} × ${P}`, (P) => {
    state.picture.P = P;
    prepare(Math.min(state.chosen, counted().N - 1));
    fly();
  }); // prettier-ignore
  const controls = element(
    "div",
    { class: "controls" },
    makeChoice("the image", { photograph: "A photograph", seven: "The seven" }, state.kind, (kind) => take(kind)),
    slider.element,
    makeChoice("how", { cut: "Cut", reshaped: "Reshape instead" }, "cut", (how) => {
      state.reshaped = how === "reshaped";
      prepare(state.chosen);
      fly();
    }),
  );
  const facts = ["grid", "N", "T", "pairs"].map((name) => [name, element("dd", {})]);
  const titles = { grid: "grid gh × gw", N: "patches N", T: "tokens T = N + 1", pairs: "pairs T²" };
  const list = element(
    "dl",
    { class: "facts-row" },
    ...facts.map(([name, value]) => element("div", {}, element("dt", { text: titles[name] }), value)),
  );
  const canvas = element("canvas", { "aria-hidden": "true" });
  const stage = element(
    "div",
    {
      class: "patches-stage",
      role: "slider",
      tabindex: "0",
      "aria-label": "The token that is looked at",
      "aria-valuemin": "0",
    },
    canvas,
  );
  const large = element("canvas", { class: "large-patch", "aria-hidden": "true" });
  const title = element("p", { class: "step" });
  const numbers = element("p", { class: "numbers" });
  const kernels = element("ul", { class: "kernels" });
  const kernelsTold = element("p", { class: "told" });
  const words = element("div", {}, title, numbers, kernels, kernelsTold);
  root.append(controls, list, stage, element("div", { class: "token-detail" }, large, words));
  const speak = makeVoice(root);

  const counted = () => {
    const { H, W, P, C } = state.picture;
    const [gh, gw] = [H / P, W / P];
    return { gh, gw, N: gh * gw, length: C * P * P };
  };

  async function take(kind) {
    state.kind = kind;
    const picture = await pictures[kind];
    if (state.kind !== kind) return; // another was asked for meanwhile
    state.picture = picture;
    slider.set(picture.sizes, picture.P);
    prepare(Math.floor(counted().N * 0.305));
    fly();
  }

  /** All that doesn't move: the image, the tokens, and each token as a square of the same numbers. */
  function prepare(chosen) {
    const { picture, reshaped } = state;
    const { C, H, W, P } = picture;
    const { gh, gw, N, length } = counted();
    Object.assign(picture, { gh, gw });
    const ink = C === 1 ? palette.ink : null;
    state.tokens = tokensOf(picture, reshaped);
    state.image = imageCanvas(picture, picture.values, ink);
    state.tiles = element("canvas", { width: W, height: H });
    const context = state.tiles.getContext("2d");
    const asSquare = (n) => imageCanvas({ C, H: P, W: P }, state.tokens.subarray(n * length, (n + 1) * length), ink);
    if (!reshaped) context.drawImage(state.image, 0, 0);
    else for (let n = 0; n < N; n++) context.drawImage(asSquare(n), (n % gw) * P, Math.floor(n / gw) * P);
    const values = { grid: `${gh} × ${gw}`, N, T: N + 1, pairs: (N + 1) ** 2 };
    for (const [name, place] of facts) say(place, values[name].toLocaleString("en"));
    set(stage, "aria-valuemax", N - 1);
    choose(chosen);
  }

  let stop = () => {};
  function fly() {
    stop();
    stop = play(Math.min(1500, 700 + 40 * counted().N), (share) => {
      state.flight = share;
      draw();
    });
  }

  function choose(n) {
    const { N, gw, length } = counted();
    state.chosen = Math.min(Math.max(n, 0), N - 1);
    const [row, column] = [Math.floor(state.chosen / gw), state.chosen % gw];
    const values = state.tokens.subarray(state.chosen * length, (state.chosen + 1) * length);
    const what = state.reshaped
      ? `token ${state.chosen}: ${whereFrom()}`
      : `patch ${state.chosen}: row ${row}, column ${column} of the grid`;
    say(title, what);
    const some = [...values.subarray(0, 12)].map((value) => value.toFixed(2)).join("  ");
    say(numbers, `${length} number${length > 1 ? "s" : ""}: ${some}${length > 12 ? "  …" : ""}`);
    showKernels(values);
    set(stage, "aria-valuenow", state.chosen);
    set(stage, "aria-valuetext", `${what}; ${length} numbers, the first ${values[0].toFixed(2)}`);
    const all = `${N} patches, ${N + 1} tokens, ${((N + 1) ** 2).toLocaleString("en")} pairs`;
    speak(`Patches of ${state.picture.P} by ${state.picture.P}: ${all}.`);
    draw();
  }

  function whereFrom() {
    const runs = runsOf(state.picture, state.chosen);
    const channel = state.picture.C === 1 ? "" : ` of the ${["red", "green", "blue"][runs[0][0]]} channel`;
    const [first, last] = [runs[0][1], runs.at(-1)[1]];
    return first === last ? `a piece of row ${first}${channel}` : `rows ${first} to ${last}${channel}`;
  }

  /** The dot products of the token with some kernels, each drawn. */
  function showKernels(values) {
    const { C, P } = state.picture;
    const own = state.kind === "seven" && P === model.P && !state.reshaped;
    const weight = model.projection.weight;
    const all = own ? [...Array(8).keys()].map((d) => weight.subarray(d * P * P, (d + 1) * P * P)) : waves(P);
    const products = all.map((kernel) => values.reduce((sum, value, i) => sum + (value * kernel[i % (P * P)]) / C, 0));
    const most = Math.max(1e-6, ...products.map(Math.abs));
    kernels.replaceChildren(
      ...all.map((kernel, k) => {
        const picture = drawKernel(kernel, P);
        const bar = element("span", { class: products[k] < 0 ? "product less" : "product" });
        bar.style.setProperty("--share", Math.abs(products[k]) / most);
        return element(
          "li",
          {},
          picture,
          bar,
          element("span", { class: "value", text: products[k].toFixed(2).replace("-", "−") }),
        );
      }),
    );
    const which = own
      ? "Its dot products with eight of the kernels that the model on the first page has learned."
      : "Its dot products with kernels made by hand: the mean, edges, waves. Training finds its own.";
    say(kernelsTold, `${which} Each kernel gives the token one number of its vector.`);
  }

  function drawKernel(kernel, P) {
    const made = element("canvas", { width: P, height: P, "aria-hidden": "true" });
    const context = made.getContext("2d");
    const most = Math.max(...kernel.map(Math.abs));
    kernel.forEach((value, i) => {
      context.fillStyle = rgba(value < 0 ? palette.cls : palette.look, Math.abs(value) / most);
      context.fillRect(i % P, Math.floor(i / P), 1, 1);
    });
    return made;
  }

  /** Where things are: the image to the left, or above; the sequence in as many rows as fill its place. */
  function layout() {
    const { N } = counted();
    const width = stage.clientWidth;
    const isWide = width > 520;
    const side = isWide ? Math.min(300, width * 0.44) : Math.min(width, 260);
    const [left, top] = isWide ? [side + 36, 0] : [0, side + 24];
    const [wide, high] = [width - left, isWide ? side : 170];
    let columns = 1;
    const fits = (n) => Math.ceil(N / n) * (wide / n) <= high + 0.5 || n >= N;
    while (!fits(columns)) columns++;
    const pitch = Math.min(wide / columns, high, 64);
    columns = Math.max(columns, Math.min(N, Math.floor(wide / pitch)));
    return {
      side,
      left,
      top,
      pitch,
      columns,
      height: isWide ? side : top + high,
      tile: pitch * (pitch > 12 ? 0.86 : 0.9),
    };
  }

  function placesOf(at, n) {
    const { picture, reshaped } = state;
    const { gw } = counted();
    const scale = at.side / picture.W;
    const P = picture.P * scale;
    const to = [
      at.left + (n % at.columns) * at.pitch,
      at.top + Math.floor(n / at.columns) * at.pitch,
      at.tile,
      at.tile,
    ];
    if (!reshaped) return { from: [(n % gw) * P, Math.floor(n / gw) * P, P, P], to };
    const runs = runsOf(picture, n);
    const [first, last] = [runs[0], runs.at(-1)];
    const x = first[1] === last[1] ? first[2] : 0;
    const wide = first[1] === last[1] ? last[3] - first[2] : picture.W;
    return { from: [x * scale, first[1] * scale, wide * scale, (Math.max(last[1] - first[1], 0) + 1) * scale], to };
  }

  function draw() {
    if (!state.picture || !state.tiles) return;
    const at = layout();
    stage.style.height = `${at.height}px`;
    const context = fresh(canvas, stage.clientWidth, at.height);
    const { picture, reshaped, chosen, flight } = state;
    const { gh, gw, N } = counted();
    const scale = at.side / picture.W;
    context.imageSmoothingEnabled = picture.W > 16;
    context.fillStyle = rgba(palette.ink, 0.06);
    context.fillRect(0, 0, at.side, at.side);
    context.drawImage(state.image, 0, 0, at.side, at.side);
    if (!reshaped) {
      const paper = getComputedStyle(document.body).backgroundColor;
      Object.assign(context, { strokeStyle: paper, lineWidth: gw > 30 ? 1 : gw > 12 ? 2 : 3 });
      context.beginPath();
      for (let i = 1; i < gw; i++) lineTo(context, i * picture.P * scale, 0, i * picture.P * scale, at.side);
      for (let i = 1; i < gh; i++) lineTo(context, 0, i * picture.P * scale, at.side, i * picture.P * scale);
      context.stroke();
    }
    for (let n = 0; n < N; n++) {
      const share = eased(1.7 * flight - (0.7 * n) / N);
      if (share <= 0) continue;
      const { from, to } = placesOf(at, n);
      const box = from.map((value, i) => value + (to[i] - value) * share);
      context.fillStyle = rgba(palette.ink, 0.06);
      context.fillRect(...box);
      context.drawImage(
        state.tiles,
        (n % gw) * picture.P,
        Math.floor(n / gw) * picture.P,
        picture.P,
        picture.P,
        ...box,
      );
    }
    mark(context, at, placesOf(at, chosen), scale);
    drawLarge();
  }

  const lineTo = (context, x0, y0, x1, y1) => {
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
  };

  function mark(context, at, { from, to }, scale) {
    Object.assign(context, { strokeStyle: rgba(palette.look, 1), fillStyle: rgba(palette.look, 0.55), lineWidth: 2.5 });
    if (state.reshaped) {
      for (const [, row, x0, x1] of runsOf(state.picture, state.chosen))
        context.fillRect(x0 * scale, row * scale, (x1 - x0) * scale, scale + 0.5);
    } else context.strokeRect(...from);
    if (state.flight >= 1) context.strokeRect(...to);
  }

  /** The token's numbers as a square, printed into it where they are few. */
  function drawLarge() {
    const { C, P } = state.picture;
    const { gw, length } = counted();
    const side = large.clientWidth;
    const context = fresh(large, side, side);
    context.fillStyle = rgba(palette.ink, 0.06);
    context.fillRect(0, 0, side, side);
    context.drawImage(state.tiles, (state.chosen % gw) * P, Math.floor(state.chosen / gw) * P, P, P, 0, 0, side, side);
    if (length > SHOWN || C > 1 || P < 2) return;
    const cell = side / P;
    const paper = getComputedStyle(document.body).backgroundColor;
    Object.assign(context, {
      font: `${Math.min(13, cell * 0.36)}px system-ui`,
      textAlign: "center",
      textBaseline: "middle",
    });
    const values = state.tokens.subarray(state.chosen * length, (state.chosen + 1) * length);
    values.forEach((value, i) => {
      context.fillStyle = value > 0.5 ? paper : rgba(palette.ink, 1);
      context.fillText(value.toFixed(2), ((i % P) + 0.5) * cell, (Math.floor(i / P) + 0.5) * cell);
    });
  }

  stage.addEventListener("pointermove", (event) => {
    if (!state.tiles) return;
    const box = stage.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const at = layout();
    const { gw, N, length } = counted();
    const { W, H, C, P } = state.picture;
    const [column, row] = [Math.floor((x - at.left) / at.pitch), Math.floor((y - at.top) / at.pitch)];
    let n = -1;
    if (x < at.side && y < at.side) {
      const [px, py] = [Math.floor((x / at.side) * W), Math.floor((y / at.side) * H)];
      n = state.reshaped ? Math.floor((py * W + px) / length) : Math.floor(py / P) * gw + Math.floor(px / P);
    } else if (column >= 0 && column < at.columns && row >= 0) n = row * at.columns + column;
    if (n >= 0 && n < N && n !== state.chosen) choose(n);
  });
  stage.addEventListener("keydown", (event) => {
    const { gw, N } = counted();
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: gw, ArrowUp: -gw, Home: -N, End: N }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(state.chosen + step);
  });
  let before = null;
  onLooks(root, (colours) => {
    const isOther = JSON.stringify(before) !== JSON.stringify(colours);
    [palette, before] = [colours, colours];
    if (state.picture && isOther) prepare(state.chosen);
    else draw();
  });
  root.living = state;
  take(state.kind);
  whenSeen(stage, () => state.picture && fly());
}
