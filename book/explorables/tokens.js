// The image as the model reads it, cut into patches; and the sequence of tokens that it becomes.

import { boxOf, element, fresh, hatch, percent, rgba, set, strength, strip, walkable } from "./paint.js";

/** How a token is called: CLS, or where its patch is. */
export function tokenName({ gw }, t) {
  return t === 0 ? "CLS" : `the patch in row ${Math.floor((t - 1) / gw)}, column ${(t - 1) % gw}`;
}

/** The image in its patches: each a button that covers it. `onCover(n)` is called with the patch. */
export function makePicture(root, model, { onCover }) {
  const { gh, gw } = model;
  const canvas = element("canvas", { "aria-hidden": "true" });
  const buttons = Array.from({ length: gh * gw }, (_, n) =>
    element("button", {
      type: "button",
      "aria-pressed": "false",
      "aria-label": `cover ${tokenName(model, n + 1)}`,
      onclick: () => onCover(n),
    }),
  );
  const box = element(
    "div",
    { class: "picture", role: "group", "aria-label": "The image in its patches" },
    canvas,
    ...buttons,
  );
  box.style.setProperty("--columns", gw);
  box.style.setProperty("--rows", gh);
  walkable(buttons, () => gw);
  root.append(box);
  return {
    buttons,
    update({ shown, palette, covered, token }) {
      buttons.forEach((button, n) => set(button, "aria-pressed", covered.has(n)));
      const [width, height] = boxOf(box);
      const context = fresh(canvas, width, height);
      context.drawImage(shown, 0, 0, width, height);
      const place = (n) => [((n % gw) * width) / gw, (Math.floor(n / gw) * height) / gh, width / gw, height / gh];
      for (const n of covered) hatch(context, ...place(n), rgba(palette.ink, 0.55));
      if (!token) return;
      const [x, y, wide, high] = place(token - 1);
      Object.assign(context, { lineWidth: 3, strokeStyle: rgba(palette.cls, 1) });
      context.strokeRect(x + 1.5, y + 1.5, wide - 3, high - 3);
    },
  };
}

/** The tokens in a row: each its patch and its vector. `onSelect(t)` is called with the token that is chosen. */
export function makeSequence(root, model, { onSelect }) {
  const { T, D, P, gw } = model;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const tokens = Array.from({ length: T }, (_, t) => {
    const patch = t ? element("canvas", { class: "patch" }) : element("span", { class: "patch cls", text: "CLS" });
    const vector = element("canvas", { class: "vector" });
    const name = tokenName(model, t);
    const button = element("button", {
      type: "button",
      role: "radio",
      class: "token",
      "aria-label": name,
      onclick: () => onSelect(t),
    });
    button.append(patch, vector);
    return { button, patch, vector };
  });
  const buttons = tokens.map((token) => token.button);
  const box = element(
    "div",
    { class: "sequence", role: "radiogroup", "aria-label": "The tokens: choose one to see where it looks" },
    svg,
    ...buttons,
  );
  walkable(
    buttons,
    () => 1,
    (button) => button.click(),
  );
  root.append(box);

  let tops = []; // where an arc meets each token: the middle of its upper edge
  const arcs = tokens.map(() => svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path")));
  return {
    tokens,
    arcs: svg,
    /** The arcs of one row of attention, (T): from the chosen token to where it looks. */
    look(token, row) {
      if (tops.size !== boxOf(box)) tops = placesOf(buttons, box);
      const [x0, y0] = tops[token];
      tops.forEach(([x, y], t) => {
        const rise = t === token ? 22 : 12 + Math.min(30, 0.16 * Math.hypot(x - x0, y - y0));
        const side = t === token ? 10 : 0; // a token looks at itself in a loop
        const high = Math.min(y, y0) - rise;
        arcs[t].setAttribute(
          "d",
          `M${x0 - side / 3},${y0} C${x0 - side},${high} ${x + side},${high} ${x + side / 3},${y}`,
        );
        arcs[t].style.strokeWidth = 0.75 + 5 * row[t];
        arcs[t].style.opacity = strength(row[t], T);
      });
    },
    update({ shown, palette, covered, result, token }) {
      // As few rows as leave each token wide enough, and all rows about as long.
      const rows = Math.ceil(T / Math.floor(boxOf(box)[0] / 31));
      box.style.setProperty("--row", Math.ceil(T / rows));
      box.classList.toggle("many", rows > 1);
      let most = 0;
      for (const value of result.tokens) most = Math.max(most, Math.abs(value));
      const [width] = boxOf(tokens[1].patch);
      tokens.forEach(({ button, patch, vector }, t) => {
        set(button, "aria-checked", t === token);
        if (t) {
          const context = fresh(patch, width, width);
          if (covered.has(t - 1)) hatch(context, 0, 0, width, width, rgba(palette.ink, 0.55));
          context.drawImage(shown, ((t - 1) % gw) * P, Math.floor((t - 1) / gw) * P, P, P, 0, 0, width, width);
        }
        const [, high] = boxOf(vector);
        if (high)
          strip(
            fresh(vector, width, high),
            result.tokens.subarray(t * D, (t + 1) * D),
            width,
            high,
            0.5 * most,
            palette,
          );
      });
    },
  };
}

/** The middle of the upper edge of each button in a box, and with them the size of the box for which they hold. */
function placesOf(buttons, box) {
  const places = buttons.map(({ offsetLeft, offsetTop, offsetWidth }) => [offsetLeft + offsetWidth / 2, offsetTop]);
  return Object.assign(places, { size: boxOf(box) });
}

/** Let the patches fly from the picture to their places in the sequence. */
export function fly(picture, sequence) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const from = picture.buttons.map((button) => button.getBoundingClientRect());
  const pause = Math.min(90, 900 / from.length);
  sequence.tokens.forEach(({ patch }, t) => {
    if (t === 0) return;
    const [start, end] = [from[t - 1], patch.getBoundingClientRect()];
    const move = `translate(${start.left - end.left}px, ${start.top - end.top}px) scale(${start.width / end.width}, ${start.height / end.height})`;
    patch.style.transformOrigin = "0 0";
    patch.animate(
      [
        { transform: move, zIndex: 2, easing: "cubic-bezier(.3, 0, .2, 1)" },
        { transform: "none", zIndex: 2 },
      ],
      { duration: 700, delay: t * pause, fill: "backwards" },
    );
  });
  sequence.arcs.animate([{ opacity: 0 }, { opacity: 1 }], {
    duration: 500,
    delay: from.length * pause + 700,
    fill: "backwards",
  });
  sequence.tokens.forEach(({ vector }, t) => {
    vector.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 500, delay: t * pause + 600, fill: "backwards" });
  });
}

/** A token's row of attention in words: the two places to which most of it goes. */
export function rowInWords(model, row, token) {
  const place = (t) => (t === token ? "itself" : tokenName(model, t).replace("the patch in ", ""));
  const order = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 2);
  return order.map((t) => `${percent(row[t])} at ${place(t)}`).join(" and ");
}
