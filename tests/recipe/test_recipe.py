"""Recipes: every key is read, every wrong one refused, and a run keeps what it used in full."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import tomli_w
from fixtures_models import LOG_MEL, table_of

from audiocnn.augment.settings import MixSettings
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import RecipeError, SpecError
from audiocnn.evaluation.conditions import is_conditions
from audiocnn.recipe.recipe import EvaluateSettings, Recipe, read_recipe
from audiocnn.recipe.settings import TrainSettings
from audiocnn.training.release import strip_folders

ROOT = Path(__file__).resolve().parents[2]
TABLES = {"mix": MixSettings, "train": TrainSettings, "evaluate": EvaluateSettings}
KEYS = [(table, field.name) for table, kind in TABLES.items() for field in dataclasses.fields(kind)]
WORDS = {
    "evaluate.also": [str(ROOT / "data/samples"), str(ROOT / "data/marks/data.tsv")],
    "train.balance": "sampling", "balance": "source", "coloured_label": "noise", "precision": "bfloat16",
    "hard_negatives": str(ROOT / "data/marks/hard_negatives.tsv"),
    "tune_for": "detection_cost", "optimizer": "sgd", "schedule": "step", "initialisation": "glorot",
    "teacher": "speech_2d", "part": "other", "conditions": str(ROOT / "data/recipes/speech_conditions.toml"),
}  # fmt: skip
ANY_TEXT = ("balance", "coloured_label", "teacher", "conditions", "part", "hard_negatives")
FULL = """
name = "mine"
spec = "speech_2d"
seed = 7
card = "more about it"

[data]
source = "sounds"
recordings = "recordings.tsv"
segments = "segments.tsv"
keep = { kind = ["speech", "noise"], language = "en" }
drop = { group = "bad" }
split = "train"
labels = ["speech", "music"]
sample_rate = 8000

[mix]
seconds = 2.5
snr_db = [-3, 12.5]
balance = "source"

[train]
epochs = 3
precision = "bfloat16"

[evaluate]
tune_for = "f1"
"""


def written(folder, content):
    path = folder / "audiocnn.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else tomli_w.dumps(content), encoding="utf-8")
    return path


def refused(path, *words, error=RecipeError):
    with pytest.raises(error) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def other_value(table, key):
    """A value that is right and not the default, as TOML has it."""
    value = getattr(TABLES[table](), key)
    if isinstance(value, str) or value is None:
        return WORDS.get(f"{table}.{key}") or WORDS[key]
    if isinstance(value, bool):
        return not value
    if value == ():
        return WORDS.get(f"{table}.{key}", ["music", "noise"])
    if isinstance(value, tuple):
        return [value[0] * 0.75 + value[1] * 0.25 + 0.01, value[1] + 0.02]
    return value + 1 if isinstance(value, int) else (value * 0.5 or 0.25)


def test_an_empty_recipe_has_the_defaults(tmp_path):
    recipe = read_recipe(written(tmp_path, ""))
    assert (recipe.name, recipe.spec.name, recipe.data, recipe.seed) == ("speech_1d", "speech_1d", None, 0)
    assert (recipe.mix, recipe.train, recipe.evaluate) == (MixSettings(), TrainSettings(), EvaluateSettings())


def test_a_full_recipe_is_read_in_full(tmp_path):
    recipe = read_recipe(written(tmp_path, FULL))
    assert (recipe.name, recipe.spec.name, recipe.seed, recipe.card) == ("mine", "speech_2d", 7, "more about it")
    assert recipe.data == DataSettings(
        source=tmp_path / "sounds",
        recordings=tmp_path / "sounds" / "recordings.tsv",
        segments=tmp_path / "sounds" / "segments.tsv",
        keep={"kind": ("speech", "noise"), "language": ("en",)},
        drop={"group": ("bad",)},
        split="train",
        labels=("speech", "music"),
        sample_rate=8000,
        where=f"{tmp_path / 'audiocnn.toml'}: [data]",
    )
    assert (recipe.mix.seconds, recipe.mix.snr_db, recipe.mix.balance) == (2.5, (-3.0, 12.5), "source")
    assert (recipe.train.epochs, recipe.train.precision, recipe.evaluate.tune_for) == (3, "bfloat16", "f1")


@pytest.mark.parametrize("content", ["", FULL], ids=["empty", "full"])
def test_a_run_keeps_the_recipe_in_full_and_it_is_read_as_the_same(tmp_path, content):
    recipe = read_recipe(written(tmp_path / "one", content))
    table = recipe.to_table()
    for name, kind in TABLES.items():
        unset = {"conditions"} if name == "evaluate" else set()  # there is no file without being told
        assert set(table[name]) | unset == {field.name for field in dataclasses.fields(kind)}
    kept = read_recipe(written(tmp_path / "elsewhere", table))
    assert kept.to_table() == table
    assert kept.spec.name == recipe.spec.name  # whatever the recipe is called
    for field in dataclasses.fields(Recipe):
        if field.name not in ("spec", "data", "unset"):  # the kept one says everything
            assert getattr(kept, field.name) == getattr(recipe, field.name)
    assert kept.spec.table == recipe.spec.table
    if recipe.data:
        assert kept.data.source == recipe.data.source.resolve()


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_every_setting_can_be_set(tmp_path, table, key):
    value = other_value(table, key)
    recipe = read_recipe(written(tmp_path, {table: {key: value}}))
    got = getattr(getattr(recipe, table), key)
    read = tuple(str(one) if isinstance(one, Path) else one for one in (got if isinstance(got, tuple) else (got,)))
    assert read == (tuple(value) if isinstance(value, list) else (value,))
    assert got != getattr(TABLES[table](), key)
    assert read_recipe(written(tmp_path, recipe.to_table())).to_table() == recipe.to_table()


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_a_setting_of_the_wrong_kind_is_refused(tmp_path, table, key):
    flag = isinstance(getattr(TABLES[table](), key), bool)
    for value in ([1.0], 1 if flag else True, math.nan, "loud" if key not in ANY_TEXT else 1):
        refused(written(tmp_path, {table: {key: value}}), f'[{table}]: "{key}" ')


@pytest.mark.parametrize(("table", "key"), [(table, key) for table, key in KEYS if table != "evaluate"])
def test_a_setting_below_what_can_be_is_refused(tmp_path, table, key):
    if key not in WORDS:
        value = -1000 if not isinstance(getattr(TABLES[table](), key), tuple) else [-1000, -999]
        refused(written(tmp_path, {table: {key: value}}), f'[{table}]: "{key}" must be')


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('nam = "x"', ('unknown key "nam"; did you mean "name"?',)),
        ("[mix]\nmixtures = 4\n[[conditions]]\nname = 'clean'", ("is a conditions file; evaluate a part of it",)),
        ("[mixing]\nseconds = 1", ('unknown key "mixing"; did you mean "mix"?',)),
        ("[mix]\nsecond = 1", ('[mix]: unknown key "second"; did you mean "seconds"?',)),
        ("[train]\nepoch = 1", ('[train]: unknown key "epoch"; did you mean "epochs"?',)),
        ('[evaluate]\ntune = "f1"', ('[evaluate]: unknown key "tune"; did you mean "tune_for"?',)),
        ('[evaluate]\ntune_for = "f2"', ('"tune_for" cannot be "f2"; known: detection_cost, detection_error, f1',)),
        ('[data]\nsources = "x"', ('[data]: unknown key "sources"; did you mean "source"?',)),
        ("[data]\nlabels = []", ('[data]: "labels" must name at least one',)),
        ("[data]\nkeep = { kind = 3 }", ("keep.kind",)),
        ("data = 3", ("[data]: expected a table, not 3",)),
        ("mix = 3", ("[mix]: expected a table, not 3",)),
        ("seed = -1", ('"seed" must be a whole number from 0',)),
        ("spec = 3", ('"spec" must be a name, a file, or a table',)),
        ("name = 3", ('"name" must be a string',)),
        (
            '[data]\nlabels = ["speech", "noise"]\n[mix]\nbackground_labels = ["nose"]',
            ('[mix]: "background_labels": "nose" is not a learned label; did you mean "noise"?',),
        ),
        (
            '[data]\nlabels = ["speech"]\n[mix]\ncoloured_label = "noise"',
            ('[mix]: "coloured_label": "noise" is not a learned label; known: speech',),
        ),
        (
            '[data]\nlabels = ["noise"]\n[mix]\nbackground_labels = ["noise"]',
            ('"background_labels" names every label; remove one, which becomes foreground',),
        ),
        ("[mix]\nsnr_db = [5, -5]", ('"snr_db" must be two numbers [from, to]',)),
        ("[mix]\nroom_share = 1.1", ('"room_share" must be a number at least 0 and at most 1, not 1.1',)),
        ("[train]\nbatch_size = 0", ('"batch_size" must be a whole number from 1',)),
        ("[train]\nvalidation_share = 1", ('"validation_share" must be a number at least 0 and at most 0.9',)),
        (
            '[train]\nvalidation_share = 0\nschedule = "plateau"',
            ('"plateau" needs a validation part; set validation_share',),
        ),
        ('[train]\nbatch_size = "all"', ('[train]: "batch_size" must be a whole number from 1',)),
        ("name = ", ("not valid TOML",)),
        *(
            (f"name = {json.dumps(name)}", ('"name" must be a valid folder name, without slashes',))
            for name in ("../../x", "/etc/x", "a/b", "a/", ".", "..", "", "a\0b", "x" * 256)
        ),
    ],
)
def test_wrong_recipes_are_refused(tmp_path, content, words):
    refused(written(tmp_path, content), *words)


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "none.toml", "cannot be read (No such file or directory); check the name")


# The spec of a recipe


def test_a_spec_is_a_name_a_file_beside_the_recipe_or_a_table(tmp_path):
    table = table_of(LOG_MEL, [{"conv": 3, "kernel": 3}], {})
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    beside = read_recipe(written(tmp_path, 'spec = "mine.toml"'))
    inside = read_recipe(written(tmp_path, {"name": "inside", "spec": table}))
    assert (beside.name, beside.spec.name) == ("mine", "mine")
    assert (inside.name, inside.spec.name) == ("inside", "inside")
    assert beside.spec.table == inside.spec.table
    assert read_recipe(written(tmp_path, 'spec = "speech_wave"')).spec.input.features == "waveform"


def test_a_run_is_not_named_by_a_spec_that_leads_elsewhere(tmp_path):
    table = table_of(LOG_MEL, [{"conv": 3, "kernel": 3}], {})
    refused(written(tmp_path, {"spec": {"name": "../x", **table}}), '"name" must be a valid folder name')


def test_a_wrong_spec_names_the_file_it_stands_in(tmp_path):
    wrong = table_of(LOG_MEL, [{"conv": 3, "kernal": 3}], {})
    refused(
        written(tmp_path, {"spec": wrong}),
        '[spec]: spec: group "A": layer 1: unknown key "kernal"; did you mean "kernel"?',
        error=SpecError,
    )
    (tmp_path / "wrong.toml").write_text(tomli_w.dumps(wrong), encoding="utf-8")
    with pytest.raises(
        SpecError, match=r'^wrong\.toml: group "A": layer 1: unknown key "kernal"; did you mean "kernel"\?$'
    ):
        read_recipe(written(tmp_path, 'spec = "wrong.toml"'))
    with pytest.raises(SpecError, match=r'^no spec is called "speach_1d"; did you mean "speech_1d"\?'):
        read_recipe(written(tmp_path, 'spec = "speach_1d"'))


@pytest.mark.parametrize(
    "path",
    [p for p in sorted((ROOT / "data" / "recipes").glob("*.toml")) if not is_conditions(p)],
    ids=lambda path: path.stem,
)
def test_every_recipe_that_is_kept_is_right(path):
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.data is not None
    assert recipe.data.sample_rate == recipe.spec.input.sample_rate


def test_a_run_keeps_further_sources_and_their_tables(tmp_path):
    text = FULL.replace("[mix]", 'unsure = "?"\n\n[[data.more]]\nsource = "others"\nsegments = "marks.tsv"\n\n[mix]')
    for name in ("sounds", "others"):
        (tmp_path / name).mkdir()
    (tmp_path / "marks.tsv").write_text("filename\tonset\toffset\tevent_label\n")
    recipe = read_recipe(written(tmp_path, text))
    further = recipe.data.more[0]
    assert (further.labels, further.split, further.unsure) == (("speech", "music"), "train", "?")
    kept = written(tmp_path / "run", recipe.to_table())
    assert read_recipe(kept).to_table() == recipe.to_table()
    stripped = strip_folders(recipe.to_table())["data"]["more"][0]
    assert (stripped["source"], stripped["segments"]) == ("others", "marks.tsv")


def test_a_spec_may_have_another_floor(tmp_path):
    recipe = read_recipe(written(tmp_path, 'spec = { base = "speech_bands", floor = 1e-11 }\n'))
    plain = read_recipe(written(tmp_path, 'spec = "speech_bands"\n'))
    assert (recipe.spec.input.floor, plain.spec.input.floor) == (1e-11, 1e-8)
    assert dataclasses.replace(recipe.spec.input, floor=1e-8) == plain.spec.input
    assert recipe.spec.geometry() == plain.spec.geometry()
    with pytest.raises(SpecError, match=r'^speech_wave: .*unknown key "floor"'):
        read_recipe(written(tmp_path, 'spec = { base = "speech_wave", floor = 1e-11 }\n'))
    refused(written(tmp_path, 'spec = { base = "speech_1d", floor = 0 }\n'), '"floor"')
