"""The recordings in data/samples and their generator: segments, SNR and sameness, known in advance."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.samples import generate
from data.samples.noises import BEDS, EVENTS
from data.samples.synthesis import (
    ACCENTS,
    SPLIT_SECONDS,
    VARIANTS,
    MixtureRule,
    SynthesizerError,
    Utterance,
    espeak_version,
    find_true_segments,
    render_mixture,
    speak,
)
from data.samples.texts import TEXTS

FOLDER = Path(generate.__file__).parent
needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed (Debian: apt-get install espeak-ng)"
)


def read_segments() -> dict[str, list[tuple[float, float]]]:
    """File name -> (onset, offset) in seconds; a file without speech has an empty list."""
    header, *rows = (FOLDER / "segments.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "filename\tonset\toffset\tevent_label"
    segments: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        filename, onset, offset, label = row.split("\t")
        if onset or offset or label:
            assert label == "speech"
            segments[filename].append((float(onset), float(offset)))
        else:
            assert segments[filename] == []
    return segments


def test_every_recording_has_rows_and_every_row_a_recording() -> None:
    recordings = {path.name for path in FOLDER.iterdir() if path.suffix in (".flac", ".wav")}
    assert recordings == set(read_segments()) == set(generate.SAMPLES)


def test_the_samples_are_small_and_of_the_kinds_promised() -> None:
    infos = {name: soundfile.info(FOLDER / name) for name in generate.SAMPLES}
    assert sum((FOLDER / name).stat().st_size for name in infos) < 4_000_000
    assert any(info.samplerate == 44100 and info.channels == 2 for info in infos.values())
    assert any(30 <= info.duration <= 40 and len(read_segments()[name]) >= 8 for name, info in infos.items())
    assert [name for name, segments in read_segments().items() if not segments] == ["no_speech.flac"]


@pytest.mark.parametrize("filename", generate.SAMPLES)
def test_segments_lie_inside_in_order_and_apart(filename: str) -> None:
    edges = np.array(read_segments()[filename]).ravel()
    gaps = np.diff(edges)[1::2]
    assert (np.diff(edges) > 0).all()
    assert (gaps >= SPLIT_SECONDS - 0.001).all()
    assert ((edges > 0) & (edges < soundfile.info(FOLDER / filename).duration)).all()


def test_segments_of_the_quiet_sample_are_where_the_energy_is() -> None:
    samples, rate = soundfile.read(FOLDER / "greeting.flac")
    inside = np.zeros(samples.size, bool)
    for onset, offset in read_segments()["greeting.flac"]:
        inside[round(onset * rate) : round(offset * rate)] = True
    ratio_db = 10 * np.log10(np.mean(samples[inside] ** 2) / np.mean(samples[~inside] ** 2))
    assert ratio_db == pytest.approx(25, abs=0.5)


def tone_with_silence(*seconds: float) -> np.ndarray:
    """Silence, tone, silence, tone, ... of these lengths at 16 kHz, float64 (samples,)."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    parts = [tone[: round(s * 16000)] * (index % 2) for index, s in enumerate(seconds)]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((1.0, 0.5, 1.0), [(1.0, 1.5)]),
        ((1.0, 0.5, 0.295, 0.2, 1.0), [(1.0, 1.995)]),
        ((1.0, 0.5, 0.3, 0.2, 1.0), [(1.0, 1.5), (1.8, 2.0)]),
        ((1.0,), []),
    ],
)
def test_true_segments_of_a_tone(seconds: tuple[float, ...], expected: list[tuple[float, float]]) -> None:
    found = find_true_segments(tone_with_silence(*seconds), 16000)
    assert found == [(round(start * 16000), round(end * 16000)) for start, end in expected]


def test_what_is_40_db_down_is_no_longer_speech() -> None:
    clean = tone_with_silence(0.5, 0.5) + tone_with_silence(0.0, 1.0) * 10 ** (-41 / 20)
    assert find_true_segments(clean, 16000) == [(8000, 16000)]


@pytest.mark.parametrize("sample_rate", [8000, 44100])
@pytest.mark.parametrize("kind", BEDS | EVENTS)
def test_noise_has_unit_power_and_comes_from_its_seed(kind: str, sample_rate: int) -> None:
    first, again, other = (
        (BEDS | EVENTS)[kind](np.random.default_rng(seed), sample_rate * 2 + 1, sample_rate) for seed in (1, 1, 2)
    )
    assert first.shape == (sample_rate * 2 + 1,)
    assert np.mean(first**2) == pytest.approx(1.0, rel=1e-9)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_the_synthesizer_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SynthesizerError, match=r"^espeak-ng: not found .* apt-get install espeak-ng\)$"):
        speak(Utterance("Stop.", "en", 150, 50), 16000)


@needs_espeak
def test_the_same_seed_gives_the_same_bytes() -> None:
    rule = MixtureRule(6, snr_db=10)
    first, again, other = (render_mixture(np.random.default_rng(seed), rule) for seed in (3, 3, 4))
    assert first.samples.tobytes() == again.samples.tobytes()
    assert first.segments == again.segments
    assert first.samples.tobytes() != other.samples.tobytes()


@needs_espeak
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("snr_db", [20.0, 0.0])
def test_the_snr_is_what_was_asked(snr_db: float, channels: int) -> None:
    rule = MixtureRule(9, snr_db=snr_db, channels=channels)
    mixture = render_mixture(np.random.default_rng(7), rule)
    assert mixture.samples.shape == (channels, 9 * 16000)
    assert np.abs(mixture.samples).max() <= 0.9501
    inside = np.zeros(9 * 16000, bool)
    for segment in mixture.segments:
        inside[round(segment.onset * 16000) : round(segment.offset * 16000)] = True
    speech = mixture.speech.astype(np.float64)
    noise = mixture.samples - speech
    assert 10 * np.log10(np.mean(speech[:, inside] ** 2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.01)
    # What lies outside the segments is 40 dB below the loudest frames: a trace of the power.
    assert np.sum(speech[:, ~inside] ** 2) < 1e-4 * np.sum(speech**2)


@needs_espeak
@pytest.mark.parametrize("language", TEXTS)
def test_every_language_speaks(language: str) -> None:
    for voice in ACCENTS.get(language, (language,)):
        assert find_true_segments(speak(Utterance(TEXTS[language][0], voice, 160, 50), 16000), 16000)


@needs_espeak
def test_every_variant_is_known_to_espeak() -> None:
    plain = speak(Utterance("Stop.", "en", 160, 50), 16000)
    for variant in VARIANTS:
        assert not np.array_equal(speak(Utterance("Stop.", f"en+{variant}", 160, 50), 16000), plain), variant


@needs_espeak
def test_the_committed_files_are_what_the_generator_makes(tmp_path: Path) -> None:
    if espeak_version() != generate.ESPEAK_VERSION:
        pytest.skip(f"the files were made with espeak-ng {generate.ESPEAK_VERSION}, here is {espeak_version()}")
    generate.write_samples(tmp_path)
    assert (tmp_path / "segments.tsv").read_text() == (FOLDER / "segments.tsv").read_text()
    for filename in generate.SAMPLES:
        made, made_rate = soundfile.read(tmp_path / filename, dtype="int16")
        kept, kept_rate = soundfile.read(FOLDER / filename, dtype="int16")
        assert made_rate == kept_rate
        # One step of 16 bits: a Fourier transform may round differently on another processor.
        np.testing.assert_allclose(made.astype(int), kept.astype(int), atol=1, rtol=0, err_msg=filename)
