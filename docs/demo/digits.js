// A drawing as an image of MNIST's kind, and pixels as the networks take them.

export const SIDE = 28;
const BOX = 20; // MNIST's digits fit in a box of 20 x 20, with the centre of mass in the middle of the 28 x 28

// Coverage by ink, 0..1, of a drawing in an alpha channel; null for an empty one.
export function centred(alpha, width, height) {
  let left = width, right = -1, top = height, bottom = -1;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (alpha[y * width + x] > 16) {
        left = Math.min(left, x); right = Math.max(right, x);
        top = Math.min(top, y); bottom = Math.max(bottom, y);
      }
  if (right < 0) return null;
  const size = Math.max(right - left, bottom - top) + 1, step = size / BOX;
  let mass = 0, massX = 0, massY = 0;
  for (let y = top; y <= bottom; y++)
    for (let x = left; x <= right; x++) {
      const value = alpha[y * width + x];
      mass += value; massX += value * (x + 0.5); massY += value * (y + 0.5);
    }
  const originX = massX / mass - (SIDE / 2) * step, originY = massY / mass - (SIDE / 2) * step;
  const grey = new Float32Array(SIDE * SIDE);
  for (let row = 0; row < SIDE; row++)
    for (let column = 0; column < SIDE; column++)
      grey[row * SIDE + column] = mean(alpha, width, height,
        originX + column * step, originY + row * step, step) / 255;
  return grey;
}

// The mean of a square, outside of which there is nothing.
function mean(alpha, width, height, x, y, step) {
  const samples = Math.max(1, Math.ceil(step));
  let sum = 0;
  for (let j = 0; j < samples; j++)
    for (let i = 0; i < samples; i++) {
      const column = Math.floor(x + ((i + 0.5) / samples) * step), row = Math.floor(y + ((j + 0.5) / samples) * step);
      if (column >= 0 && row >= 0 && column < width && row < height) sum += alpha[row * width + column];
    }
  return sum / samples ** 2;
}

// ground + grey * (ink - ground), in 8 bits as images are, then normalised: [3 * 28 * 28], channel by channel.
export function painted(grey, ink, ground, mean, std) {
  const pixels = new Float32Array(3 * grey.length);
  for (let channel = 0; channel < 3; channel++)
    for (let place = 0; place < grey.length; place++) {
      const value = Math.round(ground[channel] + grey[place] * (ink[channel] - ground[channel])) / 255;
      pixels[channel * grey.length + place] = (value - mean[channel]) / std[channel];
    }
  return pixels;
}

export function channels(color) {
  return [1, 3, 5].map(start => parseInt(color.slice(start, start + 2), 16));
}

export function softmax(logits) {
  const largest = Math.max(...logits), powers = Array.from(logits, value => Math.exp(value - largest));
  const sum = powers.reduce((one, other) => one + other);
  return powers.map(value => value / sum);
}

// A map [height * width], between whose places is interpolated as in torch (align_corners=False).
export function resized(map, height, width, side) {
  const found = new Float32Array(side * side);
  const at = (place, size) => Math.min(Math.max((place + 0.5) * size / side - 0.5, 0), size - 1);
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++) {
      const y = at(row, height), x = at(column, width);
      const [y0, x0] = [Math.floor(y), Math.floor(x)];
      const [y1, x1] = [Math.min(y0 + 1, height - 1), Math.min(x0 + 1, width - 1)];
      const upper = map[y0 * width + x0] * (1 - x + x0) + map[y0 * width + x1] * (x - x0);
      const lower = map[y1 * width + x0] * (1 - x + x0) + map[y1 * width + x1] * (x - x0);
      found[row * side + column] = upper * (1 - y + y0) + lower * (y - y0);
    }
  return found;
}
