// The header of a NIfTI file, version 1 or 2: read, checked, and written for a result.
// https://nifti.nimh.nih.gov/nifti-1, https://nifti.nimh.nih.gov/nifti-2

import { determinant, letters, orient } from "./affine.mjs";
import { Unusable } from "./unusable.mjs";

/** Code → bytes of a number, and how it is read. */
const TYPES = {
  2: [1, "Uint8"], 4: [2, "Int16"], 8: [4, "Int32"], 16: [4, "Float32"], 64: [8, "Float64"],
  256: [1, "Int8"], 512: [2, "Uint16"], 768: [4, "Uint32"], 1024: [8, "BigInt64"], 1280: [8, "BigUint64"],
};
const COLOURS = [128, 2304];
export const UINT8 = 2;
export const FLOAT32 = 16;

/** Where each version has its fields, and of which type. */
const FIELDS = {
  1: {
    size: 348, magic: 344, dim: [40, "Int16", 2], pixdim: [76, "Float32", 4], type: [70, "Int16"],
    bits: [72, "Int16"], offset: [108, "Float32"], slope: [112, "Float32"], inter: [116, "Float32"],
    most: [124, "Float32"], least: [128, "Float32"], words: 148, qform: [252, "Int16"],
    sform: [254, "Int16"], quaternion: [256, "Float32", 4], origin: [268, "Float32", 4],
    rows: [280, "Float32", 4], intent: [68, "Int16"], units: [123, "Uint8"],
  },
  2: {
    size: 540, magic: 4, dim: [16, "BigInt64", 8], pixdim: [104, "Float64", 8], type: [12, "Int16"],
    bits: [14, "Int16"], offset: [168, "BigInt64"], slope: [176, "Float64"], inter: [184, "Float64"],
    most: [192, "Float64"], least: [200, "Float64"], words: 240, qform: [344, "Int32"],
    sform: [348, "Int32"], quaternion: [352, "Float64", 8], origin: [376, "Float64", 8],
    rows: [400, "Float64", 8], intent: [504, "Int32"], units: [500, "Int32"],
  },
};
const MM = { 1: 1000, 2: 1, 3: 0.001 }; // of metres, millimetres and micrometres
const FARTHEST = 1e6;
export const LONGEST = FIELDS[2].size;

/** Version and byte order that the first bytes of a file tell; null where they tell none. */
export function recognize(bytes) {
  if (bytes.length < FIELDS[1].size) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (const version of [1, 2]) {
    for (const little of [true, false]) {
      if (view.getInt32(0, little) === FIELDS[version].size) return { version, little };
    }
  }
  return null;
}

/**
 * @param {Uint8Array} bytes the first `LONGEST` of a file
 * @returns what the header says; `shape` has three sides or more, `spacing`
 *   is in mm and `volume`, of a voxel, in mm³
 */
export function readHeader(bytes, name) {
  const kind = recognize(bytes);
  const fields = FIELDS[kind.version];
  const magic = String.fromCharCode(...bytes.subarray(fields.magic, fields.magic + 2));
  if (magic !== "n+") {
    throw new Unusable(`${name} is no single NIfTI file. Expected header and values in one; convert the`
      + " pair of .hdr and .img.");
  }
  const get = reader(bytes, kind.little);
  const many = ([at, type, step], count) => (
    Array.from({ length: count }, (_, i) => get([at + i * step, type])));
  const [rank] = many(fields.dim, 1);
  const shape = rank >= 1 && rank <= 7 ? many(fields.dim, rank + 1).slice(1) : [];
  const code = get(fields.type);
  if (!TYPES[code]) {
    const found = COLOURS.includes(code) ? "colours" : `numbers of type ${code}`;
    throw new Unusable(`${name} holds ${found}. Expected a grey volume, a number for each voxel.`);
  }
  while (shape.length > 3 && shape.at(-1) === 1) shape.pop();
  if (shape.length < 3 || shape.length > 4 || Math.min(...shape) < 1) {
    throw new Unusable(`${name} has ${shape.length} dimensions (${shape.join(" × ")}). Expected a volume`
      + " of three, or several of one.");
  }
  const [bytesEach, type] = TYPES[code];
  const slope = get(fields.slope);
  const scaled = Number.isFinite(slope) && slope !== 0;
  return {
    ...kind, bytes: bytes.slice(0, fields.size), shape, type, bytesEach,
    offset: Math.max(get(fields.offset), fields.size),
    slope: scaled ? slope : 1, inter: scaled ? get(fields.inter) : 0,
    ...findPlace(fields, get, many, name),
  };
}

function reader(bytes, little) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return ([at, type]) => Number(view[`get${type}`](at, little));
}

/** The affine, as nibabel chooses it; the header's two positions must agree on their axes. */
function findPlace(fields, get, many, name) {
  const [handed, ...sides] = many(fields.pixdim, 4);
  const zooms = sides.map((mm) => Math.abs(mm) || 1);
  const sform = get(fields.sform) !== 0 ? [0, 1, 2].map((row) => {
    const [at, type, step] = fields.rows;
    return many([at + 4 * row * step, type, step], 4);
  }) : null;
  const qform = get(fields.qform) !== 0 ? fromQuaternion(fields, many, zooms, handed) : null;
  const affine = sform ?? qform;
  if (!affine) {
    throw new Unusable(`${name} has no orientation (qform_code and sform_code are 0), so nothing tells left`
      + " from right or top from bottom. Convert it again from the DICOM files, or set its affine, for"
      + " example with nibabel or fslorient.");
  }
  const usable = affine.flat().every((value) => Math.abs(value) < FARTHEST);
  if (!usable || Math.abs(determinant(affine)) < 1e-9) {
    throw new Unusable(`${name} has no usable position: its affine is ${JSON.stringify(affine)}. Expected`
      + " three directions that differ; correct the header.");
  }
  const axes = orient(affine);
  const [one, other] = [qform, sform].map((each) => each && letters(orient(each)));
  if (one && other && one !== other) {
    throw new Unusable(`${name} has two positions that contradict each other: its axes point to ${one}`
      + ` (qform) and to ${other} (sform). Correct the header.`);
  }
  const unit = MM[get(fields.units) & 7] ?? 1;
  const spacing = [0, 1, 2].map((axis) => unit * Math.hypot(...affine.map((row) => row[axis])));
  const volume = Math.abs(determinant(affine)) * unit ** 3;
  return { affine, axes, spacing, volume };
}

function fromQuaternion(fields, many, zooms, handed) {
  const [b, c, d] = many(fields.quaternion, 3);
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const rotation = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
  ];
  const sides = [zooms[0], zooms[1], zooms[2] * (handed < 0 ? -1 : 1)];
  const origin = many(fields.origin, 3);
  return rotation.map((row, r) => [...row.map((value, axis) => value * sides[axis]), origin[r]]);
}

/**
 * The header of a result on the same voxels: three dimensions, no scaling, no extension.
 * @param {number} code `UINT8` or `FLOAT32`
 * @param {string} words up to 79 letters
 * @returns {Uint8Array} all bytes before the values
 */
export function writeHeader(header, code, words) {
  const fields = FIELDS[header.version];
  const made = new Uint8Array(fields.size + 4);
  made.set(header.bytes);
  const view = new DataView(made.buffer);
  const set = ([at, type], value) => {
    view[`set${type}`](at, type.startsWith("Big") ? BigInt(value) : value, header.little);
  };
  const [at, type, step] = fields.dim;
  const sides = [3, ...header.shape.slice(0, 3), 1, 1, 1, 1];
  sides.forEach((side, i) => set([at + i * step, type], side));
  set(fields.type, code);
  set(fields.bits, 8 * TYPES[code][0]);
  set(fields.offset, made.length);
  set(fields.slope, 1);
  for (const field of ["inter", "least", "intent"]) set(fields[field], 0);
  set(fields.most, 1);
  made.fill(0, fields.words, fields.words + 80);
  made.set(new TextEncoder().encode(words).subarray(0, 79), fields.words);
  return made;
}
