// Three ways to ask where a model looked: attention, rollout, occlusion. Chapter 6 builds the same in PyTorch.

import { forward } from "./vit.js";

/** Where a token looks, the mean over the heads of a layer: (T). */
export function meanRow({ T, h }, result, layer, token) {
  const row = new Float32Array(T);
  for (const { weights } of result.layers[layer].heads) {
    for (let s = 0; s < T; s++) row[s] += weights[token * T + s] / h;
  }
  return row;
}

/** Attention of all layers together (Abnar & Zuidema 2020): where a token's content came from, (T). */
export function rollout(model, result, token, residual = 0.5) {
  const { T, L } = model;
  let row = new Float32Array(T); // a row of the product, from the last layer to the first
  row[token] = 1;
  for (let l = L - 1; l >= 0; l--) {
    const next = row.map((share) => residual * share);
    for (let t = 0; t < T; t++) {
      const mean = meanRow(model, result, l, t);
      for (let s = 0; s < T; s++) next[s] += (1 - residual) * row[t] * mean[s];
    }
    row = next;
  }
  return row;
}

/** By how much a class's logit falls when each patch alone is covered too: one number at a time, N in all. */
export function* occlusion(model, image, label, { off, covered }) {
  const whole = forward(model, image, { off, covered }).logits[label];
  for (let n = 0; n < model.T - 1; n++) {
    yield whole - forward(model, image, { off, covered: new Set([...covered, n]) }).logits[label];
  }
}
