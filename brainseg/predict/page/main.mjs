// The page: what is open, what is shown of it, and what a person does.

import { draw, place } from "./drawing.mjs";
import { openItem } from "./item.mjs";
import { Network, countThreads, readManifest } from "./network.mjs";
import { Queue } from "./queue.mjs";
import { Tally } from "./tally.mjs";
import { Unusable } from "./unusable.mjs";

const WORDS = "For research use only. Not a medical device.";
const parts = Object.fromEntries([...document.querySelectorAll("[id]")].map((node) => [node.id, node]));
const base = new URL(".", document.baseURI);
const state = { manifest: null, network: null, items: [], current: null };
const queue = new Queue(state, showSegmented, (error) => tell(error));
const tally = new Tally(state, showCounted);

/* What is shown. */

function show() {
  const item = state.current;
  listFiles();
  const usable = Boolean(item?.cuts && item.takeSlice && !item.error);
  for (const node of [parts.result, parts.controls]) node.hidden = !usable;
  parts.steps.hidden = !usable || item.cuts.count === 1;
  parts.canvas.hidden = !usable;
  parts.empty.hidden = Boolean(item);
  showEdges(usable ? item.cuts.edges : null);
  parts.readout.textContent = "";
  if (item) showProblem(item.error);
  if (!usable) {
    parts.status.textContent = "";
    return;
  }
  showSlice(item);
  showChoices(item);
  showResult(item);
}

function showSegmented(item, slice) {
  item.area(state.network, slice, threshold());
  if (item === state.current && slice === item.slice) show();
  else showCounted();
}

function showCounted() {
  listFiles();
  if (state.current?.cuts && !state.current.error) showResult(state.current);
}

function showSlice(item) {
  const { width, height, pixel, count } = item.cuts;
  const probability = state.network && item.probability(state.network, item.slice);
  state.shown = {
    pixels: item.takeSlice(item.slice), probability, width, height, pixel,
    threshold: threshold(), brightness: parts.brightness.valueAsNumber,
    outline: parts.outline.checked ? parts.colour.value : null,
    opacity: parts.probability.checked ? parts.opacity.valueAsNumber : 0,
  };
  draw(parts.canvas, state.shown);
  parts.position.max = count;
  parts.position.value = item.slice + 1;
  parts.of.textContent = `${item.slice + 1} of ${count}`;
  const where = item.isVolume ? `${capital(item.plane)} slice ${item.slice + 1} of ${count}` : item.name;
  const found = describeSlice(item);
  parts.canvas.setAttribute("aria-label", `${where}. ${found}`);
  parts.position.setAttribute("aria-valuetext", `${item.slice + 1} of ${count}`);
  parts.status.textContent = item.isVolume ? `${where}. ${found}` : found;
}

function describeSlice(item) {
  if (!state.network) return "Waiting for the network.";
  const area = item.area(state.network, item.slice, threshold());
  if (area === null) return "Being segmented …";
  if (!area) return "Nothing is marked here.";
  const { width, height, pixel } = item.cuts;
  const size = item.isVolume
    ? `${number(area * pixel[0] * pixel[1], 0)} mm², ${number(area)} pixels`
    : `${number(area)} pixels, ${number((100 * area) / (width * height), 1)}% of the image`;
  return `Tumour: ${size}.`;
}

function showChoices(item) {
  document.querySelectorAll("[data-volume]").forEach((node) => { node.hidden = !item.isVolume; });
  parts["channel-field"].hidden = !(item.channels > 1);
  if (item.isVolume) {
    for (const option of parts.plane.options) option.disabled = !item.planes.includes(option.value);
    parts.plane.value = item.plane;
  }
  if (item.channels > 1 && parts.channel.length !== item.channels) {
    parts.channel.replaceChildren(...Array.from({ length: item.channels }, (_, i) => new Option(`${i + 1}`, i)));
  }
  if (item.channels > 1) parts.channel.value = item.channel;
  parts["threshold-value"].textContent = parts.threshold.valueAsNumber.toFixed(2);
  parts["opacity-value"].textContent = `${Math.round(100 * parts.opacity.valueAsNumber)}%`;
  parts["brightness-value"].textContent = `${Math.round(100 * parts.brightness.valueAsNumber)}%`;
  parts.opacity.disabled = !parts.probability.checked;
  parts.colour.disabled = !parts.outline.checked;
}

function showResult(item) {
  const { network } = state;
  const { count } = item.cuts;
  const rows = [];
  if (network && item.done) {
    if (item.isVolume) rows.push(["Volume", millilitres(item)]);
    const [area, unit] = [item.area(network, item.slice, threshold()), item.isVolume ? "This slice" : "Area"];
    if (area !== null) rows.push([unit, `${number(area)} px`]);
    if (area !== null && item.isVolume) {
      rows.push(["", `${number(area * item.cuts.pixel[0] * item.cuts.pixel[1], 0)} mm²`]);
    }
  }
  parts.numbers.replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  parts["progress-text"].textContent = item.isDone
    ? "" : `${item.done} of ${count} ${count === 1 ? "image" : "slices"} segmented`;
  parts.progress.hidden = parts["progress-text"].hidden = item.isDone;
  parts.progress.value = item.done / count;
  for (const button of [parts.save, parts["save-probability"]]) button.disabled = !item.isDone;
  parts.notes.replaceChildren(...item.notes.map((note) => element("li", note)));
}

function showEdges(edges) {
  document.querySelectorAll("[data-edge]").forEach((node) => {
    node.textContent = edges?.[node.dataset.edge] ?? "";
  });
}

/** Lines are kept, so that the one with the focus keeps it. */
function listFiles() {
  while (parts.files.children.length < state.items.length) addLine(parts.files.children.length);
  state.items.forEach((item, place) => {
    const button = parts.files.children[place].firstChild;
    const [name, found] = button.children;
    name.textContent = item.name;
    found.textContent = summarize(item);
    if (item === state.current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.classList.toggle("failed", Boolean(item.error));
  });
}

function addLine(place) {
  const button = element("button", "");
  button.type = "button";
  button.append(element("span", ""), element("small", ""));
  button.addEventListener("click", () => choose(state.items[place]));
  const line = element("li", "");
  line.append(button);
  parts.files.append(line);
}

function summarize(item) {
  if (item.error) return "cannot be used";
  if (!item.cuts) return "being read …";
  if (!state.network || !item.isDone) return item.done ? `${item.done} of ${item.cuts.count}` : "waiting";
  return item.isVolume
    ? millilitres(item)
    : `${number(item.area(state.network, 0, threshold()))} px`;
}

function showProblem(text) {
  parts.problem.hidden = !text;
  parts.problem.textContent = text ?? "";
}

function tell(error) {
  if (!(error instanceof Unusable)) console.error(error);
  showProblem(error instanceof Unusable ? error.message : `Something failed (${error.message}). Load the page`
    + " again; if it fails again, tell the makers of brainseg.");
}

function showLoaded(share) {
  if (share < 1) parts.loaded.value = share;
  else {
    parts["loading-text"].textContent = "Starting the network …";
    parts.loaded.removeAttribute("value");
  }
}

/* Small things. */

function threshold() {
  return Math.fround(state.threshold ?? 0.5); // probabilities have 32 bits
}

function millilitres(item) {
  const found = item.millilitres(threshold());
  return found === null ? "…" : `${number(found, 2)} ml`;
}

function number(value, digits = 0) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function element(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/* What a person does. */

async function open(files) {
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
    if (item.channels > 1 && item.grey === null) await readChannel(item, 0);
    show();
    queue.start();
  }
  parts.stage.focus({ preventScroll: true });
}

async function readChannel(item, channel) {
  try {
    await item.read(channel);
    item.error = undefined;
  } catch (error) {
    item.error = error.message;
  }
}

function choose(item) {
  state.current = item;
  show();
  queue.start();
}

function step(by) {
  const item = state.current;
  if (!item) return;
  if (item.cuts?.count > 1) goTo(item.slice + by);
  else choose(state.items[Math.min(Math.max(state.items.indexOf(item) + by, 0), state.items.length - 1)]);
}

function goTo(slice) {
  const item = state.current;
  if (!item?.cuts) return;
  item.slice = Math.min(Math.max(slice, 0), item.cuts.count - 1);
  show();
  queue.start();
}

function setThreshold(value) {
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

const saveMask = () => save((item) => item.save(state.network, threshold(), WORDS));
const saveProbability = () => save((item) => item.saveProbability(state.network, WORDS));

function toggle(box) {
  box.checked = !box.checked;
  show();
}

const KEYS = {
  ArrowLeft: () => step(-1), ArrowUp: () => step(-1), ArrowRight: () => step(1), ArrowDown: () => step(1),
  Home: () => goTo(0), End: () => goTo(Infinity),
  "+": () => setThreshold(Math.min(parts.threshold.valueAsNumber + 0.05, 0.99)),
  "-": () => setThreshold(Math.max(parts.threshold.valueAsNumber - 0.05, 0.01)),
  c: () => toggle(parts.outline), p: () => toggle(parts.probability), s: saveMask,
};
KEYS["="] = KEYS["+"];

function listen() {
  parts.stage.addEventListener("keydown", (event) => {
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const own = event.target === parts.stage && !event.altKey && !event.ctrlKey && !event.metaKey;
    if (!act || !own || !state.current) return;
    event.preventDefault();
    act();
  });
  parts.stage.addEventListener("wheel", (event) => {
    if (!(state.current?.cuts?.count > 1) || event.ctrlKey) return;
    event.preventDefault();
    step(Math.sign(event.deltaY));
  }, { passive: false });
  parts.canvas.addEventListener("pointermove", read);
  parts.canvas.addEventListener("pointerleave", () => { parts.readout.textContent = ""; });
  for (const button of [parts.choose, parts.add]) button.addEventListener("click", () => parts.input.click());
  parts.input.addEventListener("change", () => {
    open([...parts.input.files]).catch(tell);
    parts.input.value = "";
  });
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      parts.stage.classList.toggle("over", kind === "dragover");
    });
  }
  document.addEventListener("dragleave", () => parts.stage.classList.remove("over"));
  document.addEventListener("drop", (event) => open([...event.dataTransfer.files]).catch(tell));
  parts.previous.addEventListener("click", () => step(-1));
  parts.next.addEventListener("click", () => step(1));
  parts.position.addEventListener("input", () => goTo(parts.position.valueAsNumber - 1));
  parts.threshold.addEventListener("input", () => setThreshold(parts.threshold.valueAsNumber));
  parts.best.addEventListener("click", () => setThreshold(state.manifest.best_threshold));
  for (const control of [parts.outline, parts.colour, parts.probability, parts.opacity, parts.brightness]) {
    control.addEventListener("input", show);
  }
  parts.plane.addEventListener("change", () => {
    state.current.recut(parts.plane.value);
    goTo(state.current.slice);
  });
  parts.channel.addEventListener("change", async () => {
    await readChannel(state.current, Number(parts.channel.value));
    goTo(state.current.slice ?? 0);
  });
  parts.save.addEventListener("click", () => saveMask().catch(tell));
  parts["save-probability"].addEventListener("click", () => saveProbability().catch(tell));
  parts["help-open"].addEventListener("click", () => parts.help.showModal());
  parts["help-close"].addEventListener("click", () => parts.help.close());
  new ResizeObserver(() => { if (state.shown && !parts.canvas.hidden) draw(parts.canvas, state.shown); })
    .observe(parts.stage);
}

/** Tell what lies under the pointer. */
function read(event) {
  const { canvas } = parts;
  const { width, height, pixels, probability } = state.shown;
  const frame = place(canvas, state.shown);
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  const x = Math.floor((((event.clientX - box.x) * scale - frame.x) / frame.width) * width);
  const y = Math.floor((((event.clientY - box.y) * scale - frame.y) / frame.height) * height);
  const inside = x >= 0 && y >= 0 && x < width && y < height;
  const chance = probability ? `, probability ${probability[y * width + x]?.toFixed(2)}` : "";
  parts.readout.textContent = inside ? `grey ${pixels[y * width + x]}${chance}` : "";
}

async function start() {
  parts.unstarted.hidden = true;
  parts.app.hidden = false;
  listen();
  state.manifest = await readManifest(base);
  const { name, mode, threshold: given, best_threshold: best, brainseg } = state.manifest;
  parts.network.textContent = `Network ${name}, ${mode}`;
  setThreshold(given ?? 0.5);
  if (best) {
    parts.best.hidden = false;
    parts.best.textContent = `Use ${number(best, 2)}, the best on validation`;
  }
  const threads = countThreads(new URLSearchParams(location.search).get("threads"));
  state.network = await Network.open(state.manifest, base, threads, showLoaded);
  parts.loading.hidden = true;
  parts.about.textContent = `Network ${name}, ${mode}, made with brainseg ${brainseg}; `
    + `${threads} ${threads === 1 ? "thread" : "threads"}.`;
  if (state.current) show();
  queue.start();
}

start().catch((error) => {
  parts.loading.hidden = true;
  tell(error);
});
