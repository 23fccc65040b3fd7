// Attention, rollout and occlusion side by side: three answers to one question, and they need not agree.

import { meanRow, rollout } from "./looking.js";
import { drawRow } from "./heads.js";
import { element, say, set, signed } from "./paint.js";
import { rowInWords, tokenName } from "./tokens.js";

const KINDS = {
  attention: ["Attention", "The last layer, its heads averaged."],
  rollout: ["Rollout", "All layers multiplied, each with its shortcut."],
  occlusion: ["Occlusion", ""],
};

/** The three pictures. Occlusion comes later than the others, a patch at a time. */
export function makeLooks(root, model, names) {
  const made = Object.entries(KINDS).map(([kind, [title, text]]) => {
    const canvas = element("canvas", { role: "img", "aria-label": title });
    const told = element("span", { text });
    root.append(
      element(
        "figure",
        { class: "look" },
        canvas,
        element("figcaption", {}, element("strong", { text: title }), " ", told),
      ),
    );
    return [kind, { canvas, told }];
  });
  const { attention, rollout: flow, occlusion } = Object.fromEntries(made);
  const rows = ({ result, token }) => [meanRow(model, result, model.L - 1, token), rollout(model, result, token)];
  return {
    update(state) {
      say(occlusion.told, `How far the logit of ${names[state.best]} falls without each patch. Blue: it rises.`);
      const [last, all] = rows(state);
      drawRow(attention.canvas, model, state.shown, last, state.palette, state);
      drawRow(flow.canvas, model, state.shown, all, state.palette, state);
      const most = Math.max(1, ...state.falls.map(Math.abs)); // a fall of less than 1 is never drawn as if it were much
      const scale = (fall) => Math.sign(fall) * Math.sqrt(Math.abs(fall) / most);
      const row = [0, ...Array.from({ length: model.T - 1 }, (_, n) => state.falls[n] ?? 0)];
      drawRow(occlusion.canvas, model, state.shown, row, state.palette, {
        scale,
        covered: state.covered,
        drawn: state.drawn,
      });
    },
    describe(state) {
      const [last, all] = rows(state);
      const who = tokenName(model, state.token);
      set(
        attention.canvas,
        "aria-label",
        `Attention of the last layer: ${who} looks ${rowInWords(model, last, state.token)}`,
      );
      set(
        flow.canvas,
        "aria-label",
        `Rollout: what reaches ${who} comes ${rowInWords(model, all, state.token).replaceAll(" at ", " from ")}`,
      );
      const moved = state.falls.map(Math.abs);
      const worst = moved.indexOf(Math.max(...moved));
      const told =
        worst < 0
          ? ""
          : `: without ${tokenName(model, worst + 1)} the logit of ${names[state.best]} moves most, by ${signed(-state.falls[worst])}`;
      set(occlusion.canvas, "aria-label", `Occlusion${told}`);
    },
  };
}
