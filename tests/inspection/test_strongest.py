"""The sounds that move filters most: found where the test put them, cut out, listed, drawn."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import soundfile
import torch
from fixtures_cli import audiocnn
from fixtures_models import SPECS, network_of, noise, spec_named
from sounds import sine, write

from audiocnn.data.ingest import ingest
from audiocnn.errors import RecordingError, UsageError
from audiocnn.inspection import strongest as search
from audiocnn.inspection.feature_maps import activations
from audiocnn.inspection.filters import first_layers
from audiocnn.inspection.strongest import (
    MapGeometry,
    SoundSource,
    chunks,
    cut_sounds,
    features_seen,
    find_sounds,
    find_strongest,
    layers_to_search,
    search_sound,
    with_channels,
)
from audiocnn.model.model import WEIGHTS, Model, write_model
from audiocnn.model.network import Network
from audiocnn.model.weights import save_weights
from audiocnn.spec.features import band_edges_hertz
from audiocnn.spec.geometry import ReceptiveField
from audiocnn.spec.spec import spec_from_table
from audiocnn_cli.app.exits import ExitStatus

RATE, TAPS = 8000, 160
WAVEFORM = {"features": "waveform", "sample_rate": RATE}
HERTZ = (440, 1000, 2000)


def tuned_network(settings=WAVEFORM):
    """Three filters, each a cosine of one frequency, and a group behind them."""
    layers = [{"conv": 3, "kernel": TAPS, "stride": 3, "bias": True}]
    groups = [{"name": "A", "layers": layers}, {"name": "B", "layers": [{"pool": "max", "size": 5}]}]
    network = Network(spec_from_table({"input": settings, "groups": groups, "f": {"window_seconds": 0.2}}, "net", 1))
    times = np.arange(TAPS) / RATE
    kernels = [np.hanning(TAPS) * np.cos(2 * np.pi * hertz * times) for hertz in HERTZ]
    with torch.no_grad():
        conv = first_layers(network)[0].module[0]
        conv.weight.copy_(torch.tensor(np.array(kernels))[:, None].repeat(1, conv.weight.shape[1], 1))
        conv.bias.fill_(-1.0)
    return network.eval()


def with_tone(hertz, start, seconds=0.2, whole=2.0, amplitude=0.5, rate=RATE):
    """Silence with a tone in it."""
    samples, first = np.zeros(round(whole * rate), np.float32), round(start * rate)
    samples[first : first + round(seconds * rate)] = sine(hertz, seconds, rate, amplitude)
    return samples


def sound(samples, name="a.wav", blocks=999, label=None):
    """A recording in memory, in blocks of any size."""
    samples = np.atleast_2d(samples).astype(np.float32)

    def read(rate):
        return (samples[:, i : i + blocks] for i in range(0, samples.shape[1], blocks))

    return SoundSource(name, name, label, read, [])


def strongest(network, sounds, top=9, group=None):
    *steps, last = find_strongest(network, layers_to_search(network, group), sounds, top)
    return steps, last.found


@pytest.fixture
def corpus(tmp_path):
    """Four recordings: a tone of each filter's frequency at a known place, and silence."""
    write(tmp_path / "data" / "low.wav", with_tone(440, 1.5), RATE)
    write(tmp_path / "data" / "middle.wav", with_tone(1000, 0.3), RATE)
    write(tmp_path / "data" / "deep" / "high.wav", with_tone(2000, 0.9), RATE)
    write(tmp_path / "data" / "silence.wav", with_tone(440, 0, amplitude=0), RATE)
    return tmp_path / "data"


@pytest.fixture
def model(tmp_path):
    return saved(tuned_network(), tmp_path / "model")


def saved(network, folder):
    write_model(Model("net", folder, network.spec, ("yes",), {"yes": 0.5}))
    save_weights(network, folder / WEIGHTS)
    return folder


def test_each_filter_finds_its_tone(corpus):
    _, found = strongest(tuned_network(), find_sounds(str(corpus), 1))
    first = [places[0] for places in found]
    assert [one.sound.short for one in first] == ["low.wav", "middle.wav", "deep/high.wav"]
    for one, start in zip(first, (1.5, 0.3, 0.9), strict=True):
        assert start <= one.span[0] / RATE < one.span[1] / RATE <= start + 0.2
        assert one.span[1] - one.span[0] == TAPS
        # Half the sum of a Hann window, times the amplitude, less the bias; a filter looks every 3 samples.
        assert one.activation == pytest.approx(0.5 * (TAPS - 1) / 4 - 1, rel=0.1)
        assert (one.filter, one.rank, one.bands) == (HERTZ.index(HERTZ[first.index(one)]), 1, (0, 0))


def test_silence_moves_nothing(corpus):
    steps, found = strongest(tuned_network(), find_sounds(str(corpus / "silence.wav"), 1))
    assert found == [[], [], []]
    assert [(step.done, step.total, step.seconds, step.problem) for step in steps] == [(1, 1, 2.0, "")]


def test_the_best_come_first_and_one_of_a_recording():
    network = tuned_network()
    loud = [sound(with_tone(440, 0.5, amplitude=a), f"{a}.wav") for a in (0.2, 0.8, 0.4, 0.6)]
    twice = sound(with_tone(440, 0.3, amplitude=0.7) + with_tone(440, 1.3, amplitude=0.9), "twice.wav")
    _, found = strongest(network, [*loud, twice], top=3)
    assert [(one.sound.name, one.rank) for one in found[0]] == [("twice.wav", 1), ("0.8.wav", 2), ("0.6.wav", 3)]
    assert 1.3 <= found[0][0].span[0] / RATE <= 1.5
    activations = [one.activation for one in found[0]]
    assert activations == sorted(activations, reverse=True)


def test_of_equals_the_earlier_recording_and_place():
    same = with_tone(440, 0.5) + with_tone(440, 1.5)
    _, found = strongest(tuned_network(), [sound(same, "first.wav"), sound(same, "second.wav")], top=1)
    assert [one.sound.name for one in found[0]] == ["first.wav"]
    assert found[0][0].span[0] / RATE < 0.7


def test_a_recording_shorter_than_a_filter_is_read_whole():
    middle = np.cos(2 * np.pi * 440 * np.arange(20, 140) / RATE)
    _, found = strongest(tuned_network(), [sound(middle)])
    assert found[0][0].span == (0, 120)
    assert found[0][0].activation == pytest.approx((TAPS - 1) / 4 - 1, rel=0.1)


def test_the_edge_of_a_recording_is_not_what_moves_a_filter():
    """A constant through a padded difference: only at the zeros of the padding something changes."""
    layers = [{"conv": 1, "kernel": 3, "padding": 1, "bias": False}]
    table = {"input": WAVEFORM, "groups": [{"name": "A", "layers": layers}], "f": {"window_seconds": 0.1}}
    network = Network(spec_from_table(table, "net", 1)).eval()
    with torch.no_grad():
        first_layers(network)[0].module[0].weight.copy_(torch.tensor([[[-1.0, 0.0, 1.0]]]))
    assert float(activations(network, first_layers(network)[0].module, np.ones((1, 50), np.float32)).max()) == 1.0
    assert strongest(network, [sound(np.ones(50))])[1] == [[]]


def whole_maxima(network, place, samples):
    """The largest value of each map among the positions that see no padding, from one pass over all samples."""
    hearing = MapGeometry.of(network, place)
    values = activations(network, place.module, samples)[..., hearing.first : hearing.last(samples.shape[1]) + 1]
    return values.flatten(1).max(dim=1).values.numpy(), hearing.whole


@pytest.mark.parametrize(
    ("name", "group"),
    [(name, group) for name in SPECS for group in ("A", None) if group is None or SPECS[name]["groups"]],
)
def test_in_chunks_as_in_one_pass(name, group, monkeypatch):
    spec = spec_named(name)
    network = network_of(spec).eval()
    samples = noise(spec, 1, 7001)[0]
    places = layers_to_search(network, group)
    monkeypatch.setattr(search, "_CHUNK_SECONDS", 0.4)
    found, seconds = search_sound(network, places, sound(samples, blocks=501))
    assert seconds == pytest.approx(7001 / spec.input.sample_rate)
    number = 0
    for place in places:
        wanted, whole = whole_maxima(network, place, samples)
        for value in wanted:
            one, number = found[number], number + 1
            assert one.activation == pytest.approx(float(value), abs=1e-4)
            assert 0 <= one.start < one.end <= 7001
            assert one.end - one.start == whole.kernel
            assert 0 <= one.low_band <= one.high_band < spec.input.bands
    assert number == len(found)


@pytest.mark.parametrize("name", SPECS)
def test_what_lies_outside_the_place_does_not_matter(name):
    """The place is the whole of what the filter sees: with all else silenced it is moved as much."""
    spec = spec_named(name)
    network = network_of(spec).eval()
    samples = noise(spec, 1, 4001)[0]
    (place, *_) = layers_to_search(network, None)
    one = search_sound(network, [place], sound(samples))[0][0]
    alone = np.zeros_like(samples)
    alone[:, one.start : one.end] = samples[:, one.start : one.end]
    values = activations(network, place.module, alone)[0]
    assert float((values - one.activation).abs().min()) < 1e-4


def test_chunks_overlap_just_enough():
    hearing = MapGeometry(ReceptiveField(kernel=10, stride=4, start=3, end=2), (5, 0))
    samples = np.arange(101, dtype=np.float32)[None]
    seen = []
    for start, chunk, short in chunks((samples[:, i : i + 7] for i in range(0, 101, 7)), hearing, 30):
        assert (chunk[0, 0], short) == (start, False)
        inside = range(hearing.first, hearing.last(chunk.shape[1]) + 1)
        seen += [start // 4 + position for position in inside]
    # Position 2 is the first that begins, 3 samples to the left, behind the 5 that are cropped; 23 ends with sample 99.
    assert seen == list(range(2, 24))


@pytest.mark.parametrize("blocks", [1, 3, 50, 101])
def test_chunks_of_a_stride_longer_than_what_is_heard(blocks):
    hearing = MapGeometry(ReceptiveField(kernel=3, stride=20))
    samples = np.arange(101, dtype=np.float32)[None]
    seen = []
    for start, chunk, _ in chunks((samples[:, i : i + blocks] for i in range(0, 101, blocks)), hearing, 30):
        assert chunk[0, 0] == start
        seen += [start + 20 * position for position in range(hearing.last(chunk.shape[1]) + 1)]
    assert seen == [0, 20, 40, 60, 80]


def test_a_group_and_its_bands():
    """A 2-D filter that looks for one band finds the tone that lies there, and says which bands it sees."""
    settings = {"features": "stft", "scale": "power", "sample_rate": RATE, "frame_seconds": 0.025, "fft_samples": 200}
    layers = [{"conv": 1, "kernel": [3, 1], "activation": "none"}]
    table = {"input": settings, "groups": [{"name": "A", "layers": layers}], "f": {"window_seconds": 0.1}}
    network = Network(spec_from_table(table, "net", 1)).eval()
    with torch.no_grad():
        conv = first_layers(network)[0].module[0]
        conv.weight.copy_(torch.tensor([-1.0, 2.0, -1.0]).reshape(1, 1, 3, 1))
        conv.bias.zero_()
    tone = with_tone(1200, 0.8) + np.random.default_rng(0).normal(0, 1e-4, 2 * RATE).astype(np.float32)
    _, found = strongest(network, [sound(tone)], group="A")
    (one,) = found[0]
    assert one.bands == (29, 31)  # bins of 40 Hz; 1200 Hz is bin 30
    assert 0.8 <= one.span[0] / RATE <= one.span[1] / RATE <= 1.0
    patch = features_seen(network, one, tone[None, one.span[0] : one.span[1]])
    assert patch.shape == (1, 3, 1)
    assert patch[0].argmax() == 1
    assert float(2 * patch[0, 1, 0] - patch[0, 0, 0] - patch[0, 2, 0]) == pytest.approx(one.activation, rel=1e-4)


def test_the_last_repeat_of_a_group():
    network = network_of(spec_named("global_repeat"))
    assert layers_to_search(network, "A")[0].module is network.groups["A_2"]
    assert layers_to_search(network, "A")[0].reach[-1].kernel == 5


def test_an_unknown_group():
    with pytest.raises(UsageError, match=r'^--group: net has no group "C"; known: A, B$'):
        layers_to_search(tuned_network(), "C")


def test_stereo(tmp_path):
    network = tuned_network({**WAVEFORM, "channels": 2})
    write(tmp_path / "a.wav", np.stack([with_tone(440, 0.5), with_tone(440, 0.5)], axis=1), RATE)
    _, found = strongest(network, find_sounds(str(tmp_path), 2))
    assert found[0][0].activation == pytest.approx(2 * 0.5 * (TAPS - 1) / 4 - 1, rel=0.1)
    ((_, samples, begin),) = cut_sounds([found[0][0]], RATE, 0.0)
    assert (samples.shape, begin) == ((2, TAPS), found[0][0].span[0])


def test_channels():
    two = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert with_channels(two, 1, "a").tolist() == [[0.5, 0.5]]
    assert with_channels(two[:1], 2, "a").tolist() == [[1, 0], [1, 0]]
    assert with_channels(two, 2, "a") is two
    with pytest.raises(RecordingError, match=r"^a\.wav: has 2 channels, but the network expects 3; convert the file$"):
        with_channels(two, 3, "a.wav")


def test_a_dataset_at_another_rate_gives_the_same_places(tmp_path):
    for name, hertz, start in (("low", 440, 1.2), ("high", 2000, 0.4)):
        write(tmp_path / "source" / name / "a.wav", with_tone(hertz, start, rate=16000), 16000)
    list(ingest([tmp_path / "source"], tmp_path / "dataset"))
    sounds = find_sounds(str(tmp_path / "dataset"), 1)
    assert [(one.name, one.label) for one in sounds] == [("high/a.wav", "high"), ("low/a.wav", "low")]
    _, found = strongest(tuned_network(), sounds)
    assert (found[0][0].sound.label, found[2][0].sound.label) == ("low", "high")
    assert 1.2 <= found[0][0].span[0] / RATE <= found[0][0].span[1] / RATE <= 1.41


def test_a_table_names_recordings_and_labels(corpus):
    (corpus / "table.csv").write_text("filename,label\nlow.wav,yes\nsilence.wav,no\n")
    assert [(one.short, one.label) for one in find_sounds(str(corpus / "table.csv"), 1)] == [
        ("low.wav", "yes"),
        ("silence.wav", "no"),
    ]


def test_a_cut_is_what_lies_there_and_around(corpus):
    _, found = strongest(tuned_network(), find_sounds(str(corpus), 1))
    places = [one for each in found for one in each if one.rank == 1]
    for one, samples, begin in cut_sounds(places, RATE, 0.1):
        whole, _ = soundfile.read(one.sound.name, dtype="float32")
        assert begin == one.span[0] - 800
        np.testing.assert_array_equal(samples[0], whole[begin : one.span[1] + 800])


def test_a_cut_ends_where_the_recording_does():
    _, found = strongest(tuned_network(), [sound(with_tone(440, 0.0, whole=0.2))])
    ((_, samples, begin),) = cut_sounds(found[0], RATE, 5.0)
    assert (samples.shape, begin) == ((1, 1600), 0)


def test_the_command_lists_cuts_and_draws(model, corpus, tmp_path):
    done = audiocnn("filters", model, "-o", tmp_path / "a.png", "--strongest", corpus, "--top", "1")
    assert (done.status, done.err) == (ExitStatus.OK, "")
    rows = [row for row in map(json.loads, done.out.splitlines()) if row["type"] == "strongest"]
    assert [(row["filter"], row["rank"]) for row in rows] == [(0, 1), (1, 1), (2, 1)]
    low = rows[0]
    assert low["file"] == str(corpus / "low.wav")
    assert 1.5 <= low["start"] < low["end"] <= 1.7
    assert low["end"] - low["start"] == pytest.approx(TAPS / RATE)
    assert low["clip"] == str(tmp_path / "a.strongest" / "000" / "1.wav")
    assert low["clip_start"] == pytest.approx(low["start"] - 0.25)
    samples, rate = soundfile.read(low["clip"])
    assert (rate, len(samples)) == (RATE, TAPS + 2 * 2000)
    listed = (tmp_path / "a.strongest" / "strongest.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in listed] == rows
    for name in ("a.png", "a.strongest.png"):
        assert (tmp_path / name).stat().st_size > 5000
        pixels = soundless_pixels(tmp_path / name)
        assert len(np.unique(pixels)) > 10


def soundless_pixels(path):
    from matplotlib.image import imread

    return (imread(path)[..., :3] * 255).astype(int) @ [65536, 256, 1]


def test_a_group_alone_has_no_rows_of_filters(model, corpus, tmp_path):
    done = audiocnn("filters", model, "--group", "B", "--strongest", corpus, "--clips", tmp_path / "clips")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert {(row["type"], row["group"]) for row in rows} == {("strongest", "B")}
    first = next(row for row in rows if row["filter"] == 1)
    assert first["file"] == str(corpus / "middle.wav")
    assert first["end"] - first["start"] == pytest.approx((TAPS + 4 * 3) / RATE)  # five positions, 3 samples apart
    assert (tmp_path / "clips" / "001" / "1.wav").is_file()


def test_without_a_place_for_cuts_they_are_only_listed(model, corpus, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = audiocnn("filters", model, "--strongest", corpus / "low.wav")
    assert done.status is ExitStatus.OK
    assert "clip" not in json.loads(done.out.splitlines()[-1])
    assert sorted(tmp_path.rglob("*")) == before


def test_hertz_of_a_2d_filter(tmp_path):
    settings = {"features": "log_mel", "sample_rate": RATE, "mels": 20}
    table = {"input": settings, "groups": [{"name": "A", "layers": [{"conv": 1, "kernel": [3, 3]}]}]}
    network = Network(spec_from_table({**table, "f": {"window_seconds": 0.2}}, "net", 1)).eval()
    with torch.no_grad():
        first_layers(network)[0].module[0].bias.fill_(100.0)
    write(tmp_path / "data" / "a.wav", sine(1000, 1.0, RATE), RATE)
    done = audiocnn("filters", saved(network, tmp_path / "model"), "--strongest", tmp_path / "data")
    row = json.loads(done.out.splitlines()[-1])
    edges = band_edges_hertz(network.spec.input)
    assert any(
        (row["low_hertz"], row["high_hertz"]) == pytest.approx((edges[b, 0], edges[b + 2, 1]), rel=1e-3)
        for b in range(18)
    )


def test_bad_files_are_told_of_and_skipped(model, corpus, tmp_path):
    (corpus / "bad.wav").write_bytes(b"no sound")
    done = audiocnn("filters", model, "--strongest", corpus)
    assert done.status is ExitStatus.SOME_FAILED
    assert re.fullmatch(r"audiocnn: error: .*bad\.wav: .*audio format.*\n", done.err)
    assert any(json.loads(line).get("file") == str(corpus / "low.wav") for line in done.out.splitlines())


def test_nothing_that_can_be_read(model, tmp_path):
    write(tmp_path / "data" / "a.wav", np.zeros(10), RATE)
    (tmp_path / "data" / "a.wav").write_bytes(b"no sound")
    done = audiocnn("filters", model, "--strongest", tmp_path / "data", "-o", tmp_path / "a.png")
    assert done.status is ExitStatus.USAGE
    assert "none of the recordings could be read; the first problem: " in done.err
    assert not (tmp_path / "a.strongest").exists()


def test_filters_that_nothing_moves_are_counted(model, corpus):
    done = audiocnn("filters", model, "--strongest", corpus / "silence.wav")
    assert done.err == "audiocnn: 3 of 3 filters are not activated here (never above 0)\n"
    assert all(json.loads(line)["type"] == "filter" for line in done.out.splitlines())


def test_cuts_of_an_earlier_run_are_not_overwritten_unasked(model, corpus, tmp_path):
    command = ("filters", model, "--strongest", corpus, "--clips", tmp_path / "clips")
    assert audiocnn(*command, "--top", "3").status is ExitStatus.OK
    for name in ("mine.wav", "99.wav"):
        (tmp_path / "clips" / "000" / name).write_bytes(b"mine")
    done = audiocnn(*command)
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert done.err == (
        f"audiocnn: error: {tmp_path / 'clips'}: already exists; overwrite it with --force,"
        " or give another folder with --clips\n"
    )
    assert audiocnn(*command, "--top", "1", "--force").status is ExitStatus.OK
    assert sorted(path.name for path in (tmp_path / "clips" / "000").iterdir()) == ["1.wav", "99.wav", "mine.wav"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--strongest", "nowhere"], r"nowhere: no such file or folder; check the name"),
        (["--strongest", "EMPTY"], r"empty: no recordings in this folder; they must end in"),
        (["--strongest", "DATA", "--group", "b"], r'--group: net has no group "b"; did you mean "B"\?'),
        (["--strongest", "DATA", "--clips", "FILE"], r"low\.wav: is a file; give a folder for the clips"),
    ],
)
def test_wrong_usage(args, message, model, corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    names = {"DATA": corpus, "EMPTY": tmp_path / "empty", "FILE": corpus / "low.wav"}
    done = audiocnn("filters", model, "-o", tmp_path / "a.png", *[names.get(arg, arg) for arg in args])
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    assert len(done.err.splitlines()) == 1
    assert re.search(message, done.err), done.err
    assert not (tmp_path / "a.png").exists()


def test_a_table_on_a_terminal(model, corpus):
    done = audiocnn("filters", model, "--strongest", corpus, terminal=True, COLUMNS="150", NO_COLOR="1", TERM="dumb")
    lines = [line.replace("|", " ").split() for line in done.out.splitlines()]
    assert any(line[:1] == ["0"] and str(corpus / "low.wav") in line for line in lines)


def test_the_same_twice(model, corpus, tmp_path):
    one, two = (audiocnn("filters", model, "--strongest", corpus, "--clips", tmp_path / name) for name in "ab")
    assert one.out == two.out.replace(str(tmp_path / "b"), str(tmp_path / "a"))
