// What the explorables of the book's pages share: their place on the page, its colours, its size, and time.

import { colours, element } from "./paint.js";

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** The seven of all chapters, (C, H, W), from what living_model.py told. */
export const running = (told) => Float32Array.from(told.seven);

/** Follow the page from light to dark and from wide to narrow: `act(palette)` draws again. */
export function onLooks(root, act) {
  const follow = () => act(colours(root));
  new MutationObserver(follow).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  new ResizeObserver(follow).observe(root);
  follow();
}

/** However often it is asked for between two frames, `act` is done once. */
export function oncePerFrame(act) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      act();
    });
  };
}

/** `step(share)` at every frame, from 0 to 1 in so many milliseconds; at once where motion isn't wanted. */
export function play(milliseconds, step) {
  let stopped = false;
  const start = performance.now();
  const go = (now) => {
    if (stopped) return;
    const share = Math.min(Math.max((now - start) / milliseconds, 0), 1);
    step(share);
    if (share < 1) requestAnimationFrame(go);
  };
  if (still()) step(1);
  else requestAnimationFrame(go);
  return () => (stopped = true);
}

/** From 0 to 1, slow at both ends. */
export const eased = (share) => {
  const x = Math.min(Math.max(share, 0), 1);
  return x * x * (3 - 2 * x);
};

/** Do it when the place is first seen. */
export function whenSeen(root, act) {
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    act();
  });
  watcher.observe(root);
}

/** Say it to those who hear the page, once the hand rests. */
export function makeVoice(root) {
  const place = element("p", { class: "unseen", role: "status" });
  root.append(place);
  let timer = 0;
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (place.textContent !== text) place.textContent = text;
    }, 250);
  };
}

/** A row of choices, one of which holds: radio buttons in the shape of buttons. `onChoose(key)` at a change. */
export function makeChoice(label, choices, chosen, onChoose) {
  const name = `choice-${Math.random().toString(36).slice(2)}`;
  const options = Object.entries(choices).map(([key, text]) => {
    const input = element("input", { type: "radio", name, value: key });
    input.checked = key === chosen;
    input.addEventListener("change", () => onChoose(key));
    return element("label", {}, input, element("span", { text }));
  });
  return element("div", { class: "choice", role: "radiogroup", "aria-label": label }, ...options);
}

/** A slider over a list of values, with what it stands at beside it. `told(value)` in words; `onSlide(value)`. */
export function makeSlider(label, values, chosen, told, onSlide) {
  const input = element("input", { type: "range", min: "0", step: "1", "aria-label": label });
  const shown = element("output", {});
  let all = values;
  const tell = () => {
    const value = all[input.value];
    shown.textContent = told(value);
    input.setAttribute("aria-valuetext", told(value));
    return value;
  };
  const set = (news, value) => {
    all = news;
    input.max = all.length - 1;
    input.value = Math.max(0, all.indexOf(value));
    tell();
  };
  input.addEventListener("input", () => onSlide(tell()));
  set(values, chosen);
  return { element: element("label", { class: "slider" }, element("span", { text: label }), input, shown), set };
}
