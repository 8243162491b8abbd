"""`audiocnn tune DATA -m MODEL`: score once, try many rules, say what is best, and with --save keep it."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import AudiocnnError, UsageError, did_you_mean
from audiocnn.filenames import show_name
from audiocnn_cli.exits import ExitStatus, of_batch
from audiocnn_cli.findings import plural
from audiocnn_cli.options import ReportFormat
from audiocnn_cli.progress import Bar, rate
from audiocnn_cli.terminal import Terminal, printable
from audiocnn_cli.tune_options import RuleOptions, SweepOptions

if TYPE_CHECKING:
    from audiocnn.clips import ScoredClip
    from audiocnn.dataset import Dataset
    from audiocnn.evaluation import Scorer
    from audiocnn.judging import ScoredRecording
    from audiocnn.model import Model
    from audiocnn.sweeping import Tuned

Scored = tuple[list["ScoredRecording"], list["ScoredClip"], int]
CURVE_STEPS = 10  # of the table those thresholds that are tenths


def run_sweep(
    data: str,
    name: str | None,
    sweep: SweepOptions,
    rule: RuleOptions,
    format: ReportFormat,
    force: bool,
    device: str,
    jobs: int | None,
    terminal: Terminal,
) -> ExitStatus:
    """The whole of it."""
    from audiocnn.engine import load_engine
    from audiocnn.model import DEFAULT_MODEL, find_model
    from audiocnn_cli.evaluate import check_channels, dataset_of, scorer_of
    from audiocnn_cli.sides import model_side

    check_files(sweep, force)
    model = find_model(name or DEFAULT_MODEL)
    check_model(model, sweep)
    engine = load_engine(model, device, jobs)
    scorer = scorer_of(engine, rule)
    counts, split = Counter[str](), part_to_tune(data, sweep.split)
    kept = Path(sweep.scores) if sweep.scores else None
    side = model_side(model, scorer)
    with dataset_of(data, split, kept, [engine], [side], terminal, counts) as (dataset, part):
        check_channels(dataset, engine)
        labels = labels_of(model, dataset, sweep.label)
        scored = score(dataset, part, model, scorer, kept, terminal)
    found, failed = tune_each(model, scored, labels, sweep.goal.value, rule, terminal)
    if not found:
        return ExitStatus.USAGE
    tuned_on = f"{plural(len(scored[0]) or len(scored[1]), 'recording' if scored[0] else 'clip')} of {data_name(data)}"
    tuned_on += (f', part "{split}"' if split else "") + f", {sweep.goal.value.replace('_', ' ')}"
    tell(found, model, sweep, format, terminal)
    if sweep.plot:
        from audiocnn.sweep_pictures import draw_sweep

        draw_sweep(found, Path(sweep.plot))
        terminal.say(f"drawn: {sweep.plot}")
    if sweep.save:
        save(model, found, tuned_on, terminal)
    return of_batch(len(found), failed + scored[2] + counts["refused"])


def data_name(data: str) -> str:
    """What the data are called, also where they are the folder that one is in."""
    return show_name(Path(data).resolve().name)


def check_files(sweep: SweepOptions, force: bool) -> None:
    """Refuse, before any work, what cannot be written."""
    if sweep.plot:
        from audiocnn.pictures import check_picture

        check_picture(Path(sweep.plot), force, option="--plot")
    if sweep.scores and (Path(sweep.scores).suffix != ".npz" or Path(sweep.scores).is_dir()):
        raise UsageError(f"--scores {sweep.scores}: scores are kept in a file that ends in .npz; name it so")
    if sweep.scores:
        from audiocnn.kept_scores import load_scores

        load_scores(Path(sweep.scores))


def check_model(model: Model, sweep: SweepOptions) -> None:
    """UsageError for a model that cannot be changed, where that is asked for."""
    from audiocnn.retuning import check_writable

    if sweep.save:
        check_writable(model)


def part_to_tune(data: str, split: str | None) -> str | None:
    """What of the data: of conditions the part to tune on, of a recipe that which stops its training."""
    from audiocnn.conditions import is_conditions

    if split is not None or not data.endswith(".toml") or not Path(data).is_file():
        return split
    return "tune" if is_conditions(data) else "validation"


def labels_of(model: Model, dataset: Dataset, wanted: list[str] | None) -> list[str]:
    """The labels to tune: those of the model that the data knows, or that were asked for."""
    for label in wanted or []:
        if label not in model.labels:
            raise UsageError(f'--label: {model.name} has no label "{label}"; {did_you_mean(label, model.labels)}')
    known = [label for label in dict.fromkeys(wanted or model.labels) if label in dataset.labels]
    if not known:
        there = ", ".join(dataset.labels[:5]) or "none"
        raise UsageError(f"{dataset.folder}: has no label of {model.name} ({', '.join(model.labels)}), but {there}")
    return known


def score(
    dataset: Dataset, part: str | None, model: Model, scorer: Scorer, path: Path | None, terminal: Terminal
) -> Scored:
    """Recordings and clips with their scores, and how many could not be scored; kept in a file where one is named."""
    from audiocnn.clips import ScoredClip
    from audiocnn.evaluation import score_entries
    from audiocnn.judging import ScoredRecording
    from audiocnn.kept_scores import digest_of, load_scores, save_scores

    entries = [entry for entry in dataset.entries if part is None or entry.split == part]
    digest = digest_of(model, dataset, entries) if path else ""
    kept = load_scores(path, digest) if path else {}
    before = len(kept)
    found: list[ScoredRecording | ScoredClip] = []
    failed, began, sound = 0, time.monotonic(), 0.0
    with Bar(terminal, "score") as bar:
        for step, one in score_entries(dataset, scorer, part, kept if path else None):
            sound += step.seconds
            bar.update(step.done, step.total, f"{step.done} of {step.total}, {rate(sound, time.monotonic() - began)}")
            if one is not None:
                found.append(one)
            else:
                failed += 1
                terminal.error(f"{step.filename}: {step.error}")
    if path and len(kept) > before:
        save_scores(path, digest, kept)
    recordings = [one for one in found if isinstance(one, ScoredRecording)]
    return recordings, [one for one in found if isinstance(one, ScoredClip)], failed


def tune_each(
    model: Model, scored: Scored, labels: list[str], goal: str, rule: RuleOptions, terminal: Terminal
) -> tuple[list[Tuned], int]:
    """The best rule of each label; what cannot be tuned is told."""
    from audiocnn.sweeping import tune_clips

    recordings, clips, _ = scored
    if not recordings and model.answer == "one" and len(model.labels) > 1:
        raise UsageError(
            f"{model.name}: its answer is the label with the highest score, so there is no threshold to tune for clips"
        )
    if not recordings and goal == "segment_f1":
        raise UsageError("--for segment_f1: these are whole clips, without segments; take f1")
    if not recordings:
        refuse_rule(rule)
    found, failed = [], 0
    for label in labels:
        try:
            if recordings:
                found.append(swept(model, recordings, label, goal, rule, terminal))
            else:
                found.append(tune_clips(clips, model.labels, label, model.rule(label), goal))
        except AudiocnnError as problem:
            failed += 1
            terminal.error(f"{label}: {problem}")
    return found, failed


def refuse_rule(rule: RuleOptions) -> None:
    """UsageError for what is to stay of the rule for segments, where there are none."""
    for name in ("threshold", "neg_threshold", "min_speech", "min_silence"):
        if getattr(rule, name) is not None:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag}: these are whole clips, of which the threshold alone is tuned; leave it out")


def swept(
    model: Model, recordings: list[ScoredRecording], label: str, goal: str, rule: RuleOptions, terminal: Terminal
) -> Tuned:
    """Try the rules of one label."""
    from functools import partial

    from audiocnn.sweeping import Tuned, tune_segments

    given = {
        "threshold": rule.threshold,
        "neg_threshold": rule.neg_threshold,
        "min_speech_seconds": rule.min_speech,
        "min_silence_seconds": rule.min_silence,
        "pad_seconds": rule.pad,
        "max_speech_seconds": rule.max_speech,
    }
    fixed = {name: value for name, value in given.items() if value is not None}
    with Bar(terminal, label) as bar:
        for step in tune_segments(recordings, model.labels, label, partial(model.rule, label), goal, fixed):
            if isinstance(step, Tuned):
                return step
            bar.update(0, None, f"{step} rules")
    raise AssertionError("a sweep ends with what was found")


def tell(found: list[Tuned], model: Model, sweep: SweepOptions, format: ReportFormat, terminal: Terminal) -> None:
    """Tables for people, a record a label for programs."""
    if not terminal.wants_table(format):
        about = {"model": model.name, "folder": str(model.folder)}
        records = [{**one.to_dict(), **about} for one in found]
        terminal.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        return
    for one in found:
        write_label(one, terminal)
    terminal.write("".join(printable(line) + "\n" for line in ["", *advice(found, model, sweep)]))


def write_label(one: Tuned, terminal: Terminal) -> None:
    """What is now and what is best, and how misses and false alarms go with the threshold."""
    from audiocnn.sweeping import GOALS, SHOWN, rule_dict
    from audiocnn_cli.figure_table import TITLES, Row, show, shown

    name = GOALS[one.goal]
    figures = [shown(one.before_figure, name), shown(one.best_figure, name), shown(one.gain, name, signed=True)]
    rows: list[Row] = [(TITLES[name], figures)]
    tried = (one.before, one.best)
    others = [other for other in SHOWN if other != name]
    rows += [(TITLES[other], [*(f"{each.figures[other]:.4f}" for each in tried), ""]) for other in others]
    before, best = rule_dict(one.before.rule), rule_dict(one.best.rule)
    for key in ["threshold"] if one.clips else list(before):
        mark = "" if before[key] == best[key] else "*"
        unit = "" if "threshold" in key else " s"
        rows.append((key.replace("_", "-"), [f"{before[key]:g}{unit}", f"{best[key]:g}{unit}", mark]))
    show(f"{one.label}: {plural(one.tried, 'rule')} tried", rows, ["now", "best", "better by"], terminal)
    curve: list[Row] = []
    for point in one.over_threshold:
        if round(100 * point.rule.threshold) % CURVE_STEPS:
            continue
        values = (point.value, point.figures["miss_rate"], point.figures["false_alarm_rate"])
        curve.append((f"{point.rule.threshold:.1f}", [f"{value:.4f}" for value in values]))
    show(f"{one.label}: by threshold", curve, [TITLES[name], "miss rate", "false alarm rate"], terminal)


def advice(found: list[Tuned], model: Model, sweep: SweepOptions) -> list[str]:
    """What to do with it."""
    from audiocnn.retuning import flags_of

    if not any(one.changed for one in found):
        return ["nothing that was tried is better than what the model has"]
    lines = ["judge it on other recordings: on these it is a little better than elsewhere"]
    if any(one.gain.value is not None and one.gain.value < 0 for one in found):
        lines = ["with what was given the best is worse than the model as it is"]
    name = shlex.quote(str(model.folder))
    if len(model.labels) == 1 and not found[0].clips:
        lines.append(f"try it:   audiocnn detect --model {name} {flags_of(found[0].best.rule)} FILE")
    return lines if sweep.save else [*lines, "keep it:  the same command with --save"]


def save(model: Model, found: list[Tuned], tuned_on: str, terminal: Terminal) -> None:
    """Write it into the model, and say what was and what is."""
    from audiocnn.retuning import described, retuned, save_tuned

    better = [one for one in found if one.changed]
    if not better:
        terminal.say("nothing to save")
        return
    save_tuned(retuned(model, better, tuned_on))
    for one in better:
        terminal.say(f"{one.label}: {described(one.before.rule)}")
        terminal.say(f"{' ' * (len(one.label) - 1)}-> {described(one.best.rule)}")
    terminal.say(f"saved: {model.folder / 'model.toml'}")
