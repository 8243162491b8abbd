"""Labels of voices by two judges, Silero VAD and FireRedVAD: the tables in data/marks.

    python -m benchmarks.marks ../shared/data -o data/marks/data.tsv
    python -m benchmarks.marks ../shared/more -o data/marks/more.tsv

The folder has a `recordings.tsv`; recordings of the kinds `speech` and `commands` are labelled. Each is first brought
to the same level. A frame of 10 ms is `speech` if both judges score 0.5 or more, and `unsure` if only one does, or if
they agree nowhere in the recording. Nothing is bridged. The table is in DCASE order: filename, onset, offset,
event_label. Nothing is learned from a voice on which the judges never agree. `--alone firered` uses the labels of one
judge for such voices of the split train:

    python -m benchmarks.marks ../shared/more --alone firered -o data/marks/more_alone.tsv

Nearly silent recordings without voices may contain an unnoticed voice from the next room. Those of `--hidden-split`
(train) are brought to the same level, too, and passages in which either judge then detects speech are `unsure`. With
`--hidden-alone` the table contains only these:

    python -m benchmarks.marks ../shared/data --hidden-alone --hidden-split dev -o data/marks/hidden_dev.tsv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.recording import read_samples
from audiocnn.errors import AudiocnnError
from audiocnn.evaluation.metrics import grid_rows, scores_on_grid
from audiocnn.evaluation.peers import Peer, load_peer
from audiocnn.files import write_whole
from audiocnn.labels.formats.base import NO_SCORE, LabelledRecording
from audiocnn.labels.formats.dcase import Dcase
from audiocnn.labels.formats.text import read_table
from audiocnn.segments.segment import Segment

SAMPLE_RATE = 16000
KINDS, NONSPEECH = ("speech", "commands"), "nonspeech"
JUDGES = ("silero", "firered")
THRESHOLD = 0.5
GRID_SECONDS = 0.01
SPEECH, UNSURE = "speech", "unsure"
LEVEL_RMS = 0.1  # -20 dB of full scale, over the stretches within 30 dB of the loudest 20 ms
LEVEL_RANGE_DB = 30.0
Mark = Callable[[NDArray[np.float32], Sequence[Peer]], list[Segment]]
QUIET_DB = -45.0  # of full scale; a recording below this is nearly silent


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="with recordings.tsv in it")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the table")
    parser.add_argument("--hidden-split", default="train", help="also label nearly silent recordings of this part")
    parser.add_argument("--hidden-alone", action="store_true", help="leave out the voices")
    parser.add_argument("--alone", choices=JUDGES, help="judge for voices of the split train without any agreement")
    given = parser.parse_args(arguments)
    try:
        judges = [load_peer(name) for name in JUDGES]
        alone = None if given.alone is None else JUDGES.index(given.alone)
        rows = [row for _, row in read_table(given.folder / "recordings.tsv").rows]
        voices = [row for row in rows if row["kind"] in KINDS and not given.hidden_alone]
        without = [
            row["filename"] for row in rows if row["kind"] == NONSPEECH and row.get("split") == given.hidden_split
        ]
        lines = [Dcase().begin()]
        marks = [(row["filename"], marker_of(row, alone)) for row in voices]
        marks += [(name, mark_hidden_voices) for name in without]
        for number, (name, mark) in enumerate(marks, 1):
            samples, _ = read_samples(given.folder / name, SAMPLE_RATE)
            if segments := mark(samples, judges):
                lines.append(Dcase().recording(LabelledRecording(name, {0: segments})))
            if number % 200 == 0 or number == len(marks):
                print(f"{number} of {len(marks)}", file=sys.stderr)
        given.output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(given.output, "".join(lines).encode())
    except AudiocnnError as problem:
        print(f"marks: {problem}", file=sys.stderr)
        return 2
    return 0


def marker_of(row: Mapping[str, str], alone: int | None) -> Mark:
    """How a voice is labelled; alone: the judge to use for voices of the split train on which they never agree."""
    return partial(mark_voices, alone=alone if row.get("split") == "train" else None)


def mark_voices(samples: NDArray[np.float32], judges: Sequence[Peer], alone: int | None = None) -> list[Segment]:
    """(channels, samples) at 16 kHz -> segments `speech` and `unsure`, in order of time; if the judges never agree,
    those of the judge `alone`, if given."""
    votes, seconds = votes_of(samples, judges), samples.shape[1] / SAMPLE_RATE
    if alone is not None and not votes.all(axis=0).any() and votes[alone].any():
        votes = votes[alone : alone + 1]
    return agreement(votes, seconds)


def mark_hidden_voices(samples: NDArray[np.float32], judges: Sequence[Peer]) -> list[Segment]:
    """(channels, samples) at 16 kHz of a recording without voices -> segments `unsure`; none if it is loud."""
    if not 0.0 < np.square(samples, dtype=np.float64).mean() < 10 ** (QUIET_DB / 10):
        return []
    heard = votes_of(samples, judges).any(axis=0)
    spans = np.flatnonzero(np.diff(heard, prepend=False, append=False)).reshape(-1, 2) * GRID_SECONDS
    seconds = samples.shape[1] / SAMPLE_RATE
    return [Segment(float(start), min(float(stop), seconds), UNSURE, NO_SCORE) for start, stop in spans]


def votes_of(samples: NDArray[np.float32], judges: Sequence[Peer]) -> NDArray[np.bool_]:
    """(channels, samples) at 16 kHz -> (judges, rows of 10 ms): where each detects a voice, at the same level."""
    rows = grid_rows(samples.shape[1] / SAMPLE_RATE, GRID_SECONDS)
    samples = to_one_level(samples.mean(axis=0, keepdims=True))
    votes = [
        scores_on_grid(judge.score(samples)[:, 0], judge.hop_seconds, rows, GRID_SECONDS) >= THRESHOLD
        for judge in judges
    ]
    return np.stack(votes)


def agreement(votes: NDArray[np.bool_], seconds: float) -> list[Segment]:
    """(judges, rows of 10 ms) -> segments; if the judges agree on speech in no row, everything is unsure."""
    both, any_ = votes.all(axis=0), votes.any(axis=0)
    if not both.any():
        return [Segment(0.0, seconds, UNSURE, NO_SCORE)]
    kinds = both.astype(np.int8) + any_.astype(np.int8)  # 2: all, 1: some, 0: none
    edges = np.flatnonzero(np.diff(kinds, prepend=0, append=0))
    return [
        Segment(
            start * GRID_SECONDS, min(stop * GRID_SECONDS, seconds), SPEECH if kinds[start] == 2 else UNSURE, NO_SCORE
        )
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if kinds[start]
    ]


def to_one_level(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1, samples) scaled to a fixed root mean square of the louder stretches; the peak stays within full scale."""
    frame = SAMPLE_RATE // 50
    count = max(1, samples.shape[1] // frame)
    powers = np.square(samples[:, : count * frame]).reshape(count, -1).mean(axis=1)
    loud = powers[powers >= powers.max() * 10 ** (-LEVEL_RANGE_DB / 10)].mean()
    peak = float(np.abs(samples).max())
    if not loud or not peak:
        return samples
    return samples * np.float32(min(LEVEL_RMS / np.sqrt(loud), 1.0 / peak))


if __name__ == "__main__":
    sys.exit(main())
