"""The page of an evaluation: one file that needs no other, with every figure of report.json on it."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser

import pytest

from audiocnn.report.charts import condition_plot, format_interval, histogram_plot, roc_plot
from audiocnn.report.evaluation import render_evaluation
from audiocnn.report.page import natural_key
from audiocnn.report.style import DARK, LIGHT, style_sheet

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Every tag that is opened is closed, in order; keeps the texts and what is referred to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.tags, self.links = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in {"src", "href", "xlink:href", "data", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def figure(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def label(auroc, false_share=None):
    """What report.json has of a label; each number occurs once."""
    return {
        "recordings": 10,
        "seconds": 300.0,
        "reference_seconds": 177.0,
        "threshold": 0.65,
        "neg_threshold": 0.5,
        "min_speech": 0.25,
        "min_silence": 0.1,
        "pad": 0.0,
        "max_speech": None,
        "figures": {
            "auroc": figure(auroc, auroc - 0.0123, auroc + 0.0045) if auroc else figure(None),
            "eer": figure(0.0711),
            "miss_rate": figure(0.2502),
            "false_alarm_rate": figure(0.0303),
            "onset_error_ms": figure(31.26, 20.0, 41.0),
            "false_segment_share": figure(false_share, 0.0, 0.4) if false_share else figure(None),
        },
        "smoothed": {"0.2": {"auroc": figure(0.9611)}, "0.6": {"auroc": figure(0.9622)}},
        "curves": {
            "roc": [[0.0, 0.1, 1.0], [0.0, 0.8, 1.0]],
            "precision_recall": [[0.0, 0.8, 1.0], [1.0, 0.9, 0.6]],
            "histogram": [[0.0, 0.5, 1.0], [20, 80], [99, 1]],
            "calibration": [[0.25, None, 0.75], [0.2, None, 0.9], [119, 0, 81]],
        },
        "notes": ["a note of one label"],
    }


def report(model, auroc, **more):
    """One model in report.json."""
    grouped = {k: v for k, v in label(auroc - 0.1).items() if k != "curves"}
    silent = {k: v for k, v in label(None, 0.25).items() if k != "curves"}
    return {
        "schema": 1,
        "type": "evaluation",
        "model": model,
        "folder": None,
        "tuned_on": "the tuning set",
        "data": "meetings",
        "split": "dev",
        "sound_seconds": 300.0,
        "times_real_time": 1234.5,
        "grid": 0.01,
        "collar": 0.0,
        "resamples": 1000,
        "seed": 0,
        "labels": {"speech": label(auroc)},
        "groups": {"condition": {"noise_0db": {"speech": grouped}, "nonspeech": {"speech": silent}}},
        "clip": None,
        "failures": [],
    } | more


@pytest.fixture
def pair():
    """Two reports, the second with differences to the first."""
    less = {"auroc": figure(-0.0301, -0.0402, -0.0201), "eer": figure(0.0007, -0.001, 0.002)}
    grouped = {"auroc": figure(0.0405, 0.03, 0.05)}
    difference = {
        "model": "speech_1d",
        "labels": {"speech": {"figures": less, "smoothed": {"0.6": {"auroc": figure(-0.0111, -0.02, 0.0)}}}},
        "groups": {"condition": {"noise_0db": {"speech": {"figures": grouped, "smoothed": {}}}}},
    }
    return [report("speech_1d", 0.95), report("silero", 0.92, version="6.2.3", difference_to=difference)]


def test_the_page_is_whole_and_needs_nothing_else(pair):
    text = render_evaluation(pair)
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert page.links == []
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & set(page.tags)
    assert not re.search(r"https?:|//|url\(|@import", text)


def test_the_head_says_what_was_judged_and_how(pair):
    text = Page(render_evaluation(pair)).text
    for said in ("meetings, split dev: 5:00 of sound", "silero 6.2.3", "0.65", "the tuning set", "1,234 times real"):
        assert said in text
    assert "95 % confidence intervals from 1,000 bootstrap samples" in text


def numbers(reports):
    """Every figure of the reports, as the page writes it."""
    for one in reports:
        parts = [
            *one["labels"].values(),
            *(s for vs in one["groups"].values() for v in vs.values() for s in v.values()),
        ]
        for part in parts:
            for name, values in part["figures"].items():
                yield from (
                    f"{x:.1f}" if name.endswith("_ms") else f"{x:.4f}" for x in values.values() if x is not None
                )
            yield from (f"{x['auroc']['value']:.4f}" for x in part["smoothed"].values())


def test_every_figure_is_on_the_page(pair):
    text = Page(render_evaluation(pair)).text
    assert len(set(numbers(pair))) > 15
    for number in numbers(pair):
        assert number in text
    for title in ("AUROC", "AUROC, smoothed 0.2 s", "AUROC, smoothed 0.6 s", "onset error ms", "miss rate"):
        assert title in text


def test_differences_have_a_star_where_they_are_sure(pair):
    text = Page(render_evaluation(pair)).text
    assert "-0.0301 * [-0.0402, -0.0201]" in text
    assert "+0.0007 [-0.0010, +0.0020]" in text
    assert "-0.0111 [-0.0200, +0.0000]" in text
    assert "+0.0405 * [+0.0300, +0.0500]" in text
    assert "paired with speech_1d" in text


def test_one_model_has_no_differences():
    text = Page(render_evaluation([report("speech_1d", 0.95)])).text
    assert "difference" not in text
    assert "paired" not in text


def test_without_intervals_nothing_is_said_of_them():
    one = report("speech_1d", 0.95, resamples=0)
    assert "intervals from" not in Page(render_evaluation([one])).text


def test_names_cannot_break_the_page(pair):
    for one in pair:
        one["data"] = one["model"] = '<script>alert("&")</script>'
        one["groups"] = {"<b>": {'"<i>"': one["groups"]["condition"]["noise_0db"]}}
        one["labels"] = {"<u>": one["labels"]["speech"]}
        one["failures"] = [{"file": "<a>.wav", "error": "<s>"}]
    pair[1]["difference_to"] = {"model": "<", "labels": {}, "groups": {}}
    page = Page(render_evaluation(pair))
    assert not {"script", "b>", "i", "u", "s", "a"} & set(page.tags)
    assert "<a>.wav: <s>" in page.text


def test_a_label_that_one_model_lacks_is_only_in_the_column_of_the_other(pair):
    music = copy.deepcopy(pair[0]["labels"]["speech"])
    music["figures"] = {"auroc": figure(0.8765)}
    pair[0]["labels"]["music"] = music
    text = render_evaluation(pair)
    _, _, part = text.partition("<h2>music</h2>")
    assert "0.8765" in part
    assert "<td>-</td>" in part
    assert 'class="line m1"' not in part.partition("</ul>")[0]


def test_notes_stand_once(pair):
    assert Page(render_evaluation(pair)).text.count("a note of one label") == 1


def test_clips_have_tables():
    clip = {
        "clips": 7,
        "figures": {"accuracy": figure(0.8571)},
        "labels": {"seven": {"figures": {"f1": figure(0.6667)}}},
        "notes": ["a note of clips"],
    }
    one = report("digits", 0.95, labels={}, groups={}, clip=clip)
    text = Page(render_evaluation([one])).text
    for said in ("7 clips", "0.8571", "seven", "0.6667", "a note of clips"):
        assert said in text


def sides(**models):
    return [(k, name, label(auroc)) for k, (name, auroc) in enumerate(models.items())]


def test_the_roc_has_a_line_and_a_dot_for_each():
    svg = roc_plot(sides(a=0.9, b=0.8))
    assert [svg.count(f'class="line m{k}"') for k in (0, 1)] == [1, 1]
    assert [svg.count(f'class="dot m{k}"') for k in (0, 1)] == [1, 1]
    assert "a: at 0.65 segments find 0.750, with 0.030 false alarms" in svg


def test_what_is_not_defined_is_left_out_of_the_curves():
    nothing = label(None)
    nothing["curves"] = {
        "roc": [[], []],
        "precision_recall": [[], []],
        "histogram": [[0.0, 0.5, 1.0], [0, 0], [5, 0]],
        "calibration": [[0.1, None], [0.0, None], [5, 0]],
    }
    one = report("speech_1d", 0.95, labels={"speech": nothing}, groups={})
    Page(render_evaluation([one]))
    svg = histogram_plot((0, "a", nothing))
    assert svg.count("area negative") == 1
    assert "area positive" not in svg


def test_conditions_have_a_dot_and_an_interval_for_each_side():
    rows = [("noise_0db", sides(a=0.9, b=0.8)), ("nonspeech", [(0, "a", label(None))])]
    svg = condition_plot("auroc", "AUROC", rows)
    assert svg.count('class="dot') == svg.count('class="stretch') == 2
    assert ">noise_0db<" in svg
    assert "nonspeech" not in svg
    assert "noise_0db, b: 0.8000 [0.7877, 0.8045]" in svg


def test_conditions_without_a_figure_have_no_picture():
    assert condition_plot("auroc", "AUROC", [("nonspeech", [(0, "a", label(None))])]) == ""


def test_numbers_in_names_are_in_order():
    names = ["noise_10db", "noise_-5db", "clean", "noise_5db", "noise_0db", ""]
    assert sorted(names, key=natural_key) == ["", "clean", "noise_-5db", "noise_0db", "noise_5db", "noise_10db"]


def test_a_hyphen_behind_a_letter_or_a_digit_is_no_sign():
    names = ["set-10", "set-2", "set-1", "2024-02", "2024-01", "-5 dB", "-10 dB"]
    assert sorted(names, key=natural_key) == ["-10 dB", "-5 dB", "2024-01", "2024-02", "set-1", "set-2", "set-10"]


def test_a_figure_in_words():
    assert format_interval(figure(None)) == "undefined"
    assert format_interval(figure(0.5)) == "0.5000"


def test_both_grounds_have_a_colour_for_each_side():
    sheet = style_sheet()
    assert len(set(LIGHT)) == len(set(DARK)) == 6
    for k in range(6):
        assert f"--c{k}: {LIGHT[k]};" in sheet
        assert f"--c{k}: {DARK[k]};" in sheet
        assert f".m{k} {{ --c: var(--c{k});" in sheet
    assert "prefers-color-scheme: dark" in sheet
