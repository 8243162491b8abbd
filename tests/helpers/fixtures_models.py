"""Small networks, model folders and datasets that several test files share. Slow ones are made once per session.

`SPECS` has a spec for every mechanism that sizes, chunks and the export must handle. They use 2 kHz and few maps, so
that all of them together take as long as one real network.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from audiocnn.augment.settings import MixSettings
from audiocnn.data.dataset import Dataset
from audiocnn.data.writer import DatasetWriter, Item
from audiocnn.inference.engine import Engine, TorchBackend
from audiocnn.model.export import export_onnx
from audiocnn.model.model import WEIGHTS, Model, spec_folders, write_model
from audiocnn.model.network import Network
from audiocnn.model.weights import save_weights
from audiocnn.recipe.recipe import Recipe
from audiocnn.recipe.settings import TrainSettings
from audiocnn.segments.segment import Annotation
from audiocnn.spec.spec import load_spec, spec_from_table
from audiocnn.training.train import train

torch.set_num_threads(1)  # the networks are so small that more threads would only slow them down

RATE = 2000
FRAME = {"frame_seconds": 0.032, "hop_seconds": 0.01, "sample_rate": RATE}
LOG_MEL = {"features": "log_mel", "mels": 8, **FRAME}
STFT = {"features": "stft", "scale": "log", "fft_samples": 64, **FRAME}
MEL = {"features": "mel", "mels": 8, "mel_scale": "htk", "mel_norm": "none", **FRAME}
MFCC = {"features": "mfcc", "mels": 12, "coefficients": 8, **FRAME}
CQT = {"features": "cqt", "bins": 24, "low_hertz": 110.0, "scale": "magnitude", **FRAME}
WAVEFORM = {"features": "waveform", "sample_rate": RATE}
BATCH = {"norm": "batch"}


def table_of(settings, layers, f, **more):
    """The TOML table of a spec with one group, or none."""
    groups = [{"name": "A", "layers": layers}] if layers else []
    return {"input": settings, "groups": groups, "f": {"window_seconds": 0.4, **f}, **more}


_SAME = {"conv": 6, "kernel": 3, "padding": "same"}
SPECS = {
    "no_groups": table_of(LOG_MEL, [], {"layers": [{"dense": 5}, {"dropout": 0.1}]}),
    "valid_2d": table_of(
        LOG_MEL,
        [{"conv": 4, "kernel": [3, 5]}, {"pool": "max", "size": [2, 2]}, {"conv": 6, "kernel": [2, 3]}],
        {"hop_seconds": 0.06, "layers": [{"dense": 5, "dropout": 0.2}]},
        defaults=BATCH,
    ),
    "same_1d": table_of(
        LOG_MEL,
        [_SAME, {"pool": "max", "size": 2}, {**_SAME, "dilation": 3}, {"conv": 4, "kernel": 4, "padding": "same"}],
        {},
    ),
    "same_2d": table_of(
        MFCC,
        [
            {"conv": 4, "kernel": [3, 3], "padding": "same"},
            {"pool": "average", "size": [3, 3], "stride": [2, 2], "padding": 1},
            {"conv": 4, "kernel": [3, 5], "padding": [0, "same"]},
        ],
        {"layers": [{"dense": 5}]},
        defaults=BATCH,
    ),
    "causal": table_of(
        MEL, [{"conv": 6, "kernel": 7, "padding": [6, 0]}, {"pool": "max", "size": 3, "stride": 1, "padding": 1}], {}
    ),
    "residual_padded": table_of(
        STFT,
        [
            {"conv": 6, "kernel": 3, "padding": 1, "stride": 2},
            {"residual": [_SAME, {**_SAME, "activation": "none"}], "activation": "relu"},
            {"residual": [{"conv": 8, "kernel": 3, "stride": 2, "padding": 1}, {**_SAME, "conv": 8}]},
        ],
        {},
        defaults=BATCH,
    ),
    "residual_valid": table_of(
        LOG_MEL,
        [
            {"conv": 6, "kernel": 3},
            {"residual": [{"conv": 6, "kernel": 3}, {"conv": 6, "kernel": 4}], "activation": "tanh"},
            {"residual": [{"conv": 7, "kernel": 3, "stride": 2}, {"residual": [{"conv": 7, "kernel": 3}]}]},
        ],
        {},
    ),
    "branches_valid": table_of(
        LOG_MEL,
        [
            {
                "branches": [
                    [{"conv": 3, "kernel": [1, 1]}],
                    [{"conv": 4, "kernel": [1, 1]}, {"conv": 3, "kernel": [3, 5]}],
                    [{"pool": "max", "size": [3, 3], "stride": 1}, {"norm": "sub_spectral", "bands": 2}],
                    [],
                ]
            },
            {"conv": 5, "kernel": [3, 3]},
        ],
        {},
    ),
    "level_1d": table_of(
        LOG_MEL, [{"norm": "level", "positions": 9}, {"conv": 4, "kernel": 3}, {"pool": "max", "size": 2}], {}
    ),
    "level_seconds": table_of(
        LOG_MEL,
        [{"conv": 4, "kernel": 3, "stride": 2}, {"norm": "level", "seconds": 0.2}, {"conv": 4, "kernel": 3}],
        {},
    ),
    "level_seconds_2d": table_of(
        LOG_MEL, [{"norm": "level", "seconds": 0.1, "range_db": 30}, {"conv": 4, "kernel": [3, 3]}], {}
    ),
    "level_2d": table_of(LOG_MEL, [{"norm": "level", "positions": 5}, {"conv": 4, "kernel": [3, 3]}], {}),
    "level_ahead": table_of(
        LOG_MEL, [{"norm": "level", "seconds": 0.14, "ahead_seconds": 0.02}, {"conv": 4, "kernel": [3, 3]}], {}
    ),
    "level_padded": table_of(
        LOG_MEL,
        [
            {"norm": "level", "seconds": 0.3, "ahead_seconds": 0.04, "padding": "same", "mean": "power"},
            {"conv": 4, "kernel": [3, 3], "stride": 2},
        ],
        {},
    ),
    "look_ahead": table_of(
        LOG_MEL,
        [{"conv": 4, "kernel": [3, 5]}, {"pool": "max", "size": [2, 2]}, {"conv": 6, "kernel": [2, 3]}],
        {"look_ahead_seconds": 0.03, "hop_seconds": 0.02, "layers": [{"dense": 5}]},
        defaults=BATCH,
    ),
    "look_ahead_live": table_of(
        LOG_MEL,
        [
            {"norm": "level", "seconds": 0.3, "ahead_seconds": 0, "padding": "same", "mean": "power", "range_db": 30},
            {"conv": 4, "kernel": [3, 3], "stride": 2},
            {"residual": [{"conv": 4, "kernel": [1, 3], "separable": True, "dilation": [1, 2]}]},
        ],
        {"look_ahead_seconds": 0.02},
        defaults=BATCH,
    ),
    "look_ahead_long": table_of(
        LOG_MEL,
        [
            {"norm": "level", "seconds": 0.9, "ahead_seconds": 0, "padding": "same", "mean": "power", "least_db": -20},
            {"conv": 4, "kernel": [3, 3]},
        ],
        {"look_ahead_seconds": 0.02},
    ),
    "look_ahead_most": table_of(LOG_MEL, [{"conv": 4, "kernel": 3}], {"look_ahead_seconds": 0.095}),
    "branches_uneven": table_of(
        LOG_MEL,
        [
            {"branches": [[{"conv": 3, "kernel": 5, "padding": 1}], [{"conv": 3, "kernel": 9, "padding": 4}], [_SAME]]},
            {"pool": "average", "size": 2},
            {"branches": [[{"conv": 3, "kernel": 4, "stride": 2}], [{"pool": "max", "size": 2}]]},
        ],
        {},
    ),
    "waveform": table_of(
        WAVEFORM,
        [
            {"conv": 8, "kernel": 31, "stride": 5, "activation": "leaky_relu"},
            {"pool": "max", "size": 4},
            {"conv": 6, "kernel": 3, "separable": True, "bias": True},
            {"activation": "elu"},
        ],
        {"layers": [{"dense": 4, "activation": "tanh"}]},
        defaults=BATCH,
    ),
    "two_channels": table_of(
        {**CQT, "channels": 2},
        [
            {"conv": 8, "kernel": [3, 3], "activation": "gelu"},
            {"conv": 6, "kernel": [3, 3], "split": 2, "activation": "silu"},
            {"pool": "l2", "size": [2, 2], "stride": [2, 1]},
        ],
        {"output": "softmax"},
    ),
    "short_window": table_of(
        WAVEFORM,
        [{"conv": 4, "kernel": 8, "stride": 40, "activation": "tanh"}],
        {"window_seconds": 0.001, "layers": [{"dense": 3, "activation": "tanh"}]},
    ),
    "short_window_padded": table_of(
        WAVEFORM, [{"conv": 4, "kernel": 9, "stride": 50, "padding": 4}], {"window_seconds": 0.001}
    ),
    "crnn": table_of(
        LOG_MEL,
        [{"conv": 4, "kernel": [3, 3]}, {"pool": "max", "size": [2, 2]}],
        {"layers": [{"recurrent": 5, "kind": "gru", "bidirectional": True}, {"dense": 4}]},
    ),
    "lstm_hops": table_of(
        LOG_MEL, [{**_SAME, "norm": "batch"}], {"hop_seconds": 0.03, "layers": [{"recurrent": 5, "kind": "lstm"}]}
    ),
    "global_l2": table_of(
        LOG_MEL,
        [
            {"conv": 4, "kernel": [3, 3], "activation": "sigmoid"},
            {"norm": "local_response", "neighbours": 3, "alpha": 0.5},
            {"conv": "labels", "kernel": [1, 1], "activation": "none"},
            {"global": "l2"},
        ],
        {"output_dense": False, "output": "softmax"},
    ),
    "onset_offset": table_of(
        LOG_MEL, [{**_SAME, "norm": "batch"}], {"layers": [{"dense": 4}], "output": "onset_offset"}
    ),
    "onset_offset_global": table_of(
        LOG_MEL,
        [{"conv": "labels", "kernel": 3, "activation": "none"}, {"global": "average"}],
        {"output_dense": False, "output": "onset_offset", "hop_seconds": 0.03},
    ),
    "global_repeat": table_of(
        LOG_MEL, [], {}, groups=[
            {"name": "A", "repeat": 2, "layers": [{"conv": 8, "kernel": 3}]},
            {"name": "B", "layers": [{"global": "average"}]},
        ],
    ),
}  # fmt: skip


def shipped_specs():
    """All spec files of the package."""
    return sorted(path for folder in spec_folders() for path in folder.glob("*.toml"))


def spec_named(name):
    """One of `SPECS`, or a shipped spec by its file."""
    if isinstance(name, Path):
        return load_spec(name)
    table = SPECS[name]
    return spec_from_table(table, name, 3 if table["f"].get("output") == "softmax" else 2)


def noise(spec, batch, samples, seed=0):
    """Seeded noise float32 (batch, channels, samples)."""
    random = np.random.default_rng([seed, batch, samples])
    return random.normal(0, 0.2, (batch, spec.input.channels, samples)).astype(np.float32)


def network_of(spec, seed=0):
    """A network with random weights and random batch norm statistics."""
    torch.manual_seed(seed)
    network = Network(spec)
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
    return network.eval()


def write_folder(network, folder, name="tiny", labels=None, **fields):
    """A model folder with weights, without the ONNX file."""
    labels = labels or tuple(f"label{i}" for i in range(network.spec.classes))
    model = Model(name, folder, network.spec, labels, fields.pop("thresholds", {}), **fields)
    write_model(model)
    save_weights(network, folder / WEIGHTS)
    (folder / "README.md").write_text("# A card\n", encoding="utf-8")
    return model


def torch_engine(network, chunk_seconds=30.0, jobs=1):
    """An engine that runs a network which has no model folder."""
    labels = tuple(f"label{i}" for i in range(network.spec.classes))
    model = Model("tiny", Path("nowhere"), network.spec, labels, {})
    engine = Engine(model, TorchBackend(network, torch.device("cpu")), jobs=jobs)
    engine.chunk_rows = max(1, round(chunk_seconds / engine.hop_seconds))
    return engine


def exporter(tmp_path_factory):
    """`exported(name)` -> (model, network, difference reported by the export), made once for each spec."""
    made = {}

    def of(name):
        if name not in made:
            network = network_of(spec_named(name))
            folder = tmp_path_factory.mktemp("exported") / Path(name).stem
            model = write_folder(network, folder, Path(name).stem)
            made[name] = (model, network, export_onnx(model, network))
        return made[name]

    return of


def write_dataset(folder, recordings, sample_rate=RATE, unsure=""):
    """A dataset of (name, samples float (n,), fields of `Item`) rows, as written by `ingest`."""
    labels = []
    with DatasetWriter(folder, sample_rate, 1) as writer:
        for name, samples, fields in recordings:
            item = Item(Path(name), name, **fields)
            pcm = np.clip(np.rint(np.asarray(samples) * 32768), -32768, 32767).astype(np.int16)
            number, _ = writer.add(item, (pcm.nbytes, 0), [pcm[None, :]])
            writer.describe(number, item, item.digest())
            labels += [item.label] if item.label else []
            labels += [note.label for note in item.annotations]
        writer.finish(sorted(set(labels) - {unsure}), [], unsure=unsure)
    return Dataset.open(folder)


def mark(label, onset, offset):
    """An annotation as a field of `Item`."""
    return {"annotated": True, "annotations": (Annotation(onset, offset, label),)}


# A task that a tiny network learns in seconds: a tone of 300 to 600 Hz, or no tone

TINY = table_of(
    {**LOG_MEL, "mels": 12},
    [{"conv": 8, "kernel": 3}, {"conv": 8, "kernel": 3}],
    {"window_seconds": 0.15, "layers": [{"dense": 8, "dropout": 0.2}]},
    defaults=BATCH,
)
TASK_MIX = MixSettings(
    seconds=1.5, gap_seconds=(0.1, 0.6), snr_db=(5.0, 20.0), overlap_share=0.0, murmur_share=0.0, room_share=0.0,
    telephone_share=0.0, clip_share=0.0, gain_db=(-12.0, 0.0), equaliser_db=3.0,
)  # fmt: skip
TASK_TRAIN = TrainSettings(
    epochs=4, examples_per_epoch=96, batch_size=16, learning_rate=1e-2, averaging=0.9, validation_share=0.25,
    validation_examples=24, workers=0,
)  # fmt: skip


def tone_of(seconds, onset, offset, hertz, amplitude=0.3):
    """(samples,) of a sine from onset to offset, surrounded by silence, at `RATE`."""
    times = np.arange(round(seconds * RATE)) / RATE
    return np.where((times >= onset) & (times < offset), amplitude * np.sin(2 * np.pi * hertz * times), 0.0)


def tone_task(folder, groups=12, unsure=False):
    """A dataset of annotated tones and of noise without tones, each in its own group. unsure: the ends of the tones are
    marked as unknown."""
    random = np.random.default_rng(7)
    tones = [
        (f"tone{i:02}.wav", tone_of(0.8, 0.1, 0.7, 300 + 25 * i), {**mark("tone", 0.1, 0.7), "group": f"voice{i}"})
        for i in range(groups)
    ]
    if unsure:
        notes = tuple(Annotation(*note) for note in ((0.1, 0.2, "?"), (0.2, 0.6, "tone"), (0.6, 0.7, "?")))
        tones = [(name, samples, {**fields, "annotations": notes}) for name, samples, fields in tones]
    noises = [
        (f"noise{i:02}.wav", random.normal(0, 0.1, 3 * RATE), {"annotated": True, "group": f"place{i}"})
        for i in range(groups)
    ]
    return write_dataset(folder, tones + noises, unsure="?" if unsure else "")


def recipe_of(table=TINY, mix=TASK_MIX, seed=3, **train):
    """A recipe for the task. train: other values for `[train]`."""
    spec = spec_from_table(table, "tiny")
    return Recipe("tiny", spec, None, mix, dataclasses.replace(TASK_TRAIN, **train), seed=seed)


def trainer_of_tones(tmp_path_factory):
    """(the report of a training on the task, all reports before it, the run, the dataset)."""
    folder = tmp_path_factory.mktemp("trained")
    dataset = tone_task(folder / "dataset")
    *reports, last = train(recipe_of(epochs=6), dataset, folder / "run")
    return last, reports, folder / "run", dataset
