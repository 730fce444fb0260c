// NIfTI volumes: read to grey bytes, and results written on the same voxels.

import { FLOAT32, LONGEST, UINT8, readHeader, recognize, writeHeader } from "./header.mjs";
import { toGrey } from "./intensity.mjs";
import { Pieces, deflate, join } from "./streams.mjs";
import { Unusable } from "./unusable.mjs";

const LARGEST = 512 * 512 * 256;
const MOST_LABELS = 10; // a volume with as many different values, or fewer, is one of labels

/** Whether a file is to be read by this module: its name says so, or its first bytes. */
export async function isVolume(file) {
  if (/\.(nii|nii\.gz|hdr|img)$/i.test(file.name)) return true;
  const start = new Uint8Array(await file.slice(0, LONGEST).arrayBuffer());
  return Boolean(recognize(start));
}

/**
 * @param {File} file
 * @param {number?} channel which volume of several, from 0
 * @returns {Promise<{header, grey: Uint8Array, channels: number}>} grey values in the file's order;
 *   null in place of them where there are several volumes and none was chosen
 */
export async function readVolume(file, channel = null) {
  const pieces = await open(file);
  try {
    const header = await start(pieces, file);
    const count = header.shape[0] * header.shape[1] * header.shape[2];
    const channels = header.shape[3] ?? 1;
    check(file, header, count, channels);
    if (channels > 1 && channel === null) return { header, grey: null, channels };
    const bytes = count * header.bytesEach;
    await pieces.skip((channel ?? 0) * bytes);
    const values = toNumbers(await pieces.read(bytes), header);
    checkLabels(values, file.name);
    return { header, grey: toGrey(values, file.name), channels };
  } finally {
    pieces.close();
  }
}

async function open(file) {
  const [a, b] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const stream = file.stream();
  const packed = a === 0x1f && b === 0x8b;
  return new Pieces(packed ? stream.pipeThrough(new DecompressionStream("gzip")) : stream, file.name);
}

/** The header; what lies between it and the values is passed over. */
async function start(pieces, file) {
  const short = await pieces.read(348);
  const kind = recognize(short);
  if (!kind) {
    throw new Unusable(`${file.name} is no NIfTI volume: its header is damaged, or it is something else.`
      + " Choose another copy of it.");
  }
  const bytes = kind.version === 1 ? short : join([short, await pieces.read(LONGEST - 348)]);
  const header = readHeader(bytes, file.name);
  await pieces.skip(header.offset - bytes.length);
  return header;
}

function check(file, header, count, channels) {
  const size = header.shape.join(" × ");
  if (count > LARGEST) {
    throw new Unusable(`${file.name} declares ${size} values, more than`
      + ` ${LARGEST.toLocaleString("en")} in a volume. Resample it, or cut it.`);
  }
  const grown = 1032; // no compressed file grows by more
  if (count * channels * header.bytesEach > grown * file.size) {
    throw new Unusable(`${file.name} declares ${size} values, which cannot be in it. It is damaged:`
      + " choose another copy of it.");
  }
}

function checkLabels(values, name) {
  const found = new Set();
  for (let i = 0; i < values.length && found.size <= MOST_LABELS; i++) found.add(values[i]);
  if (found.size < 2 || found.size > MOST_LABELS) return;
  throw new Unusable(`${name} has ${found.size} different values, as labels or a mask do. Expected an MRI`
    + " volume.");
}

function toNumbers(bytes, { type, bytesEach, little, slope, inter }) {
  const values = new Float64Array(bytes.length / bytesEach);
  const view = new DataView(bytes.buffer);
  const get = view[`get${type}`].bind(view);
  for (let i = 0; i < values.length; i++) {
    values[i] = Number(get(i * bytesEach, little)) * slope + inter;
  }
  return values;
}

/**
 * A packed NIfTI file on the voxels of another.
 * @param {Uint8Array | Float32Array} values in that file's order
 * @param {string} words that the header carries
 */
export async function writeVolume(header, values, words) {
  const floats = values instanceof Float32Array;
  const bytes = new Uint8Array(values.length * values.BYTES_PER_ELEMENT);
  const view = new DataView(bytes.buffer);
  if (floats) values.forEach((value, i) => view.setFloat32(4 * i, value, header.little));
  else bytes.set(values);
  const start = writeHeader(header, floats ? FLOAT32 : UINT8, `brainseg. ${words}`);
  return deflate(join([start, bytes]), "gzip");
}
