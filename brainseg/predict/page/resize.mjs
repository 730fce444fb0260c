// Resizing in the very numbers of brainseg/predict/resize.py, where the reasons stand.

const FIXED = 2048;
const APART = 1e-3;
const f32 = Math.fround;

/**
 * Resize probabilities, bilinear: along the rows, then along the columns.
 * @param {Float32Array} values height×width
 * @returns {Float32Array} toHeight×toWidth
 */
export function resizeProbability(values, width, height, toWidth, toHeight) {
  if (width === toWidth && height === toHeight) return values;
  const rows = weighRows(values, width, height, linearTaps(width, toWidth));
  return weighColumns(rows, toWidth, linearTaps(height, toHeight));
}

/**
 * Resize a grey image to size×size: by area, or bilinear if it grows.
 * @param {Uint8Array} pixels height×width
 * @returns {Uint8Array} size×size
 */
export function resizeImage(pixels, width, height, size) {
  if (width === size && height === size) return pixels;
  if (Math.max(width, height) <= size) {
    return blend(pixels, width, linearTaps(width, size), linearTaps(height, size));
  }
  if (Math.min(width, height) < size) { // there are no areas along a side that grows
    return blend(pixels, width, nearestTaps(width, size), nearestTaps(height, size));
  }
  const steps = [scaleOf(width, size), scaleOf(height, size)];
  if (steps.every((step) => Math.abs(step - Math.round(step)) < Number.EPSILON)) {
    return average(pixels, width, size, ...steps.map(Math.round));
  }
  const rows = weighRows(Float32Array.from(pixels), width, height, areaTaps(width, size));
  return new Uint8Array(Uint8ClampedArray.from(weighColumns(rows, size, areaTaps(height, size))).buffer);
}

function scaleOf(from, to) {
  return 1 / (to / from);
}

/** Weighted sums along each row; the order of the sums decides their last digits. */
function weighRows(values, width, height, taps) {
  const made = new Float32Array(height * taps.length);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < taps.length; x++, to++) {
      let sum = 0;
      for (const [at, weight] of taps[x]) sum = f32(sum + f32(values[y * width + at] * weight));
      made[to] = sum;
    }
  }
  return made;
}

function weighColumns(values, width, taps) {
  const made = new Float32Array(taps.length * width);
  for (let y = 0; y < taps.length; y++) {
    for (const [at, weight] of taps[y]) {
      for (let x = 0; x < width; x++) {
        made[y * width + x] = f32(made[y * width + x] + f32(values[at * width + x] * weight));
      }
    }
  }
  return made;
}

/** Two by two pixels for each new one, in integers. */
function blend(pixels, width, columns, rows) {
  const made = new Uint8Array(columns.length * rows.length);
  const whole = (taps) => taps.map((pair) => pair.map(([at, weight]) => [at, roundEven(weight * FIXED)]));
  const [across, down] = [whole(columns), whole(rows)];
  for (let y = 0, to = 0; y < rows.length; y++) {
    for (let x = 0; x < columns.length; x++, to++) {
      let sum = 2;
      for (const [row, weight] of down[y]) {
        let line = 0;
        for (const [column, share] of across[x]) line += pixels[row * width + column] * share;
        sum += ((line >> 4) * weight) >> 16;
      }
      made[to] = sum >> 2;
    }
  }
  return made;
}

/** Means of whole blocks of pixels. */
function average(pixels, width, size, stepX, stepY) {
  const made = new Uint8Array(size * size);
  const share = f32(1 / (stepX * stepY));
  for (let y = 0, to = 0; y < size; y++) {
    for (let x = 0; x < size; x++, to++) {
      let sum = 0;
      for (let row = y * stepY; row < (y + 1) * stepY; row++) {
        for (let column = x * stepX; column < (x + 1) * stepX; column++) sum += pixels[row * width + column];
      }
      made[to] = stepX === 2 && stepY === 2 ? (sum + 2) >> 2 : roundEven(f32(f32(sum) * share));
    }
  }
  return made;
}

function roundEven(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

/* For each new pixel: old pixels, and the weight of each. */

function linearTaps(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const place = f32((i + 0.5) * scaleOf(from, to) - 0.5);
    return pair(Math.floor(place), f32(place - Math.floor(place)), from);
  });
}

function nearestTaps(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const first = Math.floor(i * scaleOf(from, to));
    const beyond = f32(i + 1 - (first + 1) * (to / from));
    return pair(first, beyond <= 0 ? 0 : f32(beyond - Math.floor(beyond)), from);
  });
}

function pair(first, share, from) {
  const within = (at) => Math.min(Math.max(at, 0), from - 1);
  return [[within(first), f32(1 - share)], [within(first + 1), share]];
}

function areaTaps(from, to) {
  const scale = scaleOf(from, to);
  return Array.from({ length: to }, (_, i) => {
    const start = i * scale;
    const end = start + scale;
    const covered = Math.min(scale, from - start);
    const stop = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(start), stop);
    const taps = [];
    if (first - start > APART) taps.push([first - 1, f32((first - start) / covered)]);
    for (let at = first; at < stop; at++) taps.push([at, f32(1 / covered)]);
    if (end - stop > APART) taps.push([stop, f32(Math.min(end - stop, 1, covered) / covered)]);
    return taps;
  });
}
