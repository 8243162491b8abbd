"""--update, --settled and --exclude: which recordings of a folder a nightly run repeats or skips."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from fixtures_cli import RATE, audiocnn, copy_with_points, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn_cli.app.exits import ExitStatus

NAMES = ["evening.wav", "morning.wav", "shows/noon.wav"]
PAST, LATER = 1_000_000_000, 4_000_000_000  # seconds
COMMANDS = {
    "detect": [],
    "detect -f rttm": [],
    "classify": [],
    "classify --every 1": [],
    "score": [],
    "score -f npz": [],
}


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    for number, name in enumerate(NAMES):
        write(tmp_path / "in" / name, tone((0.2, 0.6 + number / 10), seconds=2.0), RATE)
        os.utime(tmp_path / "in" / name, (PAST, PAST))
    copy_with_points(tone_model, tmp_path / "tone")
    shutil.copytree(tmp_path / "tone", tmp_path / "other")
    with (tmp_path / "other" / "model.toml").open("a") as file:
        file.write("\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def night(*args, command="detect"):
    command, *format_args = command.split()
    model = [] if "-m" in args else ["-m", "tone"]
    return audiocnn(command, "in", *model, *format_args, "--output-dir", "out", *args)


def outputs():
    """When each output was made."""
    return {str(path.relative_to("out")): path.stat().st_mtime_ns for path in Path("out").rglob("*") if path.is_file()}


def redone(before):
    return sorted(Path(name).stem for name, when in outputs().items() if when != before.get(name))


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_older_than_its_recording_is_done_again(here, command):
    assert night("--update", command=command).status is ExitStatus.OK
    before = outputs()
    assert len(before) == 3
    assert night("--update", command=command).err == "" and redone(before) == []
    os.utime("in/evening.wav", (LATER, LATER))
    done = night("--update", "--skip-existing", command=command)
    assert (done.status, done.err, redone(before)) == (ExitStatus.OK, "", ["evening"])


def test_labels_of_a_half_copied_file_are_made_again_when_it_is_whole(here):
    whole = Path("in/evening.wav").read_bytes()
    Path("in/evening.wav").write_bytes(whole[: len(whole) // 2])
    done = night("--update")
    assert done.status is ExitStatus.SOME_FAILED and "damaged or cut short" in done.err
    assert json.loads(Path("out/evening.jsonl").read_text().splitlines()[-1])["status"] == "damaged"
    Path("in/evening.wav").write_bytes(whole)
    os.utime("in/evening.wav", (PAST, PAST))  # as cp -p and rsync -t leave it
    done = night("--skip-existing")
    assert done.status is ExitStatus.OK and "out/evening.jsonl: made from a damaged recording" in done.err
    before = outputs()
    assert night("--update").status is ExitStatus.OK and redone(before) == ["evening"]
    assert json.loads(Path("out/evening.jsonl").read_text().splitlines()[-1])["status"] == "ok"
    assert night("--skip-existing").err == ""


@pytest.mark.parametrize("command", ["detect", "classify"])
@pytest.mark.parametrize("changed", [["--sensitivity", "sensitive"], ["--threshold", "0.4"], ["-m", "other"]])
def test_what_was_made_otherwise_is_done_again(here, command, changed):
    night(command=command)
    before = outputs()
    done = night("--skip-existing", *changed, command=command)
    assert done.status is ExitStatus.OK and redone(before) == []
    assert "made with another model, other settings or another version" in done.err and "--update" in done.err
    assert all(f"out/{name}" in done.err for name in before)
    assert night("--update", *changed, command=command).status is ExitStatus.OK
    assert redone(before) == ["evening", "morning", "noon"]
    assert night("--skip-existing", *changed, command=command).err == ""


def test_formats_that_do_not_say_how_they_were_made_go_by_time_alone(here):
    night("-f", "rttm")
    before = outputs()
    assert night("-f", "rttm", "--update", "--threshold", "0.4").err == ""
    assert redone(before) == []


@pytest.mark.parametrize("content", ["mine\n", '{"type":"note"}\n'])
def test_what_is_none_of_ours_stays(here, content):
    Path("out").mkdir()
    Path("out/evening.jsonl").write_text(content)
    os.utime("out/evening.jsonl", (LATER, LATER))
    done = night("--update")
    assert done.status is ExitStatus.SOME_FAILED and "not a record of `audiocnn detect`" in done.err
    assert Path("out/evening.jsonl").read_text() == content and len(outputs()) == 3


@pytest.mark.parametrize("content", ["", '{"schema":1,"type":"segment","fi'])
def test_what_is_empty_or_torn_is_done_again(here, content):
    Path("out").mkdir()
    Path("out/evening.jsonl").write_text(content)
    assert night("--update").status is ExitStatus.OK
    assert json.loads(Path("out/evening.jsonl").read_text().splitlines()[-1])["status"] == "ok"


def test_every_output_that_is_out_of_date_is_named_and_the_remedy_works(here):
    night()
    for name in NAMES:
        os.utime(f"in/{name}", (LATER, LATER))
    done = night("--skip-existing", "-q")
    (line,) = done.err.splitlines()
    assert "warning: out/evening.jsonl, out/morning.jsonl, out/shows/noon.jsonl: older than the recording" in line
    before = outputs()
    assert night("--skip-existing", "-q", "--update").status is ExitStatus.OK
    assert len(redone(before)) == 3


@pytest.mark.parametrize(("verbose", "named"), [([], 9), (["-v"], 12)])
def test_of_many_the_first_are_named(here, verbose, named):
    for number in range(12):
        shutil.copy2("in/evening.wav", f"in/{number:02}.wav")
    night("-f", "csv")
    done = night("-f", "csv", *verbose)
    (line,) = [line for line in done.err.splitlines() if "error" in line]
    assert line.count("out/") == (named if named == 9 else 15)
    assert (" and 6 more already exist" in line) == (not verbose)
    assert done.status is ExitStatus.USAGE


@pytest.mark.parametrize("command", [*COMMANDS, "convert"])
def test_outputs_that_are_there_are_one_line_with_the_remedy(here, command):
    def run(*more):
        if command != "convert":
            return night(*more, command=command)
        return audiocnn("convert", "in.jsonl", "--to", "csv", "--output-dir", "out", *more)

    audiocnn("detect", "in", "-m", "tone", "-o", "in.jsonl")
    run()
    before = outputs()
    done = run()
    (line,) = done.err.splitlines()
    assert done.status is ExitStatus.USAGE and redone(before) == []
    assert "evening" in line and "noon" in line and "already exist" in line
    for remedy in ("--skip-existing", "--force"):
        assert remedy in line and run(remedy).status is ExitStatus.OK
    Path("out").joinpath(*Path(next(iter(before))).parts).unlink()
    done = run()
    assert done.status is ExitStatus.SOME_FAILED and len(done.err.splitlines()) == 1


REFUSED = {
    ("--update", "--force"): "--update keeps current outputs and --force overwrites all",
    ("--update", "--resume"): "--resume continues a single file",
}


@pytest.mark.parametrize("args", REFUSED, ids=" ".join)
def test_what_does_not_go_with_update(here, args):
    done = night(*args)
    assert done.status is ExitStatus.USAGE and REFUSED[args] in done.err


@pytest.mark.parametrize("output", [[], ["-o", "x.jsonl"], ["-o", "x", "--ray", "local"]])
def test_update_needs_a_folder(here, output):
    done = audiocnn("detect", "in", "-m", "tone", "--update", *output)
    assert done.status is ExitStatus.USAGE
    assert "--update needs --output-dir FOLDER" in done.err and "--resume" in done.err


def test_a_recording_that_is_written_to_while_it_is_read_is_done_again(here, monkeypatch):
    from audiocnn.inference import detect as library

    begun, scored = [], library.detect_scored

    def interrupted(reading, *args):
        found = scored(reading, *args)
        if "evening" in reading.name and not begun:
            begun.append(reading)
            write(here / "in" / "evening.wav", tone((0.2, 1.6)), RATE)
        return found

    monkeypatch.setattr(library, "detect_scored", interrupted)
    done = night("--update", "-f", "rttm")
    assert "in/evening.wav: was modified while it was read" in done.err
    before = outputs()
    assert night("--update", "-f", "rttm").err == "" and redone(before) == ["evening"]


# --settled


@pytest.mark.parametrize("command", ["detect", "classify", "score", "split"])
def test_what_changed_a_moment_ago_is_left_for_a_later_run(here, command, monkeypatch):
    def run(*more):
        return audiocnn(command, "in", "-m", "tone", "--output-dir", "out", "--settled", "5", *more)

    done = run()
    assert done.status is ExitStatus.OK and not any(path.is_file() for path in Path("out").rglob("*"))
    assert "in/evening.wav, in/morning.wav, in/shows/noon.wav: changed in the last 5 min" in done.err
    assert run("-q").err.count("\n") == 1  # nothing at all was done: that is said even so
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 6 * 60)
    assert run().status is ExitStatus.OK
    assert {path.stem[:4] for path in Path("out").rglob("*") if path.is_file()} == {"even", "morn", "noon"}


def test_what_changed_beside_others_is_no_warning(here, monkeypatch):
    monkeypatch.setattr("audiocnn_cli.io.inputs._seconds_unchanged", lambda path: 600.0 * (path.stem == "morning"))
    done = night("--settled", "5", "-q")
    assert (done.status, done.err) == (ExitStatus.OK, "") and [Path(name).stem for name in outputs()] == ["morning"]


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_minutes_that_cannot_be(here, minutes):
    done = night(f"--settled={minutes}")
    assert done.status is ExitStatus.USAGE and "give a number of minutes" in done.err


# --exclude

EXCLUDED = {
    ("morning.wav",): ["evening", "noon"],
    ("*ning.wav",): ["noon"],
    ("shows",): ["evening", "morning"],
    ("shows/",): ["evening", "morning"],
    ("shows/*.wav",): ["evening", "morning"],
    ("in/shows/noon.wav",): ["evening", "morning"],
    ("in/evening.wav", "noon.*"): ["morning"],
    ("nothing",): ["evening", "morning", "noon"],
    ("in",): ["evening", "morning", "noon"],  # the folder that was named is wanted
    ("*",): [],
}


@pytest.mark.parametrize("patterns", EXCLUDED, ids=" ".join)
@pytest.mark.parametrize("form", ["options", "file", "absolute"])
def test_known_recordings_are_left_out(here, patterns, form):
    Path("known").write_text("\n".join(patterns) + "\n\n")
    args = ["--exclude", "@known"] if form == "file" else [part for one in patterns for part in ("--exclude", one)]
    folder = here / "in" if form == "absolute" else "in"
    if form == "absolute" and any(one.startswith("in/") for one in patterns):
        args = [str(here / arg) if arg.startswith("in/") else arg for arg in args]
    done = audiocnn("detect", folder, "-m", "tone", *args)
    files = [json.loads(line)["file"] for line in done.out.splitlines() if '"segment",' not in line[:30]]
    assert [Path(name).stem for name in files] == EXCLUDED[patterns]
    assert done.status is ExitStatus.OK and done.err == ""


@pytest.mark.parametrize("command", ["detect", "classify", "score", "split"])
@pytest.mark.parametrize("name", ["broken [1].wav", "broken.wav", "gone.wav", "ü\udcff.wav"])
def test_a_file_that_always_fails_is_named_as_its_error_names_it(here, command, name):
    path = here / "in" / name
    if name == "gone.wav":
        path.symlink_to("nowhere")
    else:
        path.write_text("no audio at all" * 9)
    args = [command, "in", "-m", "tone", "--output-dir", "out"]
    assert audiocnn(*args).status is ExitStatus.SOME_FAILED
    shutil.rmtree("out")
    Path("known").write_bytes(os.fsencode(f"in/{name}\r\n"))
    done = audiocnn(*args, "--exclude", "@known")
    assert (done.status, done.err) == (ExitStatus.OK, "")


def test_of_a_list_names_are_left_out_too(here):
    Path("list").write_text("\n".join(f"in/{name}" for name in NAMES))
    done = audiocnn("detect", "--files-from", "list", "-m", "tone", "--exclude", "shows", "-f", "csv")
    assert "evening" in done.out and "noon" not in done.out


@pytest.mark.parametrize(
    ("given", "told"), [("@gone", "cannot be read"), ("", "the pattern is empty"), ("/", "the pattern is empty")]
)
def test_patterns_that_cannot_be(here, given, told):
    done = night(f"--exclude={given}")
    assert done.status is ExitStatus.USAGE and told in done.err and len(done.err.splitlines()) == 1
