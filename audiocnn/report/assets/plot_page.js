"use strict";
// The page of `audiocnn plot`: draws the visible part, plays the sound, and keeps the two in step.
// Times are in seconds of the recording; the sound starts at data.start.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (name) => document.getElementById(name);
const [view, content, head, hair, chosen, sound] = ["view", "content", "head", "hair", "chosen", "sound"].map(byId);
const overview = byId("overview"), frame = byId("window"), readout = byId("readout");
const length = Math.max(data.end - data.start, 1e-6);
const HEIGHTS = { ruler: 24, waveform: 92, spectrum: 168, scores: 92, row: 27, between: 14 };
const ROUND_HERTZ = [50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000];
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const mostZoom = Math.max(1, length / Math.max(0.25, 60 * data.waveform.step));
let zoom = 1, at = data.start, playUntil = null, hovered = null;
const lanes = [], segments = [];

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const signed = (text) => new Int8Array(bytes(text).buffer);
const limit = (value, low, high) => Math.min(high, Math.max(low, value));
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function clock(seconds, digits = 2) {
  const scale = 10 ** digits, whole = Math.round(seconds * scale), rest = ((whole % (60 * scale)) / scale).toFixed(digits);
  const minutes = Math.floor(whole / (60 * scale)), padded = rest.padStart(digits ? digits + 3 : 2, "0");
  if (minutes < 60) return `${minutes}:${padded}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${padded}`;
}

function colours() { // resolved, because a canvas does not know light-dark()
  const probe = document.createElement("span"), found = {};
  document.body.append(probe);
  for (const name of ["ink", "soft", "rule", "wave", "card", "c0", "c1", "c2", "c3", "c4", "c5"]) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  const [red, green, blue] = found.card.match(/[\d.]+/g).map(Number);
  return { ...found, dark: red + green + blue < 380 };
}
let paint = colours();

// Lanes: one canvas each, as wide as the visible part, redrawn whenever that changes.

function addLane(kind, height, draw, title = "") {
  const lane = document.createElement("div"), name = document.createElement("div");
  lane.className = `lane ${kind}`;
  lane.style.height = name.style.height = `${height}px`;
  name.textContent = title;
  byId("names").append(name);
  content.append(lane);
  if (draw) {
    const canvas = document.createElement("canvas");
    lane.append(canvas);
    lanes.push({ canvas, height, draw });
  }
  return { lane, name };
}

function mark(name, top, text) {
  const small = document.createElement("small");
  small.textContent = text;
  small.style.top = `${limit(top, 7, parseFloat(name.style.height) - 7)}px`;
  name.append(small);
}

function sized(canvas, width, height) {
  const dense = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * dense));
  canvas.height = Math.max(1, Math.round(height * dense));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(dense, dense);
  return pen;
}

const inView = () => {
  const wide = view.clientWidth, from = data.start + (view.scrollLeft / (wide * zoom)) * length;
  return { wide, from, to: from + length / zoom };
};

function columns(series, low, high, x, span) { // the range of the values under one pixel, or null
  const per = (span.to - span.from) / span.wide, begin = span.from + x * per;
  const first = Math.floor((begin - series.start) / series.step + 1e-6);
  const last = Math.max(first + 1, Math.ceil((begin + per - series.start) / series.step - 1e-6));
  let least = Infinity, most = -Infinity;
  for (let k = Math.max(0, first); k < Math.min(low.length, last); k++) {
    if (low[k] < least) least = low[k];
    if (high[k] > most) most = high[k];
  }
  return most < least ? null : [least, most];
}

function drawRuler(pen, span, height) {
  const least = (80 * (span.to - span.from)) / span.wide;
  const step = STEPS.find((size) => size >= least) || Math.ceil(least / 86400) * 86400;
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  pen.font = "11.5px system-ui, sans-serif";
  for (let k = Math.ceil(span.from / step - 1e-9); k * step <= span.to; k++) {
    const x = ((k * step - span.from) / (span.to - span.from)) * span.wide;
    pen.fillStyle = paint.rule;
    pen.fillRect(x, height - 6, 1, 6);
    pen.fillStyle = paint.soft;
    const text = clock(k * step, digits), wide = pen.measureText(text).width;
    pen.fillText(text, limit(x - wide / 2, 2, span.wide - wide - 2), 14);
  }
}

function drawWave(pen, span, height, wave, mine) {
  const middle = height / 2, scale = (middle - 3) / 127, next = mine.map(() => 0);
  for (let x = 0; x < span.wide; x++) {
    const range = columns(data.waveform, wave.low, wave.high, x, span);
    if (!range) continue;
    const time = span.from + ((x + 0.5) / span.wide) * (span.to - span.from);
    const inside = mine.findIndex((row, label) => { // the first label that covers it
      while (next[label] < row.length && row[next[label]].end <= time) next[label]++;
      return next[label] < row.length && row[next[label]].start <= time;
    });
    pen.fillStyle = inside < 0 ? paint.wave : paint[`c${inside % 6}`];
    const top = middle - range[1] * scale, tall = Math.max(1, (range[1] - range[0]) * scale);
    pen.fillRect(x, Math.min(top, middle), 1, tall);
  }
}

function drawSpectrum(pen, span, height, track) {
  if (!track.tinted) return;
  const series = data.spectrum, wide = (series.step * span.wide) / (span.to - span.from);
  const first = Math.max(0, Math.floor((span.from - series.start) / series.step) - 1);
  const last = Math.min(track.tinted.width, Math.ceil((span.to - series.start) / series.step) + 1);
  const left = ((series.start + first * series.step - span.from) / (span.to - span.from)) * span.wide;
  pen.imageSmoothingEnabled = true;
  pen.imageSmoothingQuality = "high";
  if (last > first)
    pen.drawImage(track.tinted, first, 0, last - first, track.tinted.height, left, 0, (last - first) * wide, height);
}

function drawScores(pen, span, height, track) {
  const y = (score) => height - 4 - (score / 255) * (height - 8);
  data.labels.forEach((label, number) => {
    pen.strokeStyle = pen.fillStyle = paint[`c${number % 6}`];
    pen.setLineDash([5, 4]);
    pen.globalAlpha = 0.75;
    pen.beginPath();
    pen.moveTo(0, y(255 * label.threshold));
    pen.lineTo(span.wide, y(255 * label.threshold));
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    const { low, high, exact } = track.scores[number], series = data.scores;
    if (exact && 4 * series.step * span.wide > span.to - span.from) { // few values: a line through their centres
      const first = Math.max(0, Math.floor((span.from - series.start) / series.step) - 1);
      pen.beginPath();
      for (let k = first; k < high.length && series.start + (k - 1) * series.step < span.to; k++) {
        const middle = series.start + (k + 0.5) * series.step;
        pen.lineTo(((middle - span.from) / (span.to - span.from)) * span.wide, y((low[k] + high[k]) / 2));
      }
      pen.stroke();
    } else { // the range of the values under each pixel
      pen.globalAlpha = 0.6;
      for (let x = 0; x < span.wide; x++) {
        const range = columns(series, low, high, x, span);
        if (range) pen.fillRect(x, y(range[1]) - 0.8, 1, y(range[0]) - y(range[1]) + 1.6);
      }
      pen.globalAlpha = 1;
    }
    pen.lineWidth = 1;
  });
}

function addTrack(track, number) {
  if (number) addLane("between", HEIGHTS.between, null);
  track.low = signed(track.low);
  track.high = signed(track.high);
  track.scores = track.scores.map((pair) => ({ low: bytes(pair.low), high: bytes(pair.high), exact: pair.low === pair.high }));
  const all = track.segments.map(([start, end, label, score]) => ({ start, end, label, score }));
  const mine = track.mine = data.labels.map((_, label) => all.filter((one) => one.label === label));
  const wave = (pen, span, height) => drawWave(pen, span, height, track, mine);
  addLane("waveform", HEIGHTS.waveform, wave, track.name || "waveform");
  const { name } = addLane("spectrum", HEIGHTS.spectrum, (pen, span, height) => drawSpectrum(pen, span, height, track));
  markHertz(name);
  const picture = new Image();
  picture.onload = () => { track.picture = picture; track.tinted = tinted(picture, paint.dark); redraw(); };
  picture.src = track.spectrum;
  const scores = addLane("scores", HEIGHTS.scores, (pen, span, height) => drawScores(pen, span, height, track), "score");
  const taken = [];
  for (const score of [1, 0, ...data.labels.map((label) => label.threshold)]) {
    const top = HEIGHTS.scores - 4 - score * (HEIGHTS.scores - 8);
    if (taken.every((other) => Math.abs(other - top) > 10)) mark(scores.name, top, `${+score.toFixed(2)}`);
    taken.push(top);
  }
  data.labels.forEach((label, k) => addSegments(label, k, mine[k]));
}

function markHertz(name) {
  const bands = data.hertz.length - 1;
  let before = Infinity;
  for (const hertz of ROUND_HERTZ) {
    const above = data.hertz.findIndex((border) => border > hertz);
    if (above < 1) continue;
    const place = above - 1 + (hertz - data.hertz[above - 1]) / (data.hertz[above] - data.hertz[above - 1]);
    const top = HEIGHTS.spectrum * (1 - place / bands);
    if (before - top < 17) continue;
    mark(name, top, hertz >= 1000 ? `${hertz / 1000} kHz` : `${hertz} Hz`);
    before = top;
  }
}

function addSegments(label, number, mine) {
  const { lane, name } = addLane("segments", HEIGHTS.row, null);
  const tag = document.createElement("span");
  tag.className = `label c${number % 6}`;
  tag.textContent = label.name;
  name.append(tag);
  for (const segment of mine) {
    const button = document.createElement("button"), row = byId("rows").rows[segments.length];
    const from = Math.max(segment.start, data.start), to = Math.min(segment.end, data.end);
    button.className = `c${number % 6}`;
    button.style.left = `${(100 * (from - data.start)) / length}%`;
    button.style.width = `${(100 * (to - from)) / length}%`;
    button.title = `${label.name} ${clock(segment.start)} to ${clock(segment.end)}, score ${segment.score.toFixed(2)}`;
    button.setAttribute("aria-label", button.title);
    const known = { ...segment, from, to, button, row };
    segments.push(known);
    button.addEventListener("click", (event) => { playSegment(known); if (event.detail) button.blur(); });
    if (row) row.addEventListener("click", () => { show(known.from, known.to); playSegment(known); });
    lane.append(button);
  }
}

function redraw() {
  const span = inView();
  for (const { canvas, height, draw } of lanes) draw(sized(canvas, span.wide, height), span, height);
  frame.style.left = `${(100 * (span.from - data.start)) / length}%`;
  frame.style.width = `${100 / zoom}%`;
  frame.hidden = zoom === 1;
}

function drawOverview() {
  const wide = overview.clientWidth, canvas = overview.firstElementChild, span = { wide, from: data.start, to: data.end };
  const pen = sized(canvas, wide, 34);
  drawWave(pen, span, 34, data.tracks[0], data.tracks[0].mine);
}
