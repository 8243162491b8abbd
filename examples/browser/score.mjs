// Reads model.onnx: its metadata, and its scores for samples.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more threads need a cross-origin isolated page
ort.env.logLevel = "error";

/** bytes of model.onnx -> { session, sampleRate, hopSeconds, labels } */
export async function loadModel(bytes) {
  const said = readMetadata(bytes);
  if (!said.sample_rate || !said.labels) throw new Error("is not a model.onnx of audiocnn");
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3 });
  const sampleRate = Number(said.sample_rate);
  return { session, sampleRate, hopSeconds: Number(said.hop_samples) / sampleRate, labels: said.labels.split("\n") };
}

/** Float32Array in [-1, 1] at the rate of the model -> Float32Array of (rows, labels), one row after the other. */
export async function score(model, samples) {
  const tensor = new ort.Tensor("float32", samples, [1, 1, samples.length]);
  const { scores } = await model.session.run({ samples: tensor }, ["scores"]);
  return scores.data;
}

/** The metadata_props of an ONNX file (field 14 of its Protocol Buffers), which onnxruntime-web does not provide. */
export function readMetadata(bytes) {
  const found = {};
  for (const [number, value] of fields(bytes)) {
    if (number !== 14) continue;
    const entry = Object.fromEntries(fields(value));
    const text = (part) => new TextDecoder().decode(part ?? new Uint8Array());
    found[text(entry[1])] = text(entry[2]);
  }
  return found;
}

/** [number, bytes] of each length-delimited field of a message; other fields are skipped. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    let scale = 1;
    for (;;) {
      if (at >= bytes.length) throw new Error("is not a complete ONNX file");
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key & 7;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const size = varint();
      if (at + size > bytes.length) throw new Error("is not a complete ONNX file");
      yield [Math.floor(key / 8), bytes.subarray(at, at + size)];
      at += size;
    } else throw new Error("is not a complete ONNX file");
  }
}
