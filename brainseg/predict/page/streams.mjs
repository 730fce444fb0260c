// Bytes in, bytes out: packing and unpacking with the browser's own streams.

import { Unusable } from "./unusable.mjs";

/** Reads a stream piece by piece; each piece has exactly as many bytes as are asked for. */
export class Pieces {
  #reader;
  #left = new Uint8Array();

  constructor(stream, name) {
    this.#reader = stream.getReader();
    this.name = name;
  }

  /** The next `count` bytes; the last pieces may go to `into`. */
  async read(count) {
    const made = new Uint8Array(count);
    for (let at = 0; at < count;) {
      if (!this.#left.length) this.#left = await this.#more();
      const taken = this.#left.subarray(0, count - at);
      made.set(taken, at);
      at += taken.length;
      this.#left = this.#left.subarray(taken.length);
    }
    return made;
  }

  async skip(count) {
    for (let left = count; left > 0; left -= 2 ** 24) await this.read(Math.min(left, 2 ** 24));
  }

  async #more() {
    let found;
    try {
      found = await this.#reader.read();
    } catch (error) {
      throw new Unusable(`${this.name} is damaged (${error.message}). Choose another copy of it.`);
    }
    if (!found.done) return found.value;
    throw new Unusable(`${this.name} is cut off: it ends too early. Choose another copy of it.`);
  }

  close() {
    this.#reader.cancel().catch(() => {});
  }
}

/** Unpack bytes to `count` bytes. */
export async function inflate(bytes, format, count, name) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format));
  const pieces = new Pieces(stream, name);
  const made = await pieces.read(count);
  pieces.close();
  return made;
}

/** Pack bytes. */
export async function deflate(bytes, format) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export function join(parts) {
  const made = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}
