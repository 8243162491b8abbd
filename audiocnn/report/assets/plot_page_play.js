"use strict";
// Playback, zoom and keys of the page of `audiocnn plot`. Loaded after plot_page.js.

const playing = () => Boolean(sound) && !sound.paused && !sound.ended;

function moveTo(time, follow = false) {
  at = limit(time, data.start, data.end);
  head.style.left = `${(100 * (at - data.start)) / length}%`;
  byId("now").textContent = clock(at);
  for (const one of segments) {
    const now = one.from <= at && at < one.to;
    if (now === one.now) continue;
    one.now = now;
    one.button.classList.toggle("now", now);
    if (one.row) one.row.classList.toggle("now", now);
  }
  if (!follow || zoom === 1) return;
  const span = inView();
  if (at < span.from || at > span.to - 0.05 * (span.to - span.from)) scrollToTime(at - 0.1 * (span.to - span.from));
}

function seek(time, until = null) {
  playUntil = until;
  moveTo(time, true);
  if (sound) sound.currentTime = at - data.start;
}

function play() {
  if (!sound) return;
  const done = sound.play();
  if (done) done.catch((problem) => { if (problem.name !== "AbortError") tell(`cannot be played: ${problem.message}`); });
}

function toggle() {
  if (playing()) { sound.pause(); return; }
  if (sound && (sound.ended || at >= data.end - 0.01)) seek(data.start);
  play();
}

function playSegment(one) { seek(one.from, one.to); play(); }

function step(direction) {
  const ordered = [...segments].sort((a, b) => a.from - b.from);
  const before = ordered.filter((one) => one.from < at - 0.3).pop() || ordered[0];
  const next = direction > 0 ? ordered.find((one) => one.from > at + 0.01) : before;
  if (next) { show(next.from, next.to); playSegment(next); }
}

function tell(text) { readout.textContent = text; }

function tick() {
  if (!playing()) return;
  const time = data.start + sound.currentTime;
  if (playUntil !== null && time >= playUntil) {
    sound.pause();
    seek(playUntil, null);
  } else {
    moveTo(time, true);
  }
}

function animate() { tick(); if (playing()) requestAnimationFrame(animate); }

// The visible part

function scrollToTime(time) { view.scrollLeft = ((time - data.start) / length) * view.clientWidth * zoom; redraw(); }

function show(from, to) {
  const span = inView();
  if (from < span.from || to > span.to) scrollToTime((from + to) / 2 - (span.to - span.from) / 2);
}

function zoomTo(wanted, keep = at) {
  const span = inView(), share = limit((keep - span.from) / (span.to - span.from), 0, 1);
  zoom = limit(wanted, 1, mostZoom);
  content.style.width = `${100 * zoom}%`;
  byId("in").disabled = zoom >= mostZoom;
  byId("out").disabled = byId("fit").disabled = zoom === 1;
  scrollToTime(keep - (share * length) / zoom);
}

const timeAt = (event) => {
  const box = content.getBoundingClientRect();
  return data.start + limit((event.clientX - box.left) / box.width, 0, 1) * length;
};

function hover(event) {
  hovered = timeAt(event);
  hair.style.display = "block";
  hair.style.left = `${(100 * (hovered - data.start)) / length}%`;
  const column = Math.floor((hovered - data.scores.start) / data.scores.step), many = data.tracks.length > 1;
  const said = data.tracks.flatMap((track, number) => data.labels.map((label, k) => {
    const score = track.scores[k].high[column];
    return score === undefined ? "" : `${many ? `${number} ` : ""}${label.name} ${(score / 255).toFixed(2)}`;
  }));
  tell([clock(hovered), ...said.filter(Boolean).slice(0, 4)].join("  ·  "));
}

function press(event) { // a click plays from there, a drag plays the selected part
  if (event.button !== 0 || event.target.closest("button")) return;
  const from = timeAt(event), left = event.clientX;
  let to = from;
  const drag = (moved) => {
    to = timeAt(moved);
    if (Math.abs(moved.clientX - left) < 5 || moved.pointerType === "touch") { to = from; return; }
    chosen.style.display = "block";
    chosen.style.left = `${(100 * (Math.min(from, to) - data.start)) / length}%`;
    chosen.style.width = `${(100 * Math.abs(to - from)) / length}%`;
  };
  const end = () => {
    window.removeEventListener("pointermove", drag);
    window.removeEventListener("pointerup", release);
    window.removeEventListener("pointercancel", end);
  };
  const release = () => {
    end();
    if (to === from) { chosen.style.display = "none"; seek(from); } else seek(Math.min(from, to), Math.max(from, to));
    play();
  };
  window.addEventListener("pointermove", drag);
  window.addEventListener("pointerup", release);
  window.addEventListener("pointercancel", end);
}

function pan(event) {
  const box = overview.getBoundingClientRect();
  const go = (moved) => {
    const time = data.start + limit((moved.clientX - box.left) / box.width, 0, 1) * length;
    if (zoom > 1) scrollToTime(time - length / zoom / 2); else seek(time);
  };
  go(event);
  const end = () => { window.removeEventListener("pointermove", go); window.removeEventListener("pointerup", end); };
  window.addEventListener("pointermove", go);
  window.addEventListener("pointerup", end);
}

function turn() { // switch between light and dark
  document.documentElement.dataset.theme = paint.dark ? "light" : "dark";
  repaint();
}

function repaint() {
  paint = colours();
  for (const track of data.tracks) if (track.picture) track.tinted = tinted(track.picture, paint.dark);
  drawOverview();
  redraw();
}

const KEYS = {
  " ": toggle, k: toggle,
  ArrowLeft: (event) => seek(at - (event.shiftKey ? 5 : 1)), ArrowRight: (event) => seek(at + (event.shiftKey ? 5 : 1)),
  n: () => step(1), p: () => step(-1), Home: () => seek(data.start), End: () => seek(data.end),
  "+": () => zoomTo(zoom * 1.5), "=": () => zoomTo(zoom * 1.5), "-": () => zoomTo(zoom / 1.5), 0: () => zoomTo(1), d: turn,
};

function key(event) {
  const one = KEYS[event.key], busy = document.activeElement;
  if (!one || event.ctrlKey || event.metaKey || event.altKey || busy.tagName === "SELECT") return;
  if (event.key === " " && busy.tagName === "BUTTON") return; // the focused button is pressed
  event.preventDefault();
  one(event);
}

addLane("ruler", HEIGHTS.ruler, drawRuler);
data.tracks.forEach(addTrack);
content.append(head, hair, chosen);
if (sound) {
  for (const name of ["play", "pause", "ended"]) {
    sound.addEventListener(name, () => {
      byId("play").classList.toggle("on", playing());
      byId("play").setAttribute("aria-label", playing() ? "pause" : "play");
    });
  }
  sound.addEventListener("play", animate);
  sound.addEventListener("timeupdate", tick); // also in a background tab, where nothing is drawn
  sound.addEventListener("ended", () => moveTo(data.end));
  sound.addEventListener("error", () => tell("this browser cannot play the sound"));
  byId("play").addEventListener("click", (event) => { toggle(); if (event.detail) event.currentTarget.blur(); });
  byId("speed").addEventListener("change", (event) => { sound.playbackRate = Number(event.target.value); event.target.blur(); });
}
for (const [name, action] of Object.entries({ in: () => zoomTo(zoom * 1.5), out: () => zoomTo(zoom / 1.5), fit: () => zoomTo(1),
  before: () => step(-1), after: () => step(1), turn })) {
  byId(name).addEventListener("click", (event) => { action(); if (event.detail) event.currentTarget.blur(); });
}
content.addEventListener("pointerdown", press);
content.addEventListener("pointermove", hover);
content.addEventListener("pointerleave", () => { hair.style.display = "none"; tell(""); });
overview.addEventListener("pointerdown", pan);
view.addEventListener("scroll", redraw);
view.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return; // a pinch arrives as a wheel event with ctrl
  event.preventDefault();
  zoomTo(zoom * Math.exp(-event.deltaY / 200), timeAt(event));
}, { passive: false });
window.addEventListener("keydown", key);
new ResizeObserver(() => { drawOverview(); redraw(); }).observe(view);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
zoomTo(1);
moveTo(data.start);
drawOverview();
