"""`audiocnn tune DATA -m MODEL`: score once, try many rules, show the best one, and save it with --save."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import AudiocnnError, UsageError, did_you_mean, format_command, printable, show_name
from audiocnn.units import format_speed, plural
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import LabelOptions, ReportFormat, flag_of, read_pads, read_thresholds
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.tune.options import Goal, RuleOptions, SweepOptions, TuneCommand
from audiocnn_cli.io.batch import batch_status

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.evaluation.annotated import Scorer
    from audiocnn.evaluation.clips import ScoredClip
    from audiocnn.evaluation.segments import JudgedRecording
    from audiocnn.evaluation.thresholds import TunedRule
    from audiocnn.model.model import Model

_Scored = tuple[list["JudgedRecording"], list["ScoredClip"], int]
_TITLES = {"min_speech": "min_duration"}  # options whose name differs from the field
_CURVE_STEPS = 10  # the table shows thresholds that are multiples of 0.1


def run_sweep(
    data: str,
    name: str | None,
    where: LabelOptions,
    sweep: SweepOptions,
    rule: RuleOptions,
    format: ReportFormat,
    force: bool,
    device: str,
    jobs: int | None,
    terminal: Terminal,
) -> ExitStatus:
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import DEFAULT_MODEL, find_model
    from audiocnn.workflows.judge import check_channels, model_candidate, open_judged_dataset, say_unknown_labels
    from audiocnn_cli.io.judge import scorer_by_options
    from audiocnn_cli.io.listener import TerminalListener

    check_tune_files(sweep, force)
    model = find_model(name or DEFAULT_MODEL)
    check_saved(model, sweep)
    engine = load_engine(model, device, jobs)
    scorer = scorer_by_options(engine, rule)
    counts, split = Counter[str](), choose_split(data, sweep.split)
    kept = Path(sweep.scores) if sweep.scores else None
    side, listener = model_candidate(model, scorer), TerminalListener(terminal)
    with open_judged_dataset(data, split, kept, [engine], [side], listener, counts, where) as (dataset, part):
        check_channels(dataset, engine)
        say_unknown_labels(dataset, part, side, data, listener)
        labels = choose_labels(model, dataset, sweep.label)
        scored = score_data(dataset, part, model, scorer, kept, terminal)
    goal = (sweep.goal or Goal.f1).value
    found, failed = tune_each(model, scored, labels, goal, rule, terminal)
    if not found:
        return ExitStatus.USAGE
    tuned_on = f"{describe_scored(scored, data, split)}, {goal.replace('_', ' ')}"
    if sweep.plot:
        from audiocnn.report.train_picture import draw_sweep

        draw_sweep(found, Path(sweep.plot))
        terminal.say(f"plot: {sweep.plot}")
    saved = save_thresholds(model, found, sweep, tuned_on, terminal)
    write_tuned(found, model, format, terminal)  # last, since the reader of stdout may close it early
    again = TuneCommand(data, (saved or model).reference, where, sweep.split)
    tell_lines(next_steps(found, model, saved, scored, again, terminal), format, terminal)
    return batch_status(len(found), failed + scored[2] + counts["refused"])


def check_saved(model: Model, sweep: SweepOptions) -> None:
    """Raises UsageError, before any work, if the result could not be saved."""
    from audiocnn.evaluation.save_thresholds import check_new_model, check_writable

    if sweep.save:
        check_writable(model)
    if sweep.save_as is not None:
        if not sweep.save_as:
            raise UsageError('--save-as "": the name is empty; give a folder')
        check_new_model("--save-as", Path(sweep.save_as))


def save_model(tuned: Model, sweep: SweepOptions, terminal: Terminal) -> Model | None:
    """Save the tuned model according to the options. Returns the saved model; None if it is not to be saved."""
    from audiocnn.evaluation.save_thresholds import save_tuned, save_tuned_as

    if sweep.save_as is not None:
        tuned = save_tuned_as(tuned, Path(sweep.save_as))
    elif sweep.save:
        save_tuned(tuned)
    else:
        return None
    terminal.say(f"saved: {show_name(tuned.folder / 'model.toml')}")
    return tuned


def keep_line(model: Model, terminal: Terminal) -> str:
    """The command that tunes again and saves the result: in the model, or in a copy if the model is a released one."""
    words, given = [], iter(terminal.words)
    for word in given:
        if word == "--plot":  # the plot was written already
            next(given, None)
        elif not word.startswith("--plot=") and word != "--no-progress":
            words.append(word)
    names = (f"my_{model.name}" + (f"_{number}" if number > 1 else "") for number in count(1))
    new = next(name for name in names if not Path(name).exists())
    where = ["--save-as", new] if model.is_released else ["--save"]
    return f"save it:  {format_command(['audiocnn', *words, *where])}"


def tell_lines(lines: Sequence[str], format: ReportFormat, terminal: Terminal) -> None:
    """Print lines below the tables, or to stderr if stdout has data."""
    if not terminal.wants_table(format):
        for line in lines:
            terminal.say(line)
        return
    from rich.text import Text

    terminal.out.print()
    for line in lines:
        is_command = " audiocnn " in line  # kept on one line, for copying
        terminal.out.print(Text(printable(line)), soft_wrap=is_command)


def find_unheard(recordings: Sequence[JudgedRecording], label: str) -> str:
    """A note if false alarms in other sound cannot be measured, because every recording contains the label; else ""."""
    if not recordings or any(all(one.label != label for one in each.annotations) for each in recordings):
        return ""
    other = f"false alarms in recordings without {label}, such as music and noise, were not measured"
    return f"all of these recordings contain {label}: {other}; evaluate on some without {label} too"


def describe_scored(scored: _Scored, data: str, split: str | None) -> str:
    """The number of recordings or clips, and the name of the data."""
    name = show_name(Path(data).resolve().name)  # resolved, since data may be "."
    count = plural(len(scored[0]) or len(scored[1]), "recording" if scored[0] else "clip")
    return f"{count} of {name}" + (f', part "{split}"' if split else "")


def check_tune_files(sweep: SweepOptions, force: bool) -> None:
    """Raises UsageError, before any work, for files that cannot be written."""
    if sweep.plot:
        from audiocnn.report.figure import check_picture

        check_picture(Path(sweep.plot), force, option="--plot")
    if sweep.scores and (Path(sweep.scores).suffix != ".npz" or Path(sweep.scores).is_dir()):
        raise UsageError(f"--scores {sweep.scores}: scores are stored in an .npz file; give a name that ends in .npz")
    if sweep.scores:
        from audiocnn.evaluation.thresholds import load_scores

        load_scores(Path(sweep.scores))


def choose_split(data: str, split: str | None) -> str | None:
    """The split to use: the given one; by default, "tune" for conditions and "validation" for a recipe."""
    from audiocnn.evaluation.conditions import is_conditions

    if split is not None or not data.endswith(".toml") or not Path(data).is_file():
        return split
    return "tune" if is_conditions(data) else "validation"


def choose_labels(model: Model, dataset: Dataset, wanted: list[str] | None) -> list[str]:
    """The labels to tune: labels of the model, or the wanted ones, that occur in the data."""
    for label in wanted or []:
        if label not in model.labels:
            raise UsageError(f'--label: {model.name} has no label "{label}"; {did_you_mean(label, model.labels)}')
    known = [label for label in dict.fromkeys(wanted or model.labels) if label in dataset.labels]
    if not known:
        there = ", ".join(dataset.labels[:5]) or "none"
        fact = f"has none of the labels of {model.name} ({', '.join(model.labels)})"
        raise UsageError(f"{dataset.folder}: {fact}; its labels: {there}")
    return known


def score_data(
    dataset: Dataset, part: str | None, model: Model, scorer: Scorer, path: Path | None, terminal: Terminal
) -> _Scored:
    """Recordings and clips with their scores, and the number that failed. Scores are stored in `path`, if given."""
    from audiocnn.evaluation.annotated import score_entries
    from audiocnn.evaluation.clips import ScoredClip
    from audiocnn.evaluation.segments import JudgedRecording
    from audiocnn.evaluation.thresholds import load_scores, save_scores, score_digest

    entries = [entry for entry in dataset.entries if part is None or entry.split == part]
    digest = score_digest(model, dataset, entries) if path else ""
    kept = load_scores(path, digest) if path else {}
    before = len(kept)
    found: list[JudgedRecording | ScoredClip] = []
    failed, began, sound = 0, time.monotonic(), 0.0
    with Bar(terminal, "score") as bar:
        for step, one in score_entries(dataset, scorer, part, kept if path else None):
            sound += step.seconds
            bar.update(
                step.done, step.total, f"{step.done} of {step.total}, {format_speed(sound, time.monotonic() - began)}"
            )
            if one is not None:
                found.append(one)
            else:
                failed += 1
                terminal.error(f"{step.filename}: {step.error}")
    if path and len(kept) > before:
        save_scores(path, digest, kept)
    recordings = [one for one in found if isinstance(one, JudgedRecording)]
    return recordings, [one for one in found if isinstance(one, ScoredClip)], failed


def tune_each(
    model: Model, scored: _Scored, labels: list[str], goal: str, rule: RuleOptions, terminal: Terminal
) -> tuple[list[TunedRule], int]:
    """The best rule of each label, and the number of labels that failed, whose errors are printed."""
    from audiocnn.evaluation.thresholds import sweep_clips
    from audiocnn.segments.finder import SegmentRule

    recordings, clips, _ = scored
    if not recordings and model.answer == "one" and len(model.labels) > 1:
        raise UsageError(
            f"{model.name}: answers clips with the label that has the highest score, so there is no threshold to tune; "
            "use recordings with segments"
        )
    if not recordings and goal == "segment_f1":
        raise UsageError("--for segment_f1: the data has whole clips without segments; use --for f1")
    for name in () if recordings else ("threshold", "neg_threshold", "min_duration", "min_silence"):
        if getattr(rule, name) is not None:
            what = "for whole clips only the threshold is tuned; omit it"
            raise UsageError(f"{flag_of(name)}: {what}")
    found, failed = [], 0
    for label in labels:
        try:
            if recordings:
                found.append(sweep_label(model, recordings, label, goal, rule, terminal))
            else:
                now = SegmentRule(model.clip_threshold(label))
                found.append(sweep_clips(clips, model.labels, label, now, goal))
        except AudiocnnError as problem:
            failed += 1
            terminal.error(f"{label}: {problem}")
    return found, failed


def sweep_label(
    model: Model, recordings: list[JudgedRecording], label: str, goal: str, rule: RuleOptions, terminal: Terminal
) -> TunedRule:
    from functools import partial

    from audiocnn.evaluation.thresholds import TunedRule, sweep_segments
    from audiocnn.model.model import threshold_of_each
    from audiocnn.workflows.judge import judged_pads

    given = {
        "threshold": threshold_of_each(read_thresholds(rule.threshold), model.labels)[model.labels.index(label)],
        "neg_threshold": rule.neg_threshold,
        "min_speech_seconds": rule.min_duration,
        "min_silence_seconds": rule.min_silence,
        **judged_pads(model, read_pads(rule.pad)),
        "max_speech_seconds": rule.max_duration,
    }
    fixed = {name: value for name, value in given.items() if value is not None}
    with Bar(terminal, label) as bar:
        for step in sweep_segments(recordings, model.labels, label, partial(model.rule, label), goal, fixed):
            if isinstance(step, TunedRule):
                return step
            bar.update(0, None, f"{step} rules")
    raise AssertionError("a sweep ends with its result")


def write_tuned(found: list[TunedRule], model: Model, format: ReportFormat, terminal: Terminal) -> None:
    if not terminal.wants_table(format):
        about = {"model": model.name, "folder": str(model.folder)}
        records = [{**one.to_dict(), **about} for one in found]
        terminal.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        return
    for one in found:
        write_tuned_label(one, terminal)


def write_tuned_label(one: TunedRule, terminal: Terminal) -> None:
    """Print the current and the best rule, and miss and false alarm rates by threshold."""
    from audiocnn.evaluation.results import figure_title
    from audiocnn.evaluation.thresholds import GOALS, SWEEP_FIGURES, rule_to_dict
    from audiocnn_cli.app.draw import FigureRow, format_figure, print_table

    name = GOALS[one.goal]
    figures = [
        format_figure(one.before_figure, name),
        format_figure(one.best_figure, name),
        format_figure(one.gain, name, signed=True),
    ]
    rows: list[FigureRow] = [(figure_title(name), figures)]
    tried = (one.before, one.best)
    others = [other for other in SWEEP_FIGURES if other != name]
    rows += [(figure_title(other), [*(f"{each.figures[other]:.4f}" for each in tried), ""]) for other in others]
    before, best = rule_to_dict(one.before.rule), rule_to_dict(one.best.rule)
    for key in ["threshold"] if one.clips else list(before):
        mark = "" if before[key] == best[key] else "*"
        unit = "" if "threshold" in key else " s"
        rows.append((_TITLES.get(key, key).replace("_", "-"), [f"{before[key]:g}{unit}", f"{best[key]:g}{unit}", mark]))
    print_table(f"{one.label}: {plural(one.tried, 'rule')} tried", rows, ["now", "best", "gain"], terminal)
    curve: list[FigureRow] = []
    for point in one.over_threshold:
        if round(100 * point.rule.threshold) % _CURVE_STEPS:
            continue
        values = (point.value, point.figures["miss_rate"], point.figures["false_alarm_rate"])
        curve.append((f"{point.rule.threshold:.1f}", [f"{value:.4f}" for value in values]))
    print_table(f"{one.label}: by threshold", curve, [figure_title(name), "miss rate", "false alarm rate"], terminal)


def next_steps(
    found: list[TunedRule], model: Model, saved: Model | None, scored: _Scored, again: TuneCommand, terminal: Terminal
) -> list[str]:
    """Lines with the next commands. saved: the saved model, which `again` refers to."""
    from audiocnn.evaluation.save_thresholds import rule_options

    if not any(one.changed for one in found):
        return ["no rule is better than the current one of the model"]
    lines = ["evaluate on other recordings too: figures on the tuning data are slightly optimistic"]
    if any(one.gain.value is not None and one.gain.value < 0 for one in found):
        lines = ["with the values given as options, the best rule is worse than the current one"]
    lines += filter(None, (find_unheard(scored[0], one.label) for one in found if one.changed))
    if saved is not None:
        return [*lines, f"try it:   {again.evaluate()}"]
    if len(model.labels) == 1 and not found[0].clips:
        lines.append(f"try it:   {again.evaluate(*rule_options(found[0].best.rule))}")
    return [*lines, keep_line(model, terminal)]


def save_thresholds(
    model: Model, found: list[TunedRule], sweep: SweepOptions, tuned_on: str, terminal: Terminal
) -> Model | None:
    """Save the tuned rules according to the options, and print old and new rules. Returns the saved model."""
    from audiocnn.evaluation.save_thresholds import describe_rule, with_tuned_rules

    if not sweep.save and sweep.save_as is None:
        return None
    better = [one for one in found if one.changed]
    if not better:
        terminal.say("nothing to save")
        return None
    saved = save_model(with_tuned_rules(model, better, tuned_on), sweep, terminal)
    for one in better:
        terminal.say(f"{one.label}: {describe_rule(one.before.rule)}")
        terminal.say(f"{' ' * (len(one.label) - 1)}-> {describe_rule(one.best.rule)}")
    return saved
