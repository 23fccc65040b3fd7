// What the views share: elements, colours, canvases, and how one walks through a group of buttons by keyboard.

/** An element with its attributes and children; `text` is set as text, so no name of a class can be markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** The page's colours as [r, g, b], as they are now, light or dark. */
export function colours(root) {
  const style = getComputedStyle(root);
  const colour = (name) => {
    const hex = style.getPropertyValue(`--${name}`).trim();
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  };
  return { ink: colour("ink"), look: colour("look"), cls: colour("cls") };
}

export const rgba = ([r, g, b], alpha) => `rgba(${r}, ${g}, ${b}, ${alpha})`;

/**
 * How strong a share of attention to T tokens is drawn, from 0 to 1: one curve for all heads, on which an even share,
 * 1/T, is faint and yet seen.
 */
export const strength = (share, T) => Math.max(share, 0) ** (Math.log(0.3) / -Math.log(T));

const boxes = new WeakMap();
const watcher = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) boxes.set(target, [contentRect.width, contentRect.height]);
});

/** An element's width and height, kept until they change: to ask for them in every frame costs a layout each time. */
export function boxOf(target) {
  if (!boxes.has(target)) {
    boxes.set(target, [target.clientWidth, target.clientHeight]);
    watcher.observe(target);
  }
  return boxes.get(target);
}

/** A canvas's context, cleared, as sharp as the screen; its units are CSS pixels. */
export function fresh(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d");
  context.setTransform(wide / width, 0, 0, high / height, 0, 0);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  return context;
}

/** An image (C, H, W) as a canvas of W × H pixels: ink in the page's own ink, pictures in their own colours. */
export function imageCanvas({ C, H, W }, image, ink) {
  const canvas = element("canvas", { width: W, height: H });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(W, H);
  for (let i = 0; i < H * W; i++) {
    const values = C === 3 ? [image[i], image[H * W + i], image[2 * H * W + i]] : [image[i], image[i], image[i]];
    const colour = ink ? [...ink, 255 * Math.min(Math.max(image[i], 0), 1)] : [...values.map((v) => 255 * v), 255];
    pixels.data.set(colour, 4 * i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Vectors (D) as a strip of lines: one sign in one colour, the other in another. */
export function strip(context, vector, width, height, most, { look, cls }) {
  const step = height / vector.length;
  vector.forEach((value, i) => {
    context.fillStyle = rgba(value < 0 ? cls : look, Math.min(1, Math.abs(value) / most));
    context.fillRect(0, i * step, width, Math.max(step, 0.5));
  });
}

/** Hatching over a rectangle: what is covered, or off. */
export function hatch(context, x, y, width, height, colour) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  for (let d = -height; d < width; d += 5) {
    context.moveTo(x + d, y + height);
    context.lineTo(x + d + height, y);
  }
  context.stroke();
  context.restore();
}

/**
 * Make a group of buttons one stop of the Tab key, with arrow keys between them: `columns()` of them in a row.
 *
 * With `follow`, an arrow key also presses the button that it reaches, as among radio buttons.
 */
export function walkable(buttons, columns, follow = () => {}) {
  const enter = (button) => buttons.forEach((other) => (other.tabIndex = other === button ? 0 : -1));
  enter(buttons[0]);
  buttons.forEach((button, i) => {
    button.addEventListener("focus", () => enter(button));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
      const to = { Home: buttons[0], End: buttons.at(-1) }[event.key] ?? (step && buttons[i + step]);
      if (step || to) event.preventDefault();
      if (!to) return;
      to.focus();
      follow(to);
    });
  });
}

/** Write a text only where it changed, so that nothing is read out twice. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Set an attribute only where it changed. */
export function set(target, name, value) {
  if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
}

/** A share as one reads it: 4%, or 0.4% where it is small. */
export function percent(share) {
  const hundredths = 100 * share;
  return `${hundredths > 0 && hundredths < 0.95 ? hundredths.toFixed(1) : Math.round(hundredths)}%`;
}

/** A signed number with a true minus. */
export function signed(value) {
  const text = Math.abs(value).toFixed(1);
  if (text === "0.0") return "0.0";
  return `${value < 0 ? "−" : "+"}${text}`;
}
