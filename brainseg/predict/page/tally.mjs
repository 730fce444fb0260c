// Counts the pixels that are tumour, slice by slice, so that the page answers meanwhile.

const PATIENCE = 12; // milliseconds

export class Tally {
  #state;
  #tell;
  #round = 0;

  /**
   * @param {object} state `network`, `items`, `current`
   * @param {() => void} tell called after each item
   */
  constructor(state, tell) {
    [this.#state, this.#tell] = [state, tell];
  }

  /** Count all slices that are segmented, at another threshold than before. */
  async start(threshold) {
    const round = ++this.#round;
    const { network, items, current } = this.#state;
    if (!network) return;
    let begun = performance.now();
    for (const item of [current, ...items.filter((each) => each !== current)]) {
      for (let slice = 0; slice < (item?.cuts?.count ?? 0); slice++) {
        if (item.found[slice]) item.area(network, slice, threshold);
        if (performance.now() - begun < PATIENCE) continue;
        await new Promise((resolve) => { setTimeout(resolve); });
        if (round !== this.#round) return;
        begun = performance.now();
      }
      if (item) this.#tell();
    }
  }
}
