"""The code of --ray without Ray: the work of workers that died, and parts that a later run continues."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn import __version__
from audiocnn.audio.recording import Selection
from audiocnn.errors import UsageError
from audiocnn.inference.classify import ClassifySettings
from audiocnn.inference.detect import DetectSettings
from audiocnn.model.model import find_model
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.cluster import parts as parts_module
from audiocnn_cli.cluster import worker as worker_module
from audiocnn_cli.cluster.parts import Parts, summarize_parts
from audiocnn_cli.cluster.run import absolute_input
from audiocnn_cli.cluster.worker import (
    DEADLY,
    Bug,
    Crew,
    Ledger,
    RecordingWorker,
    Worker,
    WorkerAnswer,
    read_model_files,
)
from audiocnn_cli.commands.classify import ClassifyTask, classify_provenance
from audiocnn_cli.commands.detect import DetectTask, detect_provenance
from audiocnn_cli.commands.detect.writers import DetectLayout
from audiocnn_cli.io.inputs import Input

FILES = 11


class Died(BaseException):
    """The process is gone."""


class Tells(Worker):
    """Says what it did; dies of items that say so."""

    def do(self, items):
        if any(item.startswith("kills") for item in items):
            raise Died
        return list(items)

    def refused(self, item):
        return f"error {item}"

    def joined(self, answers):
        return [item for answer in answers for item in answer]


def lives(ledger, items, kind=Tells):
    """The answer of the last of several workers, each of which gets what the one before it died of; and how many."""
    for number in range(1, 10):
        try:
            return pickle.loads(kind(ledger, 1).answer(0, pickle.dumps(items))), number
        except Died:
            pass
    raise AssertionError("they die for ever")


@pytest.mark.parametrize(
    ("items", "answer", "workers"),
    [
        (["a", "b"], ["a", "b"], 1),
        (["a", "kills", "b"], ["a", "error kills", "b"], 3),
        (["kills 1", "a", "kills 2"], ["error kills 1", "a", "error kills 2"], 4),
        (["kills"], ["error kills"], 3),
    ],
)
def test_what_kills_a_worker_twice_is_an_error_and_the_rest_is_done(items, answer, workers):
    assert lives(Ledger(), items) == (answer, workers)


def test_what_was_beside_it_is_done_when_a_worker_died_of_something_else():
    ledger = Ledger()
    ledger.begin(0)  # by a worker that was killed from outside
    assert lives(ledger, ["a", "b"]) == (["a", "b"], 1)
    assert not ledger.times and not ledger.alone


def test_workers_that_die_while_they_load_the_model_are_not_started_for_ever():
    ledger = Ledger()
    with pytest.raises(UsageError, match="die while they load the model"):
        for _ in range(100):
            Tells(ledger, 2)
    assert ledger.starts == 1 + 2 * worker_module.STARTS_A_WORKER


def test_a_bug_in_a_worker_comes_back():
    class Broken(Tells):
        def do(self, items):
            raise ZeroDivisionError("of all things")

    (bug, _) = lives(Ledger(), ["a"], Broken)
    assert isinstance(bug, Bug) and bug.what.startswith("ZeroDivisionError: of all things\nTraceback")


@pytest.fixture(scope="module")
def place(tmp_path_factory, tone_model):  # noqa: F811
    """Recordings, one that is none, and a model."""
    place = tmp_path_factory.mktemp("parts")
    for number in range(FILES):
        write(place / "many" / f"{number:02d}.wav", tone((0.1 * number, 0.1 * number + 0.3), seconds=1.5), RATE)
    (place / "many" / "03.wav").write_text("no audio at all")
    (place / "tone").symlink_to(tone_model)
    return place


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(parts_module, "PART_RECORDINGS", 4)
    return tmp_path / "found"


def inputs(*numbers):
    names = [f"many/{number:02d}.wav" for number in (numbers or range(FILES))]
    return [absolute_input(Input(name, Path(name))) for name in names]


def worker(strict=False, task=None):
    model = find_model("tone")
    settings = DetectSettings()
    task = task or DetectTask(settings, DetectLayout("jsonl", detect_provenance(model, settings, None).settings))
    return RecordingWorker(Ledger(), 1, Crew(__version__, read_model_files(model), "cpu", task, strict))


def provenance():
    return detect_provenance(find_model("tone"), DetectSettings(), None)


def run(folder, known, most=10**9):
    """What a run does, which may be cut off after so many recordings."""
    parts = Parts(folder, known, provenance(), force=False)
    done = parts.todo[:most]
    for at in done:
        parts.put(at, worker().do([known[at]]).groups[0])
    if len(done) == len(parts.todo):
        parts.finish({"type": "summary"})
    parts.write_rest()
    parts.close()
    return [known[at].name for at in done]


def records(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.glob("part-*")))


def plain(*names):
    return audiocnn("detect", *(names or ["many"]), "-m", "tone").out.encode()


def test_a_worker_writes_what_detect_writes(here):
    answer = worker().do(inputs())
    assert b"".join(answer.groups) == plain()
    assert (answer.done, answer.failed, len(answer.groups)) == (FILES - 1, 1, FILES)
    assert answer.lines == audiocnn("detect", "many", "-m", "tone").err.splitlines()


def test_a_worker_reads_the_part_of_a_recording_that_was_asked_for(here):
    excerpt, model = Selection(0.2, 0.9), find_model("tone")
    asked = pickle.loads(pickle.dumps([replace(one, excerpt=excerpt) for one in inputs()]))
    digest = detect_provenance(model, DetectSettings(), None, excerpt).settings
    task = DetectTask(DetectSettings(), DetectLayout("jsonl", digest))
    wanted = audiocnn("detect", "many", "-m", "tone", "--start", 0.2, "--end", 0.9).out.encode()
    assert b"".join(worker(task=task).do(asked).groups) == wanted


@pytest.mark.parametrize("every", [None, 0.5])
def test_a_worker_writes_what_classify_writes(here, every):
    model = find_model("tone")
    settings = ClassifySettings(None, every)
    task = ClassifyTask(settings, "jsonl", 5, classify_provenance(model, settings, 5, None).settings)
    more = ["--every", every] if every else []
    assert b"".join(worker(task=task).do(inputs()).groups) == (
        audiocnn("classify", "many", "-m", "tone", *more, "-f", "jsonl").out.encode()
    )


def test_strict_ends_with_the_first_bad_recording(here):
    one_by_one = worker(strict=True)
    assert len(one_by_one.do(inputs()).groups) == 4
    assert len(one_by_one.joined([one_by_one.do([one]) for one in inputs(1, 2, 3, 4)]).groups) == 3


def test_a_recording_that_killed_its_worker_is_an_error_record(here):
    (record,) = worker().do([worker().refused(inputs(1)[0])]).groups
    assert json.loads(record) == {
        "schema": 1,
        "type": "error",
        "file": "many/01.wav",
        "error": f"many/01.wav: {DEADLY}",
    }


def test_parts_are_what_one_machine_writes(here):
    run(here, inputs())
    assert records(here) == plain()
    assert [path.name[:11] for path in sorted(here.iterdir())] == [
        "part-00000-",
        "part-00001-",
        "part-00002-",
        "summary.jso",
    ]
    summary = json.loads((here / "summary.json").read_text())
    assert (summary["recordings"], summary["ok"], summary["failed"], summary["segments"]) == (FILES, FILES - 1, 1, 10)
    assert summary["duration"] == pytest.approx(1.5 * (FILES - 1))
    assert [part["recordings"] for part in summary["parts"]] == [4, 4, 3]


@pytest.mark.parametrize("most", [1, 4, 6, FILES - 1])
def test_a_run_that_was_cut_off_is_gone_on_with(here, most):
    first = run(here, inputs(), most)
    assert not (here / "summary.json").exists()
    second = run(here, inputs())
    assert set(first) & set(second) == {"many/03.wav"} & set(first), "what failed is done again, nothing else"
    assert records(here) == plain()
    assert [path.name for path in here.glob(".*")] == []


def test_a_part_that_is_gone_is_made_again(here):
    run(here, inputs())
    gone = sorted(here.glob("part-*"))[1]
    gone.unlink()
    assert run(here, inputs()) == ["many/03.wav", *(f"many/{number:02d}.wav" for number in range(4, 8))]
    assert gone.exists() and records(here) == plain()


def test_a_list_that_has_grown_or_shrunk(here):
    run(here, inputs(1, 2, 4, 5, 6, 7))
    assert run(here, inputs()) == [f"many/{number:02d}.wav" for number in (0, 3, 8, 9, 10)]
    assert records(here) == plain()
    assert run(here, inputs(9, 10)) == []
    kept = [f"many/{number:02d}.wav" for number in (9, 10, 0, 1, 2, 4, 5, 6, 7, 8)]
    assert records(here) == plain(*kept), "what is not named this time stands at the end"
    assert run(here, inputs(9, 10)) == []
    assert records(here) == plain(*kept)
    assert json.loads((here / "summary.json").read_text())["recordings"] == 10


def test_two_runs_in_one_folder(here):
    parts = Parts(here, inputs(), provenance(), force=False)
    with pytest.raises(UsageError, match=r"summary\.json: another process is writing it"):
        Parts(here, inputs(), provenance(), force=False)
    parts.close()


def test_other_settings_are_no_going_on(here):
    run(here, inputs(1, 2))
    other = detect_provenance(find_model("tone"), DetectSettings(threshold=0.7), None)
    with pytest.raises(UsageError, match="other thresholds or other options"):
        Parts(here, inputs(), other, force=False)
    Parts(here, inputs(), other, force=True).close()
    assert list(here.iterdir()) == []


def test_answers_add_up():
    whole = WorkerAnswer()
    whole.add(WorkerAnswer([b"a"], ["x"], 1, 2, 3, 4, 5.0))
    whole.add(WorkerAnswer([b"b"], [], 1, 1, 1, 1, 1.0))
    assert whole == WorkerAnswer([b"a", b"b"], ["x"], 2, 3, 4, 5, 6.0)


def test_the_summary_counts_labels_of_clips(here, tmp_path):
    lines = audiocnn("classify", "many", "-m", "tone", "-f", "jsonl", "--threshold", 0.1).out
    (tmp_path / "part-00000-0.jsonl").write_text(lines)
    labels = [json.loads(line).get("label") for line in lines.splitlines()]
    found = summarize_parts([tmp_path / "part-00000-0.jsonl"], "clip")
    assert found["labels"] == {"tone": labels.count("tone")} and labels.count("tone") > 0
    assert (found["recordings"], found["failed"]) == (FILES, 1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--ray", "local"], "--ray writes parts to a folder; give it with -o FOLDER"),
        (["--ray", "local", "--output-dir", "x"], "omit --output-dir"),
        (["--ray", "local", "-o", "many/01.wav"], "is a file; with --ray, give a folder"),
        (["--ray", "local", "-o", "x", "-f", "csv"], "--ray writes JSON Lines; omit -f csv"),
        (["--ray", "", "-o", "x"], "the address is empty"),
        (["--ray", "ray://head:10001", "-o", "x"], "does not work through Ray Client"),
        (["--ray", "local", "-o", "x", "--device", "mps"], '--device cannot be "mps" with --ray'),
        (["--ray", "local", "-o", "x", "--resume", "--force"], "omit --force"),
    ],
)
@pytest.mark.parametrize("command", ["detect", "classify"])
def test_what_does_not_go_together_is_said_before_a_cluster_is_started(here, command, more, message):
    done = audiocnn(command, "many", "-m", "tone", *more)
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert message in done.err and done.err.count("\n") == 1
