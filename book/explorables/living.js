// Brings the explorables of a page to life: each place says by data-living what it is.

import { makeAttention } from "./attention.js";
import { makeMap } from "./map.js";
import { makePatches } from "./patches.js";
import { makePositions } from "./positions.js";
import { makeRiver } from "./river.js";
import { makeModel } from "./vit.js";

const EXPLORABLES = {
  attention: makeAttention,
  model: makeMap,
  patches: makePatches,
  positions: makePositions,
  river: makeRiver,
};

/** All of them, from what living_model.py told. Where a script fails, the static picture stays. */
export function live(told) {
  const model = makeModel(told);
  for (const root of document.querySelectorAll("[data-living]")) {
    const place = document.createElement("div");
    place.className = "live";
    root.querySelector(".still").after(place);
    root.classList.add("alive");
    try {
      EXPLORABLES[root.dataset.living](place, told, model);
    } catch (error) {
      root.classList.remove("alive");
      place.remove();
      throw error;
    }
  }
}
