"""benchmarks/detect.py: every case runs, peers may be absent, what is done stays done, the table tells."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import detect, detect_cases, detect_live, detect_peers, detect_table
from benchmarks.detect_cases import CASES, Case, Place, Round
from benchmarks.detect_sounds import CLIP_FOLDER, FLAC, HOUR, HOURS, MINUTES, OPUS, SECONDS, STEREO, VORBIS, Sounds
from benchmarks.measuring import BenchmarkError, audiocnn, measure
from benchmarks.pages import BEGIN, END

RATE = 16000
PAGE = Path(__file__).resolve().parents[2] / "docs" / "background" / "performance.md"
NOTHING = "is not installed"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An hour of 36 seconds, three clips, made of noise that is called meetings; two cores."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "data" / "meetings").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(2):
        samples = noise.normal(0, 0.1, 7 * RATE).astype(np.float32)
        soundfile.write(folder / "data" / "meetings" / f"{number}.flac", samples, RATE)
    sounds = Sounds(folder / "sounds", folder / "data" / "meetings", 36.0, 3)
    return Place(sounds, folder / "data", 2)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other detector is installed."""
    monkeypatch.setattr(detect_cases, "missing", lambda peer: f"{peer} {NOTHING}")


@pytest.mark.parametrize(
    ("name", "seconds", "rate", "channels", "subtype"),
    [
        (HOUR, 36, RATE, 1, "PCM_16"), (MINUTES, 6, RATE, 1, "PCM_16"), (SECONDS, 0.1, RATE, 1, "PCM_16"),
        (HOURS, 360, RATE, 1, "PCM_16"), (FLAC, 36, RATE, 1, "PCM_16"), (VORBIS, 36, RATE, 1, "VORBIS"),
        (OPUS, 36, RATE, 1, "OPUS"), (STEREO, 36, 44100, 2, "MPEG_LAYER_III"),
    ],
)  # fmt: skip
def test_recordings_are_what_their_names_say(
    place: Place, name: str, seconds: float, rate: int, channels: int, subtype: str
) -> None:
    info = soundfile.info(place.sounds.get(name))
    assert (info.samplerate, info.channels, info.subtype) == (rate, channels, subtype)
    assert info.duration == pytest.approx(seconds, abs=0.1)
    assert place.sounds.seconds_of(name) == pytest.approx(seconds)
    if name == HOURS:
        place.sounds.get(name).unlink()


def test_recordings_are_made_once_of_real_ones(place: Place, tmp_path: Path) -> None:
    made = place.sounds.get(HOUR)
    begin = made.stat().st_mtime_ns
    assert place.sounds.get(HOUR).stat().st_mtime_ns == begin
    first = soundfile.read(place.sounds.meetings / "0.flac", dtype="int16")[0]
    np.testing.assert_array_equal(soundfile.read(made, len(first), dtype="int16")[0], first)
    assert len(list(place.sounds.get(CLIP_FOLDER).iterdir())) == 3
    with pytest.raises(BenchmarkError, match=r"has no recordings \(\*\.flac\)"):
        Sounds(tmp_path, tmp_path / "nothing").get(HOUR)


SLOW_CASES = ("start", "sliding", "limits", "codecs")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in SLOW_CASES else [])
        for name in sorted(set(CASES) - {"live"})
    ],
)
def test_every_case_runs_without_peers(place: Place, name: str) -> None:
    figures = CASES[name].measure(place)
    ours = {contender: figure for contender, figure in figures.items() if "missing" not in figure}
    assert all(figure["seconds"] > 0 for figure in ours.values())
    assert any("audiocnn" in contender or name in ("memory", "sliding") for contender in ours)
    assert all(figure["missing"].endswith(NOTHING) for contender, figure in figures.items() if contender not in ours)
    for goal in detect_table.GOALS:
        if goal.case == name and "Silero" not in goal.what:
            assert detect_table.value_of(goal, {name: [figures]}) is not None, goal.what
    if name == "sliding":
        assert all(figure["difference"] < 1e-4 for figure in figures.values())
    assert not (place.sounds.folder / HOURS).exists()


def test_a_process_is_measured(tmp_path: Path) -> None:
    # In a small process: the memory of the one that measures counts as well.
    code = f"""
import json, sys
sys.path.insert(0, {str(PAGE.parents[1])!r})
from benchmarks.measuring import measure
work = "import time; x = bytearray({{}}); time.sleep(0.1)"
print(json.dumps([measure([sys.executable, "-c", work.format(size)]) for size in (1, 200_000_000)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    small, large = json.loads(done.stdout)
    assert small["seconds"] > 0.1
    assert large["peak_bytes"] - small["peak_bytes"] > 150_000_000
    # Each waits for the other: they end only if both were started.
    wait = """
import pathlib, sys, time
mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
while not other.exists():
    time.sleep(0.01)
"""
    measure(*([sys.executable, "-c", wait, *(str(tmp_path / name) for name in names)] for names in ("ab", "ba")))
    with pytest.raises(BenchmarkError, match=r"-c 1/0: ZeroDivisionError"):
        measure([sys.executable, "-c", "1/0"])
    measure(audiocnn("--version"), output=tmp_path / "version")
    assert (tmp_path / "version").read_text().startswith("audiocnn ")


def test_peers_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect_peers.importlib.util, "find_spec", lambda name: None)
    assert detect_peers.missing("webrtc") == (
        "webrtcvad is not installed (pip install -c constraints.txt -e '.[bench]')"
    )
    monkeypatch.setattr(detect_peers.importlib.util, "find_spec", lambda name: types.SimpleNamespace(
        submodule_search_locations=["nowhere"]))  # fmt: skip
    assert detect_peers.missing("onnx") is None
    assert "has no sequence model" in str(detect_peers.missing("sequence"))


def test_peers_read_their_part(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Vad:
        def __init__(self, mode: int) -> None:
            assert mode == 3

        def is_speech(self, frame: bytes, rate: int) -> bool:
            assert (len(frame), rate) == (960, RATE)
            return any(frame)

    class Silero:
        load_silero_vad = staticmethod(lambda onnx, sequence=False: (onnx, sequence))
        get_speech_timestamps = staticmethod(lambda samples, model: [model] * round(len(samples) / RATE))
        get_speech_timestamps_sequence = get_speech_timestamps

    monkeypatch.setitem(sys.modules, "webrtcvad", types.SimpleNamespace(Vad=Vad))
    monkeypatch.setitem(sys.modules, "silero_vad", Silero)
    sound = np.zeros(4 * RATE, np.int16)
    sound[RATE : RATE + 9600] = sound[3 * RATE : 3 * RATE + 9600] = 1
    soundfile.write(tmp_path / "a.wav", sound, RATE, "PCM_16")
    for part, found in (((), 2), (("0.5", "1"), 1)):
        assert detect_peers.main(["webrtc", str(tmp_path / "a.wav"), *part]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["found"] == found
        assert said["inside"] > 0 and said["load"] > 0
    for setting in detect_cases.SETTINGS:
        detect_peers.main([setting, str(tmp_path / "a.wav"), "0.25", "0.75"])
        assert json.loads(capsys.readouterr().out)["found"] == 2
    detect_peers.main(["sequence", str(place.sounds.get(CLIP_FOLDER))])
    assert json.loads(capsys.readouterr().out)["found"] == 3


LISTENER = """
import json, sys
count = 0
while piece := sys.stdin.buffer.read(640):
    if any(piece) and not count % 10:
        print(json.dumps({"type": "onset", "start": 0.1 * count}), flush=True)
    count = count + 1 if any(piece) else 0
print(json.dumps({"type": "file"}))
"""


def test_a_live_stream(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.data / "speech" / "librispeech"
    folder.mkdir(parents=True)
    soundfile.write(folder / "a.flac", np.full(RATE, 0.5, np.float32), RATE)
    (place.data / "segments.tsv").write_text("filename\tonset\toffset\nspeech/librispeech/a.flac\t0.5\t1.0\n")
    monkeypatch.setattr(detect_live, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(detect_live, "VOICE_SECONDS", 0.1)
    samples, onsets = detect_live.track_of(detect_live.voices(place.data, 1))
    assert len(samples) == round(0.3 * RATE) and onsets == [0.2]
    monkeypatch.setattr(detect_live, "audiocnn", lambda *words: [sys.executable, "-c", LISTENER])
    found = detect_live.live("speech_1d", place.data, 1)
    assert found["voices"] == 1
    assert 0.0 <= found["voiced"][0] < 5.0
    monkeypatch.setattr(detect_live, "audiocnn", lambda *words: [sys.executable, "-c", "raise SystemExit('no option')"])
    with pytest.raises(BenchmarkError, match="--follow: no option"):
        detect_live.live("speech_1d", place.data, 1)


@pytest.mark.parametrize(("moments", "delay"), [([], None), ([1.0], None), ([1.0, 2.5, 2.25], 0.25), ([9.0], None)])
def test_the_delay_of_an_onset(moments: list[float], delay: float | None) -> None:
    assert detect_live.delay_of(2.0, moments) == delay


def pretended(seconds: float, contender: float) -> Round:
    """A round of the case `hour_1d`."""
    one = {"unit": "x real time", "amount": 3600.0, "peak_bytes": 100_000_000}
    return {
        "audiocnn, speech_1d": one | {"seconds": seconds},
        "Silero VAD, sequence, one process": one | {"seconds": contender},
        "WebRTC VAD, one process": {"missing": "webrtcvad is not installed"},
    }


def test_the_table() -> None:
    # The ratios are 20, 10 and 12 of each run: the median is not the ratio of the medians, 1.2 and 12.
    rounds = {"hour_1d": [pretended(1.0, 20.0), pretended(1.2, 12.0), pretended(2.0, 24.0)]}
    text = detect_table.to_markdown(rounds, "two cores")
    assert "| audiocnn, speech_1d | 1.20 s (1.00 - 2.00) | 3,000 x real time | 1.00 | 100 MB |" in text
    assert "| Silero VAD, sequence, one process | 20.0 s (12.0 - 24.0) | 180 x real time | 12.00 | 100 MB |" in text
    assert "| WebRTC VAD, one process | webrtcvad is not installed |" in text
    assert "| `hour_1d` | `speech_1d`, x real time | at least 3,000 | 3,000 | yes |" in text
    assert "| at least 15.0 | 12.0 | **no** |" in text
    assert "| `clips` | files/s | at least 500 | not measured |  |" in text
    assert text.endswith("Measured on two cores.")


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two cases that take no time; the second fails in its second run."""
    asked: list[str] = []

    def one(place: Place) -> Round:
        """One."""
        asked.append("one")
        return {"ours": {"seconds": 1.0}}

    def two(place: Place) -> Round:
        """Two."""
        asked.append("two")
        if asked.count("two") == 2:
            raise BenchmarkError("it went wrong")
        return {"ours": {"seconds": 2.0}}

    monkeypatch.setattr(detect, "CASES", {"one": Case("one", one, 2), "two": Case("two", two)})
    monkeypatch.setattr(detect_table, "CASES", detect.CASES)
    return asked


def run(folder: Path, *arguments: str) -> int:
    return detect.main(["--results", str(folder), "--sounds", str(folder), *arguments])


def test_what_is_done_is_not_done_again(tmp_path: Path, cheap: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 3
    assert cheap == ["one", "two", "one", "two"], "by rounds; one at most twice; two no more after it failed"
    assert "failed: it went wrong" in capsys.readouterr().err
    cheap.clear()
    assert run(tmp_path, "--case", "one") == 0
    assert cheap == []
    with (tmp_path / "results.jsonl").open("a") as log:
        log.write('\n{"case": "one", "dig')
    assert run(tmp_path, "--case", "one", "--again", "--runs", "1") == 0
    assert cheap == ["one"]
    assert run(tmp_path, "--case", "one", "--runs", "1", "--clips", "5") == 0
    assert cheap == ["one", "one"], "other recordings are another measurement"
    assert "**`one`** One (1 run)." in capsys.readouterr().out


def test_the_table_goes_into_a_page(tmp_path: Path, cheap: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nstale words\n{END}\nafter\n")
    assert run(tmp_path, "--case", "one", "--runs", "1", "--table", str(page)) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| case |") and text.endswith(f".\n{END}\nafter\n")
    assert "stale words" not in text
    page.write_text("nothing")
    assert run(tmp_path, "--no-measuring", "--table", str(page)) == 2
    assert "has no place for the table" in capsys.readouterr().err
    assert run(tmp_path, "--runs", "0") == 2


def test_the_manual_has_every_case() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert [name for name in CASES if f"`{name}`" not in text] == []
