"""What a run stores about its clips: which it was trained on, the corrections that were used, its folds."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from fixtures_cli import audiocnn, small_spec
from sounds import noise, sine, write

from audiocnn_cli.app.exits import ExitStatus

pytestmark = pytest.mark.long  # four trainings

RATE = 8000
HERTZ = {"low": 300, "middle": 900, "high": 2700}
CLIPS = 16
SMALL = small_spec(1.0)


def clip(label, number):
    seconds = 0.25 + 0.01 * (number % 6)
    hiss = noise(seconds, RATE, 100 * number + HERTZ[label]).astype("float32") / 32768.0
    return sine(HERTZ[label] * (1 + 0.01 * number), seconds, RATE, 0.4) + 0.02 * hiss


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """`sounds` with two clips in wrong folders; `runs/sounds` on it, `runs/turns` in folds, `runs/right` corrected."""
    home = tmp_path_factory.mktemp("heard")
    for label in HERTZ:
        for number in range(CLIPS):
            write(home / "sounds" / label / f"{number}.wav", clip(label, number), RATE)
    for number in (3, 7):
        shutil.move(home / "sounds" / "high" / f"{number}.wav", home / "sounds" / "low" / f"wrong{number}.wav")
    (home / "small.toml").write_text(SMALL)
    (home / "first.tsv").write_text("filename\tlabel\nlow/wrong3.wav\thigh\n")
    (home / "second.tsv").write_text("filename\tlabel\nlow/wrong7.wav\thigh\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr("audiocnn.recipe.choose.DEFAULT_CLIP_SPEC", str(home / "small.toml"))
        both = ("--corrections", "first.tsv", "--corrections", "second.tsv")
        for more in (
            ("--epochs", "1"),
            ("--epochs", "3", "--folds", "2", "-o", "runs/turns"),
            ("--epochs", "1", *both, "-o", "runs/right"),
        ):
            done = audiocnn("train", "sounds", "--device", "cpu", "--from", "none", *more)
            assert done.status is ExitStatus.OK, done.err
            if "runs/right" in more:
                assert "corrections: 2 clips relabelled" in done.err
    return home


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    for made in (*home.glob("doubtful*"), *home.glob("corrections.csv")):
        made.unlink()
    return home


def test_the_run_says_which_clips_are_in_which_part(here):
    rows = [line.split("\t") for line in Path("runs/sounds/clips.tsv").read_text().splitlines()[1:]]
    assert len(rows) == len(HERTZ) * CLIPS
    assert {row[1] for row in rows} == {"train", "validation", "test"}
    assert len({row[2] for row in rows}) == len(rows)


@pytest.mark.parametrize("data", ["sounds", "sounds/", "runs/sounds.dataset", "copy"])
@pytest.mark.parametrize("model", ["runs/sounds", "runs/sounds/model"])
def test_who_is_judged_on_what_it_learned_from_says_so(here, data, model):
    """However the clips are named, and wherever they lie now; the command that is said judges others."""
    shutil.copytree("sounds", "copy", dirs_exist_ok=True)
    done = audiocnn("evaluate", data, "-m", model, "--resamples", "0")
    learned = Path("runs/sounds/clips.tsv").read_text().count("\ttrain\t")
    assert f"was trained on {learned} of these 48 clips" in done.err
    command = shlex.split(done.err.strip().splitlines()[-1].rsplit(": ", 1)[1])
    assert command == ["audiocnn", "evaluate", "runs/sounds/recipe.toml", "-m", "runs/sounds", "--split", "test"]
    judged = audiocnn(*command[1:], "--resamples", "0")
    assert judged.status is ExitStatus.OK and "was trained on" not in judged.err
    assert json.loads(judged.out)["clip"]["clips"] == Path("runs/sounds/clips.tsv").read_text().count("\ttest\t")


@pytest.mark.parametrize("data", ["sounds", "runs/sounds.dataset"])
@pytest.mark.parametrize("command", ["evaluate", "doubtful"])
def test_a_part_that_only_the_run_has_is_named_by_its_command(here, data, command):
    done = audiocnn(command, data, "-m", "runs/sounds", "--split", "test")
    assert done.status is ExitStatus.USAGE and done.err.count("\n") == 1
    assert done.err.strip().endswith(f"audiocnn {command} runs/sounds/recipe.toml -m runs/sounds --split test")


def test_new_clips_are_judged_without_a_word(here):
    for label in HERTZ:
        for number in range(100, 103):
            write(here / "new" / label / f"{number}.wav", clip(label, number), RATE)
    done = audiocnn("evaluate", "new", "-m", "runs/sounds", "--resamples", "0")
    assert (done.status, done.err) == (ExitStatus.OK, "new: labels from names of folders\n")


@pytest.mark.parametrize("data", ["sounds", "runs/right.dataset", "runs/sounds.dataset"])
@pytest.mark.parametrize("command", ["evaluate", "doubtful"])
def test_the_corrections_of_a_run_count_for_it(here, command, data):
    done = audiocnn(command, data, "-m", "runs/right", "-q")
    assert done.status is ExitStatus.OK, done.err
    records = [json.loads(line) for line in done.out.splitlines()]
    if command == "evaluate":
        assert records[0]["clip"]["labels"]["high"]["clips"] == CLIPS
    labels = {one["file"]: one["labels"] for one in records if one["type"] == "doubtful"}
    assert all(labels.get(f"low/wrong{number}.wav", ["high"]) == ["high"] for number in (3, 7))
    said = audiocnn(command, data, "-m", "runs/right", *(["--force"] if command == "doubtful" else [])).err
    assert "that runs/right was trained on, with the corrections in first.tsv, second.tsv" in said
    if command == "doubtful" and data == "sounds":
        assert "--corrections first.tsv --corrections second.tsv --corrections doubtful.tsv" in said


def test_a_later_table_of_corrections_wins(here):
    Path("third.tsv").write_text("filename\tlabel\nlow/wrong3.wav\tmiddle\n")
    words = "train sounds --dry-run --device cpu --spec small.toml"
    for tables, said in (("first.tsv", "1 clip relabelled"), ("first.tsv third.tsv second.tsv", "2 clips relabelled")):
        options = [word for table in tables.split() for word in ("--corrections", table)]
        done = audiocnn(*words.split(), *options)
        assert done.status is ExitStatus.OK and f"corrections: {said}" in done.err, done.err


def test_folds_doubt_what_each_has_not_heard(here):
    done = audiocnn("doubtful", "runs/turns", "--top", "100")
    assert done.status is ExitStatus.OK, done.err
    found = [json.loads(line) for line in done.out.splitlines()]
    assert {"low/wrong3.wav", "low/wrong7.wav"} <= {one["file"] for one in found}
    assert all(one["labels"] != one["suggested"] for one in found)
    assert "of 48" in done.err and "was trained on" not in done.err
    again = "audiocnn train sounds --corrections doubtful.tsv -o runs/sounds-2"
    assert done.err.splitlines()[-1] == f"after correcting, train again: {again}"
    refused = audiocnn("doubtful", "sounds", "-m", "runs/turns")
    assert refused.status is ExitStatus.USAGE and "`audiocnn doubtful runs/turns`" in refused.err
    assert "omit it" in audiocnn("doubtful", "runs/turns", "-m", "runs/sounds").err


def test_folds_of_which_all_is_settled_leave_nothing_to_doubt(here):
    names = [f"{label}/{path.name},{label}" for label in HERTZ for path in (here / "sounds" / label).iterdir()]
    Path("corrections.csv").write_text("\n".join(["filename,label", *names]) + "\n")
    done = audiocnn("doubtful", "runs/turns")
    assert (done.status, done.out) == (ExitStatus.OK, ""), done.err
    assert "all clips have been reviewed" in done.err and not list(here.glob("doubtful*"))


def test_the_folds_of_a_corrected_run_have_its_corrections(here):
    """The command that is printed trains on the labels that the run was trained on."""
    said = audiocnn("doubtful", "sounds", "-m", "runs/right", "--force").err
    command = shlex.split(next(line for line in said.splitlines() if "--folds" in line).split(": ")[-1].split("&&")[0])
    done = audiocnn(*command[1:], "--dry-run", "--device", "cpu")
    assert done.status is ExitStatus.OK and "corrections: 2 clips relabelled" in done.err, done.err


def test_doubtful_says_what_it_cannot_find_and_takes_a_free_name(here):
    for name in ("doubtful.tsv", "doubtful-2.tsv"):
        done = audiocnn("doubtful", "sounds", "-m", "runs/sounds")
        assert done.status is ExitStatus.OK, done.err
        assert Path(name).is_file() and Path(name).with_suffix(".html").is_file()
        assert "memorised are not found" in done.err
        assert (
            "runs/sounds/recipe.toml --folds 5 -o runs/sounds-folds && audiocnn doubtful runs/sounds-folds" in done.err
        )
    rows = [line.split("\t") for line in Path("doubtful.tsv").read_text().splitlines()[1:]]
    assert all(row[1] != row[2] != "" for row in rows)


def test_a_table_that_only_the_page_makes_is_told_from_the_one_that_is_there(here):
    Path("doubtful.tsv").write_text("filename\tlabel\n")
    done = audiocnn("train", "sounds", "--corrections", "doubtful-corrected.tsv")
    assert done.status is ExitStatus.USAGE and done.err.count("\n") == 1
    assert "doubtful.html creates it" in done.err and "edit doubtful.tsv" in done.err


@pytest.mark.parametrize("more", [(), ("--corrections", "first.tsv", "--corrections", "second.tsv"), ("--folds", "3")])
def test_a_run_that_is_there_is_answered_with_a_command_that_works(here, more):
    run = ("-o", "runs/turns") if "--folds" in more else ()
    done = audiocnn("train", "sounds", *more, *run)
    assert done.status is ExitStatus.USAGE and done.err.count("\n") == 1
    command = shlex.split(done.err.rsplit(": ", 1)[1])
    free = "runs/turns-2" if run else "runs/sounds-2"
    assert command == ["audiocnn", "train", "sounds", "-o", free, *more]


def test_a_fold_that_was_interrupted_says_how_it_goes_on(here, tmp_path):
    shutil.copytree("runs/turns", tmp_path / "turns")
    shutil.rmtree(tmp_path / "turns" / "fold-2" / "model")
    done = audiocnn("doubtful", str(tmp_path / "turns"))
    assert done.status is ExitStatus.USAGE and "fold-2: is unfinished" in done.err and "--resume" in done.err
