"""benchmarks/networks.py: what is done stays done, what changed is done again, what fails is told, the page keeps."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import tomli_w
from fixtures_models import BATCH, LOG_MEL, RATE, WAVEFORM, shipped_specs, table_of, tone_of
from sounds import write

from audiocnn.errors import RecipeError, UsageError
from audiocnn.model.model import find_model, spec_folders
from audiocnn.spec.hints import HINT_KEYS
from audiocnn.spec.spec import load_spec, spec_from_table
from benchmarks import networks, networks_runs, networks_table
from benchmarks.networks import Settings, digest_of, expected_seconds, find_candidates, find_jobs, recipe_for
from benchmarks.networks_runs import Job, Result, read_results, train_apart, write_result
from benchmarks.networks_table import Facts, Standing, read_earlier, to_markdown, write_page
from benchmarks.pages import BEGIN, END

PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "networks.md"
SMALL = table_of(LOG_MEL, [{"conv": 8, "kernel": 3}], {"window_seconds": 0.15, "output": "softmax"}, defaults=BATCH)
LARGE = table_of(WAVEFORM, [{"conv": 4, "kernel": 8}], {"window_seconds": 2.0, "layers": [{"dense": 4096}]})
RECIPE = """
name = "digits"
spec = "small.toml"
[data]
source = "corpus"
recordings = "recordings.tsv"
label = "folder"
split = "train"
[mix]
seconds = 0.3
background_share = 0.0
[train]
epochs = 2
examples_per_epoch = 160
batch_size = 8
learning_rate = 2e-2
patience = 1
workers = 0
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten tones that are called digits, 7 of each, of which 2 test; a recipe; two specs, of which one is large."""
    rows = ["filename\tsplit"]
    for digit in range(10):
        for take in range(7):
            name = f"{digit}/{take}.wav"
            write(tmp_path / "corpus" / name, tone_of(0.3, 0.02, 0.28, 150 + 70 * digit), RATE)
            rows.append(f"{name}\t{'dev' if take > 4 else 'train'}")
    (tmp_path / "corpus" / "recordings.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "specs").mkdir()
    for name, table in (("small", SMALL), ("large", LARGE)):
        (tmp_path / "specs" / f"{name}.toml").write_text(tomli_w.dumps(table))
    (tmp_path / "small.toml").write_text(tomli_w.dumps(SMALL))
    (tmp_path / "digits.toml").write_text(RECIPE)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # for processes; networks so small wait most of the time for a second
    monkeypatch.setattr(networks, "spec_folders", lambda: [tmp_path / "specs"])
    return tmp_path


def run(place: Path, *arguments: str) -> int:
    """The command, in this folder."""
    fixed = [
        "--recipe",
        str(place / "digits.toml"),
        "--results",
        str(place / "results"),
        "--seeds",
        "2",
        "--budget",
        "60",
    ]
    return networks.main([*fixed, *arguments])


def lines(place: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (place / "results" / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Trainings that take no time: (spec, seed) of each that was asked for. Seed 1 of "breaks" fails."""
    asked: list[tuple[str, int]] = []

    def pretend(job: Job) -> Result:
        name, seed = job.recipe.name, job.recipe.seed
        asked.append((name, seed))
        if name == "breaks" and seed == 1:
            return Result(name, job.digest, seed, "the loss is not finite")
        return Result(name, job.digest, seed, "", 0.9 + 0.02 * seed, 0.95, 2, 320, 20.0, 2)

    monkeypatch.setattr(networks, "train_apart", pretend)
    return asked


@pytest.mark.long
def test_a_training_from_end_to_end(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "--spec", "small") == 0
    said = capsys.readouterr()
    first, second = lines(place)
    for seed, line in enumerate((first, second)):
        assert (line["spec"], line["seed"], line["clips"], line["reason"]) == ("small", seed, 320, "")
        assert 0.5 < line["accuracy"] <= 1.0, "ten tones are told apart better than by chance"
    assert re.search(
        r"^\[1/2\] small, seed 0: accuracy [\d.]+ %, \d+ clips/s, \S+( s)?; \S+( s)? left$", said.err, re.M
    )
    runs = place / "results" / "small"
    assert find_model(runs / "seed0").labels == networks_runs.DIGITS
    assert not (runs / "seed1" / "model").exists(), "only the first seed keeps its model"
    assert not list(runs.rglob("checkpoints"))
    assert "| `small` | log_mel, 1-D |" in said.out
    assert "320 clips seen by each, 2 seeds" in said.out


def test_what_is_done_is_not_done_again(place: Path, pretended: list[tuple[str, int]]) -> None:
    assert run(place) == 0
    everything = [("large", 0), ("small", 0), ("large", 1), ("small", 1)]
    assert sorted(pretended) == sorted(everything)
    assert [seed for _, seed in pretended] == [0, 0, 1, 1], "the first seed of all before the second of any"
    pretended.clear()
    assert run(place) == 0
    assert run(place, "--seeds", "3", "--spec", "small") == 0
    assert pretended == [("small", 2)]


@pytest.mark.parametrize("change", ["spec", "recipe", "summary", "clips"])
def test_what_has_changed_is_done_again(place: Path, pretended: list[tuple[str, int]], change: str) -> None:
    assert run(place, "--spec", "small") == 0
    pretended.clear()
    options = ["--clips", "640"] if change == "clips" else []
    if change == "recipe":
        (place / "digits.toml").write_text(RECIPE.replace("2e-2", "1e-2"))
    elif change != "clips":
        spec = (
            {**SMALL, "summary": "new words"} if change == "summary" else {**SMALL, "defaults": {"activation": "tanh"}}
        )
        (place / "specs" / "small.toml").write_text(tomli_w.dumps(spec))
    assert run(place, "--spec", "small", *options) == 0
    assert pretended == ([] if change == "summary" else [("small", 0), ("small", 1)])


def test_what_failed_is_told_and_tried_again(
    place: Path, pretended: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "specs" / "breaks.toml").write_text(tomli_w.dumps({**SMALL, "summary": "breaks"}))
    assert run(place) == 3
    assert len(pretended) == 6, "the rest is done"
    rows = {line.split("`")[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")}
    assert "failed: the loss is not finite" in rows["breaks"]
    assert "91.0 % | 90.0 - 92.0 | 16" in rows["small"]
    pretended.clear()
    assert run(place) == 3
    assert pretended == [("breaks", 1)]


def test_a_spec_that_cannot_be_read_has_its_reason_in_the_table(
    place: Path, pretended: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "specs" / "wrong.toml").write_text(tomli_w.dumps({**SMALL, "gruops": []}))
    assert run(place) == 0
    assert re.search(r'`wrong` .*unknown key "gruops"; did you mean "groups"\?', capsys.readouterr().out)
    assert ("wrong", 0) not in pretended


def test_what_is_too_large_is_left_out_with_its_cost(
    place: Path, pretended: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = networks.settings_of(networks.parser().parse_args(["--recipe", str(place / "digits.toml")]))
    small, large = (
        expected_seconds(c, settings.recipe) for c in sorted(find_candidates(10), key=lambda c: c.name)[::-1]
    )
    assert small < large / 2
    assert run(place, "--budget", str((small + large) / 120)) == 0
    assert set(pretended) == {("small", 0), ("small", 1)}
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| `large`"))
    assert re.search(r"too large for two cores: [\d.e-]+ G multiply-adds a clip", row)
    assert f"{spec_from_table(LARGE, 'large', 10).parameters():,}" in row, "its counts are there all the same"
    assert run(place) == 0
    capsys.readouterr()
    assert run(place, "--budget", "0", "--no-training") == 0
    assert "too large" not in capsys.readouterr().out, "what was trained all the same keeps its row"


def test_a_list_trains_nothing(
    place: Path, pretended: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "--list", "--spec", "small") == 0
    assert "2 of 2 to train" in capsys.readouterr().out
    assert not pretended and not (place / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--spec", "smal"], 'there is no spec "smal"; did you mean "small"?'),
        (["--table", "missing.md", "--no-training"], "missing.md: cannot be read"),
        (["--recipe", "specs/small.toml"], "unknown key"),
    ],
)
def test_wrong_words(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(place)
    assert run(place, *arguments) == 2
    assert said in capsys.readouterr().err


def test_half_a_line_is_no_result(tmp_path: Path) -> None:
    log = tmp_path / "results.jsonl"
    write_result(log, Result("a", "x", 0, accuracy=0.5))
    with log.open("a") as file:
        file.write('{"spec": "b", "dig')
    write_result(log, Result("c", "x", 0, accuracy=0.7))
    assert {key[0] for key in read_results(log)} == {"a", "c"}


# The process of a training


def breaks(job: Job) -> Result:
    raise RecipeError("lower the learning rate")


def surprises(job: Job) -> Result:
    raise ValueError("line one\n  line two")


def is_killed(job: Job) -> Result:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    raise AssertionError


def job_of(place: Path, seed: int = 0) -> Job:
    settings = networks.settings_of(networks.parser().parse_args(["--recipe", str(place / "digits.toml")]))
    recipe = recipe_for(settings.recipe, spec_from_table(SMALL, "small", 10), seed)
    return Job(recipe, digest_of(recipe), place / "results", 1.0)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (breaks, "lower the learning rate"),
        (surprises, "ValueError: line one line two"),
        (is_killed, "the training was ended by SIGKILL; too little memory?"),
    ],
)
def test_whatever_becomes_of_a_process_there_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, what: object, reason: str
) -> None:
    monkeypatch.setattr(networks_runs, "trained", what)
    monkeypatch.setattr(networks_runs, "new_process", forked)
    result = train_apart(job_of(place))
    assert (result.spec, result.seed, result.reason, result.accuracy) == ("small", 0, reason, None)


def forked(job: Job) -> object:
    """A process that has what a test put in place of the training."""
    import multiprocessing

    return multiprocessing.get_context("fork").Process(target=networks_runs.train_here, args=(job,))


def test_a_training_that_was_killed_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(place, seed=1)
    straight = networks_runs.trained(dataclasses.replace(job, results=place / "straight"))

    def killed() -> None:
        if (job.run / "metrics.jsonl").exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(networks_runs, "check_parent", killed)
        with pytest.raises(KeyboardInterrupt):
            networks_runs.trained(job)
    assert (job.run / "checkpoints").is_dir()
    assert len((job.run / "metrics.jsonl").read_text().splitlines()) == 1
    begun = (job.run / "recipe.toml").stat().st_mtime_ns
    result = networks_runs.trained(job)
    assert (job.run / "recipe.toml").stat().st_mtime_ns == begun, "it did not begin anew"
    assert (result.accuracy, result.validation_accuracy) == (straight.accuracy, straight.validation_accuracy)


def test_another_spec_begins_anew(place: Path) -> None:
    job = job_of(place, seed=1)  # whose model is not kept, nor made
    networks_runs.trained(job)
    other = {**SMALL, "groups": [{"name": "A", "layers": [{"conv": 4, "kernel": 3}]}]}
    recipe = recipe_for(job.recipe, spec_from_table(other, "small", 10), 1)
    assert "conv = 8" in (job.run / "recipe.toml").read_text()
    networks_runs.trained(dataclasses.replace(job, recipe=recipe, digest=digest_of(recipe)))
    assert "conv = 4" in (job.run / "recipe.toml").read_text()


# The page


def rows() -> list[Standing]:
    """Two that were trained, one that is too large, one that is not done, one that cannot be read."""
    done = [Result("x", "d", seed, "", accuracy, 0.9, 1, 1000, 10.0, 2) for seed, accuracy in enumerate((0.8, 0.9))]
    better = [dataclasses.replace(result, accuracy=0.95) for result in done]
    return [
        Standing(Facts("good", "samples", 1234, 0.5, 0.1, 10**6), done),
        Standing(Facts("best", "log_mel, 2-D", 5678, 0.6, 0.02, 250 * 10**6), better),
        Standing(Facts("huge", "log_mel, 2-D", 10**8, 1.0, 0.1, 10**10), [], "too large"),
        Standing(Facts("later", "log_mel, 1-D", 10, 0.3, 0.1, 10**5), []),
        Standing(Facts("wrong"), [], 'unknown key "a|b"'),
    ]


def test_the_best_come_first_and_what_has_no_accuracy_last() -> None:
    table = [line for line in to_markdown(rows(), 1000).splitlines() if line.startswith("|")]
    assert [line.split("`")[1] for line in table[2:]] == ["best", "good", "wrong", "later", "huge"]
    assert {line.count("|") for line in table} == {10}, "every row has all columns"
    assert "| 85.0 % | 80.0 - 90.0 | 100 |" in table[3]
    assert "| 250 M | 95.0 % |" in table[2]
    assert "not trained yet" in table[5]


def test_the_page_keeps_everything_but_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter: `table`\n")
    for _ in range(2):  # written again, it is the same
        write_page(page, rows(), 1000)
        text = page.read_text()
        assert text.startswith(f"# Before\n\n{BEGIN}\n| spec |")
        assert text.endswith(f"(page.png)\n{END}\n\nAfter: `table`\n")
        assert "old" not in text
        assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def three(*accuracies: float) -> list[Result]:
    return [Result("x", "d", seed, "", one, 0.9, 1, 12340, 10.0, 2) for seed, one in enumerate(accuracies)]


@pytest.mark.parametrize("accuracies", [(0.8,), (0.8, 0.9), (0.777, 0.813, 0.9), (0.5, 0.5, 0.5)])
def test_rows_that_were_not_measured_again_are_kept_and_named(tmp_path: Path, accuracies: tuple[float, ...]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    facts, other = Facts("kept", "samples", 1234, 0.5, 0.1, 10**6), Facts("new", "samples", 10, 0.5, 0.1, 10**5)
    write_page(page, [Standing(facts, three(*accuracies)), Standing(other, [], "too large")], 1000)
    before = next(line for line in page.read_text().splitlines() if "`kept`" in line)
    assert set(read_earlier(page)) == {"kept"}  # a row without an accuracy has nothing to keep
    fresh = [Standing(facts, []), Standing(other, three(0.5))]
    write_page(page, networks.with_earlier(fresh, page), 1000)
    text = page.read_text()
    assert before in text.splitlines()
    assert "kept from an earlier table: `kept`.\n" in text
    again = [Standing(facts, three(0.3)), Standing(other, [], "failed")]
    write_page(page, networks.with_earlier(again, page), 1000)
    assert before not in page.read_text() and "earlier" not in page.read_text()


@pytest.mark.parametrize("text", ["nothing", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}"])
def test_a_page_without_a_place_for_it_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(UsageError, match="has no place for the table"):
        write_page(page, rows(), 1000)
    assert page.read_text() == text


def test_names_in_the_picture_do_not_cover_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(networks_table, "save_figure", lambda figure, path: drawn.append(figure))
    crowd = [
        Standing(Facts(f"network_{i}", "samples", 1, 0.5, 0.1, 10**6 + 10**4 * i), [Result("x", "d", 0, accuracy=0.9)])
        for i in range(12)
    ]
    networks_table.draw(tmp_path / "a.png", crowd)
    (axes,) = drawn[0].axes
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(boxes) == {f"network_{i}" for i in range(12)}
    for name, box in boxes.items():
        assert not any(box.overlaps(other) for key, other in boxes.items() if key != name), name


# What ships


def test_every_spec_that_ships_has_a_row() -> None:
    """Fails when a spec is added: `python -m benchmarks.networks --table docs/background/networks.md` trains it."""
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    named = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert named == {path.stem for path in shipped_specs()}
    assert "not trained yet" not in table


def test_the_recipe_leaves_room_for_every_spec_that_ships() -> None:
    settings = Settings(networks.read_recipe(networks.RECIPE), Path("none"))
    candidates = find_candidates(10)
    assert {candidate.name for candidate in candidates} == {path.stem for path in shipped_specs()}
    assert [candidate.problem for candidate in candidates if candidate.problem] == []
    jobs = find_jobs(candidates, settings)
    assert len({job.digest for job in jobs}) == len(jobs) / settings.seeds, "each spec has a digest of its own"


def test_the_recipe_leaves_to_a_spec_what_that_wants():
    recipe = networks.read_recipe(networks.RECIPE)
    assert {f"train.{key}" for key in HINT_KEYS} <= recipe.unset
    spec = load_spec(next(folder / "alexnet.toml" for folder in spec_folders()), 10)
    one = recipe_for(recipe, spec, 0)
    assert spec.hints and one.with_defaults(clips=True).train.learning_rate == spec.hints["learning_rate"]
    plain = spec_from_table({key: value for key, value in spec.table.items() if key != "train"}, "alexnet", 10)
    assert digest_of(one) != digest_of(recipe_for(recipe, plain, 0))  # other hints are another training
