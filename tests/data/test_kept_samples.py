"""What `train` and `evaluate` check before they read recordings, and the samples that they keep: those of others stay
as they are, and files that were refused are in the exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fixtures_cli import audiocnn, tone_model, write_tones  # noqa: F401
from fixtures_models import write_dataset
from sounds import sine, write

from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, cached_dataset, ingest
from audiocnn.errors import DatasetError, UsageError
from audiocnn.workflows.judge import check_columns
from audiocnn.workflows.sources import cache_beside
from audiocnn_cli.app.exits import ExitStatus

RATE = 8000


def clips(folder, count=2, hertz=400):
    for label, factor in (("low", 1), ("high", 3)):
        for number in range(count):
            write(Path(folder) / label / f"{number}.wav", sine(factor * hertz + number, 0.1, RATE, 0.3), RATE)
    return Path(folder)


def kept(folder):
    """All that is in a dataset, as bytes."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if not path.name.startswith(".")}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A working folder with two folders of clips, and a dataset of the first that somebody made as own.dataset."""
    monkeypatch.chdir(tmp_path)
    clips("first")
    clips("second", 3, 500)
    assert audiocnn("ingest", "first", "-o", "own.dataset", "--sample-rate", str(RATE)).status is ExitStatus.OK
    return kept("own.dataset")


def test_samples_of_other_sources_are_kept(own):
    settings = IngestSettings(sample_rate=RATE)
    with pytest.raises(DatasetError, match=r"own\.dataset: also contains .*first; .*choose another folder"):
        cached_dataset(Path("second"), Path("own.dataset"), settings)
    assert kept("own.dataset") == own
    assert len(cached_dataset(Path("first"), Path("own.dataset"), settings).entries) == 4


def test_samples_of_other_sources_get_another_folder(own):
    settings, run = IngestSettings(sample_rate=RATE), Path("own")
    assert cache_beside(run, Path("first"), settings) == Path("own.dataset")
    second = cache_beside(run, Path("second"), settings)
    assert second == Path("own-8000-1.dataset")
    list(ingest([Path("second")], second, settings))
    assert cache_beside(run, Path("second"), settings) == second
    assert cache_beside(run, clips("third"), settings) == Path("own-8000-1-2.dataset")
    assert cache_beside(run, Path("first"), IngestSettings(sample_rate=4000)) == Path("own-4000-1.dataset")


def test_a_dataset_of_several_sources_is_not_cut_down_to_one(own):
    settings = IngestSettings(sample_rate=RATE)
    list(ingest([Path("first"), Path("second")], Path("both.dataset"), settings))
    assert cache_beside(Path("both"), Path("first"), settings) == Path("both-8000-1.dataset")


def test_an_interrupted_ingest_knows_its_sources(own):
    settings = IngestSettings(sample_rate=RATE)
    steps = ingest([Path("first")], Path("half.dataset"), settings)
    next(steps)
    steps.close()
    assert cache_beside(Path("half"), Path("second"), settings) == Path("half-8000-1.dataset")
    assert cache_beside(Path("half"), Path("first"), settings) == Path("half.dataset")


def test_a_source_of_which_nothing_could_be_taken_holds_no_folder(own):
    Path("bad/low").mkdir(parents=True)
    Path("bad/low/0.wav").write_text("no audio")
    with pytest.raises(DatasetError, match="no recording could be read"):
        list(ingest([Path("bad")], Path("new.dataset")))
    assert len(list(ingest([Path("first")], Path("new.dataset")))) == 4


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train second --resume -o run", r"\[data\] differs from this recipe"),
        ("train second --resume --force -o run", r"--resume continues a run and --force starts again"),
        ("train first -o run", r"run: already contains a run; continue it with --resume"),
        ("train second -o first", r"first: contains other files; choose a new folder with -o"),
        ("train second -o first --folds 2", r"first: contains other files, such as high; choose a new folder"),
        ("train second -o folds --folds 2", r"folds: already contains a run; continue it with --resume"),
        ("train second -o file", r"file: not a folder; .* with -o"),
        ("train second --learning-curve 0,2", r"shares must be above 0 and at most 1"),
        (
            "train second --learning-curve abc",
            r"--learning-curve abc: not a list of shares; give shares such as 0\.1,0\.3,1",
        ),
    ],
)
def test_what_cannot_be_is_told_before_a_recording_is_read(own, command, message):
    Path("run").mkdir()
    Path("run/recipe.toml").write_text(f'spec = "sound_2d"\n[data]\nsource = "{Path("first").resolve()}"\n')
    Path("folds/fold-1").mkdir(parents=True)
    Path("folds/fold-1/recipe.toml").touch()
    Path("file").touch()
    before = sorted(Path().rglob("*"))
    done = audiocnn(*command.split(), "--device", "cpu")
    assert done.status is ExitStatus.USAGE
    assert len(done.err.splitlines()) == 1
    assert re.search(message, done.err)
    assert sorted(Path().rglob("*")) == before
    assert kept("own.dataset") == own


def test_files_that_were_refused_are_in_the_exit_code_of_train(own, monkeypatch):
    monkeypatch.setattr("audiocnn_cli.commands.train.run.show_training", lambda *_: None)
    monkeypatch.setattr("audiocnn_cli.commands.train.summary.finish_run", lambda *_: ExitStatus.OK)
    assert audiocnn("train", "second", "-o", "run", "--device", "cpu").status is ExitStatus.OK
    Path("second/low/broken.wav").write_text("no audio")
    done = audiocnn("train", "second", "-o", "run", "--device", "cpu")
    assert done.status is ExitStatus.SOME_FAILED, done.err
    assert "refused" in done.err


def test_evaluate_keeps_what_it_is_not_asked_for(own, tone_model):  # noqa: F811
    judge = ("-m", tone_model, "--resamples", "0")
    write_tones(Path())
    done = audiocnn("evaluate", "tones.tsv", *judge, "-o", "own.json")
    assert done.status is ExitStatus.OK, done.err
    assert kept("own.dataset") == own
    assert Dataset.open("own-8000-1.dataset").sample_rate == RATE
    list(ingest([Path("tones.tsv")], Path("slow.dataset"), IngestSettings(sample_rate=4000)))
    done = audiocnn("evaluate", "tones.tsv", *judge, "-o", "slow.json")
    assert done.status is ExitStatus.OK, done.err
    assert Dataset.open("slow.dataset").sample_rate == 4000


def test_evaluate_says_what_is_wrong_of_the_data_that_were_given(own, tone_model):  # noqa: F811
    judge = ("-m", tone_model, "--resamples", "0")
    write_tones(Path())
    done = audiocnn("evaluate", "tones.tsv", *judge, "--split", "nosuch")
    assert done.status is ExitStatus.USAGE
    assert 'tones.tsv: no recordings in split "nosuch"' in done.err
    assert "audiocnn-" not in done.err
    done = audiocnn("evaluate", "tones.tsv", *judge, "--by", "speaker")
    assert done.status is ExitStatus.USAGE
    assert '--by: no column "speaker" in tones.tsv' in done.err
    with Path("tones.tsv").open("a") as table:
        table.write("broken.wav\t0.1\t0.2\ttone\n")
    Path("broken.wav").write_text("no audio")
    done = audiocnn("evaluate", "tones.tsv", *judge)
    assert done.status is ExitStatus.SOME_FAILED, done.err


def test_columns_that_are_there_are_known(tmp_path):
    dataset = write_dataset(tmp_path, [("a.wav", sine(400, 0.1, RATE, 0.3), {"tags": {"place": "x", "mic": "y"}})])
    check_columns(dataset, ["place", "mic"], "d")
    with pytest.raises(UsageError, match=r'--by: no column "speaker" in d; known: mic, place'):
        check_columns(dataset, ["place", "speaker"], "d")
    with pytest.raises(UsageError, match=r'did you mean "place"\?'):
        check_columns(dataset, ["plaec"], "d")
    with pytest.raises(UsageError, match=r'no column "mic" in d; known: recording'):
        check_columns(dataset.with_entries([]), ["mic"], "d")
