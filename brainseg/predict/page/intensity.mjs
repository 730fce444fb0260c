// One rule for intensities of every format: from numbers of any type and range to bytes.
// It is that of brainseg/data/intensity.py, where the reasons stand.

import { Unusable } from "./unusable.mjs";

const LARGEST = 1e100;
const WHITE_PERCENTILE = 99.9;
const NEGATIVE_SHARE = 0.05;
const FLAT_SHARE = 0.1;
const PADDED_SHARE = 0.01;

/**
 * Scale values so that 0 stays black and the 99.9th percentile of what is brighter becomes white.
 * @param {ArrayLike<number>} values of an image or a volume
 * @param {string} name what they were read from, for messages
 * @param {Uint8Array?} padding 1 where the file itself declares a pixel to be none
 * @returns {Uint8Array} of the same length
 */
export function toGrey(values, name, padding = null) {
  const kept = new Uint8Array(values.length);
  let finite = 0;
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    if (!(Math.abs(values[i]) < LARGEST)) continue;
    finite++;
    if (padding?.[i]) continue;
    kept[i] = 1;
    count++;
  }
  if (!finite) throw new Unusable(`${name} holds no finite value. Choose another file.`);
  const grey = new Uint8ClampedArray(values.length); // rounds a half to even, as NumPy does
  if (count) {
    for (const lowest of [true, false]) dropPadding(values, kept, lowest);
    const floor = findFloor(values, kept, name);
    const top = percentile(above(values, kept, floor), WHITE_PERCENTILE);
    if (top > 0) {
      for (let i = 0; i < values.length; i++) {
        if (kept[i]) grey[i] = (Math.min(Math.max(values[i] - floor, 0), top) / top) * 255;
      }
    }
  }
  return new Uint8Array(grey.buffer);
}

/** Take out of `kept` an extreme value that stands apart and is no part of the range. */
function dropPadding(values, kept, lowest) {
  const sign = lowest ? 1 : -1;
  let value = Infinity;
  let left = 0;
  for (let i = 0; i < values.length; i++) {
    if (!kept[i]) continue;
    left++;
    value = Math.min(value, sign * values[i]);
  }
  value *= sign;
  const many = PADDED_SHARE * left;
  let at = 0;
  let zeros = 0;
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (!kept[i]) continue;
    const each = values[i];
    if (each === value) at++;
    else {
      if (each < low) low = each;
      if (each > high) high = each;
      if (each === 0) zeros++;
    }
  }
  if (!(high > low) || at < many) return;
  const apart = (lowest ? low - value : value - high) > high - low;
  const besideBlack = value < 0 && low >= 0 && zeros >= many;
  if (!apart && !besideBlack) return;
  for (let i = 0; i < values.length; i++) if (values[i] === value) kept[i] = 0;
}

/** The value that is black: zero, or a flat background below it. */
function findFloor(values, kept, name) {
  let lowest = Infinity;
  let negative = 0;
  let other = 0;
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    if (!kept[i]) continue;
    count++;
    if (values[i] < lowest) lowest = values[i];
    if (values[i] < 0) negative++;
    if (values[i] !== 0) other++;
  }
  const share = negative / Math.max(other, 1);
  if (share <= NEGATIVE_SHARE) return 0;
  let flat = 0;
  for (let i = 0; i < values.length; i++) if (kept[i] && values[i] === lowest) flat++;
  if (flat >= FLAT_SHARE * count) return lowest;
  throw new Unusable(
    `${name} is negative in ${Math.round(100 * share)}% of its pixels other than 0. Expected`
    + " intensities as scanned, from 0. Was it normalised (z-scored)? Use the original.",
  );
}

function above(values, kept, floor) {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (kept[i] && values[i] > floor) count++;
  const head = new Float64Array(count);
  for (let i = 0, to = 0; i < values.length; i++) {
    if (kept[i] && values[i] > floor) head[to++] = values[i] - floor;
  }
  return head;
}

/** As `numpy.percentile`: linear between the two nearest; 0 of nothing. Reorders `numbers`. */
export function percentile(numbers, percent) {
  if (!numbers.length) return 0;
  const place = (percent / 100) * (numbers.length - 1);
  const low = Math.floor(place);
  const share = place - low;
  const a = select(numbers, low);
  if (!share) return a;
  let b = Infinity; // `select` leaves all that is not smaller behind it
  for (let i = low + 1; i < numbers.length; i++) if (numbers[i] < b) b = numbers[i];
  return share < 0.5 ? a + (b - a) * share : b - (b - a) * (1 - share);
}

/** The k-th smallest number (Hoare's selection); those before it are not greater. */
function select(numbers, k) {
  let left = 0;
  let right = numbers.length - 1;
  while (left < right) {
    const pivot = numbers[(left + right) >> 1];
    let i = left;
    let j = right;
    while (i <= j) {
      while (numbers[i] < pivot) i++;
      while (numbers[j] > pivot) j--;
      if (i <= j) {
        [numbers[i], numbers[j]] = [numbers[j], numbers[i]];
        i++;
        j--;
      }
    }
    if (k <= j) right = j;
    else if (k >= i) left = i;
    else break;
  }
  return numbers[k];
}
