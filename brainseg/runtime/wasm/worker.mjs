// Runs one ONNX file in onnxruntime-web for a Python process, see ../node.py for the frames.
//
// node worker.mjs '{"module": …, "model": …, "threads": …}'

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const asked = JSON.parse(process.argv[2]);
// Standard output belongs to the frames: what libraries say goes to standard error.
for (const name of ["log", "info", "debug"]) console[name] = console.error;

function send(header, values = new Float32Array()) {
  const text = Buffer.from(JSON.stringify({ ...header, bytes: values.byteLength }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const { buffer, byteOffset, byteLength } = values;
  process.stdout.write(Buffer.concat([length, text, Buffer.from(buffer, byteOffset, byteLength)]));
}

async function* frames() {
  let held = Buffer.alloc(0);
  const need = async (count) => {
    const parts = [held];
    let size = held.length;
    while (size < count) {
      const { value, done } = await input.next();
      if (done) process.exit(0); // whoever asked is gone
      parts.push(value);
      size += value.length;
    }
    const all = parts.length > 1 ? Buffer.concat(parts) : held;
    held = all.subarray(count);
    return all.subarray(0, count);
  };
  const input = process.stdin[Symbol.asyncIterator]();
  for (;;) {
    const length = (await need(4)).readUInt32LE();
    const header = JSON.parse(await need(length));
    const payload = await need(header.bytes);
    yield [header, new Float32Array(Uint8Array.from(payload).buffer)];
  }
}

async function open() {
  const ort = await import(pathToFileURL(asked.module));
  ort.env.logLevel = "fatal";
  ort.env.wasm.numThreads = asked.threads;
  const start = performance.now();
  const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(asked.model)), {
    executionProviders: ["wasm"],
    logSeverityLevel: 4,
    extra: asked.settings,
  });
  const loadMs = performance.now() - start;
  const got = { version: ort.env.versions.web, node: process.version, threads: asked.threads };
  send({ got, load_ms: loadMs, shape: session.inputMetadata[0].shape });
  return [ort, session];
}

async function run(ort, session, shape, values) {
  const images = new ort.Tensor("float32", values, shape);
  const start = performance.now();
  const found = await session.run({ [session.inputNames[0]]: images });
  const milliseconds = performance.now() - start;
  const map = found[session.outputNames[0]];
  send({ shape: map.dims, milliseconds }, map.data);
}

let opened;
try {
  opened = await open();
} catch (error) {
  send({ error: String(error?.message ?? error) });
  process.exit(1);
}
for await (const [header, values] of frames()) {
  try {
    await run(...opened, header.shape, values);
  } catch (error) {
    send({ error: String(error?.message ?? error) });
  }
}
