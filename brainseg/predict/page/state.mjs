// What is open and how it is looked at; the parts of the page; numbers in words.

export const parts = Object.fromEntries([...document.querySelectorAll("[id]")].map((node) => [node.id, node]));

/**
 * `items` that were opened, the `current` one, what is `shown` of it, the `threshold` that was chosen, and
 * the `failure` of the network in words.
 */
export const state = {
  manifest: null, network: null, items: [], current: null, shown: null, threshold: 0.5, failure: undefined,
};

/** The threshold as a number of 32 bits, which probabilities have. */
export function threshold() {
  return Math.fround(state.threshold);
}

export function number(value, digits = 0) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function element(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}
