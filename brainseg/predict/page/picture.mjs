// Image files to grey bytes, as brainseg/data/image.py makes them.

import { toGrey } from "./intensity.mjs";
import { checkSize, readPng } from "./png.mjs";
import { Unusable } from "./unusable.mjs";

const COLOUR_SPREAD = 32;
const COLOURED_SHARE = 0.1;
const ELSEWHERE = "Save it as PNG, or use `brainseg predict`, which reads it.";

/** First bytes of what is no picture that this page reads → its name, and what to do. */
const OTHERS = [
  [/^(II\*\0|MM\0\*)/, `is a TIFF, which browsers do not read. ${ELSEWHERE}`],
  [/^GIF8/, `is a GIF. ${ELSEWHERE}`],
  [/^[^]{128}DICM/, "is a DICOM file, which this page does not read. Use `brainseg predict`, or the "
    + "package's predict.py."],
  [/^%PDF/, "is a PDF. Expected a grey MRI slice."],
  [/^\x89HDF/, `is a MATLAB file. ${ELSEWHERE}`],
];
const PICTURES = /^(\x89PNG\r\n\x1a\n|\xff\xd8\xff|BM|RIFF[^]{4}WEBP)/;

/**
 * @param {File} file
 * @returns {Promise<{pixels: Uint8Array, width: number, height: number, note: string}>}
 */
export async function readPicture(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const start = String.fromCharCode(...bytes.subarray(0, 160));
  const known = OTHERS.find(([pattern]) => pattern.test(start));
  if (known) throw new Unusable(`${file.name} ${known[1]}`);
  if (!bytes.length) throw new Unusable(`${file.name} is empty. Choose another copy of it.`);
  if (!PICTURES.test(start)) {
    throw new Unusable(`${file.name} is no image that can be read. Expected PNG, JPEG, BMP, WebP, or`
      + " a NIfTI volume (.nii, .nii.gz).");
  }
  const png = start.startsWith("\x89PNG");
  const picture = (png && await readPng(bytes, file.name)) || await readInBrowser(file);
  return { ...makeGrey(picture, file.name), width: picture.width, height: picture.height };
}

async function readInBrowser(file) {
  let bitmap;
  try {
    const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    bitmap = await createImageBitmap(file, exact);
  } catch {
    throw new Unusable(`${file.name} cannot be read as an image. Choose another copy of it.`);
  }
  const { width, height } = bitmap;
  checkSize(file.name, width, height);
  const rgba = readBack(width, height, (context) => context.drawImage(bitmap, 0, 0));
  checkHonest(file.name);
  const values = new Uint8Array(3 * width * height);
  const alpha = new Float64Array(width * height);
  let opaque = true;
  for (let i = 0; i < alpha.length; i++) {
    for (let c = 0; c < 3; c++) values[3 * i + c] = rgba[4 * i + c];
    alpha[i] = rgba[4 * i + 3] / 255;
    opaque &&= alpha[i] === 1;
  }
  return { width, height, bits: 8, channels: 3, values, alpha: opaque ? null : alpha };
}

function readBack(width, height, draw) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  draw(context);
  return context.getImageData(0, 0, width, height).data;
}

/** Some browsers change what pages read from pictures, so that these cannot recognise people. */
function checkHonest(name) {
  const side = 16;
  const given = Uint8ClampedArray.from({ length: 4 * side * side }, (_, i) => (i % 4 === 3 ? 255 : i));
  const found = readBack(side, side, (context) => context.putImageData(new ImageData(given, side), 0, 0));
  if (found.every((value, i) => value === given[i])) return;
  throw new Unusable(`${name} cannot be read exactly: this browser changes what pages read from images,`
    + " against fingerprinting. Allow this page to read them, or save the image as PNG.");
}

/** Pixels of a picture as `readPng` gives it. */
export function makeGrey({ bits, channels, values, alpha }, name) {
  if (alpha && !alpha.some(Boolean)) {
    throw new Unusable(`${name} is transparent everywhere. Save it without transparency.`);
  }
  const plain = bits === 8;
  const covered = alpha ? cover(values, alpha, channels, plain) : values;
  if (channels === 3) checkGrey(plain ? covered : toGrey(covered, name), name);
  const grey = channels === 3 ? luma(covered, plain) : covered;
  if (plain) return { pixels: grey, note: "" };
  const hidden = alpha && Uint8Array.from(alpha, (value) => Number(value === 0));
  return { pixels: toGrey(grey, name, hidden), note: `${bits}-bit image scaled to 8 bits` };
}

/** Over black. */
function cover(values, alpha, channels, plain) {
  const made = new (plain ? Uint8ClampedArray : Float64Array)(values.length);
  for (let i = 0; i < values.length; i++) made[i] = values[i] * alpha[Math.floor(i / channels)];
  return plain ? new Uint8Array(made.buffer) : made;
}

function checkGrey(rgb, name) {
  let coloured = 0;
  for (let i = 0; i < rgb.length; i += 3) {
    const [r, g, b] = [rgb[i], rgb[i + 1], rgb[i + 2]];
    coloured += Number(Math.max(r, g, b) - Math.min(r, g, b) > COLOUR_SPREAD);
  }
  const share = coloured / (rgb.length / 3);
  if (share > COLOURED_SHARE) {
    throw new Unusable(`${name} is a colour image: ${Math.round(100 * share)}% of its pixels are`
      + " coloured. Expected a grey MRI slice.");
  }
}

function luma(rgb, plain) {
  const made = new (plain ? Uint8Array : Float64Array)(rgb.length / 3);
  for (let i = 0; i < made.length; i++) {
    const [r, g, b] = [rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]];
    made[i] = plain
      ? (19595 * r + 38470 * g + 7471 * b + 32768) >> 16 // as Pillow
      : 0.299 * r + 0.587 * g + 0.114 * b;
  }
  return made;
}
