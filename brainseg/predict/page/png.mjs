// PNG, read and written as exact numbers: a browser's own reader keeps 8 bits of 16, and may change
// what a page reads from it. Adam7 and pictures that are to be turned are left to the browser.
// https://www.w3.org/TR/png-3/

import { inflate, deflate, join } from "./streams.mjs";
import { Unusable } from "./unusable.mjs";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const [GREY, PALETTE] = [0, 3];
const MOST_PIXELS = 2 ** 25;

/**
 * @param {Uint8Array} bytes of a file
 * @returns {Promise<{width, height, bits, channels, values, alpha} | null>} `channels` is 1 or 3,
 *   `values` are height×width×channels, in 0..255 or, of 16 bits, 0..65535, `alpha` is height×width
 *   in [0, 1], or null where all is opaque; null where the browser has to read it
 */
export async function readPng(bytes, name) {
  const chunks = readChunks(bytes, name);
  const header = chunks.find(({ type }) => type === "IHDR")?.data;
  if (header?.length !== 13) throw damaged(name, "it has no header");
  const view = new DataView(header.buffer, header.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  checkSize(name, width, height);
  const [depth, colour, , , interlaced] = header.subarray(8);
  const types = chunks.map(({ type }) => type);
  if (types.includes("acTL")) throw new Unusable(`${name} holds several frames. Save one as a file.`);
  if (interlaced || types.includes("eXIf")) {
    if (depth < 16) return null;
    throw new Unusable(`${name} has 16 bits and is interlaced or turned. Save it again, plainly.`);
  }
  const size = { width, height, depth, count: CHANNELS[colour] };
  if (!size.count) throw damaged(name, `it has the colour type ${colour}`);
  const packed = join(chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data));
  const lineBytes = Math.ceil((width * size.count * depth) / 8);
  const raw = await inflate(packed, "deflate", (lineBytes + 1) * height, name);
  const samples = unpack(unfilter(raw, lineBytes, height, Math.max(1, (size.count * depth) / 8)), size);
  const extra = (wanted) => chunks.find(({ type }) => type === wanted)?.data;
  return interpret(samples, size, colour, extra("PLTE"), extra("tRNS"));
}

/** Refuse a picture for which too much memory would be taken. */
export function checkSize(name, width, height) {
  if (width * height > MOST_PIXELS) {
    throw new Unusable(`${name} is ${width}×${height} pixels large. Expected a slice, of at most`
      + ` ${MOST_PIXELS.toLocaleString("en")} pixels.`);
  }
}

function readChunks(bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const chunks = [];
  for (let at = SIGNATURE.length; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) throw damaged(name, "it is cut off");
    const covered = bytes.subarray(at + 4, at + 8 + length);
    if (crc32(covered) !== view.getUint32(at + 8 + length)) throw damaged(name, "a checksum is wrong");
    const type = String.fromCharCode(...covered.subarray(0, 4));
    chunks.push({ type, data: covered.slice(4) });
    if (type === "IEND") return chunks;
    at += 12 + length;
  }
  throw damaged(name, "it is cut off");
}

/** Undo the filter of each line. */
function unfilter(raw, lineBytes, height, step) {
  const lines = new Uint8Array(lineBytes * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (lineBytes + 1)];
    const from = y * (lineBytes + 1) + 1;
    const to = y * lineBytes;
    for (let i = 0; i < lineBytes; i++) {
      const left = i >= step ? lines[to + i - step] : 0;
      const up = y ? lines[to + i - lineBytes] : 0;
      const corner = y && i >= step ? lines[to + i - step - lineBytes] : 0;
      lines[to + i] = raw[from + i] + predict(filter, left, up, corner);
    }
  }
  return lines;
}

function predict(filter, left, up, corner) {
  switch (filter) {
    case 1: return left;
    case 2: return up;
    case 3: return (left + up) >> 1;
    case 4: return paeth(left, up, corner);
    default: return 0;
  }
}

function paeth(left, up, corner) {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

/** One number per sample. */
function unpack(lines, { width, height, depth, count }) {
  if (depth === 8) return lines;
  const each = width * count;
  const samples = new Uint16Array(each * height);
  const lineBytes = Math.ceil((each * depth) / 8);
  for (let y = 0, to = 0; y < height; y++) {
    for (let i = 0; i < each; i++, to++) {
      const at = y * lineBytes + Math.floor((i * depth) / 8);
      samples[to] = depth === 16
        ? lines[at] * 256 + lines[at + 1]
        : (lines[at] >> (8 - depth - ((i * depth) % 8))) & (2 ** depth - 1);
    }
  }
  return samples;
}

function interpret(samples, { width, height, depth, count }, colour, palette, transparent) {
  const pixels = width * height;
  const bits = depth === 16 ? 16 : 8;
  const channels = colour === PALETTE || count > 2 ? 3 : 1;
  const values = new (bits === 16 ? Uint16Array : Uint8Array)(pixels * channels);
  const most = 2 ** depth - 1;
  const scale = colour === GREY && depth < 8 ? 255 / most : 1;
  const key = transparent && colour !== PALETTE
    ? Array.from({ length: count }, (_, c) => transparent[2 * c] * 256 + transparent[2 * c + 1]) : null;
  const alpha = transparent || count % 2 === 0 ? new Float64Array(pixels).fill(1) : null;
  for (let i = 0; i < pixels; i++) {
    if (colour === PALETTE) {
      for (let c = 0; c < 3; c++) values[3 * i + c] = palette?.[3 * samples[i] + c] ?? 0;
      if (alpha) alpha[i] = (transparent[samples[i]] ?? 255) / 255;
      continue;
    }
    for (let c = 0; c < channels; c++) values[channels * i + c] = samples[count * i + c] * scale;
    if (count % 2 === 0) alpha[i] = samples[count * i + count - 1] / most;
    else if (key?.every((value, c) => samples[count * i + c] === value)) alpha[i] = 0;
  }
  return { width, height, bits, channels, values, alpha };
}

/**
 * A grey PNG.
 * @param {Uint8Array | Uint16Array} values height×width; their type is the depth
 * @param {string} disclaimer that the file carries
 */
export async function writePng(values, width, height, disclaimer) {
  const deep = values.BYTES_PER_ELEMENT;
  const lines = new Uint8Array(height * (width * deep + 1));
  const view = new DataView(lines.buffer);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * (width * deep + 1) + 1 + x * deep;
      if (deep === 2) view.setUint16(at, values[y * width + x]);
      else view.setUint8(at, values[y * width + x]);
    }
  }
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, width);
  new DataView(header.buffer).setUint32(4, height);
  header[8] = 8 * deep;
  const text = new TextEncoder().encode(`Disclaimer\0${disclaimer}`);
  return join([
    Uint8Array.from(SIGNATURE), chunk("IHDR", header), chunk("tEXt", text),
    chunk("IDAT", await deflate(lines, "deflate")), chunk("IEND", new Uint8Array()),
  ]);
}

function chunk(type, data) {
  const made = new Uint8Array(12 + data.length);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  made.set(new TextEncoder().encode(type), 4);
  made.set(data, 8);
  view.setUint32(8 + data.length, crc32(made.subarray(4, 8 + data.length)));
  return made;
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function damaged(name, why) {
  return new Unusable(`${name} cannot be read as an image (${why}). Choose another copy of it.`);
}
