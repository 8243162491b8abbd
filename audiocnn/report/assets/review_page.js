"use strict";
// The page of `audiocnn review`. It shows one clip after another, and sends each answer as soon as its key is pressed.
// Times are in seconds of the recording. Names and labels are always inserted as text, never as HTML.
const settings = JSON.parse(document.getElementById("data").textContent);
const byId = (name) => document.getElementById(name);
const [view, marks, note, playhead, spectrum, word] = ["view", "marks", "note", "playhead", "spectrum", "word"].map(byId);
const dark = matchMedia("(prefers-color-scheme: dark)");
const page = [...crypto.getRandomValues(new Uint8Array(12))].map((value) => value.toString(16)).join("");
const sound = new Audio();
const trail = []; // the numbers of the clips shown so far, in order
let place = -1; // position in the trail
let clip = null, summary = { labels: [] }, piece = 0, picture = null, soundUrl = "";
let segments = [], selected = null, current = null; // of a recording: [onset, offset, label]; the label of new segments
let work = Promise.resolve(); // answers are sent one by one, in the order of the keys
let shown = 0; // counts the clips and pieces shown, so that late responses for an earlier one are dropped
let waiting = 0;

class Problem extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

async function ask(path, values) {
  const how = values && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values) };
  let response;
  try {
    response = await fetch(path, how);
  } catch {
    throw new Problem("the server has stopped; all earlier answers are saved", 0);
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Problem(said.error || `error ${response.status}`, response.status);
}

const answerOf = async (path, values) => (await ask(path, values)).json();

// Runs one action after another. A problem is shown, and the rest of its action is dropped.
function queue(act) {
  waiting++;
  work = work.then(act).catch(failed).finally(() => {
    waiting--;
    drawState();
  });
  return work;
}

async function failed(problem) {
  byId("state").textContent = problem.message;
  byId("state").className = "bad";
  if (problem.status === 409 && clip) {
    await visit(place).catch(() => {});
    byId("state").textContent = problem.message;
    byId("state").className = "bad";
  }
}

function drawState() {
  const state = byId("state");
  if (state.className === "bad") return;
  const done = summary.done || 0;
  state.textContent = waiting ? "saving …" : done ? `saved in ${summary.table}; next:` : "answers are saved at once; then run:";
}

function settle() {
  byId("state").className = "";
  drawState();
}

// Choice of the clip.

async function take(found, at = trail.length) { // at: position in the trail; a new clip goes to its end
  summary = found.summary;
  if (!found.clip) return finish();
  trail[at] = found.clip.index;
  place = at;
  open(found.clip);
}

const visit = async (at) => take(await answerOf(`clip/${trail[at]}`), at);
const onward = async () => (place < trail.length - 1 ? visit(place + 1) : take(await answerOf(`next?page=${page}`)));
const back = async () => {
  const at = clip ? place - 1 : trail.length - 1;
  if (at >= 0) await visit(at);
};

async function finish() {
  if (!trail.length) { // all clips were answered earlier: let the user go through them again
    for (let index = 0; index < summary.total; index++) trail.push(index);
    if (trail.length === 1) return visit(0);
  }
  place = trail.length - 1;
  clip = null;
  shown++;
  sound.pause();
  picture = null;
  segments = [];
  draw();
  say(`all ${summary.total} are done; press ← to go back, or Ctrl-C in the terminal to end the review`, "done");
}

function open(found) {
  clip = found;
  selected = null;
  segments = (clip.segments || []).map((one) => [...one]);
  piece = 0;
  openPiece(0);
}

const pieces = () => Math.max(1, Math.ceil((clip.seconds - 1e-6) / settings.piece));
const start = () => piece * settings.piece;
const length = () => Math.max(1e-3, Math.min(settings.piece, clip.seconds - start()));

function openPiece(number) {
  const mine = ++shown, own = clip;
  piece = number;
  sound.pause();
  sound.removeAttribute("src");
  picture = null;
  draw();
  if (own.problem) return say(`${own.problem}\npress x to leave it out, s to see it later`, "bad");
  say("", "");
  const load = async (kind, use) => {
    try {
      const found = await (await ask(`${kind}/${own.index}/${number}`)).blob();
      if (mine === shown) use(found);
    } catch (problem) {
      if (mine === shown) say(`${problem.message}\npress x to leave it out, s to see it later`, "bad");
    }
  };
  load("sound", (found) => {
    URL.revokeObjectURL(soundUrl);
    soundUrl = sound.src = URL.createObjectURL(found);
    if (byId("autoplay").checked) play(0);
  });
  load("picture", (found) => {
    const image = new Image(), url = URL.createObjectURL(found);
    image.onload = () => {
      if (mine === shown) {
        picture = image;
        drawSpectrum();
      }
      URL.revokeObjectURL(url);
    };
    image.src = url;
  });
}

// Sound.

function play(from) {
  if (!sound.src) return;
  if (from !== undefined) sound.currentTime = from;
  sound.play().then(
    () => note.className === "hint" && say("", ""),
    (problem) => problem.name === "NotAllowedError" && say("press space to hear it", "hint"),
  );
}

const toggle = () => (sound.paused ? play(sound.ended ? 0 : undefined) : sound.pause());

function follow() {
  const on = !sound.paused;
  byId("play").textContent = on ? "pause" : "play";
  playhead.style.display = clip && sound.src ? "block" : "none";
  if (clip) {
    playhead.style.left = `${(100 * sound.currentTime) / length()}%`;
    byId("time").textContent = clock();
  }
  if (on) requestAnimationFrame(follow);
}

function clock() {
  const whole = `${(start() + sound.currentTime).toFixed(2)} / ${clip.seconds.toFixed(2)} s`;
  return pieces() > 1 ? `${whole}, piece ${piece + 1} of ${pieces()}` : whole;
}

for (const event of ["play", "pause", "ended", "seeked", "loadedmetadata"]) sound.addEventListener(event, follow);

// Drawing.

function say(text, kind) {
  note.textContent = text;
  note.className = kind;
}

function draw() {
  const timed = summary.timed, labels = summary.labels;
  byId("count").textContent = `${summary.done} of ${summary.total}`;
  byId("bar").style.width = `${(100 * summary.done) / Math.max(1, summary.total)}%`;
  byId("name").textContent = clip ? clip.name : "";
  byId("why").textContent = clip ? why() : "";
  byId("given").textContent = clip ? state() : "";
  const chosen = timed ? selected && selected[2] : clip && clip.answer;
  byId("labels").replaceChildren(...labels.map((label, number) => labelButton(label, number, chosen)));
  byId("known").replaceChildren(...labels.map((label) => Object.assign(document.createElement("option"), { value: label.name })));
  const none = byId("none");
  none.replaceChildren(key("n"), ` none of these (${summary.none || ""})`);
  none.hidden = Boolean(timed);
  for (const name of ["before", "after"]) byId(name).hidden = !clip || pieces() < 2;
  drawMarks();
  drawSpectrum();
  follow();
  drawState();
}

function why() {
  const maybe = !summary.timed && clip.suggested ? `maybe ${clip.suggested} ${clip.score.toFixed(2)}` : "";
  return [clip.reason, maybe].filter(Boolean).join(" · ");
}

function state() {
  const parts = [];
  if (clip.given !== null) parts.push(`in the folder: ${clip.given}`);
  if (summary.timed && clip.origin) parts.push({ table: "saved", data: "as in the folder", model: "suggested by the model", nothing: "no segments yet" }[clip.origin]);
  if (clip.said && clip.answer === "-") parts.push("left out");
  else if (clip.said && clip.answer !== null) parts.push(`answered: ${clip.answer}`);
  return parts.join(" · ");
}

function key(text) {
  return Object.assign(document.createElement("kbd"), { textContent: text });
}

function labelButton(label, number, chosen) {
  const button = document.createElement("button"), count = document.createElement("span");
  count.className = "count";
  count.textContent = label.count || "";
  if (summary.timed) button.append(Object.assign(document.createElement("span"), { className: `dot c${number % 6}` }));
  if (label.key) button.append(key(label.key));
  button.append(label.name, count);
  button.classList.toggle("chosen", chosen === label.name);
  button.classList.toggle("likely", Boolean(clip && !summary.timed && !clip.said && clip.suggested === label.name));
  button.addEventListener("click", () => {
    button.blur();
    choose(label.name);
  });
  return button;
}

function drawSpectrum() {
  const pen = spectrum.getContext("2d"), scale = devicePixelRatio || 1;
  spectrum.width = Math.max(1, view.clientWidth * scale);
  spectrum.height = Math.max(1, view.clientHeight * scale);
  if (!picture) return;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(tinted(picture, dark.matches), 0, 0, spectrum.width, spectrum.height);
}

const colour = (label) => Math.max(0, summary.labels.findIndex((one) => one.name === label)) % 6;

function drawMarks() {
  marks.replaceChildren();
  if (!clip || !summary.timed || clip.problem) return;
  for (const one of segments) {
    if (one[1] <= start() || one[0] >= start() + length()) continue;
    const box = document.createElement("div"), name = document.createElement("span");
    box.className = `mark c${colour(one[2])}`;
    box.classList.toggle("now", one === selected);
    name.textContent = one[2];
    box.append(name);
    for (const edge of ["on", "off"]) box.append(Object.assign(document.createElement("i"), { className: edge }));
    box.segment = one;
    putMark(box);
    marks.append(box);
  }
}

function putMark(box) {
  const [from, to] = box.segment, left = Math.max(0, (from - start()) / length()), right = Math.min(1, (to - start()) / length());
  box.style.left = `${100 * left}%`;
  box.style.width = `${100 * Math.max(0, right - left)}%`;
}

// Answers.

function answer(label) {
  const own = clip;
  if (!own) return;
  settle();
  sound.pause();
  queue(async () => {
    if (own !== clip) return; // the key was pressed before the next clip appeared
    const found = await answerOf("answer", { page, index: own.index, label, revision: own.revision });
    summary = found.summary;
    await onward();
  });
}

function mark() {
  const own = clip, sent = segments.map((one) => [...one]);
  settle();
  queue(async () => {
    if (own.index !== clip?.index) return;
    const found = await answerOf("mark", { page, index: own.index, segments: sent, revision: clip.revision });
    summary = found.summary;
    if (clip.index !== own.index) return;
    clip = found.clip;
    draw();
  });
}

function choose(label) {
  if (!clip) return;
  if (!summary.timed) return answer(label);
  current = label;
  if (selected) {
    selected[2] = label;
    mark();
  }
  draw();
}

function confirm() {
  if (!clip) return;
  if (!summary.timed) return clip.suggested && answer(clip.suggested);
  if (clip.problem) return;
  if (piece < pieces() - 1) return openPiece(piece + 1);
  mark();
  queue(onward);
}

function skip() {
  const own = clip;
  if (!own) return;
  settle();
  queue(async () => {
    await answerOf("skip", { page, index: own.index });
    await onward();
  });
}

function undo() {
  settle();
  queue(async () => {
    const found = await answerOf("undo", { page });
    if (found.clip) await take(found);
    else say("nothing to undo", "hint");
  });
}

function turn(by) {
  const next = piece + by;
  if (clip && next >= 0 && next < pieces()) openPiece(next);
}

function remove() {
  if (!selected) return;
  segments = segments.filter((one) => one !== selected);
  selected = null;
  mark();
  draw();
}

// The mouse on the spectrogram: a click plays from there; in a recording, segments can be drawn and dragged.

view.addEventListener("pointerdown", (event) => {
  if (!clip || clip.problem || event.button) return;
  const box = view.getBoundingClientRect();
  const timeAt = (one) => start() + Math.min(1, Math.max(0, (one.clientX - box.left) / box.width)) * length();
  const edge = event.target.tagName === "I" ? event.target.className : "";
  const owner = event.target.closest(".mark"), from = timeAt(event), before = owner && [...owner.segment];
  let moved = false, drawn = owner;
  selected = owner ? owner.segment : null;
  view.setPointerCapture(event.pointerId);
  const move = (one) => {
    const now = timeAt(one);
    if (!moved && Math.abs(one.clientX - event.clientX) < 4) return;
    moved = true;
    if (!summary.timed) return;
    if (!drawn) {
      const label = current || summary.labels[0]?.name;
      if (!label) return;
      selected = [from, from, label];
      segments.push(selected);
      drawMarks();
      drawn = [...marks.children].find((one) => one.segment === selected) || marks.appendChild(Object.assign(document.createElement("div"), { className: `mark now c${colour(label)}`, segment: selected }));
    }
    const segment = drawn.segment;
    if (!before) [segment[0], segment[1]] = [Math.min(from, now), Math.max(from, now)];
    else if (edge === "on") segment[0] = Math.min(now, segment[1] - 0.01);
    else if (edge === "off") segment[1] = Math.max(now, segment[0] + 0.01);
    else {
      const by = Math.min(Math.max(now - from, -before[0]), clip.seconds - before[1]);
      [segment[0], segment[1]] = [before[0] + by, before[1] + by];
    }
    putMark(drawn);
  };
  const up = (one) => {
    view.removeEventListener("pointermove", move);
    view.removeEventListener("pointerup", up);
    view.removeEventListener("pointercancel", up);
    if (moved && summary.timed && drawn) mark();
    else if (moved && summary.timed && !summary.labels.length) say("type a label first (t)", "hint");
    if (!moved) play((owner ? Math.max(owner.segment[0], start()) : timeAt(one)) - start());
    draw();
  };
  view.addEventListener("pointermove", move);
  view.addEventListener("pointerup", up);
  view.addEventListener("pointercancel", up);
});

// Keys and buttons.

const acts = {
  " ": toggle, n: () => !summary.timed && answer(summary.none), x: () => answer(null), s: skip, u: undo, Backspace: undo, t: () => word.focus(),
  ArrowLeft: () => queue(back), ArrowRight: () => queue(onward), Enter: confirm, Delete: remove, PageUp: () => turn(-1), PageDown: () => turn(1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target === word) {
    if (event.key === "Escape") word.blur();
    return;
  }
  if (event.target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter")) return;
  const label = summary.labels.find((one) => one.key && one.key === event.key.toLowerCase());
  const act = acts[event.key] || acts[event.key.toLowerCase()];
  if (!label && !act) return;
  event.preventDefault();
  if (event.repeat && event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  if (label && !Object.hasOwn(acts, event.key)) choose(label.name);
  else act?.();
});

byId("typing").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = word.value.replace(/\s+/g, " ").trim();
  word.value = "";
  word.blur();
  if (!label || !clip) return;
  choose(label);
  if (!summary.timed || selected) return;
  settle();
  queue(async () => { // the label of the next segments
    summary = (await answerOf("label", { name: label })).summary;
    draw();
  });
});

const press = (name, act) => byId(name).addEventListener("click", () => { byId(name).blur(); act(); });
press("play", toggle);
press("none", () => answer(summary.none));
press("out", () => answer(null));
press("later", skip);
press("undo", undo);
press("before", () => turn(-1));
press("after", () => turn(1));
press("copy", () => navigator.clipboard?.writeText(byId("command").textContent).then(() => (byId("copy").textContent = "copied")));
byId("autoplay").addEventListener("change", () => byId("autoplay").blur());
dark.addEventListener("change", drawSpectrum);
addEventListener("resize", drawSpectrum);
queue(onward);
