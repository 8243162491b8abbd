"""Steps over live sound give what the dense pass over the whole recording does, for every spec that can stream."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from fixtures_models import LOG_MEL, SPECS, network_of, noise, shipped_specs, spec_named, table_of, write_folder

from audiocnn.errors import ModelError, SpecError
from audiocnn.model import export, streaming
from audiocnn.model.export import TOLERANCE, export_stream
from audiocnn.model.model import STREAM_ONNX
from audiocnn.model.streaming import StreamNetwork
from audiocnn.spec.spec import spec_from_table

# What pads in time depends on where the recording ends; a level that looks ahead waits for it.
PADDED = {"same_1d", "same_2d", "causal", "residual_padded", "short_window_padded", "level_padded", "branches_uneven"}
PADDED |= {"lstm_hops", "onset_offset"}
STREAMS = sorted(set(SPECS) - PADDED)
SHIPPED = [path for path in shipped_specs() if not path.stem.startswith(("resnet", "vgg", "alexnet", "googlenet"))]


def stepwise(stream, sound, seed=0, most=7):
    """(rows, outputs) of `sound` (1, channels, samples) in random pieces of whole hops, from its row 0 on."""
    hop, random = stream.geometry.hop_samples, np.random.default_rng(seed)
    heard = torch.nn.functional.pad(sound, (stream.timing.lead_samples, 0))
    tails, found, row = stream.first_tails(), [], 0
    with torch.no_grad():
        while count := min(int(random.integers(1, most)), heard.shape[-1] // hop - row):
            scores, *tails = stream(heard[..., row * hop : (row + count) * hop], *tails)
            found.append(scores[0])
            row += count
    return torch.cat(found)[stream.timing.lead_rows :]


def dense(network, sound):
    with torch.no_grad():
        return network(network.extended(sound))[0]


@pytest.mark.parametrize("name", STREAMS)
def test_steps_of_any_size_give_the_scores_of_the_dense_pass(name):
    network = network_of(spec_named(name))
    geometry = network.geometry
    sound = torch.from_numpy(noise(network.spec, 1, geometry.window_samples + 30 * geometry.hop_samples))
    sound[..., sound.shape[-1] // 2 :] *= 1e-3  # a level that follows
    wanted = dense(network, sound)
    for seed, most in ((0, 7), (1, 2), (2, 40)):
        found = stepwise(StreamNetwork(network), sound, seed, most)
        assert 20 <= len(found) <= len(wanted)
        np.testing.assert_allclose(found, wanted[: len(found)], atol=1e-5)


def test_a_long_level_is_summed_without_adding_up_all_of_it_each_time(monkeypatch):
    """What is loud and leaves it leaves no rounding behind."""
    monkeypatch.setattr(streaming, "_SHORT_LEVEL", 10)
    network = network_of(spec_named("look_ahead_long"))
    stream, geometry = StreamNetwork(network), network.geometry
    assert stream.most_rows == round(0.9 / geometry.hop_seconds)
    sound = torch.from_numpy(noise(network.spec, 1, 2 * geometry.window_samples + 30 * geometry.hop_samples))
    sound[..., sound.shape[-1] // 2 :] *= 1e-3
    found, wanted = stepwise(stream, sound), dense(network, sound)
    np.testing.assert_allclose(found, wanted[: len(found)], atol=1e-5)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_stream_or_say_why_not(path):
    network = network_of(spec_named(path))
    try:
        stream = StreamNetwork(network)
    except SpecError as problem:
        geometry = network.geometry
        assert not geometry.shift_exact or "LSTM" in str(problem)
        assert path.stem in str(problem)
        assert "results for earlier audio cannot be reused" in str(problem)
        return
    sound = torch.from_numpy(noise(network.spec, 1, 40 * network.geometry.hop_samples))
    found, wanted = stepwise(stream, sound), dense(network, sound)
    np.testing.assert_allclose(found, wanted[: len(found)], atol=2e-5)


@pytest.mark.parametrize("name", sorted(PADDED))
def test_what_cannot_stream_says_why(name):
    with pytest.raises(SpecError, match=f"{name}: .*results for earlier audio cannot be reused"):
        StreamNetwork(network_of(spec_named(name)))


def test_a_padded_level_behind_other_layers_is_refused():
    level = {"norm": "level", "seconds": 0.3, "ahead_seconds": 0, "padding": "same"}
    spec = spec_from_table(table_of(LOG_MEL, [{"conv": 4, "kernel": 3}, level], {}), "late")
    with pytest.raises(SpecError, match="late: a padded level is not the first layer"):
        StreamNetwork(network_of(spec))


def test_tails_are_what_the_layers_need():
    """Of a frame what is not of its hop; of 8 bands the 2 frames that a kernel of 3 has had before."""
    network = network_of(spec_named("look_ahead_most"))
    settings = network.spec.input
    before = settings.receptive_field.kernel - settings.hop_samples
    assert StreamNetwork(network).shapes[:2] == [(1, before, 1), (2, 8)]


def test_a_score_is_known_as_late_as_its_look_ahead():
    stream = StreamNetwork(network_of(spec_named("look_ahead")))
    geometry = stream.geometry
    known = (stream.timing.lead_rows + 1) * geometry.hop_samples - stream.timing.lead_samples
    assert known == round((0.03 + geometry.hop_seconds / 2) * geometry.sample_rate)
    assert geometry.look_ahead_seconds == pytest.approx(0.03, abs=1 / geometry.sample_rate)


@pytest.mark.parametrize(
    "name", ["look_ahead_live", *(pytest.param(name, marks=pytest.mark.long) for name in STREAMS if name != "crnn")]
)
def test_stream_onnx_agrees_with_torch(name, tmp_path):
    network = network_of(spec_named(name))
    model = write_folder(network, tmp_path / "model", name)
    assert export_stream(model, network) <= TOLERANCE
    graph = onnx.load(model.folder / STREAM_ONNX)
    onnx.checker.check_model(graph, full_check=True)
    said = {entry.key: entry.value for entry in graph.metadata_props}
    stream = StreamNetwork(network)
    assert (said["lead_samples"], said["lead_rows"]) == tuple(
        map(str, (stream.timing.lead_samples, stream.timing.lead_rows))
    )
    tails = len(stream.shapes)
    assert [one.name for one in graph.graph.input] == ["samples", *(f"tail.{n}" for n in range(tails))]
    names = ["scores", *(f"{kind}.{n}" for kind in ("next", "first") for n in range(tails))]
    assert [one.name for one in graph.graph.output] == names


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    network = network_of(spec_named("look_ahead_most"))
    model = write_folder(network, tmp_path / "model", "other")
    monkeypatch.setattr(export, "_stream_difference", lambda content, stream: 2e-4)
    with pytest.raises(
        ModelError, match=r"stream\.onnx: differs from PyTorch by 2\.0e-04 \(at most 0\.0001 is allowed\)"
    ):
        export_stream(model, network)
    assert not (model.folder / STREAM_ONNX).exists()
