"""Transfer learning: what is frozen stays bit by bit, what is taken is taken, F is new for new labels, and what does
not fit is refused before any time is spent."""

from __future__ import annotations

import copy
import dataclasses
import re
import shutil
from pathlib import Path

import pytest
import tomli_w
import torch
from fixtures_cli import audiocnn
from fixtures_models import (
    BATCH,
    LOG_MEL,
    TASK_MIX,
    mark,
    network_of,
    recipe_of,
    table_of,
    tone_of,
    write_dataset,
    write_folder,
)
from safetensors.torch import load_file

from audiocnn.errors import ModelError, RecipeError
from audiocnn.model.model import CARD, WEIGHTS, read_model
from audiocnn.model.network import Network
from audiocnn.model.weights import load_network
from audiocnn.recipe.recipe import Recipe, Transfer, read_recipe
from audiocnn.spec.spec import spec_from_table
from audiocnn.training import trainer as trainer_module
from audiocnn.training.batches import make_training_set
from audiocnn.training.events import EpochReport, Note, StepReport, TrainReport
from audiocnn.training.train import train
from audiocnn.training.trainer import Trainer
from audiocnn.training.transfer import Origin, begin_from, check_transfer, label_layers

SETTINGS = {**LOG_MEL, "mels": 12}
TABLE = table_of(SETTINGS, [], {"window_seconds": 0.15, "layers": [{"dense": 8, "dropout": 0.2}]}, defaults=BATCH)
TABLE["groups"] = [
    {"name": "A", "layers": [{"norm": "batch"}, {"conv": 8, "kernel": 3, "dropout": 0.1}]},
    {"name": "B", "repeat": 2, "layers": [{"conv": 8, "kernel": 3}, {"dropout": 0.1}]},
]
LABELLED = table_of(  # as in Network in Network: the last convolution has a map for each label
    SETTINGS,
    [{"conv": 6, "kernel": 3}, {"conv": "labels", "kernel": 1, "activation": "none"}, {"global": "average"}],
    {"output": "softmax", "output_dense": False},
)
SHORT = {"epochs": 2, "examples_per_epoch": 24, "batch_size": 8, "validation_examples": 8}


def changed(table, path, value):
    """The table with another value at a path of keys; None takes it away."""
    table = copy.deepcopy(table)
    inside = table
    for key in path[:-1]:
        inside = inside[key]
    if value is None:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return table


def tones(folder, hertz_of, voices):
    """A dataset of tones from voices that have each label."""
    recordings = [
        (f"{label}{i}.wav", tone_of(0.8, 0.1, 0.7, hertz + 15 * i), {**mark(label, 0.1, 0.7), "group": f"voice{i}"})
        for label, hertz in hertz_of.items()
        for i in range(voices)
    ]
    return write_dataset(folder, recordings)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The run of a model that has learned to tell four tones apart, and its dataset."""
    folder = tmp_path_factory.mktemp("source")
    dataset = tones(folder / "dataset", {"a": 200, "b": 400, "c": 600, "d": 800}, 6)
    *_, last = train(recipe_of(TABLE, epochs=12, examples_per_epoch=128), dataset, folder / "run")
    assert last.figure > 0.98
    return folder / "run", dataset


@pytest.fixture(scope="module")
def two_tones(tmp_path_factory):
    """Another task: other tones, other labels."""
    return tones(tmp_path_factory.mktemp("two") / "dataset", {"high": 700, "low": 300}, 4)


def recipe_from(source, freeze=(), table=TABLE, **settings):
    recipe = recipe_of(table, **{**SHORT, **settings})
    return dataclasses.replace(recipe, name="tuned", transfer=Transfer(str(source), tuple(freeze)))


def until_epochs(recipe, dataset, run, **more):
    """Train as far as the last epoch; what comes after it is the export. The reports."""
    reports = []
    for report in train(recipe, dataset, run, **more):
        reports.append(report)
        if isinstance(report, EpochReport) and report.epoch == recipe.train.epochs:
            break
    return reports


def same_bits(one, two):
    return one.dtype == two.dtype and one.numpy().tobytes() == two.numpy().tobytes()


def parts_of(path, prefix=""):
    """The tensors of a file, under a prefix, by `A`, `B_1`, ..., `f`."""
    found = {}
    for name, tensor in load_file(path).items():
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            found.setdefault(name.split(".")[1] if name.startswith("groups.") else "f", {})[name] = tensor
    return found


# What changes and what does not


@pytest.mark.parametrize("freeze", [(), ("A",), ("B",), ("A", "B")], ids="".join)
def test_frozen_groups_stay_bit_by_bit_and_the_others_learn(source, two_tones, tmp_path, freeze):
    run, _ = source
    before = parts_of(run / "model" / WEIGHTS)
    origin, *_ = until_epochs(recipe_from(run, freeze), two_tones, tmp_path / "run")
    assert origin == Origin("tiny", ("A", "B"), freeze, (), "new")
    for part in ("network.", "averaged."):
        after = parts_of(tmp_path / "run" / "checkpoints" / "last.safetensors", part)
        assert set(after) == {"A", "B_1", "B_2", "f"}
        for name in ("A", "B_1", "B_2"):
            frozen = name[0] in freeze
            for key, tensor in before[name].items():
                assert same_bits(after[name][key], tensor) == frozen, key  # statistics and counts, too
        assert [tensor.shape[0] for key, tensor in after["f"].items() if key.endswith("bias")] == [8, 2]
    counted = ("running_mean", "running_var", "num_batches_tracked")
    learned = [key for name in after if name[0] not in freeze for key in after[name] if not key.endswith(counted)]
    state = load_file(tmp_path / "run" / "checkpoints" / "last.safetensors")
    moments = [name for name in state if name.startswith("optimizer.") and name.endswith("exp_avg")]
    assert len(moments) == len(learned)


def test_frozen_groups_at_the_start_record_nothing_for_gradients(source, two_tones, tmp_path):
    recipe = recipe_from(source[0], ("A",))
    trainer = Trainer(recipe, make_training_set(recipe, two_tones), tmp_path / "run", "cpu")
    trainer.begin_from(read_model(source[0]))
    samples, targets = torch.randn(3, 1, 3000), torch.zeros(3, 150, 2)
    seen = {}
    for name, group in trainer.network.groups.items():
        group.register_forward_hook(lambda module, _, out, name=name: seen.update({name: (module.training, out)}))
    trainer.train_step(samples, targets)
    assert {name: (trainer_module, out.requires_grad) for name, (trainer_module, out) in seen.items()} == {
        "A": (False, False), "B_1": (True, True), "B_2": (True, True),
    }  # fmt: skip
    assert {bool(weight.grad is None) for weight in trainer.network.groups["A"].parameters()} == {True}


def test_f_is_kept_for_the_same_labels_layers_and_output(source):
    run, _ = source
    model, same = read_model(run), tuple("abcd")
    cases = [
        (TABLE, same, "kept"),
        (TABLE, tuple("abcx"), "new"),
        (TABLE, tuple("bacd"), "new"),
        (changed(TABLE, ["f", "layers", 0, "dense"], 9), same, "new"),
        (changed(TABLE, ["f", "window_seconds"], 0.2), same, "new"),
        (changed(TABLE, ["f", "output"], "softmax"), same, "new"),
        (changed(TABLE, ["f", "layers", 0, "dropout"], 0.5), same, "kept"),
    ]
    wanted = parts_of(run / "model" / WEIGHTS)
    for table, labels, f in cases:
        network = network_of(spec_from_table(table, "tiny", len(labels)), seed=9)
        assert begin_from(model, labels, (), network).f == f
        got = network.state_dict()
        assert all(
            same_bits(got[name], tensor) for part in ("A", "B_1", "B_2") for name, tensor in wanted[part].items()
        )
        last = [name for name in got if name.startswith("f.") and name.endswith("bias")][-1]
        assert torch.equal(got[last], wanted["f"][last]) == (f == "kept")


def test_groups_may_be_left_away_and_new_ones_may_come(source):
    run, _ = source
    model = read_model(run)
    table = changed(TABLE, ["groups", 1], {"name": "C", "layers": [{"conv": 5, "kernel": 3}]})
    network = network_of(spec_from_table(table, "tiny", 2))
    before = {name: tensor.clone() for name, tensor in network.groups["C"].state_dict().items()}
    assert check_transfer(recipe_from(run, ("A",), table)) == model
    assert begin_from(model, ("a", "b"), ("A",), network) == Origin("tiny", ("A",), ("A",), ("C",), "new")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.groups["C"].state_dict().items())


def test_layers_without_weights_and_the_floor_may_differ(source):
    """A norm of the level in front, a dropout elsewhere: the weights are those of the layers that have some."""
    run, _ = source
    model, level = read_model(run), {"norm": "level", "seconds": 0.1, "ahead_seconds": 0, "padding": "same"}
    table = changed(TABLE, ["groups", 0, "layers"], [level, *TABLE["groups"][0]["layers"]])
    table = changed(table, ["groups", 1, "layers"], [{"dropout": 0.1}, {"conv": 8, "kernel": 3}])
    table = changed(table, ["input", "floor"], 1e-11)
    network = network_of(spec_from_table(table, "tiny", 4), seed=9)
    assert check_transfer(recipe_from(run, (), table)) == model
    assert begin_from(model, tuple("abcd"), (), network).f == "kept"
    got = [tensor for name, tensor in network.state_dict().items() if name.startswith("groups.")]
    wanted = [tensor for name, tensor in load_file(run / "model" / WEIGHTS).items() if name.startswith("groups.")]
    found = sorted(tensor.numpy().tobytes() for tensor in got)
    assert found == sorted(tensor.numpy().tobytes() for tensor in wanted)


def test_frozen_norms_keep_their_statistics_and_learn_their_gains(source, two_tones, tmp_path):
    run, _ = source
    before = load_file(run / "model" / WEIGHTS)
    recipe = dataclasses.replace(recipe_from(run), transfer=Transfer(str(run), freeze_norms=True))
    until_epochs(recipe, two_tones, tmp_path / "run")
    after = load_file(tmp_path / "run" / "checkpoints" / "last.safetensors")
    norms = [name.removesuffix(".running_mean") for name in before if name.endswith(".running_mean")]
    assert len(norms) == 4
    for part in ("network.", "averaged."):
        for norm in norms:
            for statistic in ("running_mean", "running_var", "num_batches_tracked"):
                assert same_bits(after[f"{part}{norm}.{statistic}"], before[f"{norm}.{statistic}"])
            assert not torch.equal(after[f"{part}{norm}.weight"], before[f"{norm}.weight"])


@pytest.mark.parametrize("kept", [True, False])
def test_weights_that_a_training_began_with_belong_to_the_mean_where_all_were_kept(source, two_tones, tmp_path, kept):
    run, same = source
    until_epochs(recipe_from(run, averaging=0.9999), same if kept else two_tones, tmp_path / "run")
    before = parts_of(run / "model" / WEIGHTS)
    folder = tmp_path / "run" / "checkpoints" / "last.safetensors"
    mean, last = parts_of(folder, "averaged."), parts_of(folder, "network.")
    name = next(name for name in before["A"] if name.endswith("weight"))
    far = {
        own: float((part["A"][name] - before["A"][name]).abs().max()) for own, part in (("mean", mean), ("last", last))
    }
    assert (far["mean"] < 0.01 * far["last"]) == kept


def test_a_convolution_with_a_map_for_each_label_belongs_to_f(tmp_path):
    spec = spec_from_table(LABELLED, "nin", 3)
    assert label_layers(spec) == {("A", 1)}
    model = write_folder(network_of(spec), tmp_path / "nin", "nin", ("a", "b", "c"))
    check_transfer(recipe_from(tmp_path / "nin", (), LABELLED))
    donor = load_file(tmp_path / "nin" / WEIGHTS)
    for labels, equal in ((("x", "y", "z"), False), (("a", "b", "c"), True), (("x", "y"), False)):
        network = network_of(spec_from_table(LABELLED, "nin", len(labels)), seed=5)
        origin = begin_from(model, labels, (), network)
        got = network.state_dict()
        assert torch.equal(got["groups.A.0.0.weight"], donor["groups.A.0.0.weight"])
        assert torch.equal(got["groups.A.1.0.weight"], donor["groups.A.1.0.weight"]) == equal
        assert (origin.f == "kept") == equal


@pytest.mark.long
def test_what_was_learned_helps_with_new_labels(source, two_tones, tmp_path):
    """After the same few steps on the same examples it is better than what began at chance."""
    losses = {"scratch": [], "all": [], "B": []}
    for seed in (0, 3):
        for name, found in losses.items():
            recipe = recipe_from(source[0], ("A",) if name == "B" else (), epochs=3, examples_per_epoch=48)
            recipe = dataclasses.replace(recipe, seed=seed, transfer=recipe.transfer if name != "scratch" else None)
            found.append(until_epochs(recipe, two_tones, tmp_path / f"{name}{seed}")[-1].validation_loss)
    for name in ("all", "B"):
        assert sum(losses[name]) < 0.93 * sum(losses["scratch"]), losses


def test_the_model_and_its_card_say_where_it_came_from(source, tmp_path):
    run, dataset = source
    origin, *_, last = train(recipe_from(run, ("A",), epochs=1), dataset, tmp_path / "run")
    assert isinstance(last, TrainReport)
    assert origin == Origin("tiny", ("A", "B"), ("A",), (), "kept")
    said = read_model(tmp_path / "run").training["from"]
    assert said == {"model": "tiny", "groups": ["A", "B"], "frozen": ["A"], "new": [], "f": "kept"}
    card = (tmp_path / "run" / "model" / CARD).read_text(encoding="utf-8")
    assert "\n| began from | `tiny`: groups A, B (A unchanged), F kept; its card says" in card
    assert "began from" not in (run / "model" / CARD).read_text(encoding="utf-8")


# Going on


@pytest.mark.parametrize("kill", ["inside an epoch", "between epochs"])
def test_a_killed_run_goes_on_bit_by_bit_without_the_source(source, two_tones, tmp_path, monkeypatch, kill):
    shutil.copytree(source[0] / "model", tmp_path / "there")
    recipe = recipe_from(tmp_path / "there", ("A",))
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", -1.0)
    until_epochs(recipe, two_tones, tmp_path / "straight")
    for report in train(recipe, two_tones, tmp_path / "killed"):
        inside = isinstance(report, StepReport) and (report.epoch, report.step) == (1, 2)
        if inside if kill == "inside an epoch" else isinstance(report, EpochReport):
            break
    shutil.rmtree(tmp_path / "there")
    torch.manual_seed(99)
    kept = read_recipe(tmp_path / "killed" / "recipe.toml")
    assert (kept.transfer, kept.train, kept.mix) == (recipe.transfer, recipe.train, recipe.mix)
    reports = until_epochs(kept, two_tones, tmp_path / "killed", resume=True)
    assert not isinstance(reports[0], Origin)
    one, two = (load_file(tmp_path / run / "checkpoints/last.safetensors") for run in ("straight", "killed"))
    assert one.keys() == two.keys()
    assert [name for name in one if not same_bits(one[name], two[name])] == []


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_from_the_source_again(source, two_tones, tmp_path):
    recipe = recipe_from(source[0], ("A",))
    next(train(recipe, two_tones, tmp_path / "run"))
    reports = until_epochs(recipe, two_tones, tmp_path / "run", resume=True)
    assert isinstance(reports[0], Note) and isinstance(reports[1], Origin)
    what = r"recipe\.toml: \[train\] differs from this recipe \(freeze: \[.A.\] there, .* here\); continue with the old"
    with pytest.raises(Exception, match=what):
        next(train(recipe_from(source[0], ("A", "B")), two_tones, tmp_path / "run", resume=True))


# What does not fit


REPEATED = changed(TABLE, ["groups", 1, "repeat"], 3)
REFUSED = [
    (TABLE, ("C",), r'freeze: tiny has no group "C"; known: A, B'),
    (TABLE, ("a",), r'freeze: tiny has no group "a"; did you mean "A"\?'),
    (TABLE, ("F",), r'freeze: tiny has no group "F"; known: A, B'),
    (
        changed(TABLE, ["groups", 1, "name"], "C"), ("A", "C"),
        r'freeze: group "C" is not in tiny; freeze only A',
    ),
    (
        changed(TABLE, ["groups", 1, "layers", 0, "kernel"], 2), (),
        r'^tiny: group "B": layer 1: \(conv 8 2, batch, relu\) has weights 8x8x2, but in tiny \(conv 8 3, batch, relu\)'
        r" 8x8x3; use the same layers, or rename the group$",
    ),
    (
        changed(TABLE, ["groups", 0, "layers", 1, "norm"], "none"), (),
        r'group "A": layer 2: \(conv 8 3, relu, .*, but in tiny \(conv 8 3, batch',
    ),
    (
        changed(TABLE, ["groups", 1, "layers"], [{"dropout": 0.1}, {"conv": 8, "kernel": 2}]), (),
        r'group "B": layer 2: \(conv 8 2, batch, relu\) has weights 8x8x2, but in tiny \(conv 8 3, batch, relu\)',
    ),
    (
        changed(TABLE, ["groups", 0, "layers"], [{"norm": "batch"}]), (),
        r'group "A": layer 2: \(nothing\) has weights none, but in tiny \(conv 8 3, batch, relu',
    ),
    (REPEATED, (), r'tiny: group "B": repeat is 3, but 2 in tiny; use the same'),
    (
        changed(TABLE, ["input", "mels"], 16), (),
        r"tiny: \[input\]: mels is 16, but 12 in tiny; its groups work .*: use the same \[input\]",
    ),
    (changed(TABLE, ["groups", 0, "name"], "X"), ("X",), r'freeze: group "X" is not in tiny; freeze only B'),
    (changed(TABLE, ["groups"], []), (), r"tiny: has no group of tiny \(A, B\); use its group names, or omit --spec"),
]  # fmt: skip


@pytest.mark.parametrize("key", ["mels", "hop_seconds", "frame_seconds"])
def test_behind_a_new_group_features_may_be_others(source, key):
    value = {"mels": 16, "hop_seconds": 0.02, "frame_seconds": 0.05}[key]
    table = changed(changed(TABLE, ["input", key], value), ["groups", 0, "name"], "X")
    recipe = recipe_from(source[0], (), table)
    model = check_transfer(recipe)
    network = Network(recipe.spec.with_classes(len(model.labels)))
    origin = begin_from(model, model.labels, (), network)
    assert (origin.groups, origin.new) == (("B",), ("X",))
    theirs = load_network(model).state_dict()
    taken = {name: weight for name, weight in network.state_dict().items() if name.startswith("groups.B_")}
    assert taken
    assert all(torch.equal(weight, theirs[name]) for name, weight in taken.items())


@pytest.mark.parametrize(("table", "freeze", "said"), REFUSED, ids=[case[2][:40] for case in REFUSED])
def test_what_does_not_fit_is_refused_and_leaves_no_run_behind(source, two_tones, tmp_path, table, freeze, said):
    with pytest.raises(RecipeError, match=said) as caught:
        next(train(recipe_from(source[0], freeze, table), two_tones, tmp_path / "run"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_group_with_a_map_for_each_label_cannot_be_frozen(tmp_path):
    write_folder(network_of(spec_from_table(LABELLED, "nin", 3)), tmp_path / "nin", "nin", ("a", "b", "c"))
    with pytest.raises(RecipeError, match=r'group "A": layer 2 has a map for each label and must be trained; omit A'):
        check_transfer(recipe_from(tmp_path / "nin", ("A",), LABELLED))


def test_something_must_be_left_to_learn(tmp_path):
    layers = [{"conv": 2, "kernel": 3, "activation": "none"}, {"global": "average"}]
    table = table_of(SETTINGS, layers, {"output": "softmax", "output_dense": False})
    write_folder(network_of(spec_from_table(table, "two", 2)), tmp_path / "two", "two")
    recipe = recipe_from(tmp_path / "two", ("A",), table)
    with pytest.raises(RecipeError, match=r"freeze: no trainable weights of tiny are left; freeze fewer groups"):
        check_transfer(recipe)
    check_transfer(dataclasses.replace(recipe, transfer=Transfer(str(tmp_path / "two"))))


def test_a_source_that_is_missing_or_damaged_is_refused(source, two_tones, tmp_path):
    with pytest.raises(ModelError, match=r'no model is called "speech_1dd"; did you mean "speech_1d"\?'):
        next(train(recipe_from("speech_1dd"), two_tones, tmp_path / "run"))
    shutil.copytree(source[0] / "model", tmp_path / "model")
    (tmp_path / "model" / WEIGHTS).write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.safetensors: damaged"):
        next(train(recipe_from(tmp_path / "model"), two_tones, tmp_path / "run"))


# Recipes and the command


def recipe_file(folder, dataset, train=None, **more):
    table = recipe_of(TABLE, **SHORT).to_table()
    table |= {"name": "small", "data": {"source": str(dataset.folder), "sample_rate": 2000}} | more
    table["train"] |= {"epochs": 1} | (train or {})
    path = folder / "small.toml"
    path.write_text(tomli_w.dumps({key: value for key, value in table.items() if value is not None}), encoding="utf-8")
    return path


def test_a_recipe_names_the_model_and_takes_its_spec(source, two_tones, tmp_path):
    shutil.copytree(source[0], tmp_path / "runs" / "tone")
    path = recipe_file(tmp_path, two_tones, {"from": "runs/tone", "freeze": ["A"]}, spec=None)
    recipe = read_recipe(path)
    assert recipe.transfer == Transfer(str(tmp_path / "runs" / "tone"), ("A",))
    path = recipe_file(tmp_path, two_tones, {"from": "runs/tone", "freeze_norms": True}, spec=None)
    assert read_recipe(path).transfer == Transfer(str(tmp_path / "runs" / "tone"), freeze_norms=True)
    assert read_recipe(path).to_table()["train"]["freeze_norms"] is True
    assert recipe.spec.table == read_model(source[0]).spec.table
    table = recipe.to_table()
    assert (table["train"]["from"], table["train"]["freeze"]) == (str(tmp_path / "runs" / "tone"), ["A"])
    assert read_recipe(recipe_file(tmp_path, two_tones, {"from": "speech_2d"}, spec=None)).spec.name == "speech_2d"
    own = read_recipe(recipe_file(tmp_path, two_tones, {"from": "speech_2d"})).spec
    assert {"name": own.name} | own.table == table["spec"]
    assert (
        Recipe("x", recipe.spec, None, TASK_MIX, recipe.train).to_table()["train"].keys().isdisjoint({"from", "freeze"})
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"freeze": ["A"]}, r'\[train\]: "freeze" needs "from", the model whose groups stay unchanged'),
        ({"freeze_norms": True}, r'\[train\]: "freeze_norms" needs "from", the model whose norms stay unchanged'),
        ({"from": 3}, r'\[train\]: "from" must be a string'),
        ({"from": "speech_1d", "freeze": "A"}, r'\[train\]: "freeze" must be a list of strings'),
        ({"form": "speech_1d"}, r'\[train\]: unknown key "form"; did you mean "from"\?'),
    ],
)
def test_wrong_keys_are_refused(two_tones, tmp_path, keys, said):
    with pytest.raises(RecipeError, match=said):
        read_recipe(recipe_file(tmp_path, two_tones, keys))


@pytest.mark.long
def test_the_command_trains_from_a_model(source, two_tones, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source[0], "tone")
    recipe_file(tmp_path, two_tones)
    args = ("train", "small.toml", "--from", "tone", "-o", "run", "--device", "cpu")
    done = audiocnn(*args, "--freeze", "A, B")
    assert done.status == 0, done.err
    assert "\nstarted from tiny: groups A, B; frozen A, B; F new\n" in done.err
    kept = read_recipe(Path("run/recipe.toml"))
    assert kept.transfer == Transfer(str(tmp_path / "tone"), ("A", "B"))
    one, two = parts_of("tone/model/model.safetensors"), parts_of("run/model/model.safetensors")
    for part in ("A", "B_1", "B_2"):
        assert all(same_bits(two[part][name], tensor) for name, tensor in one[part].items())
    again = audiocnn("train", "-o", "run", "--resume", "--device", "cpu")
    assert again.status == 0, again.err
    assert "started from" not in again.err
    assert audiocnn(*args, "--freeze", "A", "--resume").status == 2  # not what the run was
    same = audiocnn("train", "small.toml", "--from", "run", "-o", "same", "--device", "cpu")
    assert "started from small: groups A, B; F kept, since the labels are the same" in same.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--from", "tone"), r"tone: contains the model given by --from; choose another -o"),
        (("--from", "tone/model"), r"tone: contains the model given by --from; choose another -o"),
        (("--from", "speech_1d", "--freeze", "Z"), r'has no group "Z"'),
    ],
)
def test_what_is_refused_with_force_has_removed_nothing(source, two_tones, tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source[0], "tone")
    recipe_file(tmp_path, two_tones)
    done = audiocnn("train", "small.toml", *args, "-o", "tone", "--force", "--device", "cpu")
    assert done.status == 2
    assert re.search(said, done.err), done.err
    left = {"checkpoints", "clips.tsv", "metrics.csv", "metrics.jsonl", "model", "recipe.toml", "run.json"}
    assert {path.name for path in Path("tone").iterdir()} == left


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--freeze A", r"--freeze A: needs --from MODEL, whose groups stay unchanged"),
        ("--from tone --freeze A,C", r'freeze: tiny has no group "C"; known: A, B'),
        ("--from tone --freeze A,,B", r'freeze: tiny has no group ""; known: A, B'),
        ("--from nope", r'"nope"; known: '),
        ("--from speech_1d --spec own.toml", r"own: \[input\]: deviation|own: \[input\]: [a-z_]+ is .* in speech_1d"),
    ],
)
def test_the_command_refuses_in_one_line_before_it_reads_a_recording(
    source, two_tones, tmp_path, monkeypatch, args, said
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source[0], "tone")
    Path("own.toml").write_text(tomli_w.dumps(TABLE), encoding="utf-8")
    Path("sounds").mkdir()
    done = audiocnn("train", "sounds", *args.split(), "-o", "run", "--device", "cpu")
    assert done.status == 2
    assert re.fullmatch(rf"audiocnn: error: (.*)({said}).*\n", done.err), done.err
    assert not Path("run").exists()
    assert not Path("run.dataset").exists()


def test_the_manual_has_the_keys():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    assert "| `from` |" in page
    assert "| `freeze` |" in page
    assert "| `freeze_norms` |" in page
