"""Labels by folder and file name, and what `sounds` is worth on tasks that it never heard."""

from __future__ import annotations

import csv
import json

import pytest
from sounds import sine, write

from audiocnn.augment.settings import MixSettings
from audiocnn.labels.formats.text import read_table
from audiocnn.recipe.choose import ClipFacts, choose_settings
from audiocnn.recipe.recipe import Recipe, source_spec
from audiocnn.recipe.settings import TrainSettings
from benchmarks import sounds, sounds_labels

COLUMNS = ("filename", "kind", "source", "speaker", "group", "language", "duration", "split", "licence")
RECORDINGS = [  # filename, kind, source, group, language -> label, task
    ("nonspeech/berklee/door-slam-1-a1b2c3.opus", "nonspeech", "berklee", "door", "", "door slam", ""),
    ("nonspeech/berklee/door-slam-2-a1b2c4.opus", "nonspeech", "berklee", "door", "", "door slam", ""),
    ("nonspeech/berklee/door-slam3-a1b2c5.opus", "nonspeech", "berklee", "door", "", "door slam", ""),
    ("nonspeech/berklee/front-door-a1b2c6.opus", "nonspeech", "berklee", "front", "", "door", ""),
    ("nonspeech/blanket/door-bang-a1b2c7.opus", "nonspeech", "blanket", "bang", "", "door", ""),
    ("nonspeech/blanket/boat-f6976b.opus", "nonspeech", "blanket", "boat", "", "blanket boat", ""),
    (
        "nonspeech/mod-sounds/sounds-doorbell-03-675f2e.opus",
        "nonspeech",
        "mod-sounds",
        "b",
        "",
        "mod-sounds doorbell",
        "",
    ),
    ("nonspeech/wesnoth/knolls-1.opus", "nonspeech", "wesnoth", "knolls", "", "music wesnoth", ""),
    ("nonspeech/berklee/glass-hit-a1b2c8.opus", "nonspeech", "berklee", "glass", "", "glass", "things"),
    ("nonspeech/sonic-pi/tabla-ghe-a1b2c9.opus", "nonspeech", "sonic-pi", "ghe", "", "tabla", "drums"),
    ("speech/gcompris/de/doormat-33e015.opus", "speech", "gcompris", "v", "de", "gcompris de", ""),
    ("speech/ovos/en/tng-computer-368-b04b00.opus", "speech", "ovos", "ovos-computer", "en", "ovos-computer", ""),
    ("speech/hedgewars-voices/pirate/hi.opus", "speech", "hedgewars-voices", "p", "en", "pirate", "voices"),
    ("speech/hedgewars-voices/singer/hi.opus", "speech", "hedgewars-voices", "s", "en", "hedgewars-voices singer", ""),
    ("speech/librispeech/1-2.opus", "speech", "librispeech", "1", "en", "librispeech", ""),
    ("commands/house/0.opus", "commands", "speech-commands", "sc", "en", "house", ""),
    ("commands/marvin/0.opus", "commands", "speech-commands", "sc", "en", "marvin", "words"),
    ("digits/3/0.wav", "digits", "fsdd", "theo", "en", "3", ""),
    ("digits/7/0.wav", "digits", "fsdd", "theo", "en", "7", "digits"),
]


def write_recordings(folder, rows):
    folder.mkdir(parents=True)
    with (folder / "recordings.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(COLUMNS)
        for name, kind, source, group, language, *_ in rows:
            writer.writerow([name, kind, source, "", group, language, "1.0", "train", "CC0"])


def test_a_recording_is_labelled_by_what_it_is_called(tmp_path):
    names = [row[0] for row in RECORDINGS]
    write_recordings(tmp_path / "data", RECORDINGS)
    assert sounds_labels.main([str(tmp_path / "data"), "-o", str(tmp_path / "marks.tsv")]) == 0
    rows = {row["filename"]: row for _, row in read_table(tmp_path / "marks.tsv").rows}
    assert sorted(rows) == sorted(f"data/{name}" for name in names)
    for name, *_, label, task in RECORDINGS:
        assert (rows[f"data/{name}"]["label"], rows[f"data/{name}"]["task"]) == (label, task), name


def test_what_belongs_to_two_labels_of_a_task_is_left_out(tmp_path):
    write_recordings(tmp_path / "data", [("nonspeech/berklee/glass-bell-a1b2c8.opus", "nonspeech", "berklee", "g", "")])
    sounds_labels.main([str(tmp_path / "data"), "-o", str(tmp_path / "marks.tsv")])
    assert (tmp_path / "marks.tsv").read_text().splitlines()[1:] == []


def test_the_table_of_the_project_keeps_labels_of_tasks_apart():
    rows = [row for _, row in read_table(sounds.TABLE).rows]
    learned = [row for row in rows if not row["task"]]
    for task in sounds.TASKS:
        own = [row for row in rows if row["task"] == task]
        labels = {row["label"] for row in own}
        assert len(labels) >= 3
        new_labels = not labels & {row["label"] for row in learned}
        assert new_labels or not {row["group"] for row in own} & {row["group"] for row in learned}, task
        assert not {row["filename"] for row in own} & {row["filename"] for row in learned}
        assert min(sum(row["label"] == label for row in own) for label in labels) >= 9


@pytest.mark.long
def test_a_task_is_learned_from_nothing_and_from_the_model(tmp_path, monkeypatch, capsys):
    shared = tmp_path / "shared"
    rows = [("filename", "label", "group", "split", "task")]
    for label, hertz in (("low", 300), ("high", 3000)):
        for number in range(14):
            name = f"more/{label}/{number}.wav"
            write(shared / name, sine(hertz + 10 * number, 0.4, 16000, 0.3), 16000)
            rows.append((name, label, f"{label}{number}", "train", "things"))
    table = tmp_path / "marks.tsv"
    table.write_text("".join("\t".join(row) + "\n" for row in rows))
    monkeypatch.setattr(sounds, "TABLE", table)
    arguments = [str(shared), "-o", str(tmp_path / "runs"), "--task", "things", "--seeds", "1", "--clips", "8"]
    assert sounds.main(arguments) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| mean | ")
    kept = sorted(path.name for path in (tmp_path / "runs").glob("*.json"))
    assert kept == ["things-8-nothing-1.json", "things-8-sounds-1.json"]
    values = [json.loads((tmp_path / "runs" / name).read_text())["accuracy"] for name in kept]
    assert all(0.5 <= value <= 1.0 for value in values)
    recipe = (tmp_path / "runs" / "things-8-nothing-1" / "recipe.toml").read_text()
    assert "from" not in recipe.split("[train]")[1].split("[")[0]
    change = "between-class mixing"
    assert sounds.main([*arguments, "--augment", "--only", change]) == 0
    (title, _, base, changed) = capsys.readouterr().out.splitlines()
    assert title == "| | things | mean |" and base == f"| as chosen | {values[1]:.3f} | {values[1]:.3f} |"
    assert changed.startswith(f"| {change} | ") and changed.endswith(" |")
    run = tmp_path / "runs" / "things-8-sounds-1-between-class-mixing"
    assert "between_share = 0.5" in (run / "recipe.toml").read_text()


@pytest.mark.parametrize("change", sounds.AUGMENTATIONS)
def test_every_change_of_the_augmentation_changes_the_recipe(change):
    recipe = Recipe("r", source_spec("sounds"), None, MixSettings(), TrainSettings(), seed=1)
    facts = ClipFacts({"low": 10, "high": 10}, (1.0, 1.0, 1.0, 1.0), 16_000)
    chosen = choose_settings(facts, recipe.spec).recipe(recipe)
    assert sounds.changed_recipe(chosen, sounds.AUGMENTATIONS[change]) != chosen
