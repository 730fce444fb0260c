// The network, in a thread of its own, so that the page answers while a slice is segmented.

let session;
let runtime;

const tasks = {
  async open({ model, threads }) {
    runtime = await import("./ort/ort.wasm.min.mjs");
    runtime.env.wasm.numThreads = threads;
    runtime.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
    session = await runtime.InferenceSession.create(new Uint8Array(model), {
      executionProviders: ["wasm"], graphOptimizationLevel: "all",
    });
    const [, channels, height, width] = session.inputMetadata[0].shape;
    return { channels, height, width };
  },

  async run({ input, size }) {
    const image = new runtime.Tensor("float32", input, [1, 1, size, size]);
    const made = await session.run({ [session.inputNames[0]]: image });
    return Float32Array.from(made[session.outputNames[0]].data);
  },
};

self.addEventListener("message", async ({ data: { id, task, given } }) => {
  try {
    self.postMessage({ id, made: await tasks[task](given) });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
});
self.postMessage({ id: 0, made: null });
