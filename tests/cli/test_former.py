"""Former names of options and commands: each works and is noted once on stderr; none is shown or completed."""

from __future__ import annotations

import csv
import json

import pytest
from fixtures_cli import audiocnn, tone_model, write_tones  # noqa: F401

from audiocnn_cli.app.completion import complete
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.former import FORMER_OPTIONS, rename_command, rename_options
from audiocnn_cli.main import COMMANDS, command_of

HAVING = [
    (name, old, new)
    for name in COMMANDS
    for old, new in FORMER_OPTIONS.items()
    if new in {word for param in command_of(name).params for word in param.opts}
]


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    write_tones(tmp_path)
    (tmp_path / "tone").symlink_to(tone_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_former_option_is_of_some_command():
    assert {old for _, old, _ in HAVING} == set(FORMER_OPTIONS)
    assert {"detect", "evaluate", "tune", "split", "plot"} <= {name for name, _, _ in HAVING}


@pytest.mark.parametrize(("name", "old", "new"), HAVING)
def test_a_former_option_is_neither_shown_nor_completed(name, old, new, capsys):
    assert old not in complete([name, "--m"], COMMANDS, command_of)
    audiocnn(name, "--help-all")
    shown = capsys.readouterr().out
    assert new in shown and old not in shown


@pytest.mark.parametrize(("name", "old", "new"), HAVING)
@pytest.mark.parametrize("joined", [False, True], ids=["word", "equals"])
def test_a_former_option_is_read_as_that_of_now(here, name, old, new, joined):
    """A value that cannot be says which option took it."""

    def said(option):
        words = [f"{option}=x"] if joined else [option, "x"]
        done = audiocnn(name, "one.wav", *words)
        assert done.status is ExitStatus.USAGE
        return done.err

    assert said(old) == said(new) and f"error: {new}: give a number" in said(old)


@pytest.mark.parametrize("old", FORMER_OPTIONS)
def test_a_former_option_says_once_what_it_is_called_now(here, old):
    new = FORMER_OPTIONS[old]
    wanted = audiocnn("detect", "one.wav", "-m", "tone", new, "0.4")
    done = audiocnn("detect", "one.wav", "-m", "tone", f"{old}=0.4")
    assert (done.status, done.out) == (ExitStatus.OK, wanted.out)
    assert done.err == f"audiocnn: note: {old} is now called {new}\n"
    assert audiocnn("detect", "one.wav", "-m", "tone", old, "0.4", "-q").err == ""


def test_what_only_looks_like_a_former_option_is_left():
    assert rename_options(["--", "--min-speech"], ["--min-duration"]) == (["--", "--min-speech"], [])
    assert rename_options(["--min-speech", "1"], ["--other"]) == (["--min-speech", "1"], [])


# Commands


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ("tune --recipe a.toml", "search a.toml"),
        ("tune --recipe=a.toml --trials 3", "search a.toml --trials 3"),
        ("tune data --trials 3 --recipe a.toml -o x", "search a.toml data --trials 3 -o x"),
        ("tune --trials 3 --recipe", "search --trials 3"),
        ("tune data -m tone", "tune data -m tone"),
        ("tune data -- --recipe", "tune data -- --recipe"),
        ("train --recipe a.toml", "train --recipe a.toml"),
        ("search a.toml", "search a.toml"),
        ("", ""),
    ],
)
def test_a_command_that_is_called_something_else_now(args, wanted):
    found, said = rename_command(args.split())
    assert found == wanted.split()
    assert bool(said) == (args != wanted)


def test_tune_with_a_recipe_searches_and_says_so(here):
    (here / "r.toml").write_text('[data]\nsource = "gone"\n')
    old, new = (audiocnn(*args) for args in (("tune", "--recipe", "r.toml"), ("search", "r.toml")))
    note = "audiocnn: note: `audiocnn tune --recipe FILE` is now called `audiocnn search FILE`\n"
    assert (old.status, old.err) == (new.status, note + new.err) and new.status is ExitStatus.USAGE
    assert audiocnn("tune", "--recipe", "r.toml", "-q").err == new.err


def test_doubtful_clips_of_an_evaluation_are_those_of_doubtful(here):
    old = audiocnn(
        "evaluate", "labels", "-m", "tone", "--resamples", "0", "--doubtful", "3", "--doubtful-to", "old.tsv"
    )
    new = audiocnn("doubtful", "labels", "-m", "tone", "--top", "3", "-o", "new.tsv")
    assert (old.status, new.status) == (ExitStatus.OK, ExitStatus.OK), old.err + new.err
    assert (here / "old.tsv").read_text() == (here / "new.tsv").read_text() != ""
    assert (here / "old.html").read_text().replace("old-corr", "new-corr") == (here / "new.html").read_text()
    note, *found = old.err.replace("old.", "new.").replace("old-", "new-").splitlines()
    assert note == "audiocnn: note: --doubtful N is now called `audiocnn doubtful labels --top 3`"
    *said, command = new.err.splitlines()
    assert found == said and "1 doubtful clip of 8" in said[-1]
    assert command == "after correcting, train again: audiocnn train labels --corrections new.tsv"
    records = [json.loads(line) for line in new.out.splitlines()]
    rows = list(csv.DictReader((here / "new.tsv").read_text().splitlines(), delimiter="\t"))
    assert [one["file"] for one in records] == [row["filename"] for row in rows] != []
    assert [one["likely_wrong"] for one in records] == [row["likely_wrong"] == "yes" for row in rows]
    assert all(one["type"] == "doubtful" and one["schema"] == 1 for one in records)
