"""`audiocnn tune DATA ... --operating-points`: tune the three rules that `--sensitivity` selects from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import AudiocnnError, UsageError, printable
from audiocnn_cli.app.draw import figure_rows, point_rows, print_table
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import LabelOptions, ReportFormat
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.tune.options import Goal, RuleOptions, SweepOptions, TuneCommand
from audiocnn_cli.commands.tune.thresholds import (
    check_saved,
    check_tune_files,
    choose_labels,
    choose_split,
    describe_scored,
    find_unheard,
    keep_line,
    save_model,
    score_data,
    tell_lines,
)
from audiocnn_cli.io.batch import batch_status

if TYPE_CHECKING:
    from audiocnn.evaluation.clips import ScoredClip
    from audiocnn.evaluation.operating_points import TunedPoint
    from audiocnn.evaluation.segments import JudgedRecording
    from audiocnn.evaluation.thresholds import Measure
    from audiocnn.inference.engine import Engine
    from audiocnn.model.model import Model, OperatingPoint

_NOW = "now"
_Set = tuple[list["JudgedRecording"], list["ScoredClip"]]
"""Recordings with annotated segments; if there are none, clips."""


def run_points(
    data: list[str],
    name: str | None,
    where: LabelOptions,
    sweep: SweepOptions,
    format: ReportFormat,
    device: str,
    jobs: int | None,
    terminal: Terminal,
) -> ExitStatus:
    from audiocnn.evaluation.operating_points import as_points
    from audiocnn.evaluation.save_thresholds import with_operating_points
    from audiocnn.evaluation.thresholds import MEASURES
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import DEFAULT_MODEL, describe_price, find_model

    goal = (sweep.goal or Goal.detection_error).value
    measure = next((one for one in MEASURES if one == goal), None)
    if measure is None:
        raise UsageError(f"--for {goal}: not available for operating points; use {' or '.join(MEASURES)}")
    if sweep.plot:
        raise UsageError("--plot cannot be combined with --operating-points; omit one of them")
    check_tune_files(sweep, force=False)
    model = find_model(name or DEFAULT_MODEL)
    if model.points_hindrance:
        raise UsageError(f"--operating-points: {model.points_hindrance}; omit the option")
    check_saved(model, sweep)
    sets, origins, failed = _score_all(data, load_engine(model, device, jobs), where, sweep, terminal)
    found: dict[str, dict[str, OperatingPoint]] = {}
    results = []
    how = "tuned on one half of each, measured on the other" if sweep.cross_fit else "tuned and measured on the same"
    for label in dict.fromkeys(label for one in sets for label in one):
        mine = [one[label] for one in sets if label in one]
        try:
            tuned, now = _tune_label(model, label, mine, measure, sweep.cross_fit)
        except AudiocnnError as problem:
            failed += 1
            terminal.error(f"{label}: {problem}")
            continue
        names = [text for one, text in zip(sets, origins, strict=True) if label in one]
        measured_on = f"{'; '.join(names)}; {how}"
        found[label] = as_points(tuned, measured_on, clips=bool(mine[0][1]))
        results.append((label, tuned, now, names))
    if not found:
        return ExitStatus.USAGE
    tuned_on = f"{'; '.join(origins)}, {goal.replace('_', ' ')}"
    clips = not any(recordings for one in sets for recordings, _ in one.values())
    saved = save_model(with_operating_points(model, found, tuned_on, clips), sweep, terminal)
    for label, tuned, now, names in results:  # last, since the reader of stdout may close it early
        _write(model, label, tuned, now, found[label], names, format, terminal)
    lines = [describe_price(label, own, "sensitive") for label, own in found.items()]
    lines += [find_unheard([one for each in sets for one in each.get(label, ((), ()))[0]], label) for label in found]
    if saved is None:
        lines.append(keep_line(model, terminal))
    else:
        again = TuneCommand(data[0], saved.reference, where, sweep.split)
        lines.append(f"try one:  {again.evaluate('--sensitivity', 'sensitive')}")
    tell_lines([line for line in lines if line], format, terminal)
    return batch_status(len(found), failed)


def _tune_label(
    model: Model, label: str, sets: Sequence[_Set], measure: Measure, cross_fit: bool
) -> tuple[dict[str, TunedPoint], dict[str, float]]:
    """The operating points of a label, and the figures of its current rule."""
    from dataclasses import replace

    from audiocnn.evaluation.operating_points import measure_rules, tune_clip_points, tune_operating_points

    if clips := [clip for _, own in sets for clip in own]:
        return tune_clip_points(clips, model.labels, label, cross_fit), {}
    recordings = [own for own, _ in sets]
    rules = [model.rule(label, name) for name in model.points.get(label, {})] or [model.rule(label)]
    live = any(spec.f.look_ahead_seconds is not None for spec in model.specs)
    known = [] if live else [replace(rule, neg_threshold=rule.closing_threshold) for rule in rules]
    now = measure_rules(recordings, model.labels, label, {_NOW: model.rule(label)})[_NOW]
    return tune_operating_points(recordings, model.labels, label, measure, cross_fit, known, live), now


def _check_kinds(model: Model, data: list[str], scored: list[_Set]) -> None:
    """Raises UsageError for a mix of whole clips and segments, and for clips if the model has no threshold for them."""
    for one, (recordings, _) in zip(data, scored, strict=True):
        if not recordings and any(own for own, _ in scored):
            raise UsageError(f"{one}: has only whole clips, while other data has segments; tune on one kind at a time")
        if not recordings and model.answer == "one" and len(model.labels) > 1:
            what = f"{model.name} answers clips with the label that has the highest score, without a threshold"
            raise UsageError(f"{one}: has only whole clips, and {what}; use recordings with segments")


def _score_all(
    data: list[str], engine: Engine, where: LabelOptions, sweep: SweepOptions, terminal: Terminal
) -> tuple[list[dict[str, _Set]], list[str], int]:
    """For each DATA its scored recordings by label and its description; and the number of recordings that failed."""
    from audiocnn.workflows.judge import check_channels, model_candidate, open_judged_dataset, say_unknown_labels
    from audiocnn_cli.io.judge import scorer_by_options
    from audiocnn_cli.io.listener import TerminalListener

    model, scorer = engine.model, scorer_by_options(engine, RuleOptions())
    sets: list[dict[str, _Set]] = []
    scored_sets: list[_Set] = []
    origins, failed = [], 0
    for number, one in enumerate(data):
        counts, split = Counter[str](), choose_split(one, sweep.split)
        kept = Path(sweep.scores) if sweep.scores else None
        if kept and number:
            kept = kept.with_stem(f"{kept.stem}-{number + 1}")
        side, listener = model_candidate(model, scorer), TerminalListener(terminal)
        with open_judged_dataset(one, split, kept, [engine], [side], listener, counts, where) as (dataset, part):
            check_channels(dataset, engine)
            say_unknown_labels(dataset, part, side, one, listener)
            labels = choose_labels(model, dataset, sweep.label)
            scored = score_data(dataset, part, model, scorer, kept, terminal)
        recordings, clips, wrong = scored
        if recordings and clips:
            terminal.error(f"{one}: {len(clips)} clips without segments are ignored", "warning")
        scored_sets.append((recordings, [] if recordings else clips))
        sets.append(dict.fromkeys(labels, scored_sets[-1]))
        origins.append(describe_scored(scored, one, split))
        failed += wrong + counts["refused"]
    _check_kinds(model, data, scored_sets)
    return sets, origins, failed


def _write(
    model: Model,
    label: str,
    tuned: dict[str, TunedPoint],
    now: dict[str, float],
    points: dict[str, OperatingPoint],
    names: list[str],
    format: ReportFormat,
    terminal: Terminal,
) -> None:
    """Write a table for a label, or a record for each of its operating points."""
    from audiocnn.evaluation.thresholds import rule_to_dict

    if not terminal.wants_table(format):
        for name, one in tuned.items():
            record: dict[str, Any] = {"schema": 1, "type": "operating_point", "label": label, "sensitivity": name}
            record |= rule_to_dict(one.rule) | {"pad": one.rule.pad_seconds, "figures": points[name].figures}
            record |= {"kept": one.kept, "measured_on": points[name].measured_on}
            if len(names) > 1 and one.by_set:
                own = [{key: round(x, 4) for key, x in figures.items()} for figures in one.by_set]
                record["by_data"] = [{"data": data, "figures": x} for data, x in zip(names, own, strict=True)]
            record |= {"model": model.name, "folder": str(model.folder)}
            terminal.write(json.dumps(record, ensure_ascii=False) + "\n")
        return
    rules = {_NOW: model.rule(label)} | {name: one.rule for name, one in tuned.items()}
    figures = {_NOW: now} | {name: one.figures for name, one in tuned.items()}
    print_table(label, point_rows(rules, figures), list(rules), terminal)
    for number, data in enumerate(names if len(names) > 1 else []):
        alone = {name: one.by_set[number] for name, one in tuned.items() if one.by_set}
        print_table(f"{label}: {data}", figure_rows(alone), list(alone), terminal)
    lines = [f"measured on {points[name].measured_on}" for name in list(points)[:1]]
    lines += [
        f"note: {name}: no rule meets its target on these recordings; this one is the closest"
        for name, one in tuned.items()
        if not one.kept
    ]
    terminal.write("".join(printable(line) + "\n" for line in lines))
