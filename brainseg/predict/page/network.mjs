// The network of the package: fetched, compared with its checksum, and run in a worker.

import { resizeImage, resizeProbability } from "./resize.mjs";
import { Unusable } from "./unusable.mjs";

const MOST_THREADS = 8;
const AGAIN = "Copy the package again, or make it again with `brainseg package`.";

/** `manifest.json` beside the page. */
export async function readManifest(base) {
  const response = await fetch(new URL("manifest.json", base)).catch(() => null);
  if (!response?.ok) {
    throw new Unusable(`manifest.json is not beside this page, so that it has no network. ${AGAIN}`);
  }
  const manifest = await response.json().catch(() => null);
  if (!manifest?.model || !(manifest.image_size > 0)) {
    throw new Unusable(`manifest.json beside this page is damaged. ${AGAIN}`);
  }
  if (manifest.format !== 1) {
    throw new Unusable(`manifest.json has the format ${manifest.format}; this page reads 1. ${AGAIN}`);
  }
  return manifest;
}

/** Threads that WebAssembly may use here: one where the server does not isolate the page. */
export function countThreads(wanted) {
  const most = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  return Math.min(Math.max(Math.trunc(wanted) || most, 1), most);
}

export class Network {
  #worker;
  #waiting = new Map();
  #last = 0;

  /**
   * @param {object} manifest from `readManifest`
   * @param {(share: number) => void} tell how much of the file has come, 0 to 1
   */
  static async open(manifest, base, threads, tell) {
    const model = await fetchModel(manifest, base, tell);
    const network = new Network();
    network.manifest = manifest;
    network.size = manifest.image_size;
    network.threads = threads;
    network.#worker = await network.#start();
    try {
      const input = await network.#ask("open", { model, threads }, [model]);
      if (input.channels !== 1 || input.height !== network.size || input.width !== network.size) {
        throw new Error(`it takes ${input.channels}×${input.height}×${input.width} numbers, and`
          + ` manifest.json says 1×${network.size}×${network.size}`);
      }
    } catch (error) {
      network.close();
      throw explain(error, manifest.model);
    }
    return network;
  }

  /** A worker made from a blob obeys the page's own policy, whatever the server sends. */
  #start() {
    const address = new URL("./worker.mjs", import.meta.url).href;
    const source = new Blob([`import ${JSON.stringify(address)};`], { type: "text/javascript" });
    const worker = new Worker(URL.createObjectURL(source), { type: "module" });
    worker.addEventListener("message", ({ data }) => this.#answer(data));
    return new Promise((resolve, reject) => {
      const failed = () => reject(new Unusable("The page's worker did not start: page/worker.mjs cannot"
        + ` be read, or this browser is too old. ${AGAIN}`));
      worker.addEventListener("error", failed, { once: true });
      this.#waiting.set(0, { resolve: () => resolve(worker), reject });
    });
  }

  #answer({ id, made, error }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(made);
  }

  #ask(task, given, transferred = []) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, task, given }, transferred);
    });
  }

  /**
   * Tumour probabilities of a grey image.
   * @param {Uint8Array} pixels height×width
   * @returns {Promise<Float32Array>} size×size; `enlarge` gives them the image's own size
   */
  async segment(pixels, width, height) {
    const frame = this.#frame(width, height);
    const small = resizeImage(pad(pixels, width, height, frame), frame.width, frame.height, this.size);
    const input = Float32Array.from(small, (value) => value / 255);
    try {
      return await this.#ask("run", { input, size: this.size }, [input.buffer]);
    } catch (error) {
      throw explain(error, this.manifest.model);
    }
  }

  enlarge(probability, width, height) {
    const frame = this.#frame(width, height);
    const full = resizeProbability(probability, this.size, this.size, frame.width, frame.height);
    return crop(full, width, height, frame);
  }

  /** What is shown to the network: the image, or the square that it lies in the middle of. */
  #frame(width, height) {
    if (!this.manifest.keep_aspect) return { width, height, top: 0, left: 0 };
    const side = Math.max(width, height);
    const before = (own) => Math.floor((side - own) / 2);
    return { width: side, height: side, top: before(height), left: before(width) };
  }

  close() {
    this.#worker.terminate();
  }
}

function pad(pixels, width, height, frame) {
  if (frame.width === width && frame.height === height) return pixels;
  const made = new Uint8Array(frame.width * frame.height);
  for (let y = 0; y < height; y++) {
    made.set(pixels.subarray(y * width, (y + 1) * width), (y + frame.top) * frame.width + frame.left);
  }
  return made;
}

function crop(values, width, height, frame) {
  if (frame.width === width && frame.height === height) return values;
  const made = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = (y + frame.top) * frame.width + frame.left;
    made.set(values.subarray(from, from + width), y * width);
  }
  return made;
}

async function fetchModel({ model, model_sha256: digest }, base, tell) {
  const response = await fetch(new URL(model, base)).catch(() => null);
  if (!response?.ok) throw new Unusable(`${model} is not beside this page. ${AGAIN}`);
  const total = Number(response.headers.get("Content-Length"));
  const parts = [];
  let came = 0;
  try {
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      came += value.length;
      if (total) tell(Math.min(came / total, 1));
    }
  } catch {
    throw new Unusable(`${model} was cut off on its way. Load the page again.`);
  }
  const bytes = await new Blob(parts).arrayBuffer();
  // Browsers give digests to pages from this machine and from https only.
  if (digest && self.crypto?.subtle && await sha256(bytes) !== digest) {
    throw new Unusable(`${model} is not the file that manifest.json names: its checksum differs. ${AGAIN}`);
  }
  return bytes;
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function explain(error, model) {
  if (error instanceof Unusable) return error;
  const found = error.message;
  if (/no available backend|WebAssembly|wasm|memory|CompileError/i.test(found)) {
    return new Unusable(`WebAssembly did not start here (${found}). Close other tabs, use a current`
      + " browser, and see that page/ort/ lies beside the page; a strict mode of the browser may forbid it.");
  }
  return new Unusable(`${model} cannot be run (${found}). ${AGAIN}`);
}
