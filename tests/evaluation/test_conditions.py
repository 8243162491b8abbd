"""Files of conditions: what is read, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiocnn.errors import RecipeError
from audiocnn.evaluation.conditions import MixtureSettings, Subset, is_conditions, read_conditions

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
seed = 3
[data]
source = "recordings"
labels = ["tone"]
[parts.tune]
split = "train"
held_out = 0.2
[parts.dev]
split = "dev"
[mix]
balance = "source"
seconds = 3.0
gap_seconds = [0.1, 0.5]
background = { kind = "noise" }
[[conditions]]
name = "clean"
[[conditions]]
name = "loud"
snr_db = -5
mixtures = 7
background = { source = ["a", "b"] }
[[conditions]]
name = "noise"
as_they_are = { kind = ["noise"] }
[[conditions]]
name = "others"
parts = ["dev"]
source = "others"
as_they_are = {}
"""


def written(tmp_path, text):
    path = tmp_path / "sets.toml"
    path.write_text(text)
    return path


def test_what_is_read(tmp_path):
    conditions = read_conditions(written(tmp_path, GOOD))
    assert (conditions.seed, conditions.balance, conditions.data.source) == (3, "source", tmp_path / "recordings")
    assert conditions.parts == {"tune": Subset("train", 0.2), "dev": Subset("dev")}
    shared = MixtureSettings(seconds=3.0, gap_seconds=(0.1, 0.5), background={"kind": ("noise",)})
    clean, loud, noise, others = conditions.conditions
    assert (clean.name, clean.mix, clean.as_they_are) == ("clean", shared, None)
    assert (loud.mix.snr_db, loud.mix.mixtures, loud.mix.seconds) == (-5.0, 7, 3.0)
    assert loud.mix.background == {"source": ("a", "b")}
    assert (noise.as_they_are, noise.source, noise.parts) == ({"kind": ("noise",)}, None, ())
    assert (others.as_they_are, others.source, others.parts) == ({}, tmp_path / "others", ("dev",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('labels = ["tone"]', "", r'\[data\]: "labels" is missing; list the labels'),
        ("snr_db = -5", 'snr_db = "low"', r"\"loud\": \"snr_db\" must be a number from -60 to 120, not 'low'"),
        ("snr_db = -5", "snr = -5", r'condition 2 "loud": unknown key "snr"; did you mean "snr_db"\?'),
        ('name = "loud"', 'name = "clean"', r'two conditions are named "clean"; rename one'),
        ('name = "loud"', 'name = "a/b"', r"\"name\" must be a valid folder name, .*, not 'a/b'"),
        ('name = "loud"', 'name = ".."', r"\"name\" must be a valid folder name, .*, not '\.\.'"),
        ('name = "loud"', "", r'condition 2: "name" is missing; add it'),
        ('parts = ["dev"]', 'parts = ["dex"]', r'condition 4 "others": "parts" names "dex"; did you mean "dev"\?'),
        ('as_they_are = {}', "", r'"source" applies to unmixed recordings; add as_they_are = \{\}'),
        ('as_they_are = { kind = ["noise"] }', "as_they_are = { kind = 1 }", r'"as_they_are.kind" must be strings'),
        ('as_they_are = { kind = ["noise"] }', "as_they_are = {}\nsnr_db = 1", r'"noise": unknown key "snr_db"'),
        ("held_out = 0.2", "held_out = 1.0", r'\[parts\]: \[tune\]: "held_out" must be a number .* at most 0.9'),
        ("seconds = 3.0", "seconds = 1.2", r'"seconds" must be at least a second longer'),
        ('balance = "source"', 'balanse = "source"', r'unknown key "balanse"; did you mean "balance"\?'),
        ("seed = 3", "sed = 3", r'unknown key "sed"; did you mean "seed"\?'),
        ('[parts.dev]\nsplit = "dev"', "[parts.dev]", r'\[dev\]: "split" is missing'),
        ('source = "recordings"', 'sauce = "recordings"', r'\[data\]: unknown key "sauce"; did you mean "source"\?'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path, old, new, message):
    assert GOOD.count(old) >= 1
    with pytest.raises(RecipeError, match=rf"sets\.toml: .*{message}"):
        read_conditions(written(tmp_path, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD[: GOOD.index("[[conditions]]")], r'"conditions" is missing'),
        (
            GOOD[: GOOD.index("[[conditions]]")].replace("seed", "conditions = []\nseed"),
            r'"conditions" must be an array of tables',
        ),
        (
            GOOD.replace("[parts.tune]", "[x]").replace("[parts.dev]", "[y]"),
            r"no part; add one, such as \[parts\.dev\]",
        ),
    ],
)
def test_nothing_to_make(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message):
        read_conditions(written(tmp_path, text))


def test_a_part_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match=r'sets\.toml: there is no part "tun"; did you mean "tune"\?$'):
        read_conditions(written(tmp_path, GOOD)).part("tun")


def test_what_has_conditions(tmp_path):
    assert is_conditions(written(tmp_path, GOOD))
    assert is_conditions(ROOT / "data/recipes/speech_conditions.toml")
    assert not is_conditions(ROOT / "data/recipes/speech_1d.toml")
    assert not is_conditions(tmp_path)
    assert not is_conditions(tmp_path / "gone.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[[conditions")
    assert not is_conditions(broken)


def test_the_sets_of_the_speech_detectors_have_the_conditions_that_are_reported():
    conditions = read_conditions(ROOT / "data/recipes/speech_conditions.toml")
    by_name = {condition.name: condition for condition in conditions.conditions}
    noisy = {f"noise_{snr}db": float(snr) for snr in (20, 10, 5, 0, -5)}
    other = {"clean", "music", "telephone", "reverberant", "clipped", "quiet", "nonspeech", "meetings"}
    other |= {"more_voices", "more_nonspeech"}
    assert set(by_name) == set(noisy) | other
    assert {name: by_name[name].mix.snr_db for name in noisy} == noisy
    assert by_name["clean"].mix.snr_db is None
    assert not set(by_name["music"].mix.background["source"]) & set(by_name["noise_0db"].mix.background["source"])
    judge = conditions.parts["dev"].judge
    assert judge is not None and judge.is_file()
    assert conditions.parts == {
        "tune": Subset("train", 0.1, judge=judge),
        "dev": Subset("dev", judge=judge),
        "dev_silero": Subset("dev", same_as="dev"),
    }
    # People's labels, measured on once: never in what thresholds are tuned on.
    assert by_name["meetings"].parts == ("dev",)


def test_a_condition_may_take_a_source_with_settings_of_its_own(tmp_path):
    more = (
        '\nparts = ["dev"]\nas_they_are = { kind = "x" }\nsource = { source = "more", split = "dev", unsure = "?" }\n'
    )
    conditions = read_conditions(written(tmp_path, GOOD + '\n[[conditions]]\nname = "more"' + more))
    source = conditions.conditions[-1].source
    assert (source.source, source.split, source.unsure) == (tmp_path / "more", "dev", "?")
    wrong = more.replace("unsure", "unsur")
    with pytest.raises(RecipeError, match=r'condition \d+ "more": source: unknown key "unsur"'):
        read_conditions(written(tmp_path, GOOD + '\n[[conditions]]\nname = "more"' + wrong))
