"""Whole clips on the page of an evaluation: results, confusions, labels, and clips to listen to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from audiocnn.errors import show_name
from audiocnn.evaluation.results import BY_RECORDING, figure_title
from audiocnn.report.charts import ReportColumn, condition_plot, confusion_plot, label_plot, reliability_plot
from audiocnn.report.page import (
    ReportPart,
    column_name,
    figure_cell,
    figure_table,
    format_count,
    html_figure,
    html_labels,
    html_legend,
    html_table,
    natural_key,
    titled_figures,
)
from audiocnn.report.sound import ClipSound

Sounds = Mapping[str, ClipSound]
_LABEL_FIGURES = ("precision", "recall", "f1", "average_precision", "auroc", "eer")
_OPEN_LABELS = 40  # more are folded
_OVERALL = ("accuracy", "subset_accuracy", "macro_f1")


def clip_section(reports: Sequence[ReportPart], sounds: Sounds) -> Iterator[str]:
    """HTML of the reports that have clips; empty if there are none."""
    columns: list[ReportColumn] = [(k, str(r["model"]), r["clip"]) for k, r in enumerate(reports) if r["clip"]]
    if not columns:
        return
    first = columns[0][2]
    several = first.get("answer") == "several"
    how = "every label whose mean score reaches its threshold" if several else "the label with the highest mean score"
    count = format_count(first["clips"], "clip")
    yield f"<h2>Clips</h2><p class='soft'>{count}; the answer is {how}</p>"
    differences = [(report.get("difference_to") or {}).get("clip") for report in reports]
    yield figure_table(reports, [titled_figures(r["clip"]) for r in reports], [*map(titled_figures, differences)])
    yield from _charts(columns)
    yield from _groups(reports, columns)
    yield from _labels(columns)
    for section in (_pairs, _examples):
        for column, name, clip in columns:
            whose = f", {column_name(column, name)}" if len(columns) > 1 else ""
            yield from section(clip, whose, sounds)


def _charts(columns: Sequence[ReportColumn]) -> Iterator[str]:
    yield html_legend([(column, name) for column, name, _ in columns])
    yield '<div class="plots">'
    for _, name, clip in columns:
        if clip.get("confusion") and (drawn := confusion_plot(clip["confusion"], name)):
            what = "rows: labels, columns: answers; a darker cell is a larger share of its row"
            yield html_figure(f"Answers of {name}", what, drawn)
    if any(clip.get("reliability") and clip["reliability"][0] for _, _, clip in columns):
        drawn = reliability_plot([column for column in columns if column[2].get("reliability")])
        yield html_figure("Reliability", "on the dotted line, scores are equal to probabilities", drawn)
    title = figure_title("f1")
    drawn, count = label_plot("f1", title, columns)
    if drawn:
        of_all = len({label for _, _, clip in columns for label in clip["labels"]})
        what = "worst first" if count == of_all else f"the {count} worst of {of_all}"
        yield html_figure(f"{title} by label", f"{what}, with 95 % confidence intervals", drawn)
    yield "</div>"


def _labels(columns: Sequence[ReportColumn]) -> Iterator[str]:
    labels = list(dict.fromkeys(label for _, _, clip in columns for label in clip["labels"]))
    parts = [part for _, _, clip in columns for part in clip["labels"].values()]
    known = {name for part in parts for name in part["figures"]}
    figures = [name for name in _LABEL_FIGURES if name in known]
    figures += sorted(known - set(figures))
    thresholds = any(part.get("threshold") is not None for part in parts)
    heads = ["label", "clips"]
    for column, name, _ in columns:
        whose = f" {column_name(column, name)}" if len(columns) > 1 else ""
        heads += [f"threshold{whose}"] if thresholds else []
        heads += [f"{escape(figure_title(figure))}{whose}" for figure in figures]
    rows = []
    for label in labels:
        found = [clip["labels"].get(label) for _, _, clip in columns]
        counts = [part["clips"] for part in found if part and "clips" in part]
        row = [escape(show_name(label)), f"{counts[0]:,}" if counts else "-"]
        for part in found:
            if thresholds:
                threshold = part.get("threshold") if part else None
                row.append("-" if threshold is None else f"{threshold:g}")
            row += [figure_cell(part["figures"].get(figure) if part else None) for figure in figures]
        rows.append(row)
    opened = " open" if len(labels) <= _OPEN_LABELS else ""
    yield f"<h3>By label</h3><details{opened}><summary>{format_count(len(labels), 'label')}</summary>"
    yield html_table(heads, rows)
    yield "</details>"


def _groups(reports: Sequence[ReportPart], columns: Sequence[ReportColumn]) -> Iterator[str]:
    for tag in dict.fromkeys(tag for _, _, clip in columns for tag in clip.get("groups", {})):
        parts = [(column, name, clip.get("groups", {}).get(tag, {})) for column, name, clip in columns]
        if tag == BY_RECORDING:
            yield from _wrong_clips(parts)
            continue
        values = sorted({value for _, _, part in parts for value in part}, key=natural_key)
        rows = [(value, [(k, name, part[value]) for k, name, part in parts if value in part]) for value in values]
        yield f"<h3>Clips by {escape(show_name(tag))}</h3>"
        yield '<div class="plots">'
        for figure in _OVERALL:
            title = figure_title(figure)
            if drawn := condition_plot(figure, title, rows):
                yield html_figure(title, "with 95 % confidence intervals", drawn)
        yield "</div>"
        for value, found in rows:
            yield f"<details><summary>{escape(show_name(tag))} = {escape(show_name(value) or '(none)')}: "
            yield f"{format_count(found[0][2]['clips'], 'clip')}</summary>"
            held = {column: titled_figures(part) for column, _, part in found}
            yield figure_table(reports, [held.get(k, {}) for k in range(len(reports))], [{}] * len(reports))
            yield "</details>"


def _wrong_clips(parts: Sequence[ReportColumn]) -> Iterator[str]:
    """The names of all clips with a wrong answer, most confident first."""
    for column, name, clips in parts:
        wrong = [file for file, found in clips.items() if found["figures"]["accuracy"]["value"] == 0]
        whose = f" by {column_name(column, name)}" if len(parts) > 1 else ""
        title = f"{format_count(len(wrong), 'clip')} answered wrong{whose}, most confident first"
        names = "<br>".join(escape(show_name(file)) for file in wrong)
        yield f"<h3>By recording</h3><details><summary>{title}</summary>{names}</details>"


def _pairs(clip: ReportPart, whose: str, sounds: Sounds) -> Iterator[str]:
    """The labels that are confused most, with clips to listen to."""
    if not clip.get("pairs"):
        return
    yield f"<h3>Most frequent confusions{whose}</h3>"
    rows = []
    for pair in clip["pairs"]:
        files = " ".join(_player(file, sounds) for file in pair["files"])
        names = f"{escape(show_name(pair['label']))} → {escape(show_name(pair['answer']))}"
        share = f"{100 * pair['share']:.0f} %"
        rows.append([names, f"{pair['clips']:,}", share, f'<div class="clips">{files}</div>'])
    yield html_table(["label → answer", "clips", "share of the label", "most confident"], rows)


def _examples(clip: ReportPart, whose: str, sounds: Sounds) -> Iterator[str]:
    found: ReportPart = clip.get("examples") or {}
    heads = ["clip", "label", "answer", "score", "score of the label"]
    kinds = (("wrong", "Wrong answers, most confident first"), ("right", "Right answers, least confident first"))
    for kind, what in kinds:
        if not found.get(kind):
            continue
        rows = []
        for one in found[kind]:
            names = [html_labels(one[key]) for key in ("labels", "answers")]
            rows.append([_player(one["file"], sounds), *names, f"{one['score']:.3f}", f"{one['own_score']:.3f}"])
        opened = " open" if kind == "wrong" else ""
        yield f"<details{opened}><summary><h3>{what}{whose}</h3></summary>"
        yield html_table(heads, rows)
        yield "</details>"


def _player(file: str, sounds: Sounds) -> str:
    sound = sounds.get(file)
    name = f'<span class="file">{escape(show_name(file))}</span>'
    if sound is None:
        return f'<span class="heard">{name}</span>'
    note = f' <span class="soft">{escape(sound.note)}</span>' if sound.note else ""
    return f'<span class="heard"><audio controls preload="none" src="{sound.uri}"></audio>{name}{note}</span>'
