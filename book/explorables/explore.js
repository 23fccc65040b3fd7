// The page of `vitcourse explore`: one state, and the views that show it.

import { answerInWords, listed, makeAnswer } from "./answer.js";
import { handwritten } from "./hand.js";
import { makeTower, rowOf } from "./heads.js";
import { asRead, inkImage, pointsOf, pointsOfPicture, squareImage } from "./ink.js";
import { meanRow, occlusion } from "./looking.js";
import { makeLooks } from "./looks.js";
import { makeFrame, makePad } from "./pad.js";
import { colours, element, imageCanvas, say, set, strength, walkable } from "./paint.js";
import { fly, makePicture, makeSequence, rowInWords, tokenName } from "./tokens.js";
import { argmax, bytes, forward, makeModel } from "./vit.js";

/** Bring the page in `root` to life; `spec` is what `vitcourse explore` wrote: a model, test images, how they were made. */
export function explore(root, spec) {
  const model = makeModel(spec);
  const { source, classes: names } = spec;
  const drawn = source.kind !== "picture"; // whether images are ink, and can be drawn
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const tests = testImages(spec, model);
  const state = {
    drawn,
    image: new Float32Array(model.C * model.H * model.W),
    isStill: false, // the image was chosen, and not drawn
    blank: true, // nothing was drawn yet
    label: null, // the class of a test image
    token: 0,
    head: null, // the head that is pointed at, as [layer, head]
    off: new Set(),
    covered: new Set(),
    falls: [], // of the logit, as far as occlusion has come
  };

  const inColours = (image) => imageCanvas(model, image, drawn && colours(root).ink);
  const clearPatch = (canvas, n) => {
    const { P, gw } = model;
    canvas.getContext("2d").clearRect((n % gw) * P, Math.floor(n / gw) * P, P, P);
  };
  const refresh = () => {
    const { off, covered } = state;
    state.palette = colours(root); // once: every look at the style costs time
    state.shown = inColours(state.image);
    for (const n of covered) clearPatch(state.shown, n);
    state.before = forward(model, state.image);
    state.result = off.size || covered.size ? forward(model, state.image, { off, covered }) : state.before;
    state.best = argmax(state.result.logits);
    state.classes = listed(state.result.logits);
    state.falls = [];
    state.moving = state.result !== state.before;
    for (const view of [picture, sequence, tower, looks, answer]) view.update(state);
    look();
    say(part("undo"), `Undo: ${[off.size && count(off.size, "head"), covered.size && count(covered.size, "patch", "patches")].filter(Boolean).join(", ")}`);
    part("undo").classList.toggle("idle", !state.moving);
    later();
  };
  const look = () => {
    const [layer, head] = state.head ?? [model.L - 1, null];
    const row = head === null ? meanRow(model, state.result, layer, state.token) : rowOf(model, state.result, layer, head, state.token);
    sequence.look(state.token, row);
    const where = head === null ? `In layer ${layer + 1}, all heads together` : `In layer ${layer + 1}, head ${head + 1}`;
    say(part("look"), `${where}, ${tokenName(model, state.token)} looks ${rowInWords(model, row, state.token)}.`);
  };

  // However often the state changes between two frames, it is drawn once.
  let asked = false;
  const change = (news) => {
    Object.assign(state, news);
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      refresh();
    });
  };

  // What takes longer, or would be read out, waits until the hand rests.
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const steps = occlusion(model, state.image, state.best, state);
      const go = () => {
        const until = performance.now() + 8; // milliseconds: half a frame
        let step = steps.next();
        for (; !step.done; step = steps.next()) {
          state.falls.push(step.value);
          if (performance.now() > until) break;
        }
        looks.update(state);
        if (step.done) looks.describe(state);
        else timer = setTimeout(go, 0);
      };
      tower.describe(state);
      say(part("words"), state.blank ? "" : answerInWords(names, state.result.logits));
      go();
    }, 150);
  };

  const toggled = (set, item) => {
    const copy = new Set(set);
    if (!copy.delete(item)) copy.add(item);
    return copy;
  };
  const answer = makeAnswer(part("answer"), names);
  const picture = makePicture(part("picture"), model, { onCover: (n) => change({ covered: toggled(state.covered, n) }) });
  const sequence = makeSequence(part("sequence"), model, { onSelect: (token) => change({ token }) });
  const tower = makeTower(part("tower"), model, names, {
    onToggle: (layer, head) => change({ off: toggled(state.off, `${layer}.${head}`) }),
    onPoint: (head) => {
      state.head = head;
      if (state.result) look();
    },
  });
  const looks = makeLooks(part("looks"), model, names);
  const pad = drawn ? makePad(part("pad"), {
    onStrokes: (strokes) => {
      thumbs.choose(null);
      const image = asRead(inkImage(pointsOf(strokes), source), 1, source);
      change({ image, label: null, isStill: false, blank: strokes.length === 0 });
    },
    onDigit: (digit) => pad.write(handwritten(digit)),
  }) : makeFrame(part("pad"));

  const show = (image, label) => {
    change({ image, label, isStill: true, blank: false });
    pad.show(inColours(image));
    requestAnimationFrame(() => fly(picture, sequence));
  };
  const thumbs = makeThumbs(part("tests"), part("marked"), model, tests, names, drawn, (test) => show(test.image, test.label));
  takePictures(root, part, (pixels) => {
    thumbs.choose(null);
    // One of the data set's own size is taken as it is.
    const asIs = !drawn || (pixels.width === source.size && pixels.height === source.size);
    const image = asIs ? squareImage(pixels, model.C, source.size) : inkImage(pointsOfPicture(pixels), source, "area");
    show(asRead(image, model.C, source), null);
  });

  part("clear").addEventListener("click", () => pad.clear());
  part("write").addEventListener("click", () => pad.write(handwritten(Math.floor(10 * Math.random()))));
  part("fly").addEventListener("click", () => fly(picture, sequence));
  part("undo").addEventListener("click", () => {
    change({ off: new Set(), covered: new Set() });
    root.querySelector(".head").focus(); // the button that was pressed is gone
  });
  const redraw = () => {
    thumbs.draw();
    refresh();
    if (state.isStill) pad.show(inColours(state.image));
    else pad.draw();
  };
  lightAndDark(root, part("theme"), redraw);
  new ResizeObserver(redraw).observe(root);

  root.style.setProperty("--least", strength(0.01, model.T));
  part("given").hidden = tests.length === 0;
  for (const name of ["clear", "write"]) part(name).hidden = !drawn;
  refresh();
  agreement(model, tests).then((text) => say(part("agreement"), text));
  if (drawn) pad.write(handwritten(7));
  else thumbs.first();
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
    return `Beware: this page's logits differ from PyTorch's by up to ${gap.toPrecision(2)}. The model that was trained computes something else than the course's; to find out why, type vitcourse check.`;
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
      { type: "button", "aria-pressed": "false", class: isWrong ? "thumb wrong" : "thumb", "aria-label": told, title: told },
      element("canvas", { width: model.W, height: model.H, "aria-hidden": "true" }),
    );
  });
  const mistakes = buttons.some((button) => button.classList.contains("wrong"));
  say(told, mistakes ? "Never seen in training. Marked: those that the model gets wrong." : "Never seen in training. The model gets these right.");
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
function takePictures(root, part, onPixels) {
  const take = async (file) => {
    if (!file) return;
    try {
      const bitmap = await createImageBitmap(file);
      const scale = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height));
      const [width, height] = [Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale))];
      const context = element("canvas", { width, height }).getContext("2d");
      context.drawImage(bitmap, 0, 0, width, height);
      onPixels(context.getImageData(0, 0, width, height));
      say(part("taken"), `${file.name}: taken`);
    } catch {
      say(part("taken"), `${file.name} is not a picture that this browser can read`);
    }
  };
  part("file").addEventListener("change", (event) => {
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
