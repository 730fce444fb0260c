// The list of what is open.

import { element, number, parts, state, threshold } from "./state.mjs";

/** Lines are kept, so that the one with the focus keeps it. */
export function listFiles() {
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
  button.dataset.place = place;
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

export function millilitres(item) {
  const found = item.millilitres(threshold());
  return found === null ? "…" : `${number(found, 2)} ml`;
}
