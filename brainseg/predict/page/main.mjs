// The page: starts the network, and listens to keys, pointers, controls and files.

import { KEYS, choose, goTo, open, queue, readChannel, saveMask, saveProbability, setThreshold, step } from "./acts.mjs";
import { draw, place } from "./drawing.mjs";
import { Network, countThreads, readManifest } from "./network.mjs";
import { fail, show, tell } from "./show.mjs";
import { number, parts, state } from "./state.mjs";

const base = new URL(".", document.baseURI);

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
  parts.files.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(state.items[button.dataset.place]);
  });
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

function showLoaded(share) {
  if (share < 1) parts.loaded.value = share;
  else {
    parts["loading-text"].textContent = "Starting the network …";
    parts.loaded.removeAttribute("value");
  }
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

start().catch(fail);
