"""A training from data to tested model: `train`, which does the same as `audiocnn train`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from audiocnn.errors import AudiocnnError, UsageError
from audiocnn.evaluation.advice import Subject, advise
from audiocnn.evaluation.report import EvaluationReport, write_json
from audiocnn.evaluation.results import Evaluation, EvaluationSettings, Figure
from audiocnn.files import write_whole
from audiocnn.inference.engine import load_engine
from audiocnn.inference.frames import data_frame
from audiocnn.model.model import Model
from audiocnn.progress import Progress, ProgressCallback
from audiocnn.recipe.division import Division, divide
from audiocnn.recipe.recipe import RECIPE_FILE
from audiocnn.units import count_noun
from audiocnn.workflows.judge import find_example, judge_dataset, make_scorer
from audiocnn.workflows.listener import Listener, ProgressListener
from audiocnn.workflows.plan import TrainingPlan, TrainingRequest, plan_training, run_to_resume, say_notes
from audiocnn.workflows.run_folder import REPORT_FILE

if TYPE_CHECKING:
    import pandas

    from audiocnn.data.dataset import Dataset, Entry
    from audiocnn.recipe.recipe import Recipe
    from audiocnn.training.distributed import ProcessGroup
    from audiocnn.training.events import EpochReport, StepReport, TrainReport
    from audiocnn.training.interrupt import StopSignals
    from audiocnn.training.transfer import Origin

PAGE = "report.html"  # in the folder of a run


@dataclass(frozen=True)
class Training:
    """A training to run. moved: whether the data of the run to resume has a new place. threads: None measures the
    fastest number. budget_seconds: the time for the epochs."""

    recipe: Recipe
    dataset: Dataset
    folder: Path
    device: str
    resume: bool
    _: KW_ONLY
    tensorboard: bool = False
    moved: bool = False
    threads: int | None = None
    budget_seconds: float | None = None

    @classmethod
    def planned(cls, plan: TrainingPlan, request: TrainingRequest, device: str | None = None) -> Training:
        """The training of a plan. device: of this process, if it is one of several."""
        return cls(
            plan.recipe,
            plan.dataset,
            plan.folder,
            device or plan.device,
            request.resume,
            tensorboard=request.tensorboard,
            moved=request.moved is not None,
            threads=plan.threads,
            budget_seconds=plan.budget_seconds,
        )


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and its results.

    - `folder`: run folder.
    - `model`: for `detect`, `classify`, `evaluate` and so on.
    - `evaluation`: results on the test part; None without one.
    - `figure`: value of the best epoch on the data used for early stopping, and `figure_name`, its name; None if
      nothing was held out.
    - `notes`: what was found, chosen and done, as lines.
    - `warnings`: problems with the data.
    """

    folder: Path
    model: Model
    evaluation: EvaluationReport | None
    epochs: int
    best_epoch: int
    figure_name: str
    figure: float | None
    seconds: float
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per epoch, as in metrics.csv in the run folder. Raises UsageError without pandas."""
        from audiocnn.training.log import read_log

        rows = read_log(self.folder)
        names = dict.fromkeys(name for row in rows for name in row)
        return data_frame({name: [row.get(name) for row in rows] for name in names})


def train(
    data: str | Path | None = None,
    *,
    output: str | Path | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    recipe: str | Path | None = None,
    spec: str | Path | None = None,
    from_model: str | Path | None = None,
    freeze: str | Sequence[str] = (),
    batch_size: int | Literal["auto"] | None = None,
    learning_rate: float | None = None,
    sample_rate: int | None = None,
    seed: int | None = None,
    threads: int | None = None,
    labels: str | Path | None = None,
    label_column: str | None = None,
    label_map: str | None = None,
    label_pattern: str | None = None,
    keep_labels: str | Sequence[str] = (),
    group: str | None = None,
    group_pattern: str | None = None,
    fold: str | None = None,
    corrections: str | Path | Sequence[str | Path] | None = None,
    only_corrected: bool = False,
    resume: bool = False,
    force: bool = False,
    moved_to: str | Path | None = None,
    tensorboard: bool = False,
    device: str = "auto",
    progress: ProgressCallback | None = None,
) -> TrainingResult:
    """Train a model, as `audiocnn train` does with the options of the same names, and test it.

    - `data`: a folder with one subfolder for each label, another source as for `audiocnn ingest`, a dataset, or a
      recipe (.toml). Without it, ./audiocnn.toml is used, or with `resume` the run `output` continues. Network and
      settings are chosen as by the command unless they are given.
    - `output`: run folder, by default runs/NAME.
    - `minutes`: how long the training may take on this machine.
    - `from_model`: name or folder of the model whose weights the training starts from, or "none".
    - `freeze`: groups of that model that are not trained.
    - `moved_to`: with `resume`, the new place of the data.
    - `progress`: called with a `Progress` for each recording that is read and for each step. An exception that it
      raises ends the training like Ctrl-C: `resume=True` continues it.

    Nothing is printed. Errors are raised as AudiocnnError with the one-line message of the command.

    >>> result = audiocnn.train("birds/", minutes=3)
    >>> audiocnn.classify("dawn.wav", result.model).label
    'robin'
    """
    listener = ProgressListener(progress)
    request = run_to_resume(
        TrainingRequest(
            data=_text(data),
            output=_text(output),
            minutes=minutes,
            epochs=epochs,
            recipe=_text(recipe),
            spec=_text(spec),
            source=_text(from_model),
            freeze=",".join(_texts(freeze)) or None,
            batch_size=_text(batch_size),
            learning_rate=learning_rate,
            sample_rate=sample_rate,
            seed=seed,
            threads=threads,
            labels=_text(labels),
            label_column=label_column,
            label_map=label_map,
            label_pattern=label_pattern,
            keep_label=_texts(keep_labels) or None,
            group=group,
            group_pattern=group_pattern,
            fold=fold,
            corrections=_texts(corrections) or None,
            only_corrected=only_corrected,
            resume=resume,
            force=force,
            moved=_text(moved_to),
            tensorboard=tensorboard,
            device=device,
        )
    )
    plan = plan_training(request, listener)
    say_notes(plan.recipe, plan.dataset, listener)
    report = _follow_training(Training.planned(plan, request), listener)
    end = finish_training(plan.recipe, plan.dataset, report, plan.folder, listener)
    return TrainingResult(
        folder=plan.folder,
        model=report.model,
        evaluation=end.evaluation,
        epochs=report.epochs,
        best_epoch=report.best_epoch,
        figure_name=report.figure_name,
        figure=report.figure,
        seconds=report.seconds,
        notes=tuple(listener.notes),
        warnings=tuple(listener.warnings),
    )


def _text(value: str | int | Path | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | os.PathLike):
        raise UsageError(f"{type(value).__name__} is neither a string nor a path; give one of these")
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _texts(values: str | Path | Sequence[str | Path] | None) -> tuple[str, ...]:
    """One name, several or none, as strings."""
    if values is None:
        return ()
    named = (values,) if isinstance(values, str | os.PathLike) else values
    return tuple(os.fspath(value) for value in named)


def _follow_training(training: Training, listener: ProgressListener) -> TrainReport:
    """Train, and pass each step to the callback. An exception there ends the training after the current step, when
    everything is saved."""
    from audiocnn.training.distributed import ProcessGroup
    from audiocnn.training.events import EpochReport, StepReport, TrainReport
    from audiocnn.training.interrupt import StopSignals

    signals = StopSignals()
    figure: float | None = None
    reports = training_reports(training, listener, signals, ProcessGroup())
    epochs = training.recipe.train.epochs
    for report in reports:
        if isinstance(report, TrainReport):
            if signals.problem is not None:  # from the very last step
                raise signals.problem
            return report
        if isinstance(report, EpochReport):
            figure, epochs = report.figure, report.epochs
        if not isinstance(report, StepReport):
            continue
        done = (report.epoch - 1) * report.steps + report.step
        moment = Progress(
            "train", done, epochs * report.steps, f"epoch {report.epoch}", report.epoch, report.loss, figure
        )
        try:
            listener.progress(moment)
        except BaseException as problem:  # noqa: BLE001 - raised again after saving
            signals.stop_for(problem)
            listener.progress = lambda moment: None
    raise AssertionError("a training ends with its report")


def training_reports(
    training: Training, listener: Listener, stop_signals: StopSignals, group: ProcessGroup
) -> Iterator[Origin | StepReport | EpochReport | TrainReport]:
    """The reports of a training; its notes go to the listener. The first Ctrl-C (or SIGTERM) ends it after the current
    step, when everything is saved; then the signal has its usual effect."""
    from audiocnn.training.log import log_to_tensorboard

    reports = _training_steps(training, listener, stop_signals, group)
    return log_to_tensorboard(reports, training.folder, training.tensorboard and group.is_leader)


def _training_steps(
    training: Training, listener: Listener, stop_signals: StopSignals, group: ProcessGroup
) -> Iterator[Origin | StepReport | EpochReport | TrainReport]:
    from audiocnn.training.events import Note, StopReport
    from audiocnn.training.threads import AUTO_THREADS
    from audiocnn.training.train import train as train_recipe

    t, stopped = training, False
    threads = t.threads or AUTO_THREADS
    about = (t.recipe, t.dataset, t.folder, t.device, t.resume)
    for report in train_recipe(*about, stop_signals, group, t.moved, threads, t.budget_seconds):
        if isinstance(report, Note) and report.warning:
            listener.warn(report.text)
        elif isinstance(report, Note):
            listener.say(report.text)
        elif isinstance(report, StopReport):
            listener.say(f"stopped at epoch {report.epoch}, step {report.step} of {report.steps}: saved")
            stopped = True
        else:
            yield report
    if stopped:
        stop_signals.raise_first()


@dataclass(frozen=True)
class TrainingEnd:
    """The results of a finished training. judged_on: a description of the part that was evaluated, which has this
    number of recordings; evaluation: None if there is no such part. pictures: files in the run. clips: whether whole
    clips were trained on. subject: for advice."""

    division: Division
    judged_on: str
    recordings: int
    evaluation: EvaluationReport | None
    pictures: list[str]
    clips: bool
    subject: Subject


def finish_training(
    recipe: Recipe, dataset: Dataset, report: TrainReport, run: Path, listener: Listener, again: Sequence[str] = ()
) -> TrainingEnd:
    """Evaluate the model on held-out data, and write the pictures and reports into the run. again: the command that
    trains again."""
    division = divide(dataset, recipe)
    clips = not any(entry.annotated for entry in dataset.entries)
    counts = Counter(label for entry in dataset.entries for label in entry.labels) if clips else {}
    example = find_example(dataset.with_entries([*division.test, *dataset.entries]))
    split, judged, judged_on = judged_part(division, recipe, clips)
    subject = Subject(str(run), str(run / RECIPE_FILE), ("--split", split), counts, tuple(again), example)
    part = dataset.with_entries(judged)
    tested = test_model(part, judged_on, recipe, report.model, subject, listener) if judged else None
    evaluation = tested.evaluation if tested is not None else None
    drawn = draw_pictures(recipe, dataset, report.model, evaluation, run, listener)
    if tested is not None:
        write_report(tested, drawn, part, run)
    if tested is not None and division.test:  # what chose the epoch is no test
        from audiocnn.training.release import add_test_result

        add_test_result(report.model.folder, card_rows(tested, judged_on))
    return TrainingEnd(division, judged_on, len(judged), tested, drawn, clips, subject)


def judged_part(division: Division, recipe: Recipe, clips: bool) -> tuple[str, list[Entry], str]:
    """The part that a model is evaluated on at the end: its name for --split, its recordings, and a description. If
    recordings with segments have no test part, it is the validation part, which the training used only in mixtures."""
    if division.test or clips or recipe.evaluate.conditions is not None:
        return "test", division.test, division.tested_on
    return "validation", [entry for entry in division.validation if entry.annotated], "held out for validation"


def test_model(
    part: Dataset, judged_on: str, recipe: Recipe, model: Model, subject: Subject, listener: Listener
) -> EvaluationReport:
    """Evaluate the model on held-out data."""
    scorer = make_scorer(load_engine(model, "cpu", None))
    found = judge_dataset(part, scorer, EvaluationSettings(), None, "test", listener, "test")
    data = str(recipe.data.source if recipe.data else part.folder)
    about = (model.name, str(model.folder), model.tuned_on, model.thresholds, data, judged_on)
    return EvaluationReport(*about, *found, advice=advise(found[0], subject))


def card_rows(report: EvaluationReport, judged_on: str) -> list[tuple[str, str]]:
    """The result of the test for the card of the model: accuracy of clips, or F1 of each label."""
    clip = report.evaluation.clip
    if clip is None:
        return [
            (f"test: F1 of {label}", describe_figure(found.figures["f1"]))
            for label, found in report.evaluation.labels.items()
        ]
    name, figure = next(iter(clip.figures.items()))
    return [(f"test: {name}", f"{describe_figure(figure)}, of {count_noun(clip.clips, 'clip')} ({judged_on})")]


def describe_figure(figure: Figure) -> str:
    """`0.7917, 95 % interval 0.60 to 0.91`."""
    if figure.value is None:
        return "undefined"
    between = "" if figure.low is None else f", 95 % interval {figure.low:.2f} to {figure.high:.2f}"
    return f"{figure.value:.4f}{between}"


def write_report(report: EvaluationReport, pictures: Sequence[str], part: Dataset, run: Path) -> None:
    """Write report.json and report.html into the run. pictures: files in the run that the page links to."""
    from audiocnn.report.evaluation import evaluation_page

    lines: list[str] = []
    write_json([report], lines.append, pretty=True)
    _write(run / REPORT_FILE, "".join(lines))
    _write(run / PAGE, evaluation_page([report], part, pictures))


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written ({problem.strerror}); free space there") from None


def draw_curves(run: Path, name: str, listener: Listener) -> list[str]:
    """Draw the curves of a finished run. Returns the file, if it could be drawn."""
    from audiocnn.report.train_picture import CURVES_FILE, draw_training_curves
    from audiocnn.training.log import read_log

    return draw_all({CURVES_FILE: lambda path: draw_training_curves(read_log(run), path, name)}, run, listener)


def draw_pictures(
    recipe: Recipe, dataset: Dataset, model: Model, evaluation: Evaluation | None, run: Path, listener: Listener
) -> list[str]:
    """Draw the pictures of a finished run. Returns the names of those that could be drawn."""
    from audiocnn.report.batch_picture import BATCH_FILE, draw_batch
    from audiocnn.report.evaluation_picture import (
        CONFUSION_FILE,
        PRECISION_RECALL_FILE,
        can_draw_precision_recall,
        draw_confusion,
        draw_precision_recall,
    )

    name = recipe.name
    pictures: dict[str, Callable[[Path], None]] = {BATCH_FILE: lambda path: draw_batch(recipe, dataset, path)}
    if evaluation is not None:
        clip = evaluation.clip
        if clip is not None and clip.confusion is not None:
            pictures[CONFUSION_FILE] = lambda path: draw_confusion(clip, path, name)
        points = {
            label: {point: model.rule(label, point).threshold for point in own} for label, own in model.points.items()
        }
        if can_draw_precision_recall(evaluation):
            pictures[PRECISION_RECALL_FILE] = lambda path: draw_precision_recall(evaluation, points, path, name)
    return [*draw_curves(run, name, listener), *draw_all(pictures, run, listener)]


def draw_all(pictures: Mapping[str, Callable[[Path], None]], run: Path, listener: Listener) -> list[str]:
    """Draw each picture into the folder of a run. A failure is reported in one line, and does not end the training."""
    drawn = []
    for file, draw in pictures.items():
        try:
            draw(run / file)
        except Exception as problem:  # noqa: BLE001 - whatever a plotting library raises: the model is complete
            said = str(problem) if isinstance(problem, AudiocnnError) else f"{type(problem).__name__}: {problem}"
            listener.warn(f"{run / file}: could not be drawn: {said}")
        else:
            drawn.append(file)
    return drawn
