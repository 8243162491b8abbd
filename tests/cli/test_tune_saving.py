"""The next commands that `tune` prints, --save-as, and the cost of an operating point."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from fixtures_cli import audiocnn, copy_with_points, tone_model, write_tones  # noqa: F401

from audiocnn.errors import UsageError
from audiocnn.model.model import SENSITIVITIES, OperatingPoint, describe_price, find_model, read_model
from audiocnn_cli.app.exits import ExitStatus

POINTS = ("--operating-points",)


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """Recordings of tones, a model of one's own, and the same as if it were a released one."""
    write_tones(tmp_path)
    for name in ("own", "shipped/released"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy_with_points(tone_model, tmp_path / name)
    path = tmp_path / "shipped/released/model.toml"
    path.write_text(path.read_text().replace('name = "tone"', 'name = "released"'))
    (tmp_path / "own/README.md").write_text("# tone\n\nA card.\n")
    monkeypatch.setattr("audiocnn.model.model.shipped_folder", lambda: tmp_path / "shipped")
    monkeypatch.setattr("audiocnn.model.model.shipped_models", lambda: iter([tmp_path / "shipped/released"]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tune(*args, table=True):
    return audiocnn("tune", "tones.tsv", *args, *(["--format", "table"] if table else []))


def commands(text):
    """The commands of the hints, as they would be pasted."""
    found = [
        line.split(": ", 1)[1].strip() for line in text.splitlines() if re.match(r"(try it|try one|save it):", line)
    ]
    return [shlex.split(one.replace("FILE", "one.wav")) for one in found]


@pytest.mark.parametrize("options", [(), POINTS], ids=str)
@pytest.mark.parametrize("model", ["own", "released"])
@pytest.mark.parametrize("table", [True, pytest.param(False, marks=pytest.mark.long)])
def test_every_hint_can_be_pasted(here, model, options, table):
    before = read_model(here / "own"), read_model(here / "shipped/released")
    done = tune("-m", model, *options, "--cross-fit" if options else "--plot=s.png", table=table)
    hints = commands(done.out if table else done.err)
    assert len(hints) == (1 if options else 2), done.err
    assert {words[0] for words in hints} == {"audiocnn"}
    assert ("--save-as" in hints[-1]) == (model == "released") and ("--save" in hints[-1]) == (model == "own")
    for words in hints:
        done = audiocnn(*words[1:])
        assert done.status is ExitStatus.OK, done.err
    (use,) = commands(done.out if table else done.err)
    assert audiocnn(*use[1:]).status is ExitStatus.OK
    assert use[use.index("--model") + 1] == ("my_released" if model == "released" else "own")
    assert read_model(here / "shipped/released") == before[1]
    assert (read_model(here / "own") == before[0]) == (model == "released")


@pytest.mark.parametrize("options", [(), POINTS], ids=str)
def test_a_copy_has_what_was_tuned_and_the_name_of_its_folder(here, options):
    before = read_model(here / "own")
    done = tune("-m", "own", "--save-as", "deep/copy", *options)
    assert done.status is ExitStatus.OK, done.err
    copy = read_model(here / "deep/copy")
    assert copy.name == "copy" and copy.tuned_on and copy.points != before.points
    assert read_model(here / "own") == before and Path("own/README.md").read_text() == "# tone\n\nA card.\n"
    assert Path("deep/copy/README.md").read_text().startswith("# copy\n")
    (said,) = (one.value for one in onnx.load("deep/copy/model.onnx").metadata_props if one.key == "audiocnn")
    assert said == Path("deep/copy/model.toml").read_text()
    record = json.loads(audiocnn("detect", "one.wav", "-m", "deep/copy").out.splitlines()[-1])
    assert record["model"] == "copy"
    assert {path.name for path in Path("deep").iterdir()} == {"copy"}


@pytest.mark.parametrize("options", [(), POINTS], ids=str)
@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--save-as", "own"], "already exists; give a new folder"),
        (["--save-as", "one.wav"], "already exists; give a new folder"),
        (["--save-as", "one.wav/x"], "one.wav is not a folder"),
        (["--save-as", ""], "the name is empty"),
        (["--save-as", "new", "--save"], "use one of them"),
        (["--save", "-m", "released"], "--save-as FOLDER"),
    ],
)
def test_where_nothing_can_be_saved_is_said_before_any_work(here, options, args, told):
    done = tune(*args, *options, *([] if "-m" in args else ["-m", "own"]))
    assert done.status is ExitStatus.USAGE and told in done.err and len(done.err.splitlines()) == 1
    assert done.out == "" and not Path("new").exists()


@pytest.mark.parametrize("failing", ["shutil.copytree", "audiocnn.evaluation.save_thresholds.save_tuned"])
def test_a_copy_that_fails_leaves_nothing(here, monkeypatch, failing):
    def full(*args, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(failing, full)
    before = sorted(here.iterdir())
    done = tune("-m", "own", "--save-as", "copy")
    assert done.status is ExitStatus.USAGE and "No space left" in done.err
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("options", [(), POINTS], ids=str)
def test_recordings_that_cannot_show_false_alarms_are_said_to_be_so(here, options):
    assert "all of these recordings contain" not in tune("-m", "own", *options).out
    lines = [line for line in Path("tones.tsv").read_text().splitlines() if "none" not in line]
    Path("tones.tsv").write_text("\n".join(lines) + "\n")
    assert "all of these recordings contain tone" in tune("-m", "own", *options).out


PRICES = {
    ("sensitive", "false_segment_share"): "32.5 % of the recordings without tone (balanced: 10.5 %)",
    ("sensitive", "false_alarm_rate"): "32.5 % of the time without tone as tone (balanced: 10.5 %)",
    ("precise", "miss_rate"): "32.5 % of the time with tone (balanced: 10.5 %)",
    ("precise", "false_alarm_rate"): "",
    ("sensitive", "miss_rate"): "",
    ("balanced", "miss_rate"): "",
}


@pytest.mark.parametrize(("name", "figure"), PRICES)
def test_the_price_of_an_operating_point(name, figure):
    def points(own, balanced):
        return {one: OperatingPoint({}, {figure: own if one == name else balanced}) for one in SENSITIVITIES}

    told = describe_price("tone", points(0.325, 0.105), name)
    assert PRICES[name, figure] in told and (told == "") == (PRICES[name, figure] == "")
    assert describe_price("tone", points(0.105, 0.105), name) == ""
    assert describe_price("tone", {}, name) == ""


def test_evaluate_says_the_price_of_what_it_recommends(here):
    path = Path("own/model.toml")
    text = path.read_text().replace("miss_rate = 0.15\n", "miss_rate = 0.15\nfalse_alarm_rate = 0.02\n")
    path.write_text(text.replace("miss_rate = 0.03\n", "miss_rate = 0.03\nfalse_alarm_rate = 0.2\n"))
    Path("tones.tsv").write_text("filename\tonset\toffset\tevent_label\none.wav\t0.0\t2.0\ttone\n")
    table = audiocnn("evaluate", "tones.tsv", "-m", "own", "--format", "table").out
    assert "best --sensitivity" in table and "sensitive" in table
    assert "20.0 % of the time without tone" in " ".join(table.split())


@pytest.mark.parametrize("command", ["detect", "classify", "evaluate", "split"])
def test_the_help_says_that_there_is_a_price(command, capsys):
    audiocnn(command, "--help-all")
    assert "but finds many more segments where there is no speech" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("option", ["--threshold", "--neg-threshold", "--min-duration", "--min-silence", "--pad"])
def test_defaults_are_those_of_the_model(option, capsys):
    audiocnn("detect", "--help-all")
    text = " ".join(capsys.readouterr().out.split()).split(f" {option} ", 1)[1]
    assert "[default: the model's, else " in text.split("]")[0] + "]"


@pytest.mark.parametrize(
    ("model", "told"), [("released", "--model released .*--save-as FOLDER`"), ("own", "--model own .*--save`")]
)
def test_a_model_without_operating_points_says_how_to_make_them(here, model, told):
    with pytest.raises(UsageError, match=told):
        replace(find_model(model), points={}).check_sensitivity("precise")
