// What a person does with what is open.

import { listFiles } from "./files.mjs";
import { openItem } from "./item.mjs";
import { Queue } from "./queue.mjs";
import { fail, show, showCounted, showSegmented } from "./show.mjs";
import { parts, state, threshold } from "./state.mjs";
import { Tally } from "./tally.mjs";
import { Unusable } from "./unusable.mjs";

export const queue = new Queue(state, showSegmented, fail);
const tally = new Tally(state, showCounted);

/** Read files one after the other; the first of them is shown. */
export async function open(files) {
  for (const file of files) {
    let item = { name: file.name };
    state.items.push(item);
    const first = !state.current || file === files[0];
    if (first) choose(item);
    else listFiles();
    await new Promise((resolve) => { setTimeout(resolve); }); // lets the page show that it reads
    const read = await openItem(file, state.manifest?.plane).catch((error) => ({
      name: file.name,
      error: error instanceof Unusable ? error.message : `${file.name} cannot be read (${error.message}).`,
    }));
    state.items[state.items.indexOf(item)] = read;
    if (state.current === item) state.current = read;
    item = read;
    if (item.channels > 1) await readChannel(item, 0);
    show();
    queue.start();
  }
  parts.stage.focus({ preventScroll: true });
}

/** Take another volume of a file that holds several. */
export async function readChannel(item, channel) {
  try {
    await item.read(channel);
    item.error = undefined;
  } catch (error) {
    item.error = error.message;
  }
}

export function choose(item) {
  state.current = item;
  show();
  queue.start();
}

/** To another slice of a volume, or to another image. */
export function step(by) {
  const item = state.current;
  if (!item) return;
  if (item.cuts?.count > 1) goTo(item.slice + by);
  else choose(state.items[Math.min(Math.max(state.items.indexOf(item) + by, 0), state.items.length - 1)]);
}

export function goTo(slice) {
  const item = state.current;
  if (!item?.cuts) return;
  item.slice = Math.min(Math.max(slice, 0), item.cuts.count - 1);
  show();
  queue.start();
}

export function setThreshold(value) {
  state.threshold = value;
  parts.threshold.value = value;
  if (state.current) show();
  tally.start(threshold());
}

async function save(make) {
  const item = state.current;
  if (!item?.isDone || item.error) return;
  const { name, bytes } = await make(item);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export const saveMask = () => save((item) => item.save(state.network, threshold(), state.manifest.notice));
export const saveProbability = () => save((item) => item.saveProbability(state.network, state.manifest.notice));

function toggle(box) {
  box.checked = !box.checked;
  show();
}

export const KEYS = {
  ArrowLeft: () => step(-1), ArrowUp: () => step(-1), ArrowRight: () => step(1), ArrowDown: () => step(1),
  Home: () => goTo(0), End: () => goTo(Infinity),
  "+": () => setThreshold(Math.min(parts.threshold.valueAsNumber + 0.05, 0.99)),
  "-": () => setThreshold(Math.max(parts.threshold.valueAsNumber - 0.05, 0.01)),
  c: () => toggle(parts.outline), p: () => toggle(parts.probability), s: saveMask,
};
KEYS["="] = KEYS["+"];

