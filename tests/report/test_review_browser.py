"""The page of a review in a browser: it is heard, typed into, dragged on, looked at. Skipped where there is none."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from browsers import launched, needs_browser
from PIL import Image
from sounds import noise, sine, write

from audiocnn.data.sources.correction_table import CorrectionTable
from audiocnn.data.sources.corrections import Correction
from audiocnn.evaluation.review import Review, read_review_source
from audiocnn.report.review_server import ReviewServer
from audiocnn.segments.segment import Annotation

pytestmark = [needs_browser, pytest.mark.long]
RATE = 8000
NAME = "<img src=x onerror=document.title=1>\"'&.wav"
SCRIPT = "</script><script>document.title='gone'</script>"


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


class Page:
    """A page that is open, and what went wrong on it."""

    def __init__(self, browser, address, size=(1280, 800), **how):
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **how)
        self.page = self.context.new_page()
        self.wrong, self.asked = [], []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda problem: self.wrong.append(str(problem)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.wait("place >= 0 && waiting === 0")

    def wait(self, condition):
        end = time.monotonic() + 120
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"{condition}: never; {self.wrong}"
            self.page.wait_for_timeout(20)

    def press(self, *keys):
        """Each key, when the one before has been saved and the next clip is there."""
        for key in keys:
            self.page.keyboard.press(key)
            self.wait("waiting === 0")

    def type(self, word):
        self.page.keyboard.press("t")
        self.page.keyboard.type(word)
        self.press("Enter")

    def text(self, name):
        return self.page.locator(name).inner_text()

    def value(self, expression):
        return self.page.evaluate(expression)

    def drag(self, first, second):
        """From one place of the picture to another, in seconds of what is seen, so far down as labels are not."""
        box = self.page.locator("#view").bounding_box()
        places = [box["x"] + box["width"] * seconds / self.value("length()") for seconds in (first, second)]
        self.page.mouse.move(places[0], box["y"] + 100)
        self.page.mouse.down()
        self.page.mouse.move(places[1], box["y"] + 100, steps=5)
        self.page.mouse.up()
        self.wait("waiting === 0")

    def picture(self):
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(float)


@pytest.fixture
def opened(browser, tmp_path):
    """`opened(folder)` -> (page, table); at the end nothing went wrong, and nobody else was asked."""
    servers, pages = [], []

    def open_page(folder, server=None, wrong=False, timed=False, **how):
        if server is None:
            clips = read_review_source(folder).clips
            review = Review(clips, CorrectionTable(tmp_path / "corrections.csv", timed))
            server = ReviewServer(review, folder if folder.is_dir() else folder.parent, "audiocnn train sounds")
            servers.append(server)
        pages.append((Page(browser, server.address, **how), server, wrong))
        return pages[-1][0], server

    yield open_page
    for page, server, wrong in pages:
        assert page.wrong == [] or wrong
        assert all(url.startswith((server.address, "blob:")) for url in page.asked)
        page.context.close()
    for server in servers:
        server.close()


@pytest.fixture
def sounds(tmp_path):
    for k in range(6):
        samples = sine(400 if k % 2 else 2000, 0.4, RATE) + (noise(0.4, RATE, k) / 3e6).astype(np.float32)
        write(tmp_path / "sounds" / (NAME if k == 0 else f"{k}.wav"), samples, RATE)
    return tmp_path / "sounds"


def saved(server):
    return dict(CorrectionTable(server.review.table.path).rows)


def test_a_review_with_the_keyboard_alone(opened, sounds):
    page, server = opened(sounds)
    names = [page.text("#name")]
    page.type("low")
    assert saved(server) == {names[0]: Correction(("low",))}
    names.append(page.text("#name"))
    page.type(SCRIPT)
    assert page.text("#labels button:nth-child(2)").split() == ["2", *SCRIPT.split(), "1"]
    names.append(page.text("#name"))
    page.press("1")
    names.append(page.text("#name"))
    page.press("n")
    names.append(page.text("#name"))
    page.press("x")
    right = [Correction(("low",)), Correction((SCRIPT,)), Correction(("low",)), Correction(("other",)), None]
    assert saved(server) == dict(zip(names, right, strict=True))
    page.press("u", "Backspace")
    assert page.text("#name") == names[3] and len(saved(server)) == 3
    page.press("2", "s")
    assert saved(server)[names[3]] == Correction((SCRIPT,))
    page.press("1", "1")
    assert len(saved(server)) == 6 and set(saved(server)) == {path.name for path in sounds.iterdir()}
    assert "all 6 are done" in page.text("#note")
    page.press("ArrowLeft")
    assert page.value("clip.said")
    assert page.value("document.title") == "review of sounds" and page.page.locator("img").count() == 0


def test_it_plays_by_itself_and_shows_where(opened, sounds):
    page, _ = opened(sounds)
    page.press("s")  # browsers play nothing before a key
    page.wait("sound.ended || sound.currentTime > 0.1")
    page.wait("sound.ended")
    assert page.text("#time").startswith("0.40 / 0.40 s")
    page.press(" ")
    page.wait("!sound.paused || sound.ended")
    page.page.locator("#autoplay").uncheck()
    page.press("s")
    page.wait("sound.readyState >= 2")
    page.page.wait_for_timeout(200)
    assert page.value("sound.paused && sound.currentTime === 0")
    page.page.locator("#view").click()
    page.wait("sound.currentTime > 0.15")


def test_a_suggestion_is_taken_with_enter(opened, sounds):
    page, server = opened(sounds)
    for _ in range(4):
        page.type("low" if page.value("clip.name[0] % 2") == 1 else "high")
    name, suggested = page.value("clip.name"), page.value("clip.suggested")
    assert suggested in ("low", "high") and suggested in page.text("#why")
    page.press("Enter")
    assert saved(server)[name] == Correction((suggested,))


def test_two_pages_at_once_lose_nothing(opened, sounds):
    one, server = opened(sounds, wrong=True)
    two, _ = opened(sounds, server, wrong=True)
    assert one.text("#name") != two.text("#name")
    first, second = one.text("#name"), two.text("#name")
    one.type("a")
    two.type("b")
    assert saved(server) == {first: Correction(("a",)), second: Correction(("b",))}
    two.value(f"queue(async () => take(await answerOf('clip/{server.review.order.count - 1}')))")
    two.wait("waiting === 0")
    name, index = two.text("#name"), two.value("clip.index")
    server.review.answer("third", index, "c", two.value("clip.revision"))
    two.type("d")
    assert saved(server)[name] == Correction(("c",)) and "changed in another window" in two.text("#state")
    assert two.text("#name") == name and "answered: c" in two.text("#given")


def test_a_recording_that_cannot_be_decoded(opened, sounds):
    for path in sorted(sounds.iterdir())[1:]:
        path.unlink()
    (sounds / "broken.wav").write_bytes(b"no sound")
    page, server = opened(sounds)
    page.type("dog")
    assert page.text("#name") == "broken.wav" and "audio format" in page.text("#note")
    page.press("x")
    assert saved(server)["broken.wav"] is None and "all 2 are done" in page.text("#note")


def test_a_server_that_has_ended_is_said(opened, sounds):
    page, server = opened(sounds, wrong=True)
    page.type("dog")
    server._http.shutdown()
    server._http.server_close()
    server._http.socket.close()
    page.context.set_offline(True)
    page.press("1")
    assert "the server has stopped" in page.text("#state") and len(saved(server)) == 1
    server._http.shutdown = server._http.server_close = lambda: None


def test_what_was_answered_before_can_be_looked_at_again(opened, sounds, tmp_path):
    table = CorrectionTable(tmp_path / "corrections.csv")
    for path in sounds.iterdir():
        table.set(path.name, Correction(("dog",)))
    page, server = opened(sounds)
    assert "all 6 are done" in page.text("#note")
    page.press("ArrowLeft")
    assert "answered: dog" in page.text("#given")
    page.type("cat")
    assert list(saved(server).values()).count(Correction(("cat",))) == 1 and "all 6 are done" in page.text("#note")


@pytest.fixture
def recording(tmp_path):
    samples = np.zeros(40 * RATE, np.float32)
    samples[5 * RATE : 7 * RATE] = sine(1000, 2.0, RATE)
    write(tmp_path / "field" / "long.wav", samples, RATE)
    table = CorrectionTable(tmp_path / "corrections.csv", timed=True)
    table.set("long.wav", Correction((), (Annotation(5.0, 7.0, "dog"), Annotation(20.0, 21.0, "cat"))))
    return tmp_path / "field" / "long.wav"


def times(server):
    return [(one.onset, one.offset, one.label) for one in saved(server)["long.wav"].annotations]


def test_segments_are_marked_moved_named_and_removed(opened, recording):
    page, server = opened(recording, timed=True)
    page.wait("marks.children.length === 2 && picture")
    page.drag(7.0, 8.0)  # the edge at the end
    assert times(server)[0] == (5.0, pytest.approx(8.0, abs=0.05), "dog")
    page.drag(5.0, 4.5)
    assert times(server)[0] == (pytest.approx(4.5, abs=0.05), pytest.approx(8.0, abs=0.05), "dog")
    page.drag(20.5, 22.5)  # the whole
    assert times(server)[1] == (pytest.approx(22.0, abs=0.05), pytest.approx(23.0, abs=0.05), "cat")
    page.drag(10.0, 12.0)
    page.type(SCRIPT)
    assert times(server)[1] == (pytest.approx(10.0, abs=0.05), pytest.approx(12.0, abs=0.05), SCRIPT)
    page.press("1")
    assert times(server)[1][2] == server.review.labels[0]
    page.press("Delete")
    assert len(times(server)) == 2 and page.page.locator(".mark").count() == 2
    page.press("u")
    assert len(times(server)) == 3
    page.press("PageDown")
    page.wait("!sound.paused || sound.duration > 9")
    assert page.text("#time").endswith("piece 2 of 2") and page.page.locator(".mark").count() == 0
    page.drag(1.0, 2.0)
    assert times(server)[-1][:2] == (pytest.approx(31.0, abs=0.05), pytest.approx(32.0, abs=0.05))


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (800, 600)], ids=str)
def test_it_fits_and_can_be_read_on_both_grounds(opened, sounds, ground, size):
    page, _ = opened(sounds, size=size, color_scheme=ground)
    page.type("low")
    page.type("a label of many words")
    page.wait("picture")
    seen = page.picture()
    assert seen[5, 5].mean() > 240 if ground == "light" else seen[5, 5].mean() < 40
    assert page.value("document.documentElement.scrollHeight <= innerHeight"), "all is seen without scrolling"
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    box = page.page.locator("#view").bounding_box()
    shown = seen[int(box["y"]) : int(box["y"] + box["height"]), int(box["x"]) : int(box["x"] + box["width"])]
    assert np.ptp(shown.mean(axis=(1, 2))) > 60, "a tone is a line"
