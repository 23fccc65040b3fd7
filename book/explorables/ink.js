// Strokes and pictures as the training images were made: small grey images (C, H, W) in [0, 1].
//
// The digits of scikit-learn were bitmaps of 32×32 pixels, in which ink was counted in blocks of 4×4. Before, NIST's
// program had fitted each digit into 20×32 pixels, set it upright, so that its first ink in the top row and in the
// bottom row stood one above the other, and thickened or thinned its strokes until all digits had about as much ink
// (Garris et al. 1994, NISTIR 5469). MNIST's digits were fitted into 20×20 pixels and put with their centre of mass into
// the middle of 28×28 (LeCun et al. 1998). A digit that is made otherwise is, to the model, another kind of image.

// Half the width of a stroke, as a share of the image's side: of a drawn line, and of ink that has a width already.
const PENS = { counted: { line: 0.05, area: 0.016 }, centred: { line: 0.041, area: 0.025 } };

/** Strokes, each a list of points [x, y], as points so close together that they make a line. */
export function pointsOf(strokes) {
  const box = bounds(strokes.flat());
  const spacing = Math.max(box.width, box.height, 1e-3) / 80;
  const points = [];
  for (const stroke of strokes) {
    points.push(stroke[0]);
    for (let i = 1; i < stroke.length; i++) {
      const [[x0, y0], [x1, y1]] = [stroke[i - 1], stroke[i]];
      const steps = Math.ceil(Math.hypot(x1 - x0, y1 - y0) / spacing);
      for (let s = 1; s <= steps; s++) points.push([x0 + ((x1 - x0) * s) / steps, y0 + ((y1 - y0) * s) / steps]);
    }
  }
  return points;
}

/**
 * Points of ink, on a pad that is 1 wide, as an image of a data set: `source` says how its images were made. The points
 * are those of a line, or of an area.
 */
export function inkImage(points, source, made = "line") {
  if (points.length === 0) return new Float32Array(source.size ** 2);
  const pen = PENS[source.kind][made];
  return source.kind === "counted" ? counted(points, source, pen) : centred(points, source, pen * source.size);
}

/** Ink counted in blocks of a bitmap, as in scikit-learn's digits. */
function counted(points, { size, block, ink }, share) {
  const side = size * block;
  const pen = share * side;
  const fitted = fit(upright(points), (20 / 32) * side - 2 * pen, side - 2 * pen, 2);
  const placed = fitted.map(([x, y]) => [x + side / 2, y + side / 2]);
  const most = 0.2 * side;
  const far = distances(placed, side, most);
  // As thick as it takes to have as much ink as the training images have on average.
  const enough = [...far].sort((a, b) => a - b)[Math.round(ink * far.length)];
  const radius = Math.min(Math.max(enough, pen), most);
  const image = new Float32Array(size * size);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      if (far[y * side + x] < radius) image[Math.floor(y / block) * size + Math.floor(x / block)] += 1 / block ** 2;
    }
  }
  return image;
}

/** Ink as shades, its centre of mass in the middle, as in MNIST. */
function centred(points, { size }, pen) {
  const box = (20 / 28) * size - 2 * pen;
  const fitted = fit(points, box, box);
  const centre = [0, 1].map((axis) => fitted.reduce((sum, point) => sum + point[axis], 0) / fitted.length);
  const placed = fitted.map(([x, y]) => [x - centre[0] + size / 2, y - centre[1] + size / 2]);
  const far = distances(placed, size, pen + 0.5);
  return far.map((distance) => Math.min(Math.max(pen + 0.5 - distance, 0), 1));
}

/** Points sheared until the leftmost at the top and the leftmost at the bottom stand one above the other. */
function upright(points) {
  const box = bounds(points);
  const near = 0.08 * box.height; // a stroke has a width: its first row of ink is not its line's first point
  const leftmost = (y0, y1) => Math.min(...points.filter(([, y]) => y >= y0 && y <= y1).map(([x]) => x));
  const lean = leftmost(box.top + box.height - near, Infinity) - leftmost(box.top, box.top + near);
  return points.map(([x, y]) => [x - (lean * (y - box.top)) / (box.height || 1), y]);
}

/** Points scaled to fit a box around (0, 0), and stretched upwards by up to `tall` to fill it; a dot stays a dot. */
function fit(points, width, height, tall = 1) {
  const box = bounds(points);
  const most = 3 * Math.max(width, height); // a third of the pad may fill the image, and no less
  const scale = Math.min(height / box.height, width / box.width, most);
  const up = Math.min(height / box.height, tall * scale, most);
  const [x0, y0] = [box.left + box.width / 2, box.top + box.height / 2];
  return points.map(([x, y]) => [(x - x0) * scale, (y - y0) * up]);
}

function bounds(points) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  return { left, top, width: right - left, height: bottom - top };
}

/** How far the middle of each pixel of a square is from the nearest point; Infinity where none is within reach. */
function distances(points, side, reach) {
  const far = new Float32Array(side * side).fill(Infinity);
  for (const [px, py] of points) {
    const [left, right] = [Math.max(0, Math.floor(px - reach)), Math.min(side, Math.ceil(px + reach))];
    const [top, bottom] = [Math.max(0, Math.floor(py - reach)), Math.min(side, Math.ceil(py + reach))];
    for (let y = top; y < bottom; y++) {
      const down = (y + 0.5 - py) ** 2;
      for (let x = left; x < right; x++) {
        const square = down + (x + 0.5 - px) ** 2;
        if (square < far[y * side + x]) far[y * side + x] = square;
      }
    }
  }
  return far.map(Math.sqrt);
}

/** A photograph of a digit (ImageData) as points of ink, on paper of any colour: what differs most from its border. */
export function pointsOfPicture(pixels) {
  const small = resample(channels(pixels, 1), 1, pixels.height, pixels.width, ...within(pixels, 112));
  const { values, height, width } = small;
  const border = values.filter(
    (_, i) => i < width || i >= values.length - width || i % width < 1 || i % width > width - 2,
  );
  const paper = [...border].sort((a, b) => a - b)[border.length >> 1];
  const contrast = values.map((value) => Math.abs(value - paper));
  const limit = otsu(contrast);
  const points = [];
  contrast.forEach((value, i) => {
    if (value > limit) points.push([(i % width) / width, Math.floor(i / width) / width]);
  });
  return points;
}

/** The threshold that parts values into two groups that differ most (Otsu 1979). */
function otsu(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const total = sorted.reduce((sum, value) => sum + value, 0);
  let [below, best, limit] = [0, -1, 0];
  for (let n = 1; n < sorted.length; n++) {
    below += sorted[n - 1];
    const between = n * (sorted.length - n) * (below / n - (total - below) / (sorted.length - n)) ** 2;
    if (between > best) [best, limit] = [between, (sorted[n - 1] + sorted[n]) / 2];
  }
  return limit;
}

/** A picture (ImageData) as training reads a file: its middle square, made size × size; (C, size, size). */
export function squareImage(pixels, C, size) {
  const side = Math.min(pixels.width, pixels.height);
  const [left, top] = [Math.floor((pixels.width - side) / 2), Math.floor((pixels.height - side) / 2)];
  const values = channels(pixels, C);
  const square = new Float32Array(C * side * side);
  for (let c = 0; c < C; c++) {
    for (let y = 0; y < side; y++) {
      const start = (c * pixels.height + top + y) * pixels.width + left;
      square.set(values.subarray(start, start + side), (c * side + y) * side);
    }
  }
  return resample(square, C, side, side, size, size).values;
}

/** An image of the data set's own size as the model reads it: resized and cut as in training. (C, H, W) */
export function asRead(image, C, { size, resize, crop }) {
  const sized = resize && resize !== size ? resample(image, C, size, size, resize, resize).values : image;
  const side = resize ?? size;
  if (!crop || crop === side) return sized;
  const start = Math.floor((side - crop) / 2);
  const cut = new Float32Array(C * crop * crop);
  for (let row = 0; row < C * crop; row++) {
    const from = (Math.floor(row / crop) * side + start + (row % crop)) * side + start;
    cut.set(sized.subarray(from, from + crop), row * crop);
  }
  return cut;
}

/** ImageData on white, as grey or as red, green and blue, in [0, 1]: (C, H, W). */
function channels({ data, width, height }, C) {
  const area = width * height;
  const values = new Float32Array(C * area);
  for (let i = 0; i < area; i++) {
    const alpha = data[4 * i + 3] / 255;
    const [r, g, b] = [0, 1, 2].map((c) => (data[4 * i + c] / 255) * alpha + 1 - alpha);
    if (C === 1) values[i] = 0.299 * r + 0.587 * g + 0.114 * b;
    else [values[i], values[area + i], values[2 * area + i]] = [r, g, b];
  }
  return values;
}

function within({ width, height }, most) {
  const scale = Math.min(1, most / Math.max(width, height));
  return [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))];
}

/** (C, H, W) to another size, bilinear, smoothed first where it shrinks: as Pillow and torch (antialias) do it. */
export function resample(image, C, H, W, height, width) {
  const wide = new Float32Array(C * H * width);
  filter(W, width).forEach(({ start, weights }, x) => {
    for (let row = 0; row < C * H; row++) {
      weights.forEach((weight, i) => (wide[row * width + x] += weight * image[row * W + start + i]));
    }
  });
  const values = new Float32Array(C * height * width);
  filter(H, height).forEach(({ start, weights }, y) => {
    for (let c = 0; c < C; c++) {
      for (let x = 0; x < width; x++) {
        weights.forEach((weight, i) => {
          values[(c * height + y) * width + x] += weight * wide[(c * H + start + i) * width + x];
        });
      }
    }
  });
  return { values, height, width };
}

/** For each new pixel of a row the old ones that it is made of, and their weights. */
function filter(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const start = Math.max(0, Math.floor(centre - reach + 0.5));
    const end = Math.min(from, Math.floor(centre + reach + 0.5));
    const raw = [];
    for (let i = start; i < end; i++) raw.push(Math.max(0, 1 - Math.abs((i + 0.5 - centre) / reach)));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { start, weights: raw.map((weight) => weight / sum) };
  });
}
