"""Marks of voices by two judges, Silero VAD and FireRedVAD: the tables in data/marks.

    python -m benchmarks.marks ../shared/data -o data/marks/data.tsv
    python -m benchmarks.marks ../shared/more -o data/marks/more.tsv

The folder has a `recordings.tsv`; those of the kinds `speech` and `commands` are marked. Each is first brought to one
level. A frame of 10 ms is `speech` where both judges score 0.5 or more, `unsure` where one of them does, or where they
agree nowhere in the recording. Nothing is bridged. The table is in DCASE order: filename, onset, offset, event_label.
A recording that is a voice by its folder is never learned from where they agree nowhere. `--alone firered` takes the
marks of one judge there, in the split train:

    python -m benchmarks.marks ../shared/more --alone firered -o data/marks/more_alone.tsv

Recordings without voices that are nearly silent may hold one from the next room, that nobody heard who collected them.
Those of `--hidden-split` (train) are brought to that level, too; what either judge then calls speech is `unsure`. With
`--hidden-alone` they are all that is in the table:

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
LEVEL_RMS = 0.1  # -20 dB of full scale, of what is no more than 30 dB below the loudest 20 ms
LEVEL_RANGE_DB = 30.0
Mark = Callable[[NDArray[np.float32], Sequence[Peer]], list[Segment]]
QUIET_DB = -45.0  # of full scale: a recording below it is nearly silent


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="with recordings.tsv in it")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the table")
    parser.add_argument("--hidden-split", default="train", help="nearly silent recordings of this part, too")
    parser.add_argument("--hidden-alone", action="store_true", help="leave the voices out")
    parser.add_argument("--alone", choices=JUDGES, help="marks the voices of the split train where they agree nowhere")
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
    """How a voice is marked; alone: by which judge where they agree nowhere, which is asked of the split train."""
    return partial(mark_voices, alone=alone if row.get("split") == "train" else None)


def mark_voices(samples: NDArray[np.float32], judges: Sequence[Peer], alone: int | None = None) -> list[Segment]:
    """(channels, samples) at 16 kHz -> segments `speech` and `unsure`, in the order of time; where the judges agree
    nowhere, those of the judge `alone`, if one is named."""
    votes, seconds = votes_of(samples, judges), samples.shape[1] / SAMPLE_RATE
    if alone is not None and not votes.all(axis=0).any() and votes[alone].any():
        votes = votes[alone : alone + 1]
    return agreement(votes, seconds)


def mark_hidden_voices(samples: NDArray[np.float32], judges: Sequence[Peer]) -> list[Segment]:
    """(channels, samples) at 16 kHz of a recording without voices -> segments `unsure`; none where it is loud."""
    if not 0.0 < np.square(samples, dtype=np.float64).mean() < 10 ** (QUIET_DB / 10):
        return []
    heard = votes_of(samples, judges).any(axis=0)
    spans = np.flatnonzero(np.diff(heard, prepend=False, append=False)).reshape(-1, 2) * GRID_SECONDS
    seconds = samples.shape[1] / SAMPLE_RATE
    return [Segment(float(start), min(float(stop), seconds), UNSURE, NO_SCORE) for start, stop in spans]


def votes_of(samples: NDArray[np.float32], judges: Sequence[Peer]) -> NDArray[np.bool_]:
    """(channels, samples) at 16 kHz -> (judges, rows of 10 ms): where each hears a voice, once the level is one."""
    rows = grid_rows(samples.shape[1] / SAMPLE_RATE, GRID_SECONDS)
    samples = to_one_level(samples.mean(axis=0, keepdims=True))
    votes = [
        scores_on_grid(judge.score(samples)[:, 0], judge.hop_seconds, rows, GRID_SECONDS) >= THRESHOLD
        for judge in judges
    ]
    return np.stack(votes)


def agreement(votes: NDArray[np.bool_], seconds: float) -> list[Segment]:
    """(judges, rows of 10 ms) -> segments; without a row on which all agree that it is speech, all is unsure."""
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
    """(1, samples) whose louder stretches have one root mean square; the peak stays within full scale."""
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
