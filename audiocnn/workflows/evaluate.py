"""Evaluates a model on labelled recordings: `evaluate`, which does the same as `audiocnn evaluate`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from audiocnn.audio.arrays import AnyArray, ArrayDecoder, ArraySource
from audiocnn.audio.remote import refuse_urls
from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import ingest_arrays
from audiocnn.data.writer import Item
from audiocnn.errors import AudiocnnError, UsageError
from audiocnn.evaluation.advice import Advice, Subject, advise
from audiocnn.evaluation.report import EvaluationReport
from audiocnn.evaluation.results import EvaluationSettings
from audiocnn.inference.detect import DetectSettings
from audiocnn.inference.engine import Engine, load_engine
from audiocnn.model.model import DEFAULT_MODEL, ModelLike, find_model
from audiocnn.progress import ProgressCallback
from audiocnn.segments.segment import Annotation, Segment
from audiocnn.workflows.judge import (
    check_judged,
    find_example,
    judge_dataset,
    make_scorer,
    model_candidate,
    name_data,
    open_judged_dataset,
    resolve_split,
)
from audiocnn.workflows.label_place import NOWHERE, GivenLabels, label_words
from audiocnn.workflows.listener import Listener, ProgressListener

Interval = Annotation | Segment | tuple[float, float, str]
ArrayRecording = tuple[AnyArray, int, str | Sequence[str] | Sequence[Interval]]
"""Samples as in `detect`, their rate in Hz, and the reference: the label of a clip, all of its labels, or its segments
(an empty list if it has none)."""
_ARRAYS = "the arrays"


def evaluate(
    data: str | Path | Iterable[ArrayRecording],
    model: ModelLike = DEFAULT_MODEL,
    settings: DetectSettings | None = None,
    device: str = "auto",
    *,
    split: str | None = None,
    labels: str | Path | None = None,
    label_column: str | None = None,
    label_map: str | None = None,
    evaluation: EvaluationSettings | None = None,
    output: str | Path | None = None,
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
) -> EvaluationReport:
    """Measure how good a model is, as `audiocnn evaluate` does with the options of the same names.

    - `data`: a folder, a table, a recipe or a dataset. Or a list of recordings in memory, each a tuple (samples,
      sample_rate, known), where known is the label of a clip, a list of all its labels, or a list of its segments:
      `Annotation`, `Segment` or (onset, offset, label) in seconds.
    - `settings`: as in `detect`.
    - `output`: recordings that are not a dataset yet are converted to one beside this name and kept for the next time;
      by default in a temporary folder.
    - `progress`: called with a `Progress` for each recording. An exception that it raises ends the work.

    Errors are raised as AudiocnnError with the one-line message of the command. A recording that cannot be read does
    not stop the others; it is reported in `warnings`.

    >>> found = audiocnn.evaluate("meetings/", "speech_1d")
    >>> found.figures["f1"].value
    0.93
    """
    listener, evaluation = ProgressListener(progress), evaluation or EvaluationSettings()
    engine = load_engine(find_model(model), device, jobs)
    candidate = model_candidate(engine.model, make_scorer(engine, settings), settings.sensitivity if settings else None)
    name, part, given = _ARRAYS, split, NOWHERE
    if in_files := isinstance(data, str | os.PathLike):
        name = os.fspath(data)
        refuse_urls(name)
        part = resolve_split(name, split)
        given = GivenLabels(label_column, label_map, labels=None if labels is None else os.fspath(labels))
        beside = None if output is None else Path(output)
        opened = open_judged_dataset(name, part, beside, [engine], [candidate], listener, None, given)
    elif split or labels or label_column or label_map or output:
        raise UsageError(
            "split, labels, label_column, label_map and output apply to recordings in files; omit them for arrays"
        )
    else:
        opened = _open_arrays(data, engine, candidate.scorer.sample_rate, listener)
    with opened as (dataset, chosen):
        check_judged(dataset, chosen, [engine], [candidate], evaluation.group_by, name, listener)
        about = (candidate.name, candidate.folder, candidate.tuned_on, candidate.thresholds, name, part)
        found = judge_dataset(dataset, candidate.scorer, evaluation, chosen, candidate.name, listener)
        advice: Sequence[Advice] = ()
        if in_files:
            named = os.fspath(model) if isinstance(model, str | os.PathLike) else str(engine.model.folder)
            more = [*(["--split", split] if split else []), *label_words(given)]
            advice = advise(found[0], Subject(named, name, tuple(more), example=find_example(dataset)))
    return EvaluationReport(*about, *found, warnings=tuple(listener.warnings), points=candidate.points, advice=advice)


@contextmanager
def _open_arrays(
    recordings: Iterable[ArrayRecording], engine: Engine, sample_rate: int, listener: Listener
) -> Iterator[tuple[Dataset, str | None]]:
    """Samples in memory as a temporary dataset, stored like those of files."""
    items = [_item(number, given) for number, given in enumerate(recordings, 1)]
    if not items:
        raise UsageError("no recordings; give (samples, sample_rate, label or segments) for each")
    with tempfile.TemporaryDirectory(prefix="audiocnn-") as temporary, name_data(_ARRAYS, temporary):
        folder = Path(temporary) / "dataset"
        with listener.ingesting() as follow:
            for step in ingest_arrays(items, folder, sample_rate, engine.channels):
                follow(step)
        yield Dataset.open(folder), None


def _item(number: int, given: ArrayRecording) -> tuple[Item, ArraySource]:
    """UsageError with the number of the recording, if it is invalid."""
    name = f"array {number}"
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise UsageError(f"{name}: give (samples, sample_rate, label or segments)")
    samples, sample_rate, known = given
    try:
        decoder = ArrayDecoder(samples, sample_rate)
    except AudiocnnError as problem:
        raise UsageError(f"{name}: {problem}") from None
    source = ArraySource(samples, decoder.sample_rate, name)
    if isinstance(known, str):
        return Item(Path(name), name, label=known), source
    if not isinstance(known, Iterable):
        raise UsageError(f"{name}: {known!r} is neither a label nor a list of segments; give one of these")
    listed = list(known)
    if listed and all(isinstance(one, str) for one in listed):
        texts = list(dict.fromkeys(one for one in listed if isinstance(one, str)))
        return Item(Path(name), name, label=texts[0], more=tuple(texts[1:])), source
    return Item(Path(name), name, annotated=True, annotations=tuple(_annotation(one, name) for one in listed)), source


def _annotation(one: object, name: str) -> Annotation:
    if isinstance(one, Annotation):
        return one
    if isinstance(one, Segment):
        return Annotation(one.start, one.end, one.label)
    try:
        onset, offset, label = one  # type: ignore[misc]
        times = float(onset), float(offset)  # type: ignore[has-type]
    except (TypeError, ValueError):
        raise UsageError(f"{name}: {one!r} is not a segment; give (onset, offset, label), in seconds") from None
    return Annotation(*times, str(label))  # type: ignore[has-type]
