"""`audiocnn doubtful`: list clips whose label and score disagree most, as a table and on a page to correct."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocnn.audio.remote import refuse_urls
from audiocnn.errors import LabelError, UsageError, as_argument, did_you_mean, format_command, printable, show_name
from audiocnn.files import free_path
from audiocnn.units import plural
from audiocnn.workflows.label_place import CORRECTED, DOUBTFUL_TABLE, REVIEW_TABLE, label_words
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    BASIC,
    OUTPUT,
    Device,
    Force,
    Jobs,
    JudgedData,
    LabelOptions,
    ModelName,
    ReportFormat,
    SplitName,
    TableFormat,
    option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.judge import JudgedSegments, clips_of, scorer_by_options
from audiocnn_cli.io.listener import TerminalListener
from audiocnn_cli.io.output import check_table, write_text

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.evaluation.doubtful import Doubt
    from audiocnn.evaluation.results import ClipEvaluation
    from audiocnn.report.sound import ClipSound

_SOUND_BYTES = 24 * 2**20  # on the page
_DIGITS = 4
_GOOD_SHARE = 0.8  # of the answers right; of a worse model, a doubt is often its own mistake
_WIDE = 60  # columns; narrower tables have no scores
_Top = Annotated[
    int,
    typer.Option("--top", "-k", min=1, metavar="N", help="Number of clips, the most doubtful first."),
    BASIC,
]
_Output = Annotated[
    str | None,
    option(
        "--output",
        "FILE",
        f"The table to correct, in TSV. The page for listening is written next to it. "
        f"[default: {DOUBTFUL_TABLE}, or the next free name]",
        OUTPUT,
        short="-o",
    ),
    BASIC,
]
_Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="LABEL", help="Use only clips with this label. May be repeated."),
    BASIC,
]
_Corrections = Annotated[
    list[str] | None,
    option(
        "--corrections",
        "FILE",
        "Leave out clips already decided in this table; `none`: ignore all tables. May be repeated. "
        "[default: those beside the output]",
    ),
    BASIC,
]


def doubtful(
    terminal: Terminal,
    data: JudgedData,
    model: ModelName = None,
    top: _Top = 50,
    label: _Labels = None,
    corrections: _Corrections = None,
    split: SplitName = None,
    labels: LabelOptions = LabelOptions(),  # noqa: B008 - frozen
    format: TableFormat = ReportFormat.auto,
    output: _Output = None,
    force: Force = False,
    device: Device = "auto",
    jobs: Jobs = None,
) -> ExitStatus:
    """Lists the clips whose labels the model contradicts, the clearest cases first, and writes them to a table and to a
    page that plays them. Correct either, and train again with the command in the last line. Labels that a model has
    memorised are not found; of the runs of `train --folds`, each model checks the clips that it was not trained on.
    The next run leaves out clips that were corrected or confirmed, and copies these answers into the new table.

    \b
    audiocnn doubtful birds/ -m runs/birds
    audiocnn doubtful birds/ -m runs/birds --top 12 -o birds.tsv
    audiocnn doubtful runs/birds-folds
    """
    from audiocnn.model.model import DEFAULT_MODEL
    from audiocnn.recipe.heard import TEST
    from audiocnn.recipe.recipe import RECIPE_FILE
    from audiocnn.workflows.heard import fold_runs, train_again_command
    from audiocnn.workflows.judge import resolve_split

    refuse_urls(data)
    files = check_doubtful_files("-o", output, top, [], force)
    folds = fold_runs(Path(data))
    check_folds(folds, data, model, split)
    judging = _Judging(data, device, jobs, terminal, labels, label or (), corrections, files)
    if folds:
        for run in folds:  # each evaluates its own part; the dataset is kept next to the folds
            with judging.judge(str(run), str(run / RECIPE_FILE), TEST, Path(f"{data}.folds")):
                pass
        doubts = judging.write((f"{len(folds)} folds", data))
    else:
        with judging.judge(model or DEFAULT_MODEL, data, resolve_split(data, split), None) as name:
            doubts = judging.write((name, data))
    if doubts is None:
        terminal.say("audiocnn: all clips have been reviewed")
        return ExitStatus.OK
    if terminal.wants_table(format):
        _draw(doubts, terminal)
    else:
        terminal.write("".join(json.dumps(_record(doubt), ensure_ascii=False) + "\n" for doubt in doubts))
    if doubts:
        source = source_of(folds[0] / RECIPE_FILE) if folds else data
        more = label_words(labels)
        again = train_again_command(source, [*judging.tables, files.table], more=more)
        terminal.say_block("after correcting, train again", [again])
    return ExitStatus.SOME_FAILED if judging.failed else ExitStatus.OK


@dataclass
class _Judging:
    """The evaluation of clips by models. of: only clips with these labels. corrections: tables given with the option.
    judged: the result of each model and its dataset. tables: corrections that the models were trained with. settled:
    clips that were reviewed before and are left out."""

    data: str
    device: str
    jobs: int | None
    terminal: Terminal
    labels: LabelOptions
    of: Sequence[str]
    corrections: list[str] | None
    files: DoubtfulFiles
    judged: list[tuple[ClipEvaluation, Dataset]] = field(default_factory=list)
    tables: tuple[Path, ...] = ()
    settled: dict[str, Any] = field(default_factory=dict)
    failed: bool = False

    @contextmanager
    def judge(self, model: str, data: str, part: str | None, kept: Path | None) -> Iterator[str]:
        """Evaluate a model on this data; a context in which the dataset exists, with the name of the model. kept: path
        next to which the dataset is kept, None for a temporary one."""
        from audiocnn.evaluation.results import EvaluationSettings
        from audiocnn.inference.engine import load_engine
        from audiocnn.model.model import find_model
        from audiocnn.workflows.heard import say_learned, tables_of_run
        from audiocnn.workflows.judge import check_channels, judge_dataset, model_candidate, open_judged_dataset

        engine, listener = load_engine(find_model(model), self.device, self.jobs), TerminalListener(self.terminal)
        one = model_candidate(engine.model, scorer_by_options(engine, JudgedSegments()))
        counts = Counter[str]()
        opened = open_judged_dataset(data, part, kept, [engine], [one], listener, counts, self.labels, "doubtful")
        with opened as (dataset, chosen):
            check_channels(dataset, engine)
            for name in self.of:
                if name not in dataset.labels:
                    raise UsageError(f"--label {name}: unknown label; {did_you_mean(name, dataset.labels)}")
            say_learned("doubtful", dataset, chosen, engine.model, listener)
            self.settled |= self._find_settled(dataset)
            rest = dataset.with_entries(entry for entry in dataset.entries if entry.filename not in self.settled)
            self.tables = self.tables or tables_of_run(engine.model, Path(data), dataset)
            if rest.entries or not self.settled:
                settings = EvaluationSettings(resamples=0)
                evaluation, *_ = judge_dataset(rest, one.scorer, settings, chosen, one.name, listener)
                self.judged.append((clips_of(evaluation, "", self.data), rest))
                self.failed |= bool(counts["refused"] or evaluation.failures)
            yield one.name

    def _find_settled(self, dataset: Dataset) -> dict[str, Any]:
        """Clips of a dataset that were corrected or confirmed, by file name. They are read from the given tables, else
        from tables next to the output with the default names of `doubtful` and `review`."""
        from audiocnn.data.sources.corrections import read_settled

        given = self.corrections
        if given is not None and [*given] == ["none"]:
            return {}
        for name in given or ():
            if not Path(name).is_file():
                raise UsageError(f"--corrections {name}: no such file; check the name")
        tables = (
            find_tables_beside(self.files.table, Path(self.data))
            if given is None
            else [(Path(x), False) for x in given]
        )
        known = {entry.filename: entry.labels for entry in dataset.entries}
        settled: dict[str, Any] = {}
        for path, of_doubtful in tables:
            try:
                found = read_settled(path, dataset.several, known, of_doubtful)
            except LabelError:
                if given is not None:
                    raise
                continue  # another file with such a name
            mine = {name: right for name, right in found.items() if name in known}
            if mine:
                shown = show_name(path.name if given is None else path)
                self.terminal.say(f"audiocnn: skipping {plural(len(mine), 'clip')} corrected or confirmed in {shown}")
            settled |= mine
        return settled

    def write(self, about: tuple[str, str]) -> list[Doubt] | None:
        """Write the table and the page; returns None, and writes nothing, if all clips were corrected or confirmed.
        about: the names of model and data."""
        if self.settled and not self.judged:
            return None
        return write_doubtful(self.judged, about, self.files, self.terminal, self.of, self.settled)


def check_folds(folds: Sequence[Path], data: str, model: str | None, split: str | None) -> None:
    """Raises UsageError for options that folds determine themselves, for folds given as a model, and for a fold that is
    unfinished."""
    from audiocnn.model.model import TOML
    from audiocnn.workflows.heard import fold_runs

    if unfinished := next((run for run in folds if not (run / "model" / TOML).is_file()), None):
        raise UsageError(f"{show_name(unfinished)}: is unfinished; continue the training of the folds with --resume")
    given = {"-m": model, "--split": split}
    if folds and (name := next((name for name, value in given.items() if value is not None), None)):
        what = f"{data} contains folds, each of which evaluates the part it was not trained on"
        raise UsageError(f"{name}: {what}; omit it")
    if model is not None and fold_runs(Path(model)):
        command = format_command(["audiocnn", "doubtful", as_argument(model)])
        raise UsageError(f"-m {model}: contains a model for each fold; evaluate all folds with `{command}`")


def source_of(recipe: Path) -> str:
    """The data of a recipe, as an argument for the command line."""
    from audiocnn.recipe.recipe import read_recipe
    from audiocnn.workflows.heard import show_path

    data = read_recipe(recipe).data
    assert data is not None  # it was evaluated
    return str(show_path(data.source))


@dataclass(frozen=True)
class DoubtfulFiles:
    """The files for `count` doubtful clips. option: the option that gives the table."""

    option: str
    table: Path
    page: Path
    count: int


def check_doubtful_files(option: str, table: str | None, count: int, taken: list[Path], force: bool) -> DoubtfulFiles:
    """The files to write; without a given table, a free name. Raises UsageError, before any work, for unusable names.
    taken: as for `check_table`."""
    if table:
        path = Path(table)
    else:
        again = force or Path(DOUBTFUL_TABLE).absolute() in taken
        path = Path(DOUBTFUL_TABLE) if again else free_path(Path(DOUBTFUL_TABLE), ".tsv", ".html")
    files = DoubtfulFiles(option, path, path.with_suffix(".html"), count)
    check_table(option, files.table, (".tsv",), taken, force)
    check_table(option, files.page, (".html",), taken, force)
    return files


def find_tables_beside(table: Path, data: Path) -> list[tuple[Path, bool]]:
    """Tables of corrections in the folder of the output, by the names that `doubtful`, its page and `review` give them,
    the oldest first; the data itself is left out. True: by its name, `doubtful` itself wrote the table."""
    stems = "|".join(re.escape(stem) for stem in (Path(DOUBTFUL_TABLE).stem, table.stem))
    written = re.compile(rf"(?:{stems})(?:-\d+)?(?P<page>{CORRECTED}.*)?\.tsv")
    found: list[tuple[Path, bool]] = []
    folder = table.absolute().parent
    for path in folder.iterdir() if folder.is_dir() else ():  # writing creates the folder, or says why it cannot
        match = written.fullmatch(path.name)
        if not (match or path.name == REVIEW_TABLE) or not path.is_file():
            continue
        if not (data.is_file() and path.samefile(data)):
            found.append((path, match is not None and match["page"] is None))
    return sorted(found, key=lambda each: each[0].stat().st_mtime)


def write_doubtful(
    judged: Sequence[tuple[ClipEvaluation, Dataset]],
    about: tuple[str, str],
    files: DoubtfulFiles,
    terminal: Terminal,
    of: Sequence[str] = (),
    settled: Mapping[str, Any] | None = None,
) -> list[Doubt]:
    """Write the table and the page, print how to use them, and return the clips. judged: results of one model, or of
    each fold on its own part. about: the names of model and data. of: only clips with these labels. settled: earlier
    corrections, which are copied to the table. Raises UsageError if a model knows none of the labels."""
    from audiocnn.evaluation.doubtful import doubts_to_tsv, find_doubtful, settled_rows
    from audiocnn.report.doubtful import render_doubtful
    from audiocnn.report.sound import clip_sounds

    before = settled_rows(settled or {})
    found = [
        (doubt, dataset)
        for clips, dataset in judged
        for doubt in find_doubtful(clips, len(clips.answers), of)
        if doubt.doubted
    ]
    found.sort(key=lambda pair: (-pair[0].doubt, pair[0].filename))
    count, found = len(found), found[: files.count]
    doubts = [doubt for doubt, _ in found]
    sounds: dict[str, ClipSound] = {}
    for _, dataset in judged:
        mine = [doubt.filename for doubt, own in found if own is dataset]
        sounds |= clip_sounds(dataset, mine, _SOUND_BYTES * len(mine) // max(1, len(found)))
    labels = sorted({label for clips, _ in judged for label in clips.labels} | {x for d in doubts for x in d.labels})
    corrected = f"{files.table.stem}{CORRECTED}.tsv"
    several = any(dataset.several for _, dataset in judged)
    page = render_doubtful(doubts, sounds, labels, about, corrected, several, before)
    write_text(files.option, files.table, doubts_to_tsv(doubts, before))
    write_text(files.option, files.page, page)
    total = sum(len(clips.answers) for clips, _ in judged)
    if not doubts:
        terminal.say(f"no doubtful clips: the model agrees with the labels of all {total}")
        return doubts
    likely = sum(doubt.likely_wrong for doubt in doubts)
    found_wrong = f", {likely} of them likely wrong" if likely else ""
    known = [answer.right for clips, _ in judged for answer in clips.answers if answer.right is not None]
    if likely and sum(known) < _GOOD_SHARE * len(known):
        found_wrong += (
            f" (but the model is right on {sum(known)} of {len(known)} clips only; some are its own mistakes)"
        )
    more = f" (the first of {count}; --top)" if count > len(doubts) else ""
    terminal.say(
        f"{plural(len(doubts), 'doubtful clip')}{more} of {total}{found_wrong}: listen and correct in"
        f" {files.page} (its button downloads {corrected}), or correct {files.table} by hand"
    )
    return doubts


def _record(doubt: Doubt) -> dict[str, Any]:
    from audiocnn.labels.formats.jsonl import record_head

    return {
        **record_head("doubtful", doubt.filename),
        "labels": list(doubt.labels),
        "suggested": list(doubt.suggested),
        "score": round(doubt.score, _DIGITS),
        "label_score": round(doubt.label_score, _DIGITS),
        "doubt": round(doubt.doubt, _DIGITS),
        "likely_wrong": doubt.likely_wrong,
    }


def _draw(doubts: Sequence[Doubt], terminal: Terminal) -> None:
    """Print a table with one row per clip, as wide as the terminal."""
    from rich.text import Text

    from audiocnn.segments.segment import NONE_OF_THESE

    if not doubts:
        return
    wide = terminal.out.width >= _WIDE
    table = terminal.new_table()
    for title in ("clip", "label", *(["score"] if wide else []), "model", *(["score"] if wide else []), ""):
        table.add_column(title, justify="right" if title == "score" else "left", no_wrap=True, overflow="ellipsis")
    for doubt in doubts:
        label = " ".join(map(printable, doubt.labels)) or "-"
        suggested = " ".join(map(printable, doubt.suggested)) or NONE_OF_THESE
        cells = [printable(doubt.filename), label, f"{doubt.label_score:.2f}", suggested, f"{doubt.score:.2f}"]
        shown = cells if wide else [cells[0], cells[1], cells[3]]
        mark = Text("likely wrong" if wide else "!", style="yellow")
        table.add_row(*map(Text, shown), mark if doubt.likely_wrong else "")
    terminal.out.print(table)
