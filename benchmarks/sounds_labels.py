"""Labels all recordings by folder and file name: data/marks/sounds.tsv, the training data of `sounds`.

    python -m benchmarks.sounds_labels ../shared/data ../shared/more -o data/marks/sounds.tsv

A noise is labelled with its file name, such as "door slam", or with the most frequent word in it; music with its
collection; speech with its word, digit, voice or language. The column `task` names the task of `benchmarks.sounds` for
which a recording is reserved; `sounds` is not trained on it. For words, digits and things, this applies to all
recordings with such a label; for voices and drums, to all of the same voice or collection.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocnn.labels.formats.text import read_table

LEAST = 3  # recordings with the same title, for a separate label
LEAST_WORD = 5  # recordings with one word in their names
HASH = re.compile(r"-[0-9a-f]{6}$")
PLAIN_WORDS = frozenset({"sounds", "noise", "node", "long", "short", "misc", "and", "the", "with", "from", "prep"})

# The labels reserved for the tasks. "*" stands for any end of a word.
WORDS = ("learn", "marvin", "off")
DIGITS = ("5", "6", "7", "8", "9")
VOICES = ("classic", "default_es", "mobster", "pirate", "robot", "surfer")
THINGS = ("balloon", "bell", "bottle", "glass", "guitar", "laser", "piano", "rattle", "squeak", "tape")
DRUMS = ("bd", "drum", "elec", "hat", "loop", "mehackit", "perc", "tabla")
MUSIC = frozenset({"hedgewars-music", "hyperrogue", "lincity", "opensurge-music", "pixel-music", "singularity"})
MUSIC |= frozenset({"supertux", "wesnoth"})


@dataclass(frozen=True)
class Sound:
    """A recording: its place, its title, and its row in the table of its collection."""

    filename: str
    row: Mapping[str, str]

    @property
    def name(self) -> str:
        return HASH.sub("", Path(self.filename).stem)

    @property
    def words(self) -> list[str]:
        """The words of the name, without numbers."""
        return [word for word in re.split(r"[^a-z]+", self.name.lower()) if len(word) > 2]

    @property
    def title(self) -> str:
        return " ".join(word for word in self.words if word != "sounds")


def task_of(sound: Sound) -> tuple[str, str] | None:
    """The task for which a recording is reserved, and its label there; None for the others."""
    kind, source = sound.row["kind"], sound.row["source"]
    folder = Path(sound.filename).parent.name
    if kind == "commands" and folder in WORDS:
        return "words", folder
    if kind == "digits" and folder in DIGITS:
        return "digits", folder
    if source == "hedgewars-voices" and folder in VOICES:
        return "voices", folder
    if source == "sonic-pi":
        first = sound.name.split("-")[0]
        return "drums", first if first in DRUMS else ""
    found = [thing for thing in THINGS if thing in re.split(r"[^a-z]+", sound.name.lower())]
    if kind == "nonspeech" and source not in MUSIC and found:
        return "things", found[0] if len(found) == 1 else ""
    return None


def label_noises(sounds: Sequence[Sound]) -> list[str]:
    """The label of each: its title if several have it, otherwise its most frequent word in all titles, otherwise its
    title."""
    titles = Counter(sound.title for sound in sounds)
    words = Counter(word for sound in sounds for word in set(sound.words) - PLAIN_WORDS)
    labels = []
    for sound in sounds:
        known = [word for word in sound.words if words[word] >= LEAST_WORD]
        if sound.title and titles[sound.title] >= LEAST:
            labels.append(sound.title)
        elif known:
            labels.append(max(known, key=lambda word: (words[word], word)))
        else:
            labels.append(f"{sound.row['source']} {sound.title}".strip())
    return labels


def label_speech(sound: Sound) -> str:
    """The word or digit; the voice, if it has many recordings; otherwise the language or the collection."""
    kind, source, row = sound.row["kind"], sound.row["source"], sound.row
    folder = Path(sound.filename).parent.name
    if kind in ("commands", "digits"):
        return folder
    if source in ("hedgewars-voices", "asterisk", "kathleen", "kerstin"):
        return f"{source} {folder}"
    if source == "ovos":
        return row["group"]
    return f"{source} {row['language']}" if source in ("gcompris", "ktuberling", "klettres") else source


def labelled(sounds: Sequence[Sound]) -> list[tuple[Sound, str, str]]:
    """Each with its label and its task ("" for none). Recordings with labels of several tasks are left out."""
    kept = [(sound, task) for sound in sounds if (task := task_of(sound))]
    rows = [(sound, task[1], task[0]) for sound, task in kept if task[1]]
    rest = [sound for sound in sounds if not task_of(sound)]
    noises = [s for s in rest if s.row["kind"] == "nonspeech" and s.row["source"] not in MUSIC]
    rows += [(s, label, "") for s, label in zip(noises, label_noises(noises), strict=True)]
    rows += [(s, f"music {s.row['source']}", "") for s in rest if s.row["source"] in MUSIC]
    rows += [(s, label_speech(s), "") for s in rest if s.row["kind"] in ("speech", "commands", "digits")]
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders with a recordings.tsv, beside each other")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the table")
    given = parser.parse_args(arguments)
    sounds = [
        Sound(f"{folder.name}/{row['filename']}", row)
        for folder in given.folders
        for _, row in read_table(folder / "recordings.tsv").rows
    ]
    rows = sorted((s.filename, label, s.row["group"], s.row["split"], task) for s, label, task in labelled(sounds))
    with given.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([("filename", "label", "group", "split", "task"), *rows])
    print(f"{len(rows)} recordings, {len({row[1] for row in rows if not row[4]})} labels", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
