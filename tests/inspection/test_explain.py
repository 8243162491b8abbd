"""What moved a score: networks whose answer is known, every mechanism of a spec, the picture, and what can go wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures_cli import HERTZ, audiocnn, tone, tone_model, tone_network  # noqa: F401
from fixtures_cli import RATE as TONE_RATE
from fixtures_models import (
    LOG_MEL,
    RATE,
    SPECS,
    network_of,
    noise,
    spec_named,
    table_of,
    tone_of,
    torch_engine,
)
from sounds import as_bytes, write

from audiocnn.errors import ModelError, UsageError
from audiocnn.inference.engine import Engine, TorchBackend
from audiocnn.inference.pooling import clip_scores, pool_of
from audiocnn.inspection.explain import explain_recording
from audiocnn.inspection.feature_maps import feature_maps
from audiocnn.inspection.occlusion import probability, spans, without_rounding
from audiocnn.inspection.settings import ExplainSettings
from audiocnn.inspection.views import (
    BACKGROUND_QUANTILE,
    FILL_LEVELS,
    Excerpt,
    SoundView,
    View,
    make_view,
    score_window,
)
from audiocnn.model.frontend import FrontEnd
from audiocnn.model.model import Member, Model, find_model
from audiocnn.model.network import Network
from audiocnn.model.pooling import ClipPooling
from audiocnn.model.weights import Ensemble, load_networks
from audiocnn.report import explain_picture
from audiocnn.spec.spec import spec_from_table
from audiocnn_cli.app.exits import ExitStatus

CPU = torch.device("cpu")


def logit(score):
    return math.log(score / (1 - score))


def explain(engine, samples, settings=None):
    """Of samples (channels, samples) at the rate of the model."""
    file = io.BytesIO(as_bytes(samples.T, engine.geometry.sample_rate, "WAV", "FLOAT"))
    return explain_recording(file, engine, settings)


def samples_of(seconds, spec, seed=0):
    return noise(spec, 1, round(seconds * spec.input.sample_rate), seed)[0]


def holds(patch, seconds, hertz):
    """Whether a patch covers a time and a frequency."""
    return patch.start <= seconds <= patch.end and patch.low_hertz <= hertz <= patch.high_hertz


# A network that is one weight a cell: what every patch and cell does is known exactly


def linear_network(**settings):
    """Log-mel, and one dense neuron over a window: the logit is a sum of weights times cells."""
    torch.manual_seed(1)
    return Network(spec_from_table(table_of({**LOG_MEL, **settings}, [], {"window_seconds": 0.3}), "linear")).eval()


@pytest.mark.parametrize("settings", [{}, {"mean": -6.0, "deviation": 2.5}], ids=["plain", "normalised"])
@pytest.mark.parametrize("fill", FILL_LEVELS)
def test_effects_and_slopes_of_a_linear_network_are_its_weights_times_what_is_turned_down(fill, settings):
    network = linear_network(**settings)
    geometry, sound = network.geometry, samples_of(1.0, network.spec)
    for points in (1, 5):
        found = explain(torch_engine(network), sound, ExplainSettings(at_seconds=0.5, fill=fill, points=points, top=99))
        spec = network.spec.input
        begin = 50 * geometry.hop_samples - (geometry.window_samples - geometry.hop_samples) // 2
        with torch.no_grad():
            front_end = FrontEnd(spec)
            cells = front_end(torch.from_numpy(sound[None, :, begin : begin + geometry.window_samples]))[0, 0].numpy()
            around = front_end(torch.from_numpy(sound[None]))[0, 0].numpy()
        level = {
            "background": np.quantile(around, BACKGROUND_QUANTILE, axis=1),
            "mean": around.mean(axis=1),
            "silence": np.full(spec.bands, math.log(spec.floor)),
        }[fill]
        weights = next(iter(network.f.parameters())).detach().numpy().reshape(spec.bands, -1)
        share = weights * (cells - np.minimum(cells, level[:, None])) / settings.get("deviation", 1.0)
        assert found.gradient == pytest.approx(share, abs=2e-5)
        edges, times = found.band_hertz, found.frame_seconds
        assert len(found.occlusion.patches) > 20
        for patch in found.occlusion.patches:
            bands = (edges[:-1] >= patch.low_hertz - 1e-6) & (edges[1:] <= patch.high_hertz + 1e-6)
            frames = (times[:-1] >= patch.start - 1e-6) & (times[1:] <= patch.end + 1e-6)
            assert patch.effect == pytest.approx(share[np.ix_(bands, frames)].sum(), abs=2e-5)
            assert logit(patch.without) == pytest.approx(found.log_odds - patch.effect, abs=1e-4)
        assert logit(found.quiet_score) == pytest.approx(found.log_odds - share.sum(), abs=1e-4)


# Networks that hear one tone: what moves them is the tone


def test_only_the_bin_that_is_heard_moves_the_score():
    engine = torch_engine(tone_network())
    found = explain(engine, tone((0.95, 1.05))[None], ExplainSettings(at_seconds=1.0, top=50, patch_bands=4))
    assert found.score > 0.99
    assert found.quiet_score < 0.01
    assert found.occlusion.patches
    for patch in found.occlusion.patches:
        assert patch.effect > 0
        assert patch.low_hertz <= HERTZ <= patch.high_hertz
    deaf = (found.band_hertz[1:] < HERTZ - 200) | (found.band_hertz[:-1] > HERTZ + 200)
    assert deaf.sum() > 80
    for effects in (found.occlusion.map, found.gradient, found.occlusion.over_bands):
        assert np.abs(effects[deaf]).max() == 0.0
        assert np.abs(effects).max() > 0.1


def test_what_batches_of_another_size_change_is_no_effect():
    effects = without_rounding(np.array([9.5e-7, -4e-5, 6e-5, 0.3, -0.3]), -5.0)
    assert effects.tolist() == [0.0, 0.0, 6e-5, 0.3, -0.3]


def test_silence_has_no_effect():
    found = explain(torch_engine(tone_network()), tone()[None], ExplainSettings(at_seconds=1.0))
    assert (found.occlusion.patches, found.occlusion.stretches, found.occlusion.bands) == ((), (), ())
    assert np.nanmax(np.abs(found.occlusion.map)) == 0.0
    assert np.abs(found.gradient).max() == 0.0


@pytest.mark.long
def test_a_trained_network_is_moved_by_the_tone_in_its_time_and_band(trained):
    engine = engine_of_run(trained)
    clip = tone_of(1.2, 0.5, 0.7, 450) + np.random.default_rng(0).normal(0, 0.003, round(1.2 * RATE))
    settings = ExplainSettings(whole=True, patch_seconds=0.1, patch_bands=2)
    found = explain(engine, clip.astype(np.float32)[None], settings)
    best = found.occlusion.patches[0]
    assert found.label == "tone"
    assert best.effect > 0
    assert best.start >= 0.45
    assert best.end <= 0.75
    assert best.low_hertz < 450 < best.high_hertz
    stretch, band = found.occlusion.stretches[0], found.occlusion.bands[0]
    assert 0.45 <= (stretch.start + stretch.end) / 2 <= 0.75
    assert band.low_hertz < 450 < band.high_hertz
    times = (found.frame_seconds[:-1] + found.frame_seconds[1:]) / 2
    inside = found.gradient[:, (times > 0.45) & (times < 0.75)]
    assert inside.sum() > 0.8 * found.gradient.sum() > 0
    strongest = int(inside.sum(axis=1).argmax())
    assert found.band_hertz[strongest] - 60 < 450 < found.band_hertz[strongest + 1] + 60


def test_slopes_on_the_way_sum_to_what_lies_between_background_and_sound(trained):
    engine = engine_of_run(trained)
    clip = (tone_of(2.0, 0.5, 0.9, 400) + np.random.default_rng(0).normal(0, 0.01, 2 * RATE)).astype(np.float32)[None]
    found = explain(engine, clip, ExplainSettings(at_seconds=0.7, points=64))
    between = found.log_odds - logit(found.quiet_score)
    assert between > 2
    assert found.gradient.sum() == pytest.approx(between, rel=0.05)


def engine_of_run(trained):
    model = find_model(trained[2])
    return Engine(model, TorchBackend(load_networks(model), CPU))


# Samples: patches are taken out of the sound itself

WAVE = table_of(
    {"features": "waveform", "sample_rate": TONE_RATE},
    [{"conv": 4, "kernel": 80}, {"pool": "average", "size": 40}],
    {"window_seconds": 0.4},
)


def wave_engine():
    """Hears 1 kHz in raw samples: cosine and sine of both signs through relu, added up."""
    network = Network(spec_from_table(WAVE, "wave")).eval()
    turns = 2 * np.pi * HERTZ / TONE_RATE * np.arange(80)
    kernels = np.stack([np.cos(turns), -np.cos(turns), np.sin(turns), -np.sin(turns)])[:, None] / 40
    with torch.no_grad():
        conv, dense = (module for module in network.modules() if isinstance(module, torch.nn.Conv1d))
        conv.weight.copy_(torch.from_numpy(kernels))
        conv.bias.zero_()
        dense.weight.fill_(40.0 / dense.weight[0, 0].numel())
        dense.bias.fill_(-3.0)
    return torch_engine(network)


def test_a_network_on_samples_is_explained_in_time_and_in_frequency():
    engine = wave_engine()
    sound = tone((0.9, 1.0)) + tone((1.05, 1.15)) * 0.0
    hum = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(len(sound)) / TONE_RATE)
    sound = (sound + np.where(np.arange(len(sound)) > 1.1 * TONE_RATE, hum, 0.0)).astype(np.float32)[None]
    found = explain(engine, sound, ExplainSettings(at_seconds=1.0, patch_seconds=0.12, points=16))
    best = found.occlusion.patches[0]
    assert holds(best, 0.95, HERTZ)
    assert best.effect > 0.8
    assert found.occlusion.bands[0].low_hertz < HERTZ < found.occlusion.bands[0].high_hertz
    assert found.occlusion.stretches[0].start < 0.95 < found.occlusion.stretches[0].end
    times = (found.frame_seconds[:-1] + found.frame_seconds[1:]) / 2
    assert np.nanmax(np.abs(found.occlusion.map[:, times > 1.12])) < 0.05 * best.effect
    band, frame = np.unravel_index(found.gradient.argmax(), found.gradient.shape)
    assert 0.88 < times[frame] < 1.02
    assert found.band_hertz[band] - 100 < HERTZ < found.band_hertz[band + 1] + 100
    assert found.gradient.sum() == pytest.approx(found.log_odds - logit(found.quiet_score), rel=0.05)


def test_samples_made_again_from_their_transform_have_the_score_of_the_samples():
    engine = wave_engine()
    place = score_window(engine.geometry, 0, 100, 1, 16000)
    view = make_view(engine.backend.network, place)
    assert isinstance(view, SoundView)
    stretch = samples_of(2.0, engine.model.spec)[:, place.first : place.stop]
    view.look(stretch, stretch, "background")
    with torch.no_grad():
        wanted = engine.backend.network.logits_of(engine.backend.network.features(torch.from_numpy(stretch)[None]))
        assert float(view.log_odds(view.values[None])) == pytest.approx(float(wanted[0, 0, 0]), abs=1e-4)
    assert view.bins[0] == 0
    assert view.bins[-1] == view.values.shape[1]
    assert (np.diff(view.bins) > 0).all()
    assert (np.diff(view.hertz) > 0).all()


# Every mechanism: what is run again has the score that the recording has there


@pytest.mark.parametrize("name", SPECS)
def test_a_place_has_the_score_of_the_whole_recording(name):
    network = network_of(spec_named(name))
    engine, total = torch_engine(network), 6 * network.geometry.window_samples + 77
    sound = noise(network.spec, 1, total)[0]
    scores = engine.score(sound)
    for share in (0.0, 0.02, 0.5, 0.97, 1.0):
        at = share * total / network.geometry.sample_rate
        settings = ExplainSettings(at_seconds=at, points=2, patch_seconds=0.2, label="label1")
        found = explain(engine, sound, settings)
        row = min(int(at * RATE) // network.geometry.hop_samples, len(scores) - 1)
        assert found.score == pytest.approx(scores[row, 1], abs=1e-5)
        assert found.start <= at <= found.end + 1e-9
        middle = found.start + found.hop_seconds / 2  # also of the last row, of which the recording has a part
        start, end = network.geometry.level_samples
        earlier = (network.geometry.skew - start + end) / 2 / RATE
        assert (found.window[0] + found.window[1]) / 2 == pytest.approx(middle - earlier, abs=1 / RATE)
        shape = (len(found.band_hertz) - 1, len(found.frame_seconds) - 1)
        assert found.decibels.shape == found.gradient.shape == found.occlusion.map.shape == shape
        assert np.isfinite(found.decibels).all()
        assert np.isfinite(found.gradient).all()
        assert np.isfinite(found.occlusion.map).any()
        assert (np.diff(found.band_hertz) > 0).all()


@pytest.mark.parametrize("name", SPECS)
def test_a_short_clip_is_explained_by_its_mean_score(name):
    network = network_of(spec_named(name))
    engine = torch_engine(network)
    near = round(network.geometry.near_seconds * RATE)
    for total in (1, near // 2 + 1, 2 * near):
        sound = noise(network.spec, 1, total)[0]
        scores = engine.score(sound).mean(axis=0)
        found = explain(engine, sound, ExplainSettings(points=1, patch_seconds=1.0))
        assert found.label == f"label{scores.argmax()}"
        assert found.score == pytest.approx(scores.max(), abs=1e-5)
        assert (found.start, found.end) == (0.0, pytest.approx(total / RATE))


def test_in_a_long_recording_the_highest_score_is_explained():
    engine = torch_engine(tone_network())
    found = explain(engine, tone((1.2, 1.4))[None])
    assert found.start == pytest.approx(int(np.argmax(found.scores)) * 0.01)
    assert 1.2 < found.start < 1.4
    assert not found.whole
    assert explain(engine, tone((1.2, 1.4))[None], ExplainSettings(whole=True)).whole


def test_an_ensemble_is_explained_by_the_mean_of_its_members():
    specs = [spec_named("valid_2d"), spec_from_table(SPECS["valid_2d"], "valid_2d", 2), spec_named("valid_2d")]
    labels = ("label0", "label1")
    members = tuple(Member(f"m{i}", spec, labels if i else labels[::-1], 1.0 + i) for i, spec in enumerate(specs))
    model = Model("several", Path("nowhere"), specs[0], labels, {}, members=members)
    torch.manual_seed(3)
    ensemble = Ensemble(model).eval()
    engine = Engine(model, TorchBackend(ensemble, CPU))
    sound = samples_of(3.0, specs[0])
    scores = engine.score(sound)
    found = explain(engine, sound, ExplainSettings(at_seconds=1.5, label="label1", points=2))
    row = int(1.5 * RATE) // engine.geometry.hop_samples
    assert found.score == pytest.approx(scores[row, 1], abs=1e-5)
    with pytest.raises(UsageError, match=r"^--group A: several is an ensemble of several networks; explain one of its"):
        explain(engine, sound, ExplainSettings(group="A"))


def test_a_file_is_read_twice_and_gives_what_its_samples_give(tmp_path):
    network = network_of(spec_named("valid_2d"))
    engine = torch_engine(network)
    sound = (samples_of(50.0, network.spec)[0] * 32768).astype(np.int16)
    path = write(tmp_path / "long.wav", sound, RATE)
    given = (sound.astype(np.float32) / 32768)[None]
    told = []
    settings = ExplainSettings(at_seconds=31.0, fill="silence", group="A", points=2)
    found = explain_recording(path, engine, settings, progress=lambda *said: told.append(said))
    wanted = explain(engine, given, settings)
    assert found.file == str(path)
    assert found.occlusion.map == pytest.approx(wanted.occlusion.map, abs=1e-4, nan_ok=True)
    assert found.maps.values == pytest.approx(wanted.maps.values, abs=1e-4)
    assert found.duration_seconds == 50.0
    assert {what for what, _, _ in told} == {"scores", "occlusion", "gradient"}
    for what in ("occlusion", "gradient"):
        assert [done for w, done, total in told if w == what][-1] == next(t for w, _, t in told if w == what)


# Maps


@pytest.mark.parametrize(
    "name", ["waveform", "valid_2d", "same_1d", "same_2d", "residual_padded", "crnn", "two_channels"]
)
def test_maps_lie_where_their_sound_is(name):
    network = network_of(spec_named(name))
    geometry, total = network.geometry, 8 * network.geometry.window_samples
    quiet = np.zeros((network.spec.input.channels, total), np.float32)
    loud = quiet.copy()
    at = total // 2 + 13
    loud[:, at - 5 : at + 6] = noise(network.spec, 1, 11)[0]
    place = score_window(geometry, 0, total // 2 // geometry.hop_samples, 1, total)
    maps, flat = (feature_maps(network, Excerpt(x, 0, total), place, "A", 99) for x in (loud, quiet))
    order = [np.argsort(m.numbers) for m in (maps, flat)]
    moved = np.abs(maps.values[order[0]] - flat.values[order[1]]).max(axis=(0, 1)) > 1e-6
    times = maps.start_seconds + np.arange(len(moved)) * maps.hop_seconds
    assert moved.any()
    assert times[moved].mean() == pytest.approx(at / geometry.sample_rate, abs=maps.hop_seconds)
    assert maps.of == len(maps.numbers) == len(maps.values)
    assert list(maps.strengths) == sorted(maps.strengths, reverse=True)
    if geometry.shift_exact:
        positions = (maps.seen[1] - maps.seen[0]) / maps.hop_seconds
        assert positions == pytest.approx(geometry.positions)


def test_a_group_that_repeats_has_the_maps_of_its_last_time_and_of_each():
    network = network_of(spec_named("global_repeat"))
    engine, sound = torch_engine(network), samples_of(1.5, network.spec)
    found = {name: explain(engine, sound, ExplainSettings(group=name, maps=3)).maps for name in ("A", "A_1", "A_2")}
    assert found["A"].group == found["A_2"].group == "A_2"
    assert found["A_1"].group == "A_1"
    assert (found["A"].values == found["A_2"].values).all()
    assert not np.array_equal(found["A_1"].values, found["A"].values)
    assert len(found["A"].numbers) == 3


# What cannot be


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"label": "label7"}, r'--label "label7": tiny has no such label; did you mean "label[01]"\?'),
        ({"at_seconds": 3.5}, r"--at 3\.5: the recording is 3\.00 s long; give a time within it"),
        ({"at_seconds": -0.1}, r"--at -0\.1: the recording is"),
        ({"at_seconds": math.nan}, r"--at nan: the recording is"),
        ({"at_seconds": 1.0, "whole": True}, r"--at explains one score and --whole all of them"),
        ({"fill": "backgroun"}, r'--fill cannot be "backgroun"; did you mean "background"\?'),
        ({"patch_seconds": 0.0}, r"--patch-seconds 0: must be above 0; try 0\.0\d+"),
        ({"patch_seconds": math.inf}, r"--patch-seconds inf: must be"),
        ({"group": "B"}, r'--group "B": tiny has no such group; known: A'),
    ],
)
def test_what_cannot_be_is_refused(settings, says):
    network = network_of(spec_named("valid_2d"))
    with pytest.raises(UsageError, match=f"^{says}"):
        explain(torch_engine(network), samples_of(3.0, network.spec), ExplainSettings(**settings))


def test_a_long_recording_is_not_explained_as_a_whole():
    network = network_of(spec_named("valid_2d"))
    with pytest.raises(UsageError, match=r"^--whole: the recording is 61\.0 s long, and .* at most 60 s; give --at"):
        explain(torch_engine(network), samples_of(61.0, network.spec), ExplainSettings(whole=True))


# Small parts


def test_spans_overlap_by_half_and_cover_all():
    assert spans(0, 10, 4) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert spans(3, 10, 4) == [(3, 7), (5, 9), (6, 10)]
    assert spans(0, 3, 8) == [(0, 3)]
    assert spans(5, 6, 1) == [(5, 6)]


@pytest.mark.parametrize("log_odds", [-1000.0, -3.0, 0.0, 3.0, 1000.0])
def test_probability_is_the_inverse_of_log_odds(log_odds):
    wanted = 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
    assert probability(log_odds) == pytest.approx(wanted, abs=1e-12)


def test_a_large_network_runs_one_item_at_a_time():
    table = table_of(LOG_MEL, [{"conv": 64, "kernel": [3, 3]}], {"window_seconds": 200.0})
    for network, fits in ((Network(spec_from_table(table, "large")), 1), (linear_network(), 64)):
        assert View(network, score_window(network.geometry, 0, 0, 1, 16000)).batch_size == fits


# The picture and the command


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """A folder with a tone, next to others that are no use; `-m` names the model that hears it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "one.wav", tone((0.9, 1.1)), TONE_RATE)
    write(tmp_path / "$two$ \u4e8c.wav", tone((0.9, 1.1)), TONE_RATE)
    write(tmp_path / "many" / "a.wav", tone(), TONE_RATE)
    write(tmp_path / "many" / "b.wav", tone(), TONE_RATE)
    write(tmp_path / "empty.wav", tone()[:0], TONE_RATE)
    (tmp_path / "there.png").write_bytes(b"a picture")
    return tone_model


def run(*args, **more):
    return audiocnn("explain", *args, **more)


def test_the_boxes_of_the_picture_are_the_rows_of_the_text(here, monkeypatch):
    figures = []
    monkeypatch.setattr(explain_picture, "save_figure", lambda figure, path: figures.append((figure, path)))
    done = run("one.wav", "-m", here, "--at", "1", "--group", "A", "-o", "picture.png")
    assert (done.status, done.err) == (ExitStatus.OK, "")
    rows = [json.loads(line) for line in done.out.splitlines()]
    ((figure, path),) = figures
    assert path == Path("picture.png")
    first, *effects = rows
    assert {row["schema"] for row in rows} == {1}
    assert {row["file"] for row in rows} == {"one.wav"}
    about = ("explanation", "tone", "tone", "picture.png")
    assert (first["type"], first["label"], first["model"], first["picture"]) == about
    assert first["score"] > 0.99 > 0.01 > first["score_of_fill"]
    assert first["start"] == 1.0
    assert first["window"] == pytest.approx([0.955, 1.055], abs=0.01)
    patches = [row for row in effects if row["type"] == "patch"]
    boxes = next(axes for axes in figure.axes if any(t.get_text() == "1" for t in axes.texts))
    assert [text.get_text() for text in boxes.texts] == [str(row["rank"]) for row in patches]
    for row, box in zip(patches, boxes.patches[-len(patches) :], strict=True):
        assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx((row["start"], row["end"]), abs=1e-4)
        hertz = (box.get_y(), box.get_y() + box.get_height())
        assert hertz == pytest.approx((row["low_hertz"], row["high_hertz"]), abs=0.1)
        assert row["low_hertz"] < HERTZ < row["high_hertz"]
    assert [row["rank"] for row in effects if row["type"] == "map"] == [1]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert any(title.startswith("maps of group A: all 1") for title in titles)
    words = " ".join(text.get_text() for part in figure.subfigs for text in part.texts)
    assert re.search(r"one\.wav: tone (1\.0000|0\.99\d\d) at 1\.0[01] s, by tone", words)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_is_written_whole_for_any_name(here, suffix, recwarn):
    done = run("$two$ \u4e8c.wav", "-m", here, "-o", f"picture.{suffix}", "--gradient-points", "1", "--fill", "silence")
    assert (done.status, done.err) == (ExitStatus.OK, "")
    content = Path(f"picture.{suffix}").read_bytes()
    assert content[:5] == {"png": b"\x89PNG\r", "svg": b"<?xml", "pdf": b"%PDF-"}[suffix]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_terminal_gets_a_table(here):
    done = run("one.wav", "-m", here, "--at", "1", terminal=True)
    assert done.status == ExitStatus.OK
    assert "one.wav: tone" in done.out
    assert "with everything attenuated to the background" in done.out
    assert re.search(r"patch 1 +\d\.\d\d-\d\.\d\d s +\d+-\d+ Hz", done.out)
    assert re.search(r"stretch 1 +\d\.\d\d-\d\.\d\d s +all", done.out)
    assert re.search(r"band 1 +all +\d+-\d+ Hz", done.out)
    assert "to draw a picture, give -o FILE.png" in done.err
    quiet = run("many/a.wav", "-m", here, "--at", "1", "-q", terminal=True)
    assert "no patch, stretch or band changes the score" in quiet.out
    assert quiet.err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("one.wav --label speech", r'--label "speech": tone has no such label; known: tone'),
        ("one.wav --at 9", r"--at 9: the recording is 2\.00 s long"),
        ("one.wav --group B", r'--group "B": tone has no such group; known: A'),
        ("one.wav -o there.png", r"there\.png: already exists; .*--force"),
        ("one.wav -o picture.txt", r"picture\.txt: .*\.png, \.svg, \.pdf"),
        ("one.wav -o no/picture.png", r"no/picture\.png: the folder no does not exist"),
        ("one.wav --channel each", r'--channel cannot be "each" here; use mix, or a channel number, from 0'),
        ("one.wav --channel 3", r"one\.wav: no channel 3; it has 1"),
        ("one.wav --top 0", r".*--top.* see `audiocnn explain --help`"),
        ("one.wav --fill loud", r".*--fill.*'loud' is not one of"),
        ("one.wav --device gpu", r'--device: "gpu" is not'),
        ("gone.wav", r"gone\.wav: no such file; check the name"),
        ("empty.wav", r"empty\.wav: .*no samples"),
        ("many", r"many: contains several recordings; give one of them"),
    ],
)
def test_what_cannot_be_is_one_line(here, arguments, says):
    done = run(*arguments.split(), "-m", here)
    assert done.status == ExitStatus.USAGE
    assert done.out == ""
    assert re.fullmatch(rf"audiocnn: error: {says}[^\n]*\n", done.err)
    assert Path("there.png").read_bytes() == b"a picture"


def test_force_overwrites(here):
    assert run("one.wav", "-m", here, "-o", "there.png", "--force", "--gradient-points", "1").status == ExitStatus.OK
    assert Path("there.png").read_bytes()[:4] == b"\x89PNG"


def test_a_recording_may_come_through_a_pipe(here):
    done = run("-", "-m", here, "--at", "1", stdin=Path("one.wav").read_bytes())
    assert done.status == ExitStatus.OK
    wanted = run("one.wav", "-m", here, "--at", "1").out
    assert done.out == wanted.replace('"file":"one.wav"', '"file":"-"')


def test_the_help_tells_the_defaults_of_the_library(capsys):
    run("--help-all")
    text = " ".join(capsys.readouterr().out.split())
    defaults = {field.name: field.default for field in dataclasses.fields(ExplainSettings)}
    for option, name in {"--maps": "maps", "--top": "top", "--fill": "fill", "--gradient-points": "points"}.items():
        assert re.search(rf"{option} .*?\[default: (\w+)\]", text).group(1) == str(defaults[name])


def test_a_model_without_weights_is_refused(tone_model, tmp_path):  # noqa: F811
    import shutil

    folder = shutil.copytree(tone_model, tmp_path / "bare")
    (folder / "model.safetensors").unlink()
    engine = Engine(find_model(folder), SimpleNamespace(run=None, device="nowhere"))
    with pytest.raises(ModelError, match=r"model\.safetensors is missing; copy the folder again"):
        explain(engine, tone()[None])


def test_what_only_tells_how_loud_a_recording_is_lies_outside_of_what_is_shown():
    """Behind a level norm of a second the window is as long as without; the level is of the whole, all the same."""
    layers = [{"conv": 4, "kernel": [3, 3]}]
    level = {"norm": "level", "seconds": 1.0, "ahead_seconds": 0.5, "padding": "same", "mean": "power"}
    head = {"window_seconds": 0.2}
    random = np.random.default_rng(0)
    sound = random.normal(0, 0.1, (1, 3 * RATE)).astype(np.float32)
    louder = sound.copy()
    louder[:, 2 * RATE :] *= 30
    spans, log_odds = [], []
    for extra, samples in ((layers, sound), ([level, *layers], sound), ([level, *layers], louder)):
        engine = torch_engine(network_of(spec_from_table(table_of(LOG_MEL, extra, head), "x", 1), seed=1))
        found = explain(engine, samples, ExplainSettings(at_seconds=1.7))
        spans.append((found.window[0], found.window[1]))
        log_odds.append(found.log_odds)
    assert spans[1] == pytest.approx(spans[0], abs=0.02)
    assert spans[2] == spans[1]
    assert log_odds[2] != pytest.approx(log_odds[1], abs=1e-3)


# The score that is explained is that of `classify`


@pytest.mark.parametrize("seconds", [0.4, 1.5, 6.0])
@pytest.mark.parametrize("label", ["low", "high", None])
def test_of_a_model_of_clips_the_score_of_classify_is_explained(tmp_path, seconds, label):
    """Also beside "none of these", which is one of the others; and where a stretch has the answer, that is said."""
    torch.manual_seed(1)
    table = {**table_of(LOG_MEL, [], {"window_seconds": 0.3, "output": "softmax", "background": True})}
    network = Network(spec_from_table(table, "own", 2)).eval()
    model = Model("own", tmp_path, network.spec, ("low", "high"), {}, clip_pooling=ClipPooling(2.0, 0.5))
    engine = Engine(model, TorchBackend(network, CPU))
    sound = samples_of(seconds, network.spec)
    sound[:, : sound.shape[1] // 2] *= 0.01
    found = explain(engine, sound, ExplainSettings(label=label, points=1, patch_seconds=1.0))
    scores = engine.score(sound)
    pooled = clip_scores([scores], pool_of(model))
    column = ("low", "high").index(found.label)
    assert found.clip_score == pytest.approx(float(pooled[column]), abs=1e-5)
    rows = slice(round(found.start / found.hop_seconds), round(found.end / found.hop_seconds + 0.49))
    assert found.score == pytest.approx(float(scores[rows, column].mean()), abs=1e-3)
    if np.allclose(pooled, scores.mean(axis=0), atol=1e-6):
        assert found.score == pytest.approx(found.clip_score, abs=1e-4)
    if label is None:
        assert column == int(pooled.argmax())
