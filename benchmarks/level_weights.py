"""Quality of weights that were trained without a level norm when one is put in front, and of weights in between.

    python -m benchmarks.level_weights speech_1d -m runs/speech_1d_plain
    python -m benchmarks.level_weights speech_1d -m runs/speech_1d_plain --run runs/speech_1d --share 0.6 --share 1

The spec has a level norm as its first layer; the model has the same layers without it, or with a different level norm.
The weights are those of the model. With --run, they are mixed with the final weights of a training (the last ones, not
their mean), with each --share.
Prints a Markdown table of figures per hop: AUROC and least error on the meetings, AUROC on the `dev` mixtures at 5 and
-5 dB and on every twelfth voice, and the errors on meetings and mixtures at the one threshold that minimises twice the
first plus the others. Errors are misses and false alarms relative to the speech.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from audiocnn.data.sources import read_source
from audiocnn.errors import AudiocnnError
from audiocnn.evaluation.metrics import frames_inside
from audiocnn.model.model import find_model, spec_folders
from audiocnn.model.network import Network
from audiocnn.spec.spec import find_spec, spec_from_table
from audiocnn.training.transfer import begin_from
from benchmarks.levels import DATA, VOICES, Sound, mixtures_in, sounds_of

CONDITIONS, LEVEL = ("noise_5db", "noise_-5db"), ("to_db", "range_db", "least_db")
COLUMNS = (
    "to dB",
    "range dB",
    "least dB",
    "share",
    "meetings",
    "least error",
    "5 dB",
    "-5 dB",
    "voices",
    "errors at once",
)
THRESHOLDS = 1.0 / (1.0 + np.exp(-np.linspace(-6.0, 6.0, 49)))
Frames = tuple[NDArray[np.bool_], NDArray[np.float32]]  # whether it is speech, and its score


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("spec", help="a network whose first layer is a level norm")
    parser.add_argument("-m", "--model", required=True, help="the weights: a model without that norm")
    parser.add_argument("--run", type=Path, help="a training that started from these weights")
    parser.add_argument("--share", type=float, action="append", help="share of the trained weights; may be repeated")
    parser.add_argument("--to-db", type=float, action="append", help="in place of the spec's; may be repeated")
    parser.add_argument("--range-db", type=float, action="append", help="in place of the spec's; may be repeated")
    parser.add_argument("--least-db", type=float, action="append", help="in place of the spec's; may be repeated")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
            mixtures = [mixtures_in(Path(folder) / name, name) for name in CONDITIONS]
        sets = [sounds_of(read_source(DATA / "meetings")), *mixtures, sounds_of(read_source(VOICES), 12)]
        print(f"| {' | '.join(COLUMNS)} |\n|{'---:|' * len(COLUMNS)}")
        values = [getattr(given, key) or [None] for key in LEVEL]
        for *level, share in product(*values, given.share or [0.0]):
            changes = {key: value for key, value in zip(LEVEL, level, strict=True) if value is not None}
            network, used = network_of(given.spec, given.model, given.run, share, changes)
            names = [f"{used[key]:g}" if key in used else "-" for key in LEVEL]
            print(f"| {' | '.join([*names, f'{share:g}', *cells_of(network, sets)])} |", flush=True)
    except AudiocnnError as problem:
        print(f"level weights: {problem}", file=sys.stderr)
        return 2
    return 0


def network_of(
    name: str, model: str, run: Path | None, share: float, changes: Mapping[str, float]
) -> tuple[Network, dict[str, float]]:
    """The network of a spec with another level norm and with weights between a model and a run; and that level norm."""
    source, table = find_model(model), find_spec(name, spec_folders()).table
    first, *layers = table["groups"][0]["layers"]
    level = first | dict(changes)
    groups = [table["groups"][0] | {"layers": [level, *layers]}, *table["groups"][1:]]
    network = Network(spec_from_table(table | {"groups": groups}, name, len(source.labels)))
    begin_from(source, source.labels, (), network)
    if run is not None:
        trained, before = load_file(run / "checkpoints" / "last.safetensors"), network.state_dict()
        network.load_state_dict({key: between(before[key], trained[f"network.{key}"], share) for key in before})
    return network.eval(), level


def between(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    return (1.0 - share) * one + share * other if one.is_floating_point() else one


def cells_of(network: Network, sets: Sequence[Sequence[Sound]]) -> list[str]:
    """The figures for meetings, mixtures and voices."""
    found = [frames_of(network, sounds) for sounds in sets]
    areas = [f"{roc_auc_score(*frames):.4f}" for frames in found]
    errors = np.array([[error_at(frames, threshold) for threshold in THRESHOLDS] for frames in found[:3]])
    best = int((2.0 * errors[0] + errors[1:].sum(axis=0)).argmin())
    at_one = ", ".join(f"{error:.3f}" for error in errors[:, best])
    return [areas[0], f"{errors[0].min():.3f}", *areas[1:], f"{at_one} at {THRESHOLDS[best]:.3f}"]


@torch.inference_mode()
def frames_of(network: Network, sounds: Sequence[Sound]) -> Frames:
    """The evaluated rows of all sounds: (rows,) whether they are speech, and their scores."""
    hop_seconds = network.geometry.hop_seconds
    speech, scores = [], []
    for sound in sounds:
        found = network(network.extended(torch.from_numpy(sound.samples[None])))[0, :, 0].numpy()
        is_speech = frames_inside([(note.onset, note.offset) for note in sound.notes], len(found), hop_seconds)
        judged = is_speech | ~frames_inside(sound.unsure, len(found), hop_seconds)
        speech.append(is_speech[judged])
        scores.append(found[judged])
    return np.concatenate(speech), np.concatenate(scores)


def error_at(frames: Frames, threshold: float) -> float:
    speech, scores = frames
    return float(((scores >= threshold) != speech).sum() / speech.sum())


if __name__ == "__main__":
    sys.exit(main())
