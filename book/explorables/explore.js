// The page of `vitcourse explore`: one state, and the views that show it.

import { answerInWords, listed, makeAnswer } from "./answer.js";
import { handwritten } from "./hand.js";
import { makeTower, rowOf } from "./heads.js";
import { asRead, inkImage, pointsOf, pointsOfPicture, squareImage } from "./ink.js";
import { meanRow, occlusion } from "./looking.js";
import { makeLooks } from "./looks.js";
import { makeFrame, Pad } from "./pad.js";
import { colours, element, imageCanvas, say, set, strength, walkable } from "./paint.js";
import { fly, makePicture, makeSequence, rowInWords, tokenName } from "./tokens.js";
import { argmax, bytes, forward, makeModel } from "./vit.js";

/** Bring the page in `root` to life; `spec` is what `vitcourse explore` wrote: a model, test images, how they were made. */
export function explore(root, spec) {
  new Explorer(root, spec).start();
}

class Explorer {
  constructor(root, spec) {
    Object.assign(this, { root, spec, model: makeModel(spec), names: spec.classes });
    this.drawn = spec.source.kind !== "picture"; // whether images are ink, and can be drawn
    const { C, H, W } = this.model;
    this.state = {
      drawn: this.drawn,
      image: new Float32Array(C * H * W),
      isStill: false, // the image was chosen, and not drawn
      blank: true, // nothing was drawn yet
      label: null, // the class of a test image
      token: 0,
      head: null, // the head that is pointed at, as [layer, head]
      off: new Set(),
      covered: new Set(),
      falls: [], // of the logit, as far as occlusion has come
    };
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  start() {
    const tests = testImages(this.spec, this.model);
    this.makeViews(tests);
    this.listen();
    this.root.style.setProperty("--least", strength(0.01, this.model.T));
    this.part("given").hidden = tests.length === 0;
    for (const name of ["clear", "write"]) this.part(name).hidden = !this.drawn;
    this.refresh();
    agreement(this.model, tests).then((text) => say(this.part("agreement"), text));
    if (this.drawn) this.pad.write(handwritten(7));
    else this.thumbs.first();
  }

  makeViews(tests) {
    const { model, names, state } = this;
    this.answer = makeAnswer(this.part("answer"), names);
    this.picture = makePicture(this.part("picture"), model, {
      onCover: (n) => this.change({ covered: toggled(state.covered, n) }),
    });
    this.sequence = makeSequence(this.part("sequence"), model, { onSelect: (token) => this.change({ token }) });
    this.tower = makeTower(this.part("tower"), model, names, {
      onToggle: (layer, head) => this.change({ off: toggled(state.off, `${layer}.${head}`) }),
      onPoint: (head) => {
        state.head = head;
        if (state.result) this.look();
      },
    });
    this.looks = makeLooks(this.part("looks"), model, names);
    this.pad = this.drawn ? this.makePad() : makeFrame(this.part("pad"));
    this.thumbs = makeThumbs(this.part("tests"), this.part("marked"), model, tests, names, this.drawn, (test) =>
      this.show(test.image, test.label),
    );
  }

  makePad() {
    const { source } = this.spec;
    return new Pad(this.part("pad"), {
      onStrokes: (strokes) => {
        this.thumbs.choose(null);
        const image = asRead(inkImage(pointsOf(strokes), source), 1, source);
        this.change({ image, label: null, isStill: false, blank: strokes.length === 0 });
      },
      onDigit: (digit) => this.pad.write(handwritten(digit)),
    });
  }

  listen() {
    const on = (name, act) => this.part(name).addEventListener("click", act);
    on("clear", () => this.pad.clear());
    on("write", () => this.pad.write(handwritten(Math.floor(10 * Math.random()))));
    on("fly", () => fly(this.picture, this.sequence));
    on("undo", () => {
      this.change({ off: new Set(), covered: new Set() });
      this.root.querySelector(".head").focus(); // the button that was pressed is gone
    });
    takePictures(this.root, this.part("file"), this.part("taken"), (pixels) => this.take(pixels));
    lightAndDark(this.root, this.part("theme"), () => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(this.root);
  }

  /** Change the state. However often that happens between two frames, it is drawn once. */
  change(news) {
    Object.assign(this.state, news);
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.refresh();
    });
  }

  /** Compute, and show it. */
  refresh() {
    const { state, model } = this;
    const { image, off, covered } = state;
    state.palette = colours(this.root); // once: every look at the style costs time
    state.shown = this.inColours(image);
    for (const n of covered) clearPatch(state.shown, model, n);
    state.before = forward(model, image);
    state.moving = off.size + covered.size > 0;
    state.result = state.moving ? forward(model, image, { off, covered }) : state.before;
    state.best = argmax(state.result.logits);
    state.classes = listed(state.result.logits);
    state.falls = [];
    for (const view of [this.picture, this.sequence, this.tower, this.looks, this.answer]) view.update(state);
    this.look();
    const gone = [off.size && count(off.size, "head"), covered.size && count(covered.size, "patch", "patches")];
    say(this.part("undo"), `Undo: ${gone.filter(Boolean).join(", ")}`);
    this.part("undo").classList.toggle("idle", !state.moving);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.rest(), 150);
  }

  /** Where the chosen token looks: in the head that is pointed at, or in all of the last layer. */
  look() {
    const { model, state } = this;
    const { head, token, result } = state;
    const row = head ? rowOf(model, result, ...head, token) : meanRow(model, result, model.L - 1, token);
    this.sequence.look(token, row);
    const where = head ? `In layer ${head[0] + 1}, head ${head[1]}` : `In layer ${model.L}, all heads together`;
    say(this.part("look"), `${where}, ${tokenName(model, token)} looks ${rowInWords(model, row, token)}.`);
  }

  /** What takes longer, or is read out, waits until the hand rests. */
  rest() {
    const { model, state } = this;
    this.tower.describe(state);
    say(this.part("words"), state.blank ? "" : answerInWords(this.names, state.result.logits));
    const steps = occlusion(model, state.image, state.best, state);
    const go = () => {
      const until = performance.now() + 8; // milliseconds: half a frame
      let step = steps.next();
      for (; !step.done; step = steps.next()) {
        state.falls.push(step.value);
        if (performance.now() > until) break;
      }
      this.looks.update(state);
      if (step.done) this.looks.describe(state);
      else this.timer = setTimeout(go, 0);
    };
    go();
  }

  /** Show an image (C, H, W) that was chosen, with its class if that is known. */
  show(image, label) {
    this.change({ image, label, isStill: true, blank: false });
    this.pad.show(this.inColours(image));
    requestAnimationFrame(() => fly(this.picture, this.sequence));
  }

  /** Take a picture (ImageData) of one's own; one of the data set's own size as it is. */
  take(pixels) {
    const { source } = this.spec;
    const { C } = this.model;
    this.thumbs.choose(null);
    const asIs = !this.drawn || (pixels.width === source.size && pixels.height === source.size);
    const image = asIs ? squareImage(pixels, C, source.size) : inkImage(pointsOfPicture(pixels), source, "area");
    this.show(asRead(image, C, source), null);
  }

  /** Draw all of it again: the size or the colours are others. */
  redraw() {
    this.thumbs.draw();
    this.refresh();
    if (this.state.isStill) this.pad.show(this.inColours(this.state.image));
    else this.pad.draw();
  }

  inColours(image) {
    return imageCanvas(this.model, image, this.drawn && colours(this.root).ink);
  }
}

const clearPatch = (canvas, { P, gw }, n) =>
  canvas.getContext("2d").clearRect((n % gw) * P, Math.floor(n / gw) * P, P, P);

/** A set with an item more, or less if it is there. */
function toggled(items, item) {
  const copy = new Set(items);
  if (!copy.delete(item)) copy.add(item);
  return copy;
}

/** The test images that came with the page: (C, H, W) each, with label and PyTorch's logits. */
function testImages({ tests }, { C, H, W }) {
  const values = bytes(tests.pixels);
  return tests.labels.map((label, i) => ({
    image: Float32Array.from(values.subarray(i * C * H * W, (i + 1) * C * H * W), (value) => value / tests.levels),
    label,
    logits: tests.logits[i],
  }));
}

/** How well this page's logits agree with those that PyTorch computed for the same images, and how long they took. */
async function agreement(model, tests) {
  if (tests.length === 0) return "";
  let gap = 0;
  const times = [];
  for (const { image, logits } of tests) {
    const start = performance.now();
    const ours = forward(model, image).logits;
    times.push(performance.now() - start);
    gap = Math.max(gap, ...logits.map((logit, k) => Math.abs(logit - ours[k])));
    await new Promise((go) => setTimeout(go, 0)); // the page goes on living between two images
  }
  if (gap > 1e-3) {
    return `Beware: this page's logits differ from PyTorch's by up to ${gap.toPrecision(2)}. The model that was trained doesn't compute what the course's does; to find out why, type vitcourse check.`;
  }
  const middle = times.sort((a, b) => a - b)[times.length >> 1]; // the first ones are not compiled yet
  const least = gap.toExponential(0).replace(/e-(\d+)/, (_, power) => ` · 10⁻${superscript(power)}`);
  return `This page has computed its ${tests.length} test images, each in about ${middle.toFixed(1)} ms. Its logits differ from PyTorch's by at most ${least}.`;
}

const superscript = (text) => text.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);

const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** The test images to choose from. */
function makeThumbs(root, told, model, tests, names, drawn, onChoose) {
  const buttons = tests.map((test, i) => {
    const said = names[argmax(test.logits)];
    const isWrong = said !== names[test.label];
    const told = `Test image ${i + 1}: ${names[test.label]}${isWrong ? `; the model says ${said}` : ""}`;
    return element(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        class: isWrong ? "thumb wrong" : "thumb",
        "aria-label": told,
        title: told,
      },
      element("canvas", { width: model.W, height: model.H, "aria-hidden": "true" }),
    );
  });
  const mistakes = buttons.some((button) => button.classList.contains("wrong"));
  say(
    told,
    mistakes
      ? "Never seen in training. Marked: those that the model gets wrong."
      : "Never seen in training. The model gets these right.",
  );
  const choose = (chosen) => buttons.forEach((button) => set(button, "aria-pressed", button === chosen));
  buttons.forEach((button, i) =>
    button.addEventListener("click", () => {
      onChoose(tests[i]);
      choose(button);
    }),
  );
  const columns = () => buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
  if (buttons.length) walkable(buttons, columns);
  root.append(...buttons);
  const draw = () => {
    const ink = drawn && colours(root).ink;
    buttons.forEach((button, i) => {
      const context = button.firstChild.getContext("2d");
      context.clearRect(0, 0, model.W, model.H);
      context.drawImage(imageCanvas(model, tests[i].image, ink), 0, 0);
    });
  };
  draw();
  return { choose, draw, first: () => buttons[0]?.click() };
}

/** A picture of one's own: dropped, pasted, or chosen. It never leaves the page. */
function takePictures(root, input, told, onPixels) {
  const take = async (file) => {
    if (!file) return;
    try {
      const bitmap = await createImageBitmap(file);
      const scale = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height));
      const [width, height] = [
        Math.max(1, Math.round(bitmap.width * scale)),
        Math.max(1, Math.round(bitmap.height * scale)),
      ];
      const context = element("canvas", { width, height }).getContext("2d");
      context.drawImage(bitmap, 0, 0, width, height);
      onPixels(context.getImageData(0, 0, width, height));
      say(told, `${file.name}: taken`);
    } catch {
      say(told, `${file.name} is not a picture that this browser can read`);
    }
  };
  input.addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
  const over = (event) => {
    event.preventDefault();
    root.classList.toggle("dropping", event.type === "dragover");
  };
  for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, over);
  document.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
  document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
}

/** A button for the other theme; without it, the system's holds. */
function lightAndDark(root, button, redraw) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const tell = () => {
    say(button, isDark() ? "Light" : "Dark");
    redraw();
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    tell();
  });
  system.addEventListener("change", tell);
  say(button, isDark() ? "Light" : "Dark");
}
