"use strict";
// Choices are stored by the number of the clip: a label, or "-" for left out. Where clips may have several labels, an empty
// string means none of them. A clip without a choice keeps its label.
const data = JSON.parse(document.getElementById("data").textContent);
const clips = [...document.querySelectorAll(".clip")];
const [LABEL, CHECKED] = ["label", "checked"].map((name) => data.columns.indexOf(name));
const place = "audiocnn doubtful " + data.rows.map((row) => row.join("\t")).join("\n");
let choices = new Map();
let past = [];
let saved = true;

try {
  choices = new Map(JSON.parse(localStorage.getItem(place) || "[]"));
} catch {
  // The browser stores nothing for local files: choices last until the page is closed.
}

function choose(number, label) {
  past.push([number, choices.get(number)]);
  if (label === undefined) choices.delete(number);
  else choices.set(number, label);
  saved = false;
  try {
    localStorage.setItem(place, JSON.stringify([...choices]));
  } catch {
    // As above.
  }
  draw(number);
}

function undo() {
  const last = past.pop();
  if (!last) return;
  const [number, label] = last;
  choose(number, label);
  past.pop();
  clips[number].focus();
}

function draw(number) {
  const row = data.rows[number];
  const choice = choices.get(number);
  const clip = clips[number];
  const kept = choice === row[LABEL];
  clip.classList.toggle("kept", kept);
  clip.classList.toggle("out", choice === "-");
  clip.classList.toggle("changed", choice !== undefined && !kept && choice !== "-");
  const mark = (what, on) => {
    const button = clip.querySelector(`[data-do="${what}"]`);
    if (button) button.classList.toggle("chosen", on);
  };
  mark("keep", kept);
  mark("suggested", choice !== undefined && choice === data.suggested[number] && !kept);
  mark("out", choice === "-");
  const input = clip.querySelector("input");
  input.value = choice === undefined || choice === "-" ? row[LABEL] : choice;
  const all = [...choices];
  const changed = all.filter(([k, label]) => label !== data.rows[k][LABEL] && label !== "-").length;
  const out = all.filter(([, label]) => label === "-").length;
  document.getElementById("state").textContent =
    `${all.length} of ${clips.length} checked: ${changed} changed, ${out} left out, ${all.length - changed - out} right`;
  document.getElementById("save").disabled = !all.length;
}

function act(number, what) {
  const row = data.rows[number];
  if (what === "keep") choose(number, row[LABEL]);
  if (what === "suggested" && (data.suggested[number] || data.several)) choose(number, data.suggested[number]);
  if (what === "out") choose(number, "-");
}

function play(number) {
  const sound = clips[number].querySelector("audio");
  if (!sound) return;
  if (!sound.paused) return sound.pause();
  clips.forEach((clip) => clip.querySelector("audio")?.pause());
  sound.currentTime = 0;
  sound.play();
}

function go(number, by) {
  const next = clips[Math.min(Math.max(number + by, 0), clips.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

// A name may contain bytes that are not valid text. They are lone surrogates here, and bytes again in the table.
function bytesOf(text) {
  const parts = [];
  for (const piece of text.split(/(?<![\ud800-\udbff])([\udc80-\udcff])/)) {
    const code = piece.length === 1 ? piece.charCodeAt(0) : 0;
    parts.push(code >= 0xdc80 && code <= 0xdcff ? new Uint8Array([code - 0xdc00]) : new TextEncoder().encode(piece));
  }
  return new Blob(parts, { type: "text/tab-separated-values" });
}

function cell(text) {
  return /[\t"\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function table() {
  const rows = data.rows.map((row, k) => {
    const corrected = [...row];
    if (choices.has(k)) [corrected[LABEL], corrected[CHECKED]] = [choices.get(k), "yes"];
    return corrected;
  });
  return [data.columns, ...rows, ...data.settled].map((row) => row.map(cell).join("\t") + "\n").join("");
}

clips.forEach((clip, number) => {
  clip.querySelectorAll("button").forEach((button) =>
    button.addEventListener("click", () => act(number, button.dataset.do)),
  );
  const input = clip.querySelector("input");
  input.addEventListener("focus", () => input.select());
  input.addEventListener("change", () => {
    const label = input.value.replace(/\s+/g, " ").trim();
    if (label || data.several) choose(number, label);
    else draw(number);
  });
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const clip = event.target.closest?.(".clip");
  if (event.target.tagName === "INPUT") {
    if (event.key === "Enter" || event.key === "Escape") clip.focus();
    return;
  }
  if (event.target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter")) return;
  const number = clip ? Number(clip.dataset.clip) : -1;
  const keys = {
    " ": () => play(number),
    ArrowDown: () => go(number, 1),
    j: () => go(number, 1),
    ArrowUp: () => go(number, -1),
    k: () => go(number, -1),
    1: () => act(number, "keep"),
    2: () => act(number, "suggested"),
    3: () => clip.querySelector("input").focus(),
    x: () => act(number, "out"),
    z: undo,
  };
  const move = ["ArrowDown", "j", "ArrowUp", "k", "z"].includes(event.key);
  if (!(event.key in keys) || (number < 0 && !move)) return;
  event.preventDefault();
  keys[event.key]();
});

document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(bytesOf(table()));
  link.download = data.table;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  saved = true;
});

window.addEventListener("beforeunload", (event) => {
  if (!saved) event.preventDefault();
});

clips.forEach((_, number) => draw(number));
clips[0]?.focus();
