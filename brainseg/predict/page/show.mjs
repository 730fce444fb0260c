// Shows the current item: its slice, what was found, and what can be chosen.

import { draw } from "./drawing.mjs";
import { listFiles, millilitres } from "./files.mjs";
import { element, number, parts, state, threshold } from "./state.mjs";
import { Unusable } from "./unusable.mjs";

/** All of it. */
export function show() {
  const item = state.current;
  listFiles();
  const usable = Boolean(item?.cuts && item.takeSlice && !item.error);
  for (const node of [parts.result, parts.controls]) node.hidden = !usable;
  parts.steps.hidden = !usable || item.cuts.count === 1;
  parts.canvas.hidden = !usable;
  parts.empty.hidden = Boolean(item);
  showEdges(usable ? item.cuts.edges : null);
  parts.readout.textContent = "";
  showProblem(item?.error ?? state.failure);
  if (!usable) {
    parts.status.textContent = "";
    return;
  }
  showSlice(item);
  showChoices(item);
  showResult(item);
}

/** A slice was segmented. */
export function showSegmented(item, slice) {
  item.area(state.network, slice, threshold());
  if (item === state.current && slice === item.slice) show();
  else showCounted();
}

/** Pixels were counted. */
export function showCounted() {
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
  if (state.failure) return "The network does not run.";
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

function showProblem(text) {
  parts.problem.hidden = !text;
  parts.problem.textContent = text ?? "";
}

/** Tell what went wrong once. */
export function tell(error) {
  showProblem(inWords(error));
}

/** Tell, from now on, that the network cannot be used. */
export function fail(error) {
  state.failure = inWords(error);
  parts.loading.hidden = true;
  show();
}

function inWords(error) {
  if (error instanceof Unusable) return error.message;
  console.error(error);
  return `Something failed (${error.message}). Load the page again; if it fails again, tell the makers of`
    + " brainseg.";
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
