"""`plot`: what is drawn is what is there, in bounded memory, and what the network is given."""

from __future__ import annotations

import base64
import io
import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fixtures_cli import RATE, audiocnn, audiocnn_process, tone, tone_model  # noqa: F401
from PIL import Image
from sounds import as_bytes, noise, sine, write

from audiocnn.errors import UsageError
from audiocnn.inference.detect import DetectSettings, detect_recording
from audiocnn.inference.engine import load_engine
from audiocnn.inspection import plot
from audiocnn.inspection.plot import ColumnPool, TimeRange, plot_recording
from audiocnn.inspection.spectrogram import Spectrogram
from audiocnn.model.frontend import FrontEnd
from audiocnn.model.model import read_model
from audiocnn.report import sound as sound_module
from audiocnn.report.figure import new_figure, show_spectrogram
from audiocnn.report.page import to_json
from audiocnn.report.plot_page import render_plot, to_png
from audiocnn.report.plot_picture import draw_plot
from audiocnn.report.sound import explain_silence, read_page_sound
from audiocnn.spec.features import FEATURES, default_input
from audiocnn_cli.app.exits import ExitStatus


@pytest.fixture(scope="module")
def engine(tone_model):  # noqa: F811
    return load_engine(read_model(tone_model))


def in_pieces(values, *sizes):
    """Cut along the last axis into pieces of these sizes, over and over."""
    at, turn = 0, 0
    while at < values.shape[-1]:
        yield values[..., at : at + sizes[turn % len(sizes)]]
        at, turn = at + sizes[turn % len(sizes)], turn + 1


# The spectrogram


@pytest.mark.parametrize("features", [name for name in FEATURES if name not in ("waveform", "mfcc")])
def test_the_spectrogram_is_what_the_front_end_computes(features):
    spec = default_input(features, 16000)
    samples = np.stack([sine(700, 1.3, 16000, 0.3), noise(1.3, 16000).astype(np.float32) / 65536])
    made = Spectrogram(spec)
    parts = [made.push(piece) for piece in in_pieces(samples, 1, 977, 16, 4000)] + [made.finish()]
    found = np.concatenate(parts, axis=1)
    hop, frame = spec.hop_samples, spec.frame_samples
    columns = -(-samples.shape[1] // hop)
    before = max(0, (frame - hop) // 2)
    padded = np.pad(samples, ((0, 0), (before, columns * hop + frame - samples.shape[1] - before)))
    with torch.no_grad():
        wanted = FrontEnd(spec)(torch.from_numpy(padded[None].astype(np.float32)))[0, :, :, :columns].numpy()
    power = np.maximum(found, spec.floor).transpose(0, 2, 1)
    assert power.shape == wanted.shape == (2, spec.bands, columns)
    if spec.logarithmic:
        np.testing.assert_allclose(np.log(power), wanted, atol=1e-2)  # 0.04 dB, also of the softest
    else:
        np.testing.assert_allclose(power, np.maximum(wanted, spec.floor), rtol=2e-3, atol=1e-6)


def test_what_has_no_bands_is_shown_as_log_mel():
    for features in ("waveform", "mfcc"):
        assert Spectrogram(default_input(features, 8000)).spec.features == "log_mel"


def test_a_tone_lies_in_its_band():
    made = Spectrogram(default_input("log_mel", 16000))
    found = np.concatenate([made.push(sine(1000, 1.0, 16000)[None]), made.finish()], axis=1)[0]
    band = int(found[20:80].mean(axis=0).argmax())
    assert made.band_hertz[band] <= 1000 <= made.band_hertz[band + 1]


# The axes of librosa


@pytest.mark.parametrize(
    ("features", "scale"), [("stft", "linear"), ("log_mel", "symlog"), ("mel", "symlog"), ("cqt", "log")]
)
def test_a_tone_is_drawn_at_its_frequency(features, scale):
    made = Spectrogram(default_input(features, 16000))
    levels = np.concatenate([made.push(sine(1000, 2.0, 16000)[None]), made.finish()], axis=1)[0].T
    axes = new_figure(6.0, 2.0).subplots()
    seconds = 7.5 + np.arange(levels.shape[1] + 1) * made.hop / 16000
    mesh = show_spectrogram(axes, levels, seconds, made.band_hertz, features)
    assert axes.get_yscale() == scale
    assert axes.get_ylabel() == "Hz"
    corners = np.asarray(mesh.get_coordinates())
    band = int(levels.mean(axis=1).argmax())
    assert corners[band, 0, 1] <= 1000 <= corners[band + 1, 0, 1]
    assert corners[0, [0, -1], 0] == pytest.approx([7.5, 9.5], abs=0.01)
    marks = dict(zip((text.get_text() for text in axes.get_yticklabels()), axes.get_yticks(), strict=True))
    assert marks["1,000"] == 1000 and marks["2,000"] == 2000
    places = axes.transAxes.inverted().transform(axes.transData.transform([(7.5, mark) for mark in marks.values()]))
    assert np.diff(places[:, 1]).min() > 0.05


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (3605.0, 3606.0, ["3605.0", "3605.2", "3605.4"]),
        (10.0, 20.0, ["10", "12", "14"]),
        (0.0, 180.0, ["0:00", "0:30", "1:00"]),
        (0.0, 7200.0, ["0:00:00", "0:15:00", "0:30:00"]),
    ],
)
def test_times_are_told_apart(start, end, wanted):
    figure = new_figure(6.0, 2.0)
    axes = figure.subplots()
    show_spectrogram(axes, np.zeros((2, 50)), np.linspace(start, end, 51), np.array([0.0, 1000.0, 2000.0]), "stft")
    axes.set_xlim(start, end)
    figure.draw_without_rendering()
    marks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert [text.get_text() for mark, text in marks if mark >= start][:3] == wanted


# Pooling


@pytest.mark.parametrize("join", [np.min, np.max, np.mean])
@pytest.mark.parametrize("count", [1, 7, 64, 65, 1000, 4097])
def test_a_pool_joins_what_lies_together(join, count):
    values = np.random.default_rng(count).random((count, 2)).astype(np.float32)
    pool = ColumnPool(64, join)
    for piece in in_pieces(values.T, 1, 5, 130, 3):
        pool.push(piece.T)
    columns = pool.columns()
    assert pool.factor & (pool.factor - 1) == 0 and len(columns) == -(-count // pool.factor)
    assert (len(columns) <= 65) and (pool.factor == 1 or len(columns) > 32)
    wanted = [join(values[k : k + pool.factor], axis=0) for k in range(0, count, pool.factor)]
    np.testing.assert_allclose(columns, wanted, rtol=1e-5)


def test_an_empty_pool_has_the_shape_that_is_asked_for():
    assert ColumnPool(4, np.mean).columns((0, 3)).shape == (0, 3)


# What is kept of a recording


def test_a_plot_has_the_segments_of_detect_and_the_columns_of_its_sound(tmp_path, engine):
    path = write(tmp_path / "two.wav", tone((0.3, 0.8), (1.2, 1.9)), RATE)
    found = plot_recording(path, engine)
    (track,) = found.tracks
    assert found.detection == detect_recording(path, engine)
    assert track.segments == found.detection.segments and len(track.segments) == 2
    assert (found.start, found.end) == (0.0, 2.0)
    times = found.waveform.start + found.waveform.step * (np.arange(len(track.high)) + 0.5)
    loud = track.high - track.low > 0.1
    inside = ((times > 0.305) & (times < 0.795)) | ((times > 1.205) & (times < 1.895))
    outside = (times < 0.295) | (times > 1.905) | ((times > 0.805) & (times < 1.195))
    assert loud[inside].mean() > 0.3 and not loud[outside].any()
    scores = track.score_high[0]
    middles = found.scores.start + found.scores.step * (np.arange(len(scores)) + 0.5)
    assert (scores[(middles > 0.4) & (middles < 0.7)] > 0.9).all() and (scores[middles < 0.2] < 0.1).all()
    assert found.peak == pytest.approx(0.3, abs=1e-3)
    assert found.thresholds == {"tone": (0.5, pytest.approx(0.35))}


def test_a_stretch_is_a_part_of_the_whole(tmp_path, engine):
    path = write(tmp_path / "two.wav", tone((0.3, 0.8), (1.2, 1.9)), RATE)
    whole, part = plot_recording(path, engine), plot_recording(path, engine, time_range=TimeRange(0.5, 1.1))
    assert part.detection == whole.detection
    assert (part.start, part.end) == (0.5, 1.1)
    assert [s.start for s in part.tracks[0].segments] == [whole.detection.segments[0].start]
    first = round(0.5 / whole.scores.step)
    assert part.scores.start == pytest.approx(0.5) and part.scores.step == whole.scores.step
    np.testing.assert_array_equal(part.tracks[0].score_high[0], whole.tracks[0].score_high[0][first : first + 60])
    assert part.waveform.start == 0.5
    assert len(part.tracks[0].low) * part.waveform.step == pytest.approx(0.6, abs=part.waveform.step)


def test_each_channel_is_a_track(tmp_path, engine):
    samples = np.stack([tone((0.2, 0.6)), tone((1.0, 1.6))], axis=1)
    path = write(tmp_path / "stereo.wav", samples, RATE)
    found = plot_recording(path, engine, DetectSettings(channel="each"))
    assert [track.name for track in found.tracks] == ["channel 0", "channel 1"]
    assert [round(track.segments[0].start, 1) for track in found.tracks] == [0.2, 1.0]
    first, second = (np.flatnonzero(track.high > 0.1) * found.waveform.step for track in found.tracks)
    assert first.min() == pytest.approx(0.2, abs=0.01) and second.min() == pytest.approx(1.0, abs=0.01)
    assert plot_recording(path, engine, DetectSettings(channel=1)).tracks[0].name == "channel 1"
    assert plot_recording(path, engine).tracks[0].name == "mix of 2"


def test_more_channels_than_can_be_drawn_are_told_of(tmp_path, engine):
    path = write(tmp_path / "ten.wav", np.zeros((800, 10), np.float32), RATE)
    found = plot_recording(path, engine, DetectSettings(channel="each"))
    assert (len(found.tracks), found.more_tracks) == (plot.MOST_TRACKS, 2)
    assert "2 more channels are not shown" in render_plot(found, None)


@pytest.mark.parametrize(
    ("stretch", "message"),
    [
        (TimeRange(-1.0), "--from -1: not a time"),
        (TimeRange(None, float("inf")), "--to inf: not a time"),
        (TimeRange(2.0, 1.0), "ends before it starts"),
        (TimeRange(3.0), "the recording is 2.00 s long"),
    ],
)
def test_a_stretch_that_cannot_be_is_refused(tmp_path, engine, stretch, message):
    path = write(tmp_path / "a.wav", tone(), RATE)
    with pytest.raises(UsageError, match=re.escape(message)):
        plot_recording(path, engine, time_range=stretch)


@pytest.mark.parametrize("samples", [1, 3, 800])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_short_and_silent_recordings_are_drawn(tmp_path, engine, samples, suffix):
    path = write(tmp_path / "a.wav", np.zeros(samples, np.float32), RATE)
    found = plot_recording(path, engine)
    draw_plot(found, tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").stat().st_size > 1000
    sound = read_page_sound(path, found, "mix")
    assert sound is not None and len(soundfile.read(io.BytesIO(sound.content))[0]) == samples
    page = render_plot(found, sound)
    assert "no tone" in page and '<tbody id="rows">' not in page


def test_a_stretch_between_two_samples_is_drawn(tmp_path, engine):
    path = write(tmp_path / "a.wav", tone(), RATE)
    found = plot_recording(path, engine, time_range=TimeRange(1.99999))
    draw_plot(found, tmp_path / "a.png")
    assert render_plot(found, read_page_sound(path, found, "mix"))


def test_memory_does_not_grow_with_the_recording(tmp_path, engine):
    peaks = []
    for minutes in (2, 20):
        path = write(tmp_path / f"{minutes}.wav", np.tile(noise(1.0, RATE), 60 * minutes), RATE)
        tracemalloc.start()
        found = plot_recording(path, engine)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert plot.MOST_COLUMNS / 2 < len(found.tracks[0].low) <= plot.MOST_COLUMNS + 1
    assert peaks[1] < 2 * peaks[0], peaks


# The sound


def read_sound(sound):
    return soundfile.read(io.BytesIO(sound.content), always_2d=True)


def test_a_short_sound_loses_nothing(tmp_path, engine):
    samples = np.stack([noise(0.7, 44100, 1), noise(0.7, 44100, 2)], axis=1)
    path = write(tmp_path / "a.wav", samples, 44100)
    sound = read_page_sound(path, plot_recording(path, engine), "mix")
    assert sound.kind == "audio/wav" and sound.what.startswith("WAV, 44,100 Hz, stereo")
    read, rate = read_sound(sound)
    assert rate == 44100
    np.testing.assert_allclose(read, samples / 32768, atol=2 / 32768)


def test_a_stretch_of_the_sound_is_cut_to_the_sample(tmp_path, engine):
    samples = noise(2.0, RATE)
    path = write(tmp_path / "a.wav", samples, RATE)
    sound = read_page_sound(path, plot_recording(path, engine, time_range=TimeRange(0.75, 1.25)), "mix")
    np.testing.assert_allclose(read_sound(sound)[0][:, 0], samples[6000:10000] / 32768, atol=1 / 32768)


def test_longer_sounds_are_made_smaller(tmp_path, engine, monkeypatch):
    samples = np.stack([tone((0.3, 0.8), seconds=4.0, sample_rate=44100)] * 2, axis=1)
    path = write(tmp_path / "a.wav", samples, 44100)
    found = plot_recording(path, engine)
    monkeypatch.setattr(sound_module, "LOSSLESS_BYTES", 1000)
    sound = read_page_sound(path, found, "mix")
    read, rate = read_sound(sound)
    assert (sound.kind, rate, read.shape[1]) == ("audio/ogg", 44100, 2) and len(sound.content) < 200_000
    assert abs(len(read) - len(samples)) < 2048
    loud = np.flatnonzero(np.abs(read[:, 0]) > 0.15) / rate
    assert (loud.min(), loud.max()) == (pytest.approx(0.3, abs=0.02), pytest.approx(0.8, abs=0.02))
    monkeypatch.setattr(sound_module, "FULL_SECONDS", 3.0)
    read, rate = read_sound(read_page_sound(path, found, "mix"))
    assert (rate, read.shape[1]) == (16000, 1)
    monkeypatch.setattr(sound_module, "MOST_PAGE_SECONDS", 3.5)
    assert read_page_sound(path, found, "mix") is None
    assert "the page has no sound: 4.0 s" in explain_silence(found)


def test_what_is_too_loud_is_turned_down(tmp_path, engine):
    path = write(tmp_path / "loud.wav", 4 * sine(440, 0.5, RATE, 1.0), RATE, "FLOAT")
    sound = read_page_sound(path, plot_recording(path, engine), "mix")
    assert np.abs(read_sound(sound)[0]).max() == pytest.approx(1.0, abs=0.01) and "lowered by 12 dB" in sound.what


@pytest.mark.parametrize(("own", "played"), [(1000, 8000), (11025, 11025), (96000, 48000)])
def test_the_sound_has_a_rate_that_browsers_play(tmp_path, engine, own, played):
    path = write(tmp_path / "a.wav", np.zeros(own, np.float32), own)
    assert read_sound(read_page_sound(path, plot_recording(path, engine), "mix"))[1] == played


# The page


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_says_what_is_drawn(tmp_path, engine):
    path = write(tmp_path / "two.wav", tone((0.3, 0.8), (1.2, 1.9)), RATE)
    found = plot_recording(path, engine)
    page = render_plot(found, read_page_sound(path, found, "mix"))
    data = data_of(page)
    (track,) = data["tracks"]
    assert [s[:2] for s in track["segments"]] == [
        [round(s.start, 4), round(s.end, 4)] for s in found.detection.segments
    ]
    high = np.frombuffer(base64.b64decode(track["high"]), np.int8)
    assert len(high) == len(found.tracks[0].high) and high.max() == 127
    scores = np.frombuffer(base64.b64decode(track["scores"][0]["high"]), np.uint8)
    np.testing.assert_allclose(scores / 255, found.tracks[0].score_high[0], atol=0.002)
    picture = Image.open(io.BytesIO(base64.b64decode(track["spectrum"].partition(",")[2])))
    assert picture.size == found.tracks[0].decibels.shape[::-1]
    assert page.count("<tr>") == 3 and "2 segments of tone" in page


def test_the_page_needs_nothing_else_and_may_not_ask(tmp_path, engine):
    path = write(tmp_path / "one.wav", tone((0.3, 0.8)), RATE)
    page = render_plot(found := plot_recording(path, engine), read_page_sound(path, found, "mix"))
    assert not re.search(r'(src|href)="(?!data:)', page) and "url(" not in page and "@import" not in page
    assert "http:" not in page and "https:" not in page and "unsafe" not in page
    assert "default-src 'none'" in page


def test_names_are_text_and_never_code(tmp_path, engine):
    bad = "</script><img src=x onerror=alert(1)>\"'&<b>.wav".replace("/", "∕")
    path = write(tmp_path / bad, tone((0.3, 0.8)), RATE)
    page = render_plot(plot_recording(path, engine), None)
    assert "<img" not in page and "<b>" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert to_json({"</script><!--&": 1}) == '{"\\u003c/script\\u003e\\u003c!--\\u0026":1}'


def test_grey_pictures_are_read_as_they_were_made():
    grey = np.random.default_rng(1).integers(0, 256, (5, 300)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(to_png(grey)))), grey)
    assert Image.open(io.BytesIO(to_png(np.zeros((64, 0), np.uint8)))).size == (1, 64)


# The command


def heard_on(page):
    """The samples of the sound that a page carries."""
    text = re.search(r'src="data:audio/[^,"]*,([^"]*)"', page)[1]
    return soundfile.read(io.BytesIO(base64.b64decode(text)))[0]


@pytest.fixture
def here(tmp_path, monkeypatch):
    write(tmp_path / "one.wav", tone((0.5, 1.0)), RATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["x.html", "x.htm", "x.png", "x.svg", "x.pdf"])
def test_every_kind_of_output(here, tone_model, name):  # noqa: F811
    done = audiocnn("plot", "one.wav", "-m", tone_model, "-o", name, "--from", "0.25", "--to", "1.5")
    assert (done.status, done.err) == (ExitStatus.OK, "")
    record = json.loads(done.out)
    assert record["type"] == "plot" and record["picture"] == name and record["segments"] == 1
    assert (record["start"], record["end"], record["duration"]) == (0.25, 1.5, 2.0)
    beginning = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}.get(Path(name).suffix, b"<!doctype html>")
    assert Path(name).read_bytes().startswith(beginning)
    again = audiocnn("plot", "one.wav", "-m", tone_model, "-o", name)
    assert again.status == ExitStatus.USAGE and f"{name}: already exists; overwrite it with --force" in again.err
    assert [path.name for path in here.iterdir()].count(name) == len(list(here.iterdir())) - 1


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_pipe_is_drawn_and_played_as_a_file(here, tone_model, kind):  # noqa: F811
    sound = as_bytes(tone((0.5, 1.0)), RATE, kind)
    done = audiocnn_process("plot", "-", "-m", tone_model, "-o", "pipe.html", input=sound, cwd=here)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == "-"
    audiocnn("plot", "one.wav", "-m", tone_model, "-o", "file.html")
    pipe, file = (Path(name).read_text() for name in ("pipe.html", "file.html"))
    assert data_of(pipe)["tracks"] == data_of(file)["tracks"]
    np.testing.assert_allclose(heard_on(pipe), heard_on(file), atol=1 / 32768)


def test_without_sound_there_is_none(here, tone_model):  # noqa: F811
    done = audiocnn("plot", "one.wav", "-m", tone_model, "-o", "x.html", "--no-sound")
    assert done.status == ExitStatus.OK and "<audio" not in Path("x.html").read_text()


def test_a_damaged_recording_is_drawn_as_far_as_it_goes(here, tone_model):  # noqa: F811
    whole = Path("one.wav").read_bytes()
    Path("cut.wav").write_bytes(whole[: len(whole) * 3 // 4])
    done = audiocnn("plot", "cut.wav", "-m", tone_model, "-o", "x.html")
    assert done.status == ExitStatus.SOME_FAILED and "damaged or cut short" in done.err
    assert "damaged or cut short" in Path("x.html").read_text()


@pytest.mark.parametrize("home", ["/dev/null", pytest.param("/proc/nowhere", marks=pytest.mark.long)])
@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_a_home_that_cannot_be_written_is_no_concern_of_a_picture(tmp_path, home, suffix):
    """What matplotlib says about its fonts is not for -q."""
    path = write(tmp_path / "a.wav", sine(440, 1.0, 16000), 16000)
    env = {"HOME": home, "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "TMPDIR": str(tmp_path)}
    done = audiocnn_process("plot", "-q", path, "-o", tmp_path / f"x{suffix}", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
