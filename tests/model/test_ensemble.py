"""Ensembles: the mean of their members' scores wherever and however they are read, and a folder like any other."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tomli_w
import torch
from fixtures_cli import HERTZ, RATE, audiocnn, tone, tone_model, write_tones  # noqa: F401
from fixtures_models import LOG_MEL, SPECS, network_of, noise, table_of, write_folder
from safetensors.torch import load_file
from sounds import write

from audiocnn.errors import ModelError, UsageError
from audiocnn.inference.engine import Engine, OnnxBackend, TorchBackend, load_engine
from audiocnn.model.ensemble import make_ensemble
from audiocnn.model.export import export_onnx
from audiocnn.model.model import CARD, ONNX, TOML, WEIGHTS, Model, find_model, join_outputs, read_model, write_model
from audiocnn.model.weights import Ensemble, load_network, load_networks
from audiocnn.spec.geometry import joint_geometry
from audiocnn.spec.spec import spec_from_table
from audiocnn.toml import read_toml

TOLERANCE = 1e-5
_PADDED = {"conv": 6, "kernel": 5, "padding": "same"}
TABLES = SPECS | {
    "small_padded": table_of(LOG_MEL, [_PADDED, {**_PADDED, "dilation": 3}], {"window_seconds": 0.1}),
    "four_channels": table_of({**LOG_MEL, "channels": 4}, [{"conv": 4, "kernel": 3}], {}),
    "slow": table_of({**LOG_MEL, "sample_rate": 1000}, [{"conv": 4, "kernel": 3}], {"hop_seconds": 0.02}),
}
SETS = {  # of one hop each: what shrinks a window, pads it, or makes it shorter than a hop, in different orders
    "unpadded and padded": ("no_groups", "causal", "waveform", "small_padded"),
    "a padded one inside a larger": ("branches_valid", "small_padded"),
    "windows of all sizes": ("short_window", "same_1d", "crnn", "same_2d"),
    "even strides": ("residual_padded", "branches_uneven"),
    "several channels": ("two_channels", "two_channels"),
    "onsets and offsets": ("onset_offset", "onset_offset"),
}
QUICK = ("a padded one inside a larger",)
EVERY_SET = [pytest.param(key, marks=[] if key in QUICK else pytest.mark.long) for key in SETS]


def model_of(folder, name, labels, seed=0, **fields):
    """A folder of random weights, with labels, without an ONNX file."""
    network = network_of(spec_from_table(TABLES[name], name, len(labels)), seed)
    return write_folder(network, folder, name, labels, **fields)


@pytest.fixture(scope="module")
def ensembles(tmp_path_factory):
    """`made(key)` -> (ensemble, its members, weights, the difference reported); each is made once."""
    known = {}

    def made(key):
        if key not in known:
            folder = tmp_path_factory.mktemp("ensembles")
            labels = ("dog", "cat", "bird")
            models = [  # every second one with its labels in another order
                model_of(folder / f"{n}", name, labels[:: -1 if n % 2 else 1], seed=n)
                for n, name in enumerate(SETS[key])
            ]
            weights = [] if key == "even strides" else [float(n + 1) for n in range(len(models))]
            known[key] = (*make_ensemble(models, folder / "together", weights), models, weights)
        return known[key]

    return made


def scores_of(network, sound):
    """Of a whole recording (channels, samples): (rows, classes)."""
    with torch.no_grad():
        return network(network.extended(torch.from_numpy(sound[None])))[0].numpy()


def mean_of(model, models, weights, sound):
    """What the members say of a whole recording, each read alone, averaged by hand."""
    weights = weights or [1.0] * len(models)
    total = 0.0
    for one, weight in zip(models, weights, strict=True):
        scores = scores_of(load_network(one), sound)
        order = [one.labels.index(label) for label in model.labels]
        if one.localises:  # two edges of each label lie behind the scores
            order += [len(order) + 2 * number + edge for number in order for edge in (0, 1)]
        total = total + scores[:, order].astype(np.float64) * weight
    return total / sum(weights)


def in_blocks(samples, size):
    return (samples[:, at : at + size] for at in range(0, samples.shape[1], size))


# The mean of scores


@pytest.mark.parametrize("key", EVERY_SET)
@pytest.mark.parametrize("backend", [pytest.param("onnx", marks=pytest.mark.long), "torch"])
def test_scores_are_the_mean_of_the_members_whole_and_in_chunks(ensembles, key, backend):
    model, difference, models, weights = ensembles(key)
    assert difference <= TOLERANCE
    assert model == read_model(model.folder)
    assert model.labels == ("dog", "cat", "bird")
    network = load_networks(model)
    assert isinstance(network, Ensemble)
    runs = OnnxBackend(model, threads=1) if backend == "onnx" else TorchBackend(network, torch.device("cpu"))
    engine = Engine(model, runs)
    hop, window = engine.geometry.hop_samples, engine.geometry.window_samples
    for samples in (1, hop, hop + 1, window, 3 * window + hop // 2, 5 * window + 7):
        sound = noise(model.spec, 1, samples)[0]
        wanted = mean_of(model, models, weights, sound)
        assert wanted.shape == (-(-samples // hop), model.spec.outputs)
        for rows, size in ((10**6, samples), (1, 333), (7, 1 + window // 3)):
            engine.chunk_rows = rows
            got = np.concatenate(list(engine.score_tracks(in_blocks(sound, size))), axis=1)[0]
            assert got.shape == wanted.shape
            assert np.max(np.abs(got - wanted)) <= TOLERANCE, (samples, rows)


@pytest.mark.parametrize("key", EVERY_SET)
def test_the_file_extends_by_itself_and_is_right_at_other_batches(ensembles, key):
    model, _, models, weights = ensembles(key)
    backend = OnnxBackend(model, threads=1)
    for batch, samples in ((1, 5), (3, 4567)):
        sound = noise(model.spec, batch, samples)
        got = join_outputs(*backend.file.session.run(backend.parts, {"samples": sound}))
        for found, one in zip(got, sound, strict=True):
            assert np.max(np.abs(found - mean_of(model, models, weights, one))) <= TOLERANCE


@pytest.mark.parametrize("key", EVERY_SET)
def test_the_joint_geometry_covers_every_member(ensembles, key):
    model, _, models, _ = ensembles(key)
    joint, parts = model.geometry, [one.geometry for one in models]
    assert joint == joint_geometry(parts)
    assert joint.window_samples == max(part.window_samples for part in parts)
    assert joint.extend_start == max(part.extend_start for part in parts)
    assert joint.extend_end == max(part.extend_end for part in parts)
    assert joint.shift_exact == all(part.shift_exact for part in parts)
    assert joint.margin_rows == tuple(map(max, zip(*(part.margin_rows for part in parts), strict=True)))
    assert min(min(pair) for pair in joint.crops) >= 0
    assert joint.rows(1001) == parts[0].rows(1001)


def test_a_padded_member_inside_a_larger_window_is_not_forgotten():
    """Its padding lies within what the larger one reads; the margins of chunks must still be there."""
    parts = [spec_from_table(TABLES[name], name, 2).geometry() for name in SETS["a padded one inside a larger"]]
    joint = joint_geometry(parts)
    assert (joint.pad_start, joint.pad_end) == (0, 0)
    assert not joint.shift_exact
    assert min(joint.margin_rows) > 0


@pytest.mark.long
def test_the_released_detectors_together(tmp_path):
    models = [find_model("speech_1d"), find_model("speech_2d")]
    model, difference = make_ensemble(models, tmp_path / "both")
    assert difference <= TOLERANCE
    mean = sum(one.thresholds["speech"] for one in models) / 2
    assert model.thresholds == {"speech": pytest.approx(mean, abs=5e-4)}  # three digits
    assert model.geometry.window_seconds == max(one.geometry.window_seconds for one in models)
    sound = noise(model.spec, 1, 70_000)[0]
    wanted = np.mean([load_engine(one, "cpu", 1).score(sound) for one in models], axis=0)
    assert np.max(np.abs(load_engine(model, "cpu", 1).score(sound) - wanted)) <= TOLERANCE
    card = (tmp_path / "both" / CARD).read_text(encoding="utf-8")
    assert card.startswith("# both\n")
    assert [line for line in card.splitlines() if re.match("#{1,2} ", line)] == [
        "# both",
        "## speech_1d",
        "## speech_2d",
    ]
    assert "### Data and licences" in card


@pytest.mark.long
def test_an_ensemble_of_ensembles_has_all_members_side_by_side(ensembles, tmp_path):
    inner, _, models, weights = ensembles("a padded one inside a larger")  # 1 and 2
    other = model_of(tmp_path / "other", "no_groups", ("cat", "bird", "dog"), seed=9)
    outer, _ = make_ensemble([inner, other], tmp_path / "outer", [3.0, 1.0])
    assert [member.name for member in outer.members] == ["branches_valid", "small_padded", "no_groups"]
    assert outer.shares == pytest.approx([0.25, 0.5, 0.25])
    sound = noise(outer.spec, 1, 3000)[0]
    wanted = 0.75 * mean_of(outer, models, weights, sound) + 0.25 * mean_of(outer, [other], [1.0], sound)
    assert np.max(np.abs(load_engine(outer, "cpu", 1).score(sound) - wanted)) <= TOLERANCE


# The folder


@pytest.mark.long
def test_the_folder_is_like_any_other(ensembles):
    model, _, models, _ = ensembles("unpadded and padded")
    assert {path.name for path in model.folder.iterdir()} == {TOML, WEIGHTS, ONNX, CARD}
    assert [path.name for path in model.folder.parent.iterdir() if path.name.startswith(".")] == []
    table = read_toml(model.folder / TOML, ModelError)
    assert table["format"] == 2
    assert "spec" not in table
    assert [row["spec"] for row in table["members"]] == [one.spec.table for one in models]
    assert model.specs == tuple(member.spec for member in model.members)
    assert model.parameters == sum(one.parameters for one in models)
    assert model.summary == ("the mean of no_groups (10 %), causal (20 %), waveform (30 %) and small_padded (40 %)")
    graph = onnx.load(model.folder / ONNX)
    onnx.checker.check_model(graph, full_check=True)
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert said["audiocnn"] == (model.folder / TOML).read_text(encoding="utf-8")
    assert said["labels"] == "dog\ncat\nbird"
    assert said["window_samples"] == str(model.geometry.window_samples)
    session = onnxruntime.InferenceSession((model.folder / ONNX).read_bytes(), providers=["CPUExecutionProvider"])
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("samples", ["batch", 1, "time"])]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("scores", ["batch", "positions", 3])]
    assert [value.name for value in session.get_overridable_initializers()] == ["extend"]


def test_the_weights_of_all_members_are_in_one_file(ensembles):
    model, _, models, _ = ensembles("a padded one inside a larger")
    found = load_file(model.folder / WEIGHTS)
    wanted = {
        f"members.{n}.{name}": tensor
        for n, one in enumerate(models)
        for name, tensor in load_file(one.folder / WEIGHTS).items()
    }
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


@pytest.mark.long
def test_its_file_can_be_exported_again(ensembles):
    model, difference, _, _ = ensembles("even strides")
    (model.folder / ONNX).unlink()
    with pytest.raises(ModelError, match=r"model\.onnx is missing; make it again with `audiocnn export"):
        load_engine(model)
    assert export_onnx(model, load_networks(model)) == pytest.approx(difference, abs=1e-6)
    assert load_engine(model, jobs=1).channels == 1


@pytest.mark.long
def test_one_network_is_asked_of_it_in_vain(ensembles):
    model, *_ = ensembles("several channels")
    with pytest.raises(ModelError, match=r"is an ensemble of several networks \(two_channels\); .* a single network"):
        load_network(model)


@pytest.mark.long
def test_thresholds_are_the_mean_of_the_members(tmp_path):
    one = model_of(tmp_path / "one", "causal", ("a", "b"), thresholds={"a": 0.2})
    two = model_of(tmp_path / "two", "causal", ("b", "a"), 1, thresholds={"a": 0.8, "b": 0.9})
    model, _ = make_ensemble([one, two], tmp_path / "both", [3.0, 1.0])
    assert model.thresholds == {"a": pytest.approx(0.35), "b": pytest.approx(0.6)}
    assert model.tuned_on == "the mean of its members' thresholds"


def test_an_older_version_refuses_it_and_reads_all_others(ensembles, tmp_path, monkeypatch):
    model, *_ = ensembles("several channels")
    plain = model_of(tmp_path / "plain", "causal", ("a", "b"))
    monkeypatch.setattr("audiocnn.model.model.MODEL_FORMAT", 1)
    assert read_model(plain.folder).spec == plain.spec
    with pytest.raises(
        ModelError, match=r"format 2 is newer than the newest that this audiocnn reads \(1\); upgrade with"
    ):
        read_model(model.folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.pop("members"), '"members" is missing'),
        (lambda table: table["members"].pop(), r'"members" must be two \[\[members\]\] tables or more'),
        (lambda table: table.update(members=3), r'"members" must be two \[\[members\]\] tables or more'),
        (lambda table: table.update(format=1), '"spec" is missing'),
        (lambda table: table.update(spec={}), 'unknown key "spec"'),
        (lambda table: table["members"].append("x"), "member 3: expected a table, not 'x'"),
        (lambda table: table["members"][1].update(labels=["dog"]), 'member 2: "labels" must be those of the ensemble'),
        (lambda table: table["members"][0].update(weight=0.0), 'member 1: "weight" must be a number above 0'),
        (lambda table: table["members"][0].update(weihgt=1.0), 'unknown key "weihgt"; did you mean "weight"'),
        (lambda table: table["members"][1]["spec"].pop("f"), "member 2: the spec inside is damaged"),
        (
            lambda table: table["members"][1]["spec"]["f"].update(hop_seconds=0.5),
            '"members" must have one sample rate, one hop and one number of channels',
        ),
    ],
)
def test_a_toml_that_is_wrong_is_refused(ensembles, tmp_path, change, said):
    model, *_ = ensembles("a padded one inside a larger")
    table = read_toml(model.folder / TOML, ModelError)
    change(table)
    (tmp_path / TOML).write_text(tomli_w.dumps(table), encoding="utf-8")
    with pytest.raises(ModelError, match=said) as caught:
        read_model(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / TOML}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.long
def test_damaged_weights_are_refused(ensembles, tmp_path):
    model, *_ = ensembles("a padded one inside a larger")
    shutil.copytree(model.folder, tmp_path / "copy")
    shutil.copy(ensembles("several channels")[0].folder / WEIGHTS, tmp_path / "copy" / WEIGHTS)
    with pytest.raises(ModelError, match=r"model\.safetensors: does not fit the spec in model\.toml"):
        load_networks(read_model(tmp_path / "copy"))


# What does not fit


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        (
            "causal",
            ("a", "c"),
            r"waveform and causal have different labels \(a, b; a, c\); average models that were trained on",
        ),
        ("causal", ("a",), r"have different labels \(a, b; a\)"),
        (
            "slow",
            ("a", "b"),
            r"waveform and slow differ in the sample rate \(2000 and 1000 Hz\); train one of them again with a",
        ),
        (
            "valid_2d",
            ("a", "b"),
            r"waveform and valid_2d differ in the hop \(20 and 120 samples\); train one of them again",
        ),
        (
            "four_channels",
            ("a", "b"),
            r"differ in the number of channels \(1 and 4\); train one of them again with a spec that has",
        ),
    ],
)
def test_models_that_do_not_fit_are_refused_by_name(tmp_path, name, labels, said):
    one = model_of(tmp_path / "one", "waveform", ("a", "b"))
    other = model_of(tmp_path / "other", name, labels)
    with pytest.raises(ModelError, match=said) as caught:
        make_ensemble([one, other], tmp_path / "new" / "both")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0], "1 weights for 2 models; give one for each model, in the same order"),
        ([1.0, 0.0], "a weight cannot be 0; give numbers above 0"),
        ([1.0, -1.0], "a weight cannot be -1"),
        ([1.0, float("nan")], "a weight cannot be nan"),
        ([1.0, float("inf")], "a weight cannot be inf"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path, weights, said):
    models = [model_of(tmp_path / f"{n}", "causal", ("a",), n) for n in range(2)]
    with pytest.raises(UsageError, match=said):
        make_ensemble(models, tmp_path / "both", weights)


@pytest.mark.long
def test_nothing_is_overwritten_unasked_and_what_fails_leaves_nothing(tmp_path, monkeypatch):
    models = [model_of(tmp_path / f"{n}", "causal", ("a",), n) for n in range(2)]
    with pytest.raises(UsageError, match="an ensemble needs two models or more; name another"):
        make_ensemble(models[:1], tmp_path / "both")
    make_ensemble(models, tmp_path / "both")
    before = (tmp_path / "both" / TOML).read_bytes()
    with pytest.raises(UsageError, match=r"both: already contains a model; overwrite it with --force"):
        make_ensemble(models, tmp_path / "both", [2.0, 1.0])
    assert (tmp_path / "both" / TOML).read_bytes() == before
    assert make_ensemble(models, tmp_path / "both", [2.0, 1.0], force=True)[0].shares == pytest.approx([2 / 3, 1 / 3])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").touch()
    with pytest.raises(UsageError, match=r"notes: contains other files; choose a new folder with -o"):
        make_ensemble(models, tmp_path / "notes", force=True)
    with pytest.raises(UsageError, match=r"thesis\.txt: is a file, not a folder"):
        make_ensemble(models, tmp_path / "notes" / "thesis.txt", force=True)
    monkeypatch.setattr("audiocnn.model.export.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differs from PyTorch"):
        make_ensemble(models, tmp_path / "third")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "both", "notes"]


# The command


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """A model that hears 1 kHz, one that hears nothing at all, and recordings."""
    write_tones(tmp_path)
    shutil.copytree(tone_model, tmp_path / "tone")
    model = read_model(tmp_path / "tone")
    network = load_network(model)
    with torch.no_grad():
        for weight in network.f.parameters():
            weight.zero_()  # a score of one half, always
    write_folder(network, tmp_path / "deaf", "deaf", ("tone",), thresholds={"tone": 0.6})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long  # of the command, test_cli runs it always
@pytest.mark.parametrize("terminal", [pytest.param(False, id="pipe"), pytest.param(True, id="terminal")])
def test_the_command_makes_a_model_that_all_commands_take(here, terminal):
    done = audiocnn("ensemble", "tone", "deaf", "-o", "both", "--weights", "3,1", terminal=terminal)
    assert (done.status, done.err) == (0, "")
    if terminal:
        for words in ("tone", "0.750", "deaf", "0.250", "thresholds: tone 0.525", "audiocnn detect --model both FILE"):
            assert words in done.out
        return
    record = json.loads(done.out)
    assert record["members"] == [{"name": "tone", "share": 0.75}, {"name": "deaf", "share": 0.25}]
    assert (record["type"], record["model"], record["folder"]) == ("ensemble", "both", "both")
    assert record["thresholds"] == {"tone": 0.525}
    write(Path("odd.wav"), tone((0.5, 1.0), seconds=1.2345), RATE)
    rows = [line.split(",") for line in audiocnn("score", "odd.wav", "-m", "both").out.splitlines()[1:]]
    alone = [line.split(",") for line in audiocnn("score", "odd.wav", "-m", "tone").out.splitlines()[1:]]
    for row, one in zip(rows, alone, strict=True):
        assert row[:4] == one[:4]
        assert float(row[4]) == pytest.approx(0.75 * float(one[4]) + 0.25 * 0.5, abs=2e-4)
    found = [json.loads(line) for line in audiocnn("detect", "two.wav", "-m", "both").out.splitlines()]
    assert [line["type"] for line in found] == ["segment", "segment", "file"]
    assert (found[-1]["model"], found[-1]["thresholds"]) == ("both", {"tone": 0.525})
    report = json.loads(audiocnn("evaluate", "tones.tsv", "-m", "both", "--resamples", "5").out)
    assert report["labels"]["tone"]["figures"]["auroc"]["value"] > 0.99
    assert report["tuned_on"] == "the mean of its members' thresholds"
    assert json.loads(audiocnn("export", "both").out)["difference"] <= TOLERANCE
    assert HERTZ == 1000


@pytest.mark.long
def test_models_lists_an_ensemble_that_is_shipped(here, monkeypatch):
    assert audiocnn("ensemble", "tone", "deaf", "-o", "shipped/both").status == 0
    (here / "shipped" / "specs").mkdir()
    monkeypatch.setattr("audiocnn.model.model.shipped_folder", lambda: here / "shipped")
    (row,) = map(json.loads, audiocnn("models").out.splitlines())
    model = read_model(here / "shipped" / "both")
    assert (row["name"], row["weights"], row["summary"]) == ("both", model.parameters, "the mean of tone and deaf")
    assert row["window"] == pytest.approx(model.geometry.window_seconds)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("tone", r"Missing option '--output'"),
        ("-o both", r"Missing argument 'MODEL"),
        ("tone -o both", r"an ensemble needs two models or more; name another"),
        ("tone nope -o both", r'no model is called "nope"'),
        ("tone speech_1d -o both", r"tone and speech_1d have different labels \(tone; speech\)"),
        (
            "tone deaf -o tone",
            r"tone: already contains a model; overwrite it with --force, or choose another folder with -o",
        ),
        ("tone deaf -o labels", r"labels: contains other files; choose a new folder with -o"),
        ("tone deaf -o one.wav/x", r"one\.wav/x: cannot be written \(.*\); choose another folder with -o"),
        ("tone deaf -o both --weights 1,x", r'--weights cannot be "1,x"; give a number for each model, such as 2,1'),
        ("tone deaf -o both --weights 1", r"1 weights for 2 models"),
    ],
)
def test_bad_input_is_one_line(here, args, said):
    done = audiocnn("ensemble", *args.split())
    assert done.status == 2
    assert re.fullmatch(rf"audiocnn: error: .*({said}).*\n", done.err), done.err
    assert not Path("both").exists()


@pytest.mark.long
def test_training_cannot_begin_from_it(here):
    audiocnn("ensemble", "tone", "deaf", "-o", "both")
    done = audiocnn("train", "labels", "--from", "both", "-o", "run")
    assert done.status == 2
    assert "both: is an ensemble; start from one of its members (tone, deaf)" in done.err


def test_a_model_of_one_network_is_what_it_was(tmp_path):
    plain = model_of(tmp_path / "plain", "causal", ("a", "b"))
    model = read_model(plain.folder)
    assert (model.members, model.specs, model.shares) == ((), (model.spec,), (1.0,))
    assert (model.geometry, model.channels) == (model.spec.geometry(), 1)
    assert (model.parameters, model.summary) == (model.spec.parameters(), model.spec.summary)
    write_model(model)
    assert read_toml(plain.folder / TOML, ModelError)["format"] == 1
    assert isinstance(model, Model)
