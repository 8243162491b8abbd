"""The page of `plot` in a browser: it is opened, clicked on, heard, looked at. Skipped where there is no browser."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from browsers import launched, needs_browser
from fixtures_cli import RATE, tone, tone_model  # noqa: F401
from PIL import Image
from sounds import write

from audiocnn.inference.detect import DetectSettings
from audiocnn.inference.engine import load_engine
from audiocnn.inspection.plot import TimeRange, plot_recording
from audiocnn.model.model import read_model
from audiocnn.report.plot_page import render_plot
from audiocnn.report.sound import read_page_sound

pytestmark = [needs_browser, pytest.mark.long]

SPANS = ((0.6, 1.4), (2.0, 2.9))
# Letters that would end a tag, an attribute and a script, if they were let.
NAME = "</script><img src=x onerror=document.title=1>\"'&.wav".replace("/", "∕")
SECONDS = 4.0


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory, tone_model):  # noqa: F811
    """`pages(name, stretch)` -> a file: mono, both channels of a stereo recording, a stretch, without sound."""
    engine, folder = load_engine(read_model(tone_model)), tmp_path_factory.mktemp("pages")
    mono = write(folder / NAME, tone(*SPANS, seconds=SECONDS), RATE)
    both = np.stack([tone(SPANS[0], seconds=SECONDS), tone(SPANS[1], seconds=SECONDS)], axis=1)
    stereo = write(folder / "stereo.wav", both, RATE)

    def page(name):
        settings = DetectSettings(channel="each") if name == "stereo" else DetectSettings()
        path = stereo if name == "stereo" else mono
        found = plot_recording(path, engine, settings, TimeRange(1.8, 3.8) if name == "stretch" else None)
        sound = None if name == "silent" else read_page_sound(path, found, settings.channel)
        (folder / f"{name}.html").write_text(render_plot(found, sound), encoding="utf-8")
        return folder / f"{name}.html"

    return {name: page(name) for name in ("mono", "stereo", "stretch", "silent")}


class Opened:
    """A page that is open, and what went wrong on it."""

    def __init__(self, browser, path, **how):
        self.context = browser.new_context(viewport={"width": 1000, "height": 800}, **how)
        self.page = self.context.new_page()
        self.wrong, self.asked = [], []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda problem: self.wrong.append(str(problem)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.wait("data.tracks.every((track) => track.tinted) && (!sound || sound.readyState >= 2)")

    def __getattr__(self, name):
        return getattr(self.page, name)

    def segment(self, number):
        return self.page.locator(".segments button").nth(number)

    def wait(self, condition):
        """Until it holds. Asked from outside: the page's policy lets nobody evaluate text inside."""
        end = time.monotonic() + 20
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"{condition}: never; {self.wrong}"
            self.page.wait_for_timeout(20)

    def value(self, expression):
        return self.page.evaluate(expression)

    def picture(self):
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(float)


@pytest.fixture
def opened(browser, pages):
    """`opened(name)` -> the page in the browser; at the end nothing went wrong and nothing was asked of a network."""
    known = []

    def open_page(name, **how):
        known.append(Opened(browser, pages[name], **how))
        return known[-1]

    yield open_page
    for one in known:
        assert one.wrong == []
        assert [url for url in one.asked if not url.startswith(("file:", "data:"))] == []
        one.context.close()


def test_a_click_on_a_segment_plays_it_and_stops_at_its_end(opened):
    page = opened("mono")
    page.segment(1).click()
    page.wait("playing()")
    assert 1.9 <= page.value("data.start + sound.currentTime") < 2.95
    page.wait("!playing()")
    assert page.value("at") == pytest.approx(page.value("segments[1].to"), abs=0.01)
    assert page.value("sound.currentTime") == pytest.approx(2.93, abs=0.05)


def test_the_head_follows_over_all_pictures(opened):
    page = opened("mono")
    page.segment(0).click()
    page.wait("at > 0.9")
    page.keyboard.press(" ")
    page.wait("!playing()")
    head, content = (page.locator(name).bounding_box() for name in ("#head", "#content"))
    assert head["x"] - content["x"] == pytest.approx(
        page.value("at") / SECONDS * content["width"], abs=8
    )  # its flag is wider
    assert head["height"] == pytest.approx(content["height"], abs=1)
    assert page.value("segments[0].button.classList.contains('now') && segments[0].row.classList.contains('now')")


def test_a_click_on_a_picture_plays_on_from_there(opened):
    page = opened("mono")
    for lane, share in (("waveform", 0.25), ("spectrum", 0.5), ("scores", 0.75)):
        box = page.locator(f".lane.{lane}").bounding_box()
        page.mouse.click(box["x"] + share * box["width"], box["y"] + 20)
        page.wait("playing()")
        assert share * SECONDS - 0.02 <= page.value("at") < share * SECONDS + 0.7
    page.wait("sound.ended")
    assert page.value("at") == SECONDS


def test_a_drag_plays_what_was_dragged_over(opened):
    page = opened("mono")
    box = page.locator(".lane.spectrum").bounding_box()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 50, steps=4)
    page.mouse.up()
    page.wait("playing()")
    assert page.value("playUntil") == pytest.approx(3.0, abs=0.02) and page.locator("#chosen").is_visible()
    page.wait("!playing()")
    assert page.value("at") == pytest.approx(3.0, abs=0.02)


def test_the_keys(opened):
    page = opened("mono")
    page.keyboard.press("ArrowRight")
    assert page.value("at") == 1.0
    page.keyboard.press("ArrowLeft")
    assert page.value("at") == 0.0
    page.keyboard.press("n")
    page.wait("playing() && at >= segments[0].from")
    page.keyboard.press("n")
    page.wait("at >= segments[1].from")
    page.keyboard.press(" ")
    page.wait("!playing()")
    page.keyboard.press("End")
    assert page.value("at") == SECONDS
    page.keyboard.press(" ")  # from the beginning again
    page.wait("playing() && at < 2")
    page.locator("#play").click()
    page.wait("!playing()")


def test_zoom_keeps_pictures_segments_and_head_together(opened):
    page = opened("mono")
    page.keyboard.press("ArrowRight")
    before = page.picture()
    for _ in range(3):
        page.keyboard.press("+")
    assert page.value("zoom") == pytest.approx(1.5**3)
    box, content = page.segment(0).bounding_box(), page.locator("#content").bounding_box()
    start = page.value("segments[0].from")
    assert (box["x"] - content["x"]) / content["width"] == pytest.approx(start / SECONDS, abs=2e-3)
    span = page.value("inView()")
    assert span["from"] < 1.0 < span["to"] and span["to"] - span["from"] == pytest.approx(SECONDS / 1.5**3)
    assert not np.array_equal(before, page.picture())
    page.locator("#fit").click()
    assert page.value("zoom") == 1 and page.locator("#out").is_disabled()


def test_a_row_of_the_table_plays_its_segment(opened):
    page = opened("mono")
    page.locator("#rows tr").nth(1).click()
    page.wait("playing()")
    assert page.value("playUntil") == page.value("segments[1].to")


def test_the_speed(opened):
    page = opened("mono")
    page.locator("#speed").select_option("2")
    page.segment(0).click()
    page.wait("playing()")
    assert page.value("sound.playbackRate") == 2


def test_what_the_mouse_rests_on_is_said(opened):
    page = opened("mono")
    box = page.locator(".lane.scores").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 1.0 / SECONDS, box["y"] + 30)
    assert (
        page.locator("#readout").inner_text().startswith("0:01.00")
        and "tone 1.00" in page.locator("#readout").inner_text()
    )


def test_each_channel_has_its_lanes(opened):
    page = opened("stereo")
    assert page.locator(".lane.waveform").count() == page.locator(".lane.segments").count() == 2
    lanes = [page.locator(".lane.segments").nth(number).locator("button").count() for number in (0, 1)]
    assert lanes == [1, 1]
    page.segment(1).click()
    page.wait("playing()")
    assert page.value("at") == pytest.approx(1.97, abs=0.9)


def test_a_stretch_plays_its_own_times(opened):
    page = opened("stretch")
    assert page.value("sound.duration") == pytest.approx(2.0, abs=0.01)
    page.segment(0).click()
    page.wait("playing() && at > 2.2")
    assert page.value("sound.currentTime") == pytest.approx(page.value("at") - 1.8, abs=0.2)


def test_without_sound_the_head_still_goes_where_one_clicks(opened):
    page = opened("silent")
    page.segment(1).click()
    assert page.value("at") == page.value("segments[1].from") and page.locator("#play").is_disabled()


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_it_looks_as_it_should_on_both_grounds(opened, ground):
    page = opened("mono", color_scheme=ground)
    seen = page.picture()
    assert seen[790, 5].mean() > 240 if ground == "light" else seen[790, 5].mean() < 40
    tops = {lane: page.locator(f".lane.{lane}").bounding_box() for lane in ("waveform", "spectrum", "scores")}

    def cell(lane, seconds, down):
        """The colour at a time, so far down a lane (0 to 1)."""
        box = tops[lane]
        return seen[int(box["y"] + down * box["height"]), int(box["x"] + box["width"] * seconds / SECONDS)]

    # A tone of 1 kHz is a bright line (a dark one on white) in the spectrogram, where it sounds and nowhere else.
    loud, still = cell("spectrum", 1.0, 0.75), cell("spectrum", 1.7, 0.75)
    assert (loud.sum() - still.sum()) * (1 if ground == "dark" else -1) > 150
    # Waveforms have the colour of the segment they are in: blue, not the grey of the rest.
    inside, outside = cell("waveform", 1.0, 0.45), cell("waveform", 1.7, 0.45)
    assert inside[2] - inside[0] > 80 and outside.max() - outside.min() < 20
    page.keyboard.press("d")
    turned = page.picture()
    assert (turned[790, 5].mean() < 40) == (ground == "light")


def test_names_from_outside_are_text(opened):
    page = opened("mono")
    assert page.locator("h1").inner_text() == NAME and page.locator("img").count() == 0
    assert page.title() == NAME
