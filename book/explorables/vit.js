// The Vision Transformer of the course in plain JavaScript: its equations, its names, and every step in between.
//
// A tensor is a Float32Array, row by row; its shape stands at the end of the line, in the course's symbols:
// C, H, W channels, height, width · P patch size · N patches · T = N + 1 tokens, CLS first · D width of a token ·
// h heads, dh = D/h · M hidden width of the MLP · L layers · K classes

/** A model from its sizes and weights: what `vitcourse explore` writes into a page. */
export function makeModel(spec) {
  const numbers = floats(spec.weights);
  const at = (name) => {
    const [offset, length] = spec.tensors[name];
    return numbers.subarray(offset, offset + length);
  };
  const layer = (name) => ({ weight: at(`${name}.weight`), bias: at(`${name}.bias`) });
  const norm = (name) => ({ ...layer(name), eps: spec.eps[name] });
  const { L } = spec.sizes;
  return {
    ...spec.sizes,
    mean: spec.mean,
    std: spec.std,
    projection: layer("patch_embedding.projection"), // (D, C·P·P), as a linear layer on patches
    cls: at("positional_encoding.cls_token"), // (D)
    positions: at("positional_encoding.positions"), // (T, D)
    blocks: Array.from({ length: L }, (_, l) => ({
      norm1: norm(`blocks.${l}.norm1`),
      qkv: layer(`blocks.${l}.attention.qkv`),
      out: layer(`blocks.${l}.attention.out`),
      norm2: norm(`blocks.${l}.norm2`),
      fc1: layer(`blocks.${l}.mlp.fc1`),
      fc2: layer(`blocks.${l}.mlp.fc2`),
    })),
    norm: norm("norm"),
    head: layer("head"),
  };
}

/**
 * An image (C, H, W), in [0, 1], to logits (K), and all that arises on the way.
 *
 * `off` holds heads that give nothing, as "layer.head" from 0; `covered` holds patches whose pixels are replaced by the
 * training images' mean.
 */
export function forward(model, image, { off = new Set(), covered = new Set() } = {}) {
  const { T, D, L } = model;
  const patches = patchify(model, standardise(model, image)); // (N, C·P·P)
  for (const n of covered) patches.fill(0, (n * patches.length) / (T - 1), ((n + 1) * patches.length) / (T - 1));
  const embedded = linear(patches, model.projection); // (N, D)
  let x = new Float32Array(T * D); // (T, D), equation 1
  x.set(model.cls);
  x.set(embedded, D);
  x = add(x, model.positions); // (T, D)
  const streams = [x]; // the residual stream: before the first layer, and after each
  const layers = [];
  for (let l = 0; l < L; l++) {
    const step = block(model, l, x, off);
    x = step.stream; // (T, D)
    streams.push(x);
    layers.push(step);
  }
  const reads = streams.map((stream) => read(model, stream)); // (K) each: what the head would say there
  return { patches, embedded, tokens: streams[0], layers, streams, reads, logits: reads[L] };
}

/** One encoder block: equations 2 and 3. */
function block(model, l, x, off) {
  const { norm1, qkv, out, norm2, fc1, fc2 } = model.blocks[l];
  const projected = linear(layerNorm(x, norm1), qkv); // (T, 3·D): all queries, all keys, all values
  const heads = []; // for each head q, k, v (T, dh), weights (T, T), output (T, dh)
  const merged = new Float32Array(x.length); // (T, D)
  for (let head = 0; head < model.h; head++) {
    const seen = attention(model, projected, head);
    heads.push(seen);
    if (!off.has(`${l}.${head}`)) place(merged, seen.output, model, head);
  }
  const attended = linear(merged, out); // (T, D)
  const middle = add(x, attended); // (T, D), equation 2
  const hidden = linear(layerNorm(middle, norm2), fc1).map(gelu); // (T, M)
  const mlp = linear(hidden, fc2); // (T, D)
  const stream = add(middle, mlp); // (T, D), equation 3
  return { heads, attended, middle, hidden, mlp, stream };
}

/** softmax(q·kᵀ / √dh)·v of one head. */
function attention({ T, D, dh }, projected, head) {
  const part = (which) => {
    const values = new Float32Array(T * dh); // (T, dh)
    for (let t = 0; t < T; t++) {
      const start = t * 3 * D + which * D + head * dh;
      values.set(projected.subarray(start, start + dh), t * dh);
    }
    return values;
  };
  const [q, k, v] = [part(0), part(1), part(2)];
  const weights = new Float32Array(T * T); // (T, T)
  const output = new Float32Array(T * dh); // (T, dh)
  for (let t = 0; t < T; t++) {
    const row = weights.subarray(t * T, (t + 1) * T); // (T): where token t looks
    for (let s = 0; s < T; s++) row[s] = dot(q, t * dh, k, s * dh, dh) / Math.sqrt(dh);
    row.set(softmax(row));
    for (let s = 0; s < T; s++) {
      for (let i = 0; i < dh; i++) output[t * dh + i] += row[s] * v[s * dh + i];
    }
  }
  return { q, k, v, weights, output };
}

/** Put a head's output into its columns of the merged tensor (T, D). */
function place(merged, output, { T, D, dh }, head) {
  for (let t = 0; t < T; t++) merged.set(output.subarray(t * dh, (t + 1) * dh), t * D + head * dh);
}

/** The logits that the head reads off the CLS token of a residual stream (T, D): equation 4, and the last layer. */
function read(model, stream) {
  const cls = stream.subarray(0, model.D); // (D)
  return linear(layerNorm(cls, model.norm), model.head); // (K)
}

/** (C, H, W): less the mean of each channel, divided by its deviation. */
function standardise({ C, H, W, mean, std }, image) {
  const values = new Float32Array(C * H * W);
  for (let i = 0; i < values.length; i++) {
    const c = Math.floor(i / (H * W));
    values[i] = (image[i] - mean[c]) / std[c];
  }
  return values;
}

/** (C, H, W) -> (N, C·P·P): patches row by row, the pixels of one in (C, P, P) order. */
export function patchify({ C, H, W, P, gh, gw }, image) {
  const patches = new Float32Array(C * H * W);
  let i = 0;
  for (let row = 0; row < gh; row++) {
    for (let column = 0; column < gw; column++) {
      for (let c = 0; c < C; c++) {
        for (let y = 0; y < P; y++) {
          const start = (c * H + row * P + y) * W + column * P;
          patches.set(image.subarray(start, start + P), i);
          i += P;
        }
      }
    }
  }
  return patches;
}

/** x (n, in) -> (n, out): each row times the weight (out, in), plus the bias (out). Nearly all of the time is spent here. */
export function linear(x, { weight, bias }) {
  const outs = bias.length;
  const ins = weight.length / outs;
  const y = new Float32Array((x.length / ins) * outs);
  const fours = outs - (outs % 4);
  for (let from = 0, to = 0; from < x.length; from += ins, to += outs) {
    // Four outputs at once: each number of the row is read once for the four.
    for (let o = 0; o < fours; o += 4) {
      const w = o * ins;
      let s0 = bias[o];
      let s1 = bias[o + 1];
      let s2 = bias[o + 2];
      let s3 = bias[o + 3];
      for (let i = 0; i < ins; i++) {
        const value = x[from + i];
        s0 += value * weight[w + i];
        s1 += value * weight[w + ins + i];
        s2 += value * weight[w + 2 * ins + i];
        s3 += value * weight[w + 3 * ins + i];
      }
      y[to + o] = s0;
      y[to + o + 1] = s1;
      y[to + o + 2] = s2;
      y[to + o + 3] = s3;
    }
    for (let o = fours; o < outs; o++) y[to + o] = bias[o] + dot(x, from, weight, o * ins, ins);
  }
  return y;
}

/** The product of two vectors of one length, each from its own place on. */
function dot(a, i, b, j, length) {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += a[i + k] * b[j + k];
  return sum;
}

/** Every row (D) to mean 0 and variance 1, then scaled and shifted. */
export function layerNorm(x, { weight, bias, eps }) {
  const D = weight.length;
  const y = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += D) {
    let mean = 0;
    for (let i = 0; i < D; i++) mean += x[start + i] / D;
    let variance = 0;
    for (let i = 0; i < D; i++) variance += (x[start + i] - mean) ** 2 / D;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < D; i++) y[start + i] = (x[start + i] - mean) * scale * weight[i] + bias[i];
  }
  return y;
}

/** x·Φ(x), the exact form; erf by Abramowitz and Stegun, 7.1.26, within 1.5e-7. */
export function gelu(x) {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const erf = 1 - series * Math.exp(-z * z);
  return 0.5 * x * (1 + (x < 0 ? -erf : erf));
}

/** Numbers to shares that sum to 1. */
export function softmax(values) {
  let most = -Infinity;
  for (const value of values) most = Math.max(most, value);
  const shares = values.map((value) => Math.exp(value - most));
  let sum = 0;
  for (const share of shares) sum += share;
  return shares.map((share) => share / sum);
}

/** The sum of two tensors of one shape. */
function add(a, b) {
  const sum = new Float32Array(a.length);
  for (let i = 0; i < sum.length; i++) sum[i] = a[i] + b[i];
  return sum;
}

/** The index of the largest value. */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Base64 to bytes. */
export function bytes(text) {
  const letters = atob(text);
  const values = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) values[i] = letters.charCodeAt(i);
  return values;
}

/** Base64 of little-endian float32 to numbers. */
export function floats(text) {
  return new Float32Array(bytes(text).buffer);
}
