"""Doubtful clips: which they are, the table that is corrected, the page that they are heard on."""

from __future__ import annotations

import base64
import csv
import io
import math
import re

import numpy as np
import pytest
import soundfile
from browsers import launched, needs_browser
from sounds import sine, write

from audiocnn.data.ingest import cached_dataset
from audiocnn.data.sources.corrections import Correction, read_corrections
from audiocnn.data.sources.settings import data_settings
from audiocnn.errors import UsageError
from audiocnn.evaluation.clips import ScoredClip, evaluate_clips
from audiocnn.evaluation.doubtful import DOUBT_COLUMNS, Doubt, doubts_to_tsv, find_doubtful
from audiocnn.evaluation.results import EvaluationSettings
from audiocnn.report.doubtful import render_doubtful
from audiocnn.report.sound import MOST_CLIP_SECONDS, clip_sounds, find_loudest

LABELS = ("cat", "dog", "hen")
# A name and a label that would end a tag, an attribute and a script, if they were let.
BAD = "</script><img src=x onerror=document.title=1>\"'&"


def evaluated(*made, answer="one", labels=LABELS):
    """(labels, scores) of each clip."""
    clips = [
        ScoredClip(f"{k}.wav", np.array(scores), held[0] if held else "", labels=tuple(held))
        for k, (held, scores) in enumerate(made)
    ]
    thresholds = dict.fromkeys(labels, 0.5)
    return evaluate_clips(clips, labels, thresholds, EvaluationSettings(resamples=0), answer)


ONE = evaluated(
    (["cat"], (0.9, 0.05, 0.05)),
    (["cat"], (0.3, 0.6, 0.1)),  # a little
    (["dog"], (0.98, 0.01, 0.01)),  # very
    (["dog"], (0.1, 0.8, 0.1)),
    (["hen"], (0.2, 0.2, 0.6)),
)


def test_the_most_doubtful_comes_first():
    found = find_doubtful(ONE, 3)
    assert [doubt.filename for doubt in found] == ["2.wav", "1.wav", "4.wav"]
    first, second, third = found
    assert (first.labels, first.suggested, first.score, first.label_score) == (("dog",), ("cat",), 0.98, 0.01)
    assert first.doubt == pytest.approx(math.log(0.98 / 0.01))
    assert second.doubt == pytest.approx(math.log(0.6 / 0.3))
    assert third.doubt == pytest.approx(math.log(0.2 / 0.6))
    assert third.suggested == ("hen",)
    assert len(find_doubtful(ONE, 100)) == 5


def test_likely_wrong_is_what_is_above_the_mean_of_another_label():
    # The mean score of cats is 0.6, of dogs 0.405: 0.98 is above the first, and 0.6 above the second.
    assert {doubt.filename: doubt.likely_wrong for doubt in find_doubtful(ONE, 5)} == {
        "2.wav": True,
        "1.wav": True,
        "4.wav": False,
        "3.wav": False,
        "0.wav": False,
    }
    calm = evaluated((["cat"], (0.5, 0.4, 0.1)), (["dog"], (0.52, 0.47, 0.0)), (["dog"], (0.1, 0.9, 0.0)))
    # 0.52 reaches the mean of cats, 0.5, and 0.47 not that of dogs; 0.5 of the cat reaches its own.
    assert [d.filename for d in find_doubtful(calm, 3) if d.likely_wrong] == ["1.wav"]


def test_what_the_model_answers_itself_is_not_likely_wrong():
    """0.45 reaches the mean of dogs, 0.4, and 0.55 not that of cats, 0.775: yet the model says cat, too."""
    made = evaluated((["cat"], (0.55, 0.45, 0.0)), (["cat"], (1.0, 0.0, 0.0)), (["dog"], (0.6, 0.4, 0.0)))
    assert [doubt.filename for doubt in find_doubtful(made, 3) if doubt.likely_wrong] == []
    # Where labels stand alone, too: 0.6 reaches its threshold, but not the mean of those that have it, 0.8;
    # 0.4 that it is none reaches the mean of those that have it not, 0.325.
    rows = [(["cat", "dog"], (0.6, 0.9, 0)), (["cat"], (1.0, 0.2, 0)), ([], (0.45, 0.2, 0)), (["dog"], (0.9, 0.9, 0))]
    several = evaluated(*rows, answer="several")
    assert {d.filename: d.likely_wrong for d in find_doubtful(several, 4)} == {
        "3.wav": True, "0.wav": False, "1.wav": False, "2.wav": False
    }  # fmt: skip


def test_a_label_that_the_model_does_not_know_is_doubted_most():
    found = find_doubtful(evaluated((["cat"], (0.9, 0.1, 0.0)), (["kat"], (0.9, 0.1, 0.0))), 1)
    assert (found[0].labels, found[0].suggested) == (("kat",), ("cat",))
    assert found[0].doubt > 10
    with pytest.raises(UsageError, match=r"^the model knows none of the labels \(kat\); use a model that"):
        find_doubtful(evaluated((["kat"], (0.9, 0.1, 0.0))), 1)


def test_labels_that_stand_alone_are_doubted_by_the_worst_of_them():
    several = evaluated(
        (["cat", "dog"], (0.9, 0.9, 0.1)),
        (["cat"], (0.9, 0.95, 0.1)),  # a dog that nobody marked
        (["cat", "hen"], (0.9, 0.1, 0.2)),  # a hen that is hardly there
        ([], (0.1, 0.2, 0.1)),
        answer="several",
    )
    found = find_doubtful(several, 4)
    assert [doubt.filename for doubt in found] == ["1.wav", "2.wav", "3.wav", "0.wav"]
    assert (found[0].suggested, found[0].row()[:3]) == (("cat", "dog"), ["1.wav", "cat", "cat;dog"])
    assert found[0].doubt == pytest.approx(math.log(0.95 / 0.05))
    assert found[1].doubt == pytest.approx(math.log(0.8 / 0.2))
    assert found[3].doubt < 0


def test_a_label_of_its_own_suggests_no_other():
    found = find_doubtful(evaluated((["cat"], (0.1,)), (["noise"], (0.2,)), labels=("cat",)), 2)
    assert (found[0].filename, found[0].suggested) == ("0.wav", ())


def test_the_table_is_one_that_train_takes(tmp_path):
    doubts = [*find_doubtful(ONE, 3), Doubt('a "b"\tc.wav', ("cat",), ("dog",), 0.5, 0.1, 1.0, False)]
    text = doubts_to_tsv(doubts)
    rows = list(csv.reader(io.StringIO(text), delimiter="\t"))
    assert tuple(rows[0]) == DOUBT_COLUMNS
    assert rows[1] == ["2.wav", "dog", "cat", "0.9800", "0.0100", "4.585", "yes", "dog", ""]
    assert rows[4][0] == 'a "b"\tc.wav'
    (tmp_path / "doubtful.tsv").write_text(text.replace("2.wav\tdog", "2.wav\then").replace("1.wav\tcat", "1.wav\t-"))
    settings = data_settings({}, tmp_path, "[data]")
    found = read_corrections(tmp_path / "doubtful.tsv", settings)
    assert {name: found[name] for name in ("1.wav", "2.wav", "4.wav")} == {
        "1.wav": None,
        "2.wav": Correction(("hen",)),
        "4.wav": Correction(("hen",)),
    }


# Sounds


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Short clips of two labels, and one of 25 s that is loud from 12 to 14 s."""
    folder = tmp_path_factory.mktemp("clips")
    for label, hertz in (("cat", 500), ("dog", 1000)):
        for number in range(2):
            write(folder / label / f"{number}.wav", sine(hertz, 0.5, 8000), 8000)
    long = np.full(25 * 8000, 0.001, np.float32)
    long[12 * 8000 : 14 * 8000] = sine(700, 2.0, 8000)
    write(folder / "dog" / "long.wav", long, 8000)
    settings = data_settings({"source": str(folder), "sample_rate": 8000}, folder, "[data]")
    return cached_dataset(settings, tmp_path_factory.mktemp("made") / "dataset")


def test_a_clip_is_heard_as_it_is(dataset):
    found = clip_sounds(dataset, ["cat/0.wav", "gone.wav", "cat/0.wav"])
    assert list(found) == ["cat/0.wav"]
    sound = found["cat/0.wav"]
    assert (sound.seconds, sound.note) == (0.5, "")
    head, _, content = sound.uri.partition(",")
    assert head == "data:audio/flac;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16")
    entry = next(entry for entry in dataset.entries if entry.filename == "cat/0.wav")
    assert (rate, samples.tolist()) == (8000, dataset.samples(entry)[0].tolist())


def test_of_a_long_clip_the_loudest_stretch_is_heard(dataset):
    sound = clip_sounds(dataset, ["dog/long.wav"])["dog/long.wav"]
    assert sound.seconds == MOST_CLIP_SECONDS
    assert sound.start <= 12 and sound.start + sound.seconds >= 14
    assert sound.note == f"the loudest part: {sound.start:.1f} to {sound.start + 10:.1f} s of 25.0 s"


def test_what_would_be_too_much_is_left_out(dataset):
    names = [entry.filename for entry in dataset.entries]
    whole = clip_sounds(dataset, names)
    assert len(whole) == 5
    most = len(whole["cat/0.wav"].uri) * 2 + 10
    fewer = clip_sounds(dataset, names, most)
    assert 1 <= len(fewer) < 5
    assert sum(len(sound.uri) for sound in fewer.values()) <= most


@pytest.mark.parametrize(("total", "most", "stretch"), [(5, 10, (0, 5)), (10, 10, (0, 10)), (30, 10, (20, 30))])
def test_the_loudest_stretch(total, most, stretch):
    samples = np.zeros((1, total), np.int16)
    samples[:, -1] = 1000
    assert find_loudest(samples, most) == stretch


# The page


def page_of(dataset, doubts=None, labels=LABELS):
    doubts = doubts or [
        Doubt("cat/0.wav", ("cat",), ("dog",), 0.9, 0.05, 2.9, True),
        Doubt("cat/1.wav", ("cat",), ("dog",), 0.8, 0.1, 2.1, False),
        Doubt("dog/0.wav", ("dog",), ("dog",), 0.7, 0.7, -1.0, False),
        Doubt(f"{BAD}.wav", (BAD,), ("cat",), 0.7, 0.0, 9.0, True),
    ]
    sounds = clip_sounds(dataset, [doubt.filename for doubt in doubts])
    return render_doubtful(doubts, sounds, labels, ("model", "some data"), "doubtful-corrected.tsv")


@pytest.mark.parametrize("several", [False, True])
def test_where_clips_have_several_labels_none_is_an_answer(dataset, several):
    doubts = [Doubt("cat/0.wav", ("cat",), (), 0.9, 0.05, 2.9, True)]
    text = render_doubtful(doubts, {}, LABELS, ("model", "data"), "corrected.tsv", several)
    assert ('<button data-do="suggested">it is <i>none</i>' in text) == several
    assert ("An empty label means that the clip has none of them" in text) == several
    assert f'"several": {str(several).lower()}' in text or f'"several":{str(several).lower()}' in text


def test_the_page_needs_nothing_and_its_names_are_text(dataset):
    text = page_of(dataset)
    outside = re.sub(r'src="data:audio/flac;base64,[^"]*"', "", text)
    assert outside.count("<img") == 0
    assert outside.count("<script") == outside.count("</script>") == 2
    assert not re.search(r"https?:|url\(|@import| src=", outside.replace("img src=x", ""))
    assert "default-src 'none'" in text
    assert "&lt;/script&gt;&lt;img" in text
    assert "For 3 clips the model disagrees with the label; 2 are likely wrong" in text
    assert "1 clips have no sound here" in text


@needs_browser
def test_labels_are_chosen_in_a_browser_and_the_table_is_downloaded(dataset, tmp_path):
    path = tmp_path / "doubtful.html"
    path.write_text(page_of(dataset), encoding="utf-8")
    with launched() as browser:
        page = browser.new_context(accept_downloads=True).new_page()
        wrong, asked = [], []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda problem: wrong.append(str(problem)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.locator("#save").is_disabled()
        assert page.locator("#state").inner_text() == "0 of 4 checked: 0 changed, 0 left out, 0 right"
        page.keyboard.press("Space")  # the first clip has the focus
        page.wait_for_function("() => document.querySelector('audio').currentTime > 0")
        page.keyboard.press("2")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("x")
        page.keyboard.press("z")
        page.keyboard.press("1")
        page.keyboard.press("j")
        page.keyboard.press("3")
        page.keyboard.insert_text('a "new"\tone')
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("x")
        assert page.locator("#state").inner_text() == "4 of 4 checked: 2 changed, 1 left out, 1 right"
        assert [clip.get_attribute("class") for clip in page.locator(".clip").all()] == [
            *("clip changed", "clip kept", "clip changed", "clip out"),
        ]
        with page.expect_download() as download:
            page.locator("#save").click()
        assert download.value.suggested_filename == "doubtful-corrected.tsv"
        download.value.save_as(tmp_path / "corrected.tsv")
        page.reload()
        assert page.locator("#state").inner_text() == "4 of 4 checked: 2 changed, 1 left out, 1 right"
        assert (page.title(), wrong) == ("4 doubtful clips of some data", [])
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    rows = list(csv.reader((tmp_path / "corrected.tsv").open(encoding="utf-8", newline=""), delimiter="\t"))
    assert tuple(rows[0]) == DOUBT_COLUMNS
    assert [row[:2] for row in rows[1:]] == [
        ["cat/0.wav", "dog"],
        ["cat/1.wav", "cat"],
        ["dog/0.wav", 'a "new" one'],
        [f"{BAD}.wav", "-"],
    ]
