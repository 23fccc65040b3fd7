// The answer: a logit for each class, how far it moved since nothing was covered or off, and its share: its probability.

import { argmax, softmax } from "./vit.js";
import { element, percent, say, set, signed } from "./paint.js";

export const MOST_CLASSES = 10;

/** The classes that are listed: all if they are few, else the likeliest. */
export function listed(logits) {
  const all = [...logits.keys()];
  return all.length <= MOST_CLASSES ? all : all.sort((a, b) => logits[b] - logits[a]).slice(0, MOST_CLASSES);
}

/** The likeliest class, large, and a table of the listed ones. */
export function makeAnswer(root, names) {
  const large = element("span", { class: "large" });
  const sure = element("span", { class: "sure" });
  const truth = element("span", { class: "truth" });
  const rows = names.slice(0, MOST_CLASSES).map(() => {
    const cells = {
      name: element("th", { scope: "row" }),
      bar: element("span", { class: "bar" }),
      was: element("span", { class: "was" }),
      logit: element("td", { class: "number" }),
      moved: element("td", { class: "number moved" }),
      share: element("td", { class: "number" }),
    };
    const track = element("td", { class: "track" }, element("span", { class: "axis" }), cells.bar, cells.was);
    const row = element("tr", {}, cells.name, track, cells.logit, cells.moved, cells.share);
    return { row, ...cells };
  });
  const heads = ["class", "", "logit", "moved", "share"].map((text) =>
    text ? element("th", { scope: "col", text }) : element("td"),
  );
  const table = element(
    "table",
    { class: names.every((name) => name.length < 3) ? "answer" : "answer long" },
    element("caption", { class: "unseen", text: "The logits and probabilities of the classes" }),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows.map((row) => row.row)),
  );
  root.append(element("p", { class: "verdict" }, large, element("span", { class: "beside" }, sure, truth)), table);

  let range = 8; // the logit at the end of a bar: it grows when it must, and so stands still while one draws
  return {
    update({ result, before, moving, label, blank, classes }) {
      table.classList.toggle("moving", moving);
      const shares = softmax(result.logits);
      const best = argmax(shares);
      range = Math.max(range, ...result.logits.map(Math.abs));
      say(large, blank ? "?" : names[best]);
      large.classList.toggle("long", names[best].length > 2);
      say(sure, blank ? "draw a digit" : `${percent(shares[best])} sure`);
      say(truth, label === null || blank ? "" : label === best ? "and right" : `but it is ${names[label]}`);
      truth.classList.toggle("wrong", label !== null && label !== best);
      rows.forEach(({ row, name, bar, was, logit, moved, share }, k) => {
        const index = classes[k];
        say(name, names[index]);
        const [value, earlier] = [result.logits[index], before.logits[index]];
        row.classList.toggle("best", !blank && index === best);
        bar.style.setProperty("--from", Math.min(value, 0) / range);
        bar.style.setProperty("--length", Math.abs(value) / range);
        was.style.setProperty("--at", earlier / range);
        was.hidden = !moving;
        say(logit, signed(value).replace("+", ""));
        say(moved, !moving || signed(value - earlier) === "0.0" ? "" : signed(value - earlier));
        say(share, percent(shares[index]));
      });
    },
  };
}

/** The answer in a sentence. */
export function answerInWords(names, logits) {
  const shares = softmax(logits);
  const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]);
  const [first, second] = order.map((k) => `${names[k]}, ${percent(shares[k])}`);
  return `The model says ${first}; next comes ${second}.`;
}
