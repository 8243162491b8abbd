// The page: reads a recording or the microphone, draws the scores, and offers them as CSV.

import { loadModel, score } from "./score.mjs";

const $ = (id) => document.getElementById(id);
const MOST_DRAWN = 6; // labels: those with the highest scores
const COLOURS = ["#0b6e99", "#c2410c", "#3f7d20", "#7c3aed", "#b91c5c", "#6b5b00"];
let model = null;

function say(text) {
  $("status").textContent = text;
}

async function told(what, work) {
  try {
    await work();
  } catch (problem) {
    say(`${what}: ${problem.message ?? problem}`);
  }
}

async function takeModel(name, bytes) {
  say(`${name}: loading ...`);
  model = await loadModel(new Uint8Array(bytes));
  const labels = model.labels.length > 8 ? `${model.labels.length} labels` : model.labels.join(", ");
  say(`${name}: ${labels}; ${model.sampleRate} Hz, a score every ${(1000 * model.hopSeconds).toFixed(0)} ms`);
  $("recording").disabled = $("microphone").disabled = false;
}

/** Any file that the browser can decode -> Float32Array at the rate of the model, the mean of its channels. */
async function decode(bytes) {
  const context = new OfflineAudioContext(1, 1, model.sampleRate);
  const sound = await context.decodeAudioData(bytes);
  const mixed = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, at) => (mixed[at] += value / sound.numberOfChannels));
  }
  return mixed;
}

async function takeSound(name, bytes) {
  $("csv").hidden = true;
  say(`${name}: scoring ...`);
  const samples = await decode(bytes);
  const began = performance.now();
  const scores = await score(model, samples);
  const seconds = samples.length / model.sampleRate;
  draw(scores, seconds);
  URL.revokeObjectURL($("csv").href);
  $("csv").href = URL.createObjectURL(new Blob([asCsv(scores)], { type: "text/csv" }));
  $("csv").download = `${name}.csv`;
  $("csv").hidden = false;
  const took = Math.max(0.001, (performance.now() - began) / 1000);
  say(`${name}: ${seconds.toFixed(1)} s, scored at ${(seconds / took).toFixed(0)}x real time`);
}

/** The same as `audiocnn score --format csv`, without the columns for file and channel. */
function asCsv(scores) {
  const width = model.labels.length;
  const lines = [["start", ...model.labels].join(",")];
  for (let row = 0; row * width < scores.length; row++) {
    const values = scores.subarray(row * width, (row + 1) * width);
    lines.push([(row * model.hopSeconds).toFixed(4), ...Array.from(values, (one) => one.toFixed(6))].join(","));
  }
  return lines.join("\n") + "\n";
}

function draw(scores, seconds) {
  const width = model.labels.length;
  const rows = scores.length / width;
  const highest = model.labels.map((_, label) => {
    let most = 0;
    for (let row = 0; row < rows; row++) most = Math.max(most, scores[row * width + label]);
    return most;
  });
  const shown = [...highest.keys()].sort((a, b) => highest[b] - highest[a]).slice(0, MOST_DRAWN);
  const canvas = $("scores");
  canvas.hidden = false;
  const scale = window.devicePixelRatio || 1;
  const [w, h, left, bottom] = [canvas.clientWidth, canvas.clientHeight, 34, 22];
  canvas.width = w * scale;
  canvas.height = h * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = "12px system-ui, sans-serif";
  const x = (second) => left + (second / seconds) * (w - left - 8);
  const y = (value) => 8 + (1 - value) * (h - bottom - 8);
  pen.strokeStyle = "#ddd";
  pen.fillStyle = "#555";
  pen.textAlign = "right";
  for (const value of [0, 0.5, 1]) {
    pen.strokeRect(left, y(value), w - left - 8, 0);
    pen.fillText(String(value), left - 6, y(value) + 4);
  }
  pen.textAlign = "center";
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600].find((one) => seconds / one <= 10) ?? 3600;
  for (let second = 0; second <= seconds; second += step) {
    pen.fillText(`${Number(second.toFixed(1))} s`, x(second), h - 6);
  }
  pen.lineWidth = 1.5;
  shown.forEach((label, number) => {
    pen.strokeStyle = COLOURS[number];
    pen.beginPath();
    for (let row = 0; row < rows; row++) {
      pen.lineTo(x(Math.min(seconds, (row + 0.5) * model.hopSeconds)), y(scores[row * width + label]));
    }
    pen.stroke();
  });
  $("legend").replaceChildren(
    ...shown.map((label, number) => {
      const item = document.createElement("li");
      item.textContent = `${model.labels[label]} (at most ${highest[label].toFixed(2)})`;
      item.style.color = COLOURS[number];
      return item;
    }),
  );
}

/** Records from one press of the button to the next. */
async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () =>
    told("microphone", async () => {
      stream.getTracks().forEach((track) => track.stop());
      $("microphone").textContent = "Record";
      $("microphone").onclick = () => told("microphone", record);
      await takeSound("microphone", await new Blob(parts).arrayBuffer());
    });
  $("microphone").textContent = "Stop";
  $("microphone").onclick = () => recorder.stop();
  recorder.start();
  say("recording ...");
}

$("model").onchange = () => {
  const [file] = $("model").files;
  if (file) told(file.name, async () => takeModel(file.name, await file.arrayBuffer()));
};
$("recording").onchange = () => {
  const [file] = $("recording").files;
  if (file) told(file.name, async () => takeSound(file.name, await file.arrayBuffer()));
};
$("microphone").onclick = () => told("microphone", record);

const named = new URLSearchParams(location.search).get("model");
if (named) {
  told(named, async () => {
    const answer = await fetch(named);
    if (!answer.ok) throw new Error(`cannot be read (${answer.status}); choose a model.onnx`);
    await takeModel(named, await answer.arrayBuffer());
  });
}
