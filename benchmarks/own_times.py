"""The time of `audiocnn train FOLDER` from files to the tested model, for three typical folders.

    python -m benchmarks.own_times ../shared -o runs/own_times [--set words]

- `words`: 240 clips of one second, six words
- `digits`: 2,700 clips of half a second, ten digits, 8 kHz
- `places`: 400 clips of five seconds, eight kinds of sound

The folders are made if they do not exist; results of earlier runs are not used. "cores" is the CPU time of all
processes divided by two: the time on two cores that are never idle. On a shared machine, this says more than the
elapsed time.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from audiocnn.errors import AudiocnnError
from audiocnn.labels.formats.text import read_table
from benchmarks.measuring import BenchmarkError, Figure, audiocnn, measure

CORES = 2
LIMITS = {"words": 61.0, "digits": 240.0, "places": 600.0}  # seconds
RATE = 16_000
WORD_CLIPS, PLACE_CLIPS, PLACE_SECONDS = 40, 50, 5.0
# Collections with long recordings, by their folders below the shared one.
PLACES = {
    "speech": ("data", "librispeech"),
    "animals and things": ("data", "berklee"),
    "babies": ("data", "donateacry"),
    "marches": ("data", "opensurge-music"),
    "caves": ("data", "pixel-music"),
    "piano": ("data", "salamander"),
    "battles": ("more", "wesnoth"),
    "penguins": ("more", "supertux"),
}


def make_folder(name: str, shared: Path, folder: Path) -> None:
    """One folder per label, from the `train` part."""
    rows = {
        part: [dict(row) for _, row in read_table(shared / part / "recordings.tsv").rows] for part in ("data", "more")
    }
    learned = {part: [row for row in own if row["split"] == "train"] for part, own in rows.items()}
    if name == "digits":  # all takes of the published training part, some of which are held out elsewhere
        link([row for row in rows["data"] if row["kind"] == "digits"], shared / "data", folder, None)
    elif name == "words":
        link([row for row in learned["data"] if row["kind"] == "commands"], shared / "data", folder, WORD_CLIPS)
    else:
        for label, (part, source) in PLACES.items():
            cut([row for row in learned[part] if row["source"] == source], shared / part, folder / label)


def link(rows: Sequence[dict[str, str]], home: Path, folder: Path, most: int | None) -> None:
    counts = Counter[str]()
    for row in rows:
        path = home / row["filename"]
        label = path.parent.name
        if most is None or counts[label] < most:
            counts[label] += 1
            (folder / label).mkdir(parents=True, exist_ok=True)
            (folder / label / path.name).symlink_to(path.resolve())


def cut(rows: Sequence[dict[str, str]], home: Path, folder: Path) -> None:
    """A number of clips of five seconds, taken from the recordings in turn."""
    import soundfile

    from audiocnn.audio.recording import read_samples

    folder.mkdir(parents=True)
    long = [row for row in rows if float(row["duration"]) >= PLACE_SECONDS]
    made = 0
    for turn in range(PLACE_CLIPS):
        for row in long:
            if made == PLACE_CLIPS:
                return
            start = turn * PLACE_SECONDS
            if start + PLACE_SECONDS <= float(row["duration"]):
                samples, _ = read_samples(home / row["filename"], RATE)
                begin, end = round(start * RATE), round((start + PLACE_SECONDS) * RATE)
                soundfile.write(folder / f"{Path(row['filename']).stem}-{turn}.wav", samples[:, begin:end].T, RATE)
                made += 1
    raise BenchmarkError(f"{folder.name}: {made} clips of {PLACE_SECONDS:g} s, {PLACE_CLIPS} are wanted")


def trained(folder: Path, run: Path, *options: str) -> Figure:
    """The times of a whole `train` from files to model, and its epochs."""
    for old in (run, run.with_name(f"{run.name}.dataset")):
        shutil.rmtree(old, ignore_errors=True)
    figure = measure(audiocnn("train", folder, "-o", run, "--device", "cpu", "--quiet", *options))
    return figure | {"epochs": len((run / "metrics.jsonl").read_text().splitlines())}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("shared", type=Path, help="the folder with `data` and `more`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the sets and runs")
    parser.add_argument("--set", action="append", choices=list(LIMITS), help="measure one set; may be repeated")
    given = parser.parse_args(arguments)
    try:
        print("| set | seconds | cores, seconds | at most | epochs |\n|---|---:|---:|---:|---:|", flush=True)
        for name in given.set or LIMITS:
            folder = given.output / name
            if not folder.exists():
                unfinished = folder.with_name(f"{name}.part")
                shutil.rmtree(unfinished, ignore_errors=True)
                make_folder(name, given.shared, unfinished)
                unfinished.rename(folder)
            figure = trained(folder, given.output / f"{name}.run")
            cells = (figure["seconds"], figure["cpu_seconds"] / CORES, LIMITS[name])
            print(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} | {figure['epochs']} |", flush=True)
    except AudiocnnError as problem:
        print(f"own_times: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
