"""Scores of a recording do not depend on how it is read; what an engine refuses, and what it holds in memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_cli import tone_model  # noqa: F401
from fixtures_models import SPECS, network_of, noise, spec_named, table_of, torch_engine

from audiocnn.audio.recording import read_samples
from audiocnn.errors import ModelError, UsageError
from audiocnn.inference.engine import (
    CHUNK_SECONDS,
    ChunkPlan,
    Engine,
    OnnxBackend,
    TorchBackend,
    load_engine,
    usable_cores,
)
from audiocnn.model.model import ONNX, find_model, read_model
from audiocnn.model.weights import load_networks
from audiocnn.segments.finder import find_segments
from audiocnn.spec.spec import spec_from_table

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4


def in_blocks(samples, sizes):
    """(channels, n) cut into blocks of these sizes, again and again; some may be empty."""
    at, number = 0, 0
    while at < samples.shape[1]:
        size = sizes[number % len(sizes)]
        yield samples[:, at : at + size]
        at, number = at + size, number + 1


def awkward(geometry):
    """Lengths at which something begins or ends."""
    hop, window = geometry.hop_samples, geometry.window_samples
    around = {1, 2, hop - 1, hop, hop + 1, window - 1, window, window + 1, 2 * window + hop // 2, 5 * window + 7}
    return sorted(n for n in around if n > 0)


@pytest.mark.parametrize("name", SPECS)
def test_scores_of_chunks_are_those_of_the_whole(name):
    network = network_of(spec_named(name))
    geometry = network.geometry
    engine = torch_engine(network)
    for samples in awkward(geometry):
        sound = noise(network.spec, 1, samples)[0]
        engine.chunk_rows = 10**6
        whole = engine.outputs(sound)
        assert whole.shape == (geometry.rows(samples), network.spec.outputs)
        assert np.array_equal(engine.score(sound), whole[:, : network.spec.classes])
        for rows in (1, 3, 8):
            engine.chunk_rows = rows
            for sizes in ([samples], [1, 13, 0, 997], [geometry.hop_samples]):
                got = np.concatenate(list(engine.score_tracks(in_blocks(sound, sizes))), axis=1)[0]
                assert got.shape == whole.shape
                assert np.max(np.abs(got - whole)) <= TOLERANCE


@pytest.mark.long
@pytest.mark.parametrize("name", ["lstm_hops", "valid_2d", "residual_padded", "short_window_padded", "two_channels"])
def test_scores_of_chunks_are_those_of_the_whole_through_onnx(name, exported):
    model, network, _ = exported(name)
    backend = OnnxBackend(model, threads=1)
    engine = Engine(model, backend)
    sound = noise(network.spec, 1, 7 * network.geometry.window_samples + 77)[0]
    (whole,) = backend.file.session.run(["scores"], {"samples": sound[None]})
    for rows in (1, 5, 10**6):
        engine.chunk_rows = rows
        got = np.concatenate(list(engine.score_tracks(in_blocks(sound, [1, 450, 3]))), axis=1)[0]
        assert got.shape == whole[0].shape
        assert np.max(np.abs(got - whole[0])) <= TOLERANCE


@pytest.mark.parametrize("name", SPECS)
def test_live_every_row_comes_as_soon_as_its_samples_are_there(name):
    """Row k sees the samples up to window - extend_start - pad_end behind k hops, and those of its margin."""
    engine = torch_engine(network_of(spec_named(name)))
    geometry = engine.geometry
    sound, step = noise(engine.model.spec, 1, 12 * geometry.hop_samples + geometry.window_samples)[0], 7
    came = 0

    def blocks():
        nonlocal came
        for begin in range(0, sound.shape[1], step):
            came = min(begin + step, sound.shape[1])
            yield sound[:, begin:came]

    rows = 0
    parts = []
    reach = geometry.window_samples - geometry.pad_start - geometry.pad_end - geometry.extend_start
    for scores in engine.score_live(blocks()):
        rows += scores.shape[1]
        parts.append(scores[0])
        needed = (rows - 1 + geometry.live_margin_rows) * geometry.hop_samples + reach
        assert came == sound.shape[1] or needed <= came
        assert came == sound.shape[1] or came < needed + geometry.hop_samples + step
    assert rows == geometry.rows(sound.shape[1])
    if not geometry.spare_end:
        np.testing.assert_allclose(np.concatenate(parts), engine.outputs(sound), atol=1e-4)
        return
    for row in range(0, rows, 5):  # each score is that of a recording which ends where it was known
        heard = (row + geometry.live_margin_rows) * geometry.hop_samples + reach
        alone = torch_engine(network_of(spec_named(name))).outputs(sound[:, : min(heard, sound.shape[1])])
        np.testing.assert_allclose(np.concatenate(parts)[row], alone[row], atol=0.05)


def test_chunks_come_in_order_whoever_ran_them():
    engine = torch_engine(network_of(spec_named("valid_2d")), jobs=3)
    engine.chunk_rows = 4
    sound = noise(engine.model.spec, 1, 100 * engine.geometry.hop_samples)[0]
    parts = [tracks[0] for tracks in engine.score_tracks(iter(np.array_split(sound, 33, axis=1)))]
    assert [len(rows) for rows in parts] == [4] * 25
    np.testing.assert_allclose(
        np.concatenate(parts), torch_engine(network_of(engine.model.spec)).score(sound), atol=1e-4
    )


def test_an_abandoned_recording_leaves_nothing_waiting():
    engine = torch_engine(network_of(spec_named("valid_2d")))
    engine.chunk_rows = 4
    sound = noise(engine.model.spec, 1, 200 * engine.geometry.hop_samples)[0]
    given = engine.score_tracks([sound])
    next(given)
    given.close()
    engine.close()
    assert not engine.batcher.waiting
    with pytest.raises(RuntimeError):
        engine.submitted([sound]).__next__()


@pytest.mark.parametrize("name", SPECS)
def test_no_more_is_held_than_a_chunk_and_its_windows(name):
    geometry = spec_named(name).geometry()
    chunk_rows, block = 10, 50
    plan = ChunkPlan(geometry, chunk_rows, 1)
    most = (chunk_rows + sum(geometry.margin_rows) + 1) * geometry.hop_samples + 2 * geometry.window_samples + block
    for _ in range(3000):
        plan.push(np.zeros((1, block), np.float32))
        while (ready := plan.next_chunk(last=False)) is not None:
            assert ready[0].shape[1] <= most
        assert sum(held.shape[1] for held in plan.blocks) <= most + block


def test_a_recording_without_samples_has_no_rows():
    engine = torch_engine(network_of(spec_named("valid_2d")))
    assert engine.score(np.zeros((1, 0), np.float32)).shape == (0, 2)
    assert list(engine.score_tracks([])) == []
    assert list(engine.score_tracks([np.zeros((1, 0), np.float32)] * 3)) == []


def test_channels_are_tracks_for_a_network_of_one():
    network = network_of(spec_named("valid_2d"))
    engine = torch_engine(network)
    sound = np.concatenate([noise(network.spec, 1, 5000, seed)[0] for seed in range(3)])
    (tracks,) = engine.score_tracks([sound])
    assert tracks.shape == (3, network.geometry.rows(5000), 2)
    for track, samples in zip(tracks, sound, strict=True):
        assert np.max(np.abs(track - engine.score(samples[None]))) <= 1e-6


def test_channels_are_one_track_for_a_network_of_several():
    network = network_of(spec_named("two_channels"))
    (tracks,) = torch_engine(network).score_tracks([noise(network.spec, 1, 3000)[0]])
    assert tracks.shape == (1, network.geometry.rows(3000), 3)


def test_the_number_of_channels_cannot_change_on_the_way():
    engine = torch_engine(network_of(spec_named("valid_2d")))
    with pytest.raises(ValueError, match="2 channels, but the network expects 1"):
        list(engine.score_tracks([np.zeros((1, 100), np.float32), np.zeros((2, 100), np.float32)]))


def test_a_chunk_is_at_least_four_windows():
    engine = torch_engine(network_of(spec_named("no_groups")))
    made = Engine(engine.model, engine.backend, chunk_seconds=0.1)
    assert made.chunk_rows * made.hop_seconds == pytest.approx(4 * made.geometry.window_seconds, abs=made.hop_seconds)
    assert Engine(engine.model, engine.backend).chunk_rows * made.hop_seconds == pytest.approx(CHUNK_SECONDS)


# Half precision


@pytest.mark.parametrize("name", ["speech_1d", pytest.param("speech_2d", marks=pytest.mark.long)])
def test_half_precision_gives_the_same_scores_to_a_hundredth_and_the_same_segments(name):
    """On the CPU here: the same code runs on a GPU."""
    model = find_model(name)
    network = load_networks(model)
    engine, halved = (Engine(model, TorchBackend(network, torch.device("cpu"), half)) for half in (False, True))
    rate, random = model.geometry.sample_rate, np.random.default_rng(3)
    sound, _ = read_samples(ROOT / "data" / "samples" / "walk.flac", rate)
    sound = sound + random.normal(0, 0.003, sound.shape).astype(np.float32)
    whole, half = engine.score(sound), halved.score(sound)
    assert not np.array_equal(whole, half)
    assert np.max(np.abs(whole - half)) <= 1e-2
    hop, seconds = engine.hop_seconds, sound.shape[1] / rate
    wanted, got = (
        find_segments(scores[:, 0], hop, seconds, "speech", model.rule("speech")) for scores in (whole, half)
    )
    assert len(wanted) == len(got) > 0
    for one, other in zip(wanted, got, strict=True):
        assert abs(one.start - other.start) <= hop + 1e-9
        assert abs(one.end - other.end) <= hop + 1e-9


def test_what_half_precision_cannot_hold_is_computed_in_single():
    """A tone of full level has powers above 65,504, the largest number of half precision."""
    table = {"features": "stft", "frame_seconds": 0.064, "fft_samples": 1024, "scale": "power"}
    network = network_of(spec_from_table(table_of(table, [{"conv": 4, "kernel": 3}], {}), "tall"))
    rate = network.geometry.sample_rate
    tone = 2 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)[None]
    assert not np.isfinite(TorchBackend(network, torch.device("cpu")).run_with(tone[None], True)).all()
    whole, half = (
        Engine(torch_engine(network).model, TorchBackend(network, torch.device("cpu"), half)).score(tone)
        for half in (False, True)
    )
    assert np.isfinite(half).all()
    np.testing.assert_allclose(half, whole, atol=1e-2)


class Small(torch.nn.Module):
    """A network for which there is memory for so many chunks at once."""

    def __init__(self, most):
        super().__init__()
        self.most, self.asked = most, []

    def forward(self, samples, half):
        self.asked.append(len(samples))
        if len(samples) > self.most:
            raise torch.OutOfMemoryError("too much")
        return samples.mean(dim=2, keepdim=True)


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    network = Small(2)
    samples = np.arange(7, dtype=np.float32)[:, None, None].repeat(4, axis=2)
    assert TorchBackend(network, torch.device("cpu")).run(samples).ravel().tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert network.asked == [7, 3, 1, 2, 4, 2, 2]


def test_one_chunk_that_does_not_fit_is_told_of():
    with pytest.raises(ModelError, match="cpu: not enough memory for this model; use --device cpu"):
        TorchBackend(Small(0), torch.device("cpu")).run(np.zeros((4, 1, 5), np.float32))


# Loading


def test_cpu_and_auto_run_the_onnx_file(exported):
    model, network, _ = exported("valid_2d")
    sound = noise(network.spec, 1, 4000)[0]
    wanted = torch_engine(network).score(sound)
    for device in ("cpu", "auto"):
        engine = load_engine(model, device, jobs=1)
        assert engine.device == "cpu"
        assert np.max(np.abs(engine.score(sound) - wanted)) <= TOLERANCE


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "", "CPU"])
def test_a_device_that_is_none_is_refused(exported, device):
    with pytest.raises(UsageError, match=f'^--device: "{device}" is not a device name; use auto'):
        load_engine(exported("valid_2d")[0], device)


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_a_device_that_is_not_there_is_refused(exported, device):
    import torch

    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(UsageError, match=f"^--device {device}: not available on this machine; use --device cpu$"):
        load_engine(exported("valid_2d")[0], device)


def copied(model, folder):
    shutil.copytree(model.folder, folder)
    return read_model(folder)


@pytest.mark.parametrize("content", [b"", b"not onnx at all", None], ids=["empty", "text", "cut"])
def test_a_damaged_onnx_file_is_refused(exported, tmp_path, content):
    model = copied(exported("valid_2d")[0], tmp_path / "damaged")
    whole = (model.folder / ONNX).read_bytes()
    (model.folder / ONNX).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ModelError, match=r"damaged/model\.onnx: .* make it again with `audiocnn export") as caught:
        load_engine(model, jobs=1)
    assert "\n" not in str(caught.value)


def test_an_onnx_file_of_another_model_is_refused(exported, tmp_path):
    model = copied(exported("valid_2d")[0], tmp_path / "mixed_up")
    shutil.copy(exported("two_channels")[0].folder / ONNX, model.folder / ONNX)
    with pytest.raises(ModelError, match=r"model\.onnx: does not belong to this model; make it again"):
        load_engine(model, jobs=1)


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_a_job_is_one_thread(jobs, exported):
    """`--jobs 1` takes one core, so that `make -j` and `parallel` decide how many are taken."""
    model, network, _ = exported("valid_2d")
    engine = load_engine(model, jobs=jobs)
    assert engine.backend.file.session.get_session_options().intra_op_num_threads == 1
    threads = Path("/proc/self/task")
    before = len(list(threads.iterdir())) if threads.exists() else 0
    engine.score(noise(network.spec, 1, 3 * network.geometry.hop_samples)[0])
    if before:
        assert len(list(threads.iterdir())) <= before + jobs


def test_usable_cores_is_a_number_of_cores():
    assert 1 <= usable_cores() <= 4096


@pytest.mark.parametrize("name", ["level_padded", pytest.param("look_ahead_live", marks=pytest.mark.long)])
def test_what_only_tells_the_level_goes_no_further(name, exported):
    """The frames of other rows are left out behind the level: the same scores, from torch and from the file."""
    model, network, _ = exported(name)
    geometry = network.geometry
    assert geometry.level_hop == geometry.hop_samples // network.spec.input.hop_samples
    core = geometry.window_samples - geometry.pad_start - geometry.pad_end
    sound = noise(network.spec, 2, core + 29 * geometry.hop_samples)
    crop = geometry.crop(sound.shape[2], 7, 11)
    assert crop == (7 * geometry.level_hop, 12 * geometry.level_hop)
    for backend in (OnnxBackend(model, threads=1), TorchBackend(network, torch.device("cpu"))):
        whole = backend.run(sound)
        np.testing.assert_allclose(backend.run(sound, crop), whole[:, 7:18], atol=1e-6)
    older = OnnxBackend(model, threads=1)
    older.crops = False
    np.testing.assert_array_equal(older.run(sound, crop), older.run(sound)[:, 7:18])


def test_networks_without_such_a_level_are_not_cropped():
    for name in ("valid_2d", "level_2d", "same_1d", "level_ahead"):
        assert spec_named(name).geometry().crop(10_000, 3, 4) == (0, 0)


def blocks_of(sound, length):
    return (sound[:, start : start + length] for start in range(0, sound.shape[1], length))


@pytest.mark.parametrize("block", [1777, 48_000])
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("name", ["level_padded", pytest.param("look_ahead_live", marks=pytest.mark.long)])
def test_a_long_recording_behind_a_level_computes_no_feature_twice(name, jobs, block, exported):
    """Cut at its frames, the same scores as by the whole file; each frame is computed once."""
    model, network, _ = exported(name)
    geometry = network.geometry
    backend = OnnxBackend(model, threads=1)
    engine = Engine(model, backend, chunk_seconds=geometry.near_seconds, jobs=jobs)
    rows = 5 * engine.chunk_rows + 7
    sound = noise(network.spec, 1, rows * geometry.hop_samples - 3)[0]
    computed = []
    make = backend.features

    def counted(samples):
        found = make(samples)
        computed.append(found.shape[-1])
        return found

    backend.features = counted
    found = np.concatenate([scores[0] for scores in engine.score_tracks(blocks_of(sound, block))])
    whole = backend.file.run(backend.parts, {"samples": sound[None]})[0][0]
    np.testing.assert_allclose(found, whole, atol=2e-6)
    frame = network.spec.input
    ends = geometry.extend_start + geometry.extend_end
    assert len(computed) > 4
    assert sum(computed) == (sound.shape[1] + ends - frame.frame_samples) // frame.hop_samples + 1


def test_a_recording_of_one_chunk_is_run_whole(exported):
    model, network, _ = exported("level_padded")
    backend = OnnxBackend(model, threads=1)
    engine = Engine(model, backend)
    engine.score(noise(network.spec, 1, 9 * network.geometry.hop_samples)[0])
    assert backend.front_and_rest is None


def test_a_file_without_a_place_to_cut_is_run_as_before(exported):
    model, network, _ = exported("level_padded")
    backend = OnnxBackend(model, threads=1)
    backend.in_parts = False
    old = Engine(model, backend, chunk_seconds=0.1)
    new = Engine(model, OnnxBackend(model, threads=1), chunk_seconds=0.1)
    sound = noise(network.spec, 1, (3 * old.chunk_rows + 5) * network.geometry.hop_samples)[0]
    np.testing.assert_allclose(new.score(sound), old.score(sound), atol=2e-6)
    assert old.cut_backend is None and new.cut_backend is not None


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_threads_wait_without_taking_time(tone_model, jobs):  # noqa: F811
    """ONNX Runtime lets the threads of a session spin where it has more than one: each job is one thread alone."""
    engine = load_engine(find_model(tone_model), jobs=jobs)
    options = engine.backend.file.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
