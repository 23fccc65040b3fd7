// Brings the explorables of a page to life: each place says by data-living what it is.

import { makeRiver } from "./river.js";
import { makeModel } from "./vit.js";

const KINDS = { river: makeRiver };

/** All of them, from what living_model.py told. Where a script fails, the static picture stays. */
export function live(told) {
  const model = makeModel(told);
  for (const root of document.querySelectorAll("[data-living]")) {
    const place = document.createElement("div");
    place.className = "live";
    root.append(place);
    root.classList.add("alive");
    try {
      KINDS[root.dataset.living](place, told, model);
    } catch (error) {
      root.classList.remove("alive");
      place.remove();
      throw error;
    }
  }
}
