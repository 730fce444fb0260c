// What a person opened: an image, or a volume with its slices, and what the network found in it.

import { PLANES, cut, putSlice, takeSlice } from "./affine.mjs";
import { isVolume, readVolume, writeVolume } from "./nifti.mjs";
import { readPicture } from "./picture.mjs";
import { writePng } from "./png.mjs";
import { Unusable } from "./unusable.mjs";

const SMALLEST = 8; // pixels of a side of a slice

/** Open a file; `plane` is one of `PLANES`. */
export async function openItem(file, plane) {
  return await isVolume(file) ? Volume.open(file, plane) : Picture.open(file);
}

class Item {
  notes = [];
  slice = 0;
  version = 0; // of the slices; what was segmented in an earlier one is of no use
  #last = null;

  constructor(file) {
    this.name = file.name;
    this.stem = file.name.replace(/\.(nii\.gz|[^.]+)$/i, "") || file.name;
  }

  /** Begin anew with other slices. */
  setCuts(cuts) {
    this.cuts = cuts;
    this.slice = Math.floor(cuts.count / 2);
    this.found = new Array(cuts.count).fill(null);
    this.areas = new Array(cuts.count).fill(null);
    this.version++;
  }

  get done() {
    return this.found.reduce((sum, each) => sum + Number(each !== null), 0);
  }

  get isDone() {
    return this.done === this.cuts.count;
  }

  /** The slice to segment next: the one that is shown, then the nearest to it; null when all are. */
  next() {
    for (let far = 0; far < this.cuts.count; far++) {
      for (const slice of [this.slice + far, this.slice - far]) {
        if (this.found[slice] === null) return slice;
      }
    }
    return null;
  }

  /** Full-size probabilities of a slice, or null; those of the last one are kept. */
  probability(network, slice) {
    const small = this.found[slice];
    if (small && this.#last?.small !== small) {
      this.#last = { small, full: network.enlarge(small, this.cuts.width, this.cuts.height) };
    }
    return small && this.#last.full;
  }

  /** Pixels of a slice that are tumour, or null. */
  area(network, slice, threshold) {
    if (this.areas[slice]?.threshold !== threshold) {
      const probability = this.probability(network, slice);
      if (!probability) return null;
      this.areas[slice] = { threshold, pixels: countAbove(probability, threshold) };
    }
    return this.areas[slice].pixels;
  }
}

class Picture extends Item {
  isVolume = false;

  static async open(file) {
    const item = new Picture(file);
    const { pixels, width, height, note } = await readPicture(file);
    const levels = new Set(pixels);
    if (levels.size === 2) {
      throw new Unusable(`${file.name} has two grey levels (${[...levels].sort((a, b) => a - b).join(" and ")}), as a mask does.`
        + " Expected an MRI slice.");
    }
    item.pixels = pixels;
    if (note) item.notes.push(note);
    item.setCuts({ width, height, count: 1, pixel: [1, 1], edges: null });
    return item;
  }

  takeSlice() {
    return this.pixels;
  }

  async save(network, threshold, words) {
    const { width, height } = this.cuts;
    const mask = this.probability(network, 0).map((value) => Number(value >= threshold));
    const pixels = Uint8Array.from(mask, (value) => 255 * value);
    return { name: `${this.stem}.mask.png`, bytes: await writePng(pixels, width, height, words) };
  }

  async saveProbability(network, words) {
    const { width, height } = this.cuts;
    const values = Uint16Array.from(this.probability(network, 0), (value) => Math.round(65535 * value));
    return { name: `${this.stem}.probability.png`, bytes: await writePng(values, width, height, words) };
  }
}

class Volume extends Item {
  isVolume = true;

  static async open(file, plane) {
    const item = new Volume(file);
    item.file = file;
    item.plane = plane in PLANES ? plane : "axial";
    await item.read(null);
    return item;
  }

  /** Read the volume `channel` of several; with null, a file of several is only counted. */
  async read(channel) {
    const { header, grey, channels } = await readVolume(this.file, channel);
    this.channels = channels;
    if (!grey) return;
    [this.header, this.grey, this.channel] = [header, grey, channel];
    this.notes = channels > 1
      ? [`The file holds ${channels} volumes; volume ${channel + 1} is shown.`] : [];
    this.planes = Object.keys(PLANES).filter((plane) => {
      const { width, height } = this.#cut(plane);
      return Math.min(width, height) >= SMALLEST;
    });
    if (!this.planes.length) {
      throw new Unusable(`${this.name} has ${header.shape.slice(0, 3).join(" × ")} voxels. Expected slices of`
        + ` at least ${SMALLEST} pixels a side.`);
    }
    this.recut(this.planes.includes(this.plane) ? this.plane : this.planes[0]);
  }

  #cut(plane) {
    return cut(this.header.shape, this.header.axes, plane, this.header.spacing);
  }

  recut(plane) {
    this.plane = plane;
    this.setCuts(this.#cut(plane));
  }

  takeSlice(slice) {
    return takeSlice(this.grey, this.cuts, slice);
  }

  /** Volume of the tumour in ml, of the slices that are segmented; null while they are counted. */
  millilitres(threshold) {
    let pixels = 0;
    for (let slice = 0; slice < this.cuts.count; slice++) {
      if (!this.found[slice]) continue;
      if (this.areas[slice]?.threshold !== threshold) return null;
      pixels += this.areas[slice].pixels;
    }
    return (pixels * this.header.volume) / 1000;
  }

  async save(network, threshold, words) {
    const mask = this.#collect(network, Uint8Array, (value) => Number(value >= threshold));
    return { name: `${this.stem}.mask.nii.gz`, bytes: await writeVolume(this.header, mask, words) };
  }

  async saveProbability(network, words) {
    const values = this.#collect(network, Float32Array, (value) => value);
    return { name: `${this.stem}.probability.nii.gz`, bytes: await writeVolume(this.header, values, words) };
  }

  #collect(network, Type, turn) {
    const made = new Type(this.grey.length);
    for (let slice = 0; slice < this.cuts.count; slice++) {
      putSlice(Type.from(this.probability(network, slice), turn), made, this.cuts, slice);
    }
    return made;
  }
}

function countAbove(probability, threshold) {
  let count = 0;
  for (const value of probability) count += Number(value >= threshold);
  return count;
}
