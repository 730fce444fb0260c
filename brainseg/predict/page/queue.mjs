// Segments one slice after the other: those that are looked at first.

export class Queue {
  #state;
  #tell;
  #fail;
  #busy = false;

  /**
   * @param {object} state `network`, `items`, `current`
   * @param {(item, slice: number) => void} tell called after each slice
   * @param {(error: Error) => void} fail called when the network cannot go on
   */
  constructor(state, tell, fail) {
    [this.#state, this.#tell, this.#fail] = [state, tell, fail];
  }

  /** Go on, unless it already does, until nothing is left. */
  async start() {
    const { network } = this.#state;
    if (this.#busy || !network) return;
    this.#busy = true;
    try {
      for (let job = this.#next(); job; job = this.#next()) {
        const { item, slice } = job;
        const { version } = item;
        const { width, height } = item.cuts;
        const found = await network.segment(item.takeSlice(slice), width, height);
        if (item.version !== version) continue; // other slices were chosen meanwhile
        item.found[slice] = found;
        this.#tell(item, slice);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#busy = false;
    }
  }

  #next() {
    const { items, current } = this.#state;
    for (const item of [current, ...items]) {
      const slice = item?.cuts && !item.error && item.next();
      if (Number.isInteger(slice)) return { item, slice };
    }
    return null;
  }
}
