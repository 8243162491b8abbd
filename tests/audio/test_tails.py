"""All of a recording is read, or it is said what is missing: recordings that are joined, cut, or count themselves
wrong; healthy ones are called healthy. A file and a pipe get the same answer."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import as_bytes, noise, sine, wav_bytes

from audiocnn.audio import decoders, headers, sandbox, tails
from audiocnn.audio.recording import Selection, open_recording
from audiocnn.audio.tails import Part, _mpeg_frame_bytes, find_next
from audiocnn.errors import RecordingError
from tests.helpers.fuzz.wholeness import KINDS, fuzz, heard, heard_in_a_pipe, seeds

RATE = 16000
SOUND = sine(440, 1.5, RATE)
OTHER = np.stack([sine(880, 1.0, 8000), sine(880, 1.0, 8000)], axis=1)
FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="needs ffmpeg")
SOX = shutil.which("sox")
needs_sox = pytest.mark.skipif(SOX is None, reason="needs sox")
# name -> (container, subtype) of what `cat` joins.
JOINABLE = {
    "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III"),
    "wav": ("WAV", "PCM_16"), "adpcm": ("WAV", "IMA_ADPCM"), "aiff": ("AIFF", "PCM_24"), "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"), "w64 ulaw": ("W64", "ULAW"), "caf": ("CAF", "PCM_16"), "rf64": ("RF64", "FLOAT"),
}  # fmt: skip


def read(source: object) -> tuple[np.ndarray, int, str | None, list[str]]:
    """(frames, channels) float32, the rate, the note and the remarks."""
    with open_recording(source, name="x") as recording:
        samples = np.concatenate(list(recording.blocks(channel="each")), axis=1).T
        return samples, recording.info.sample_rate, recording.note, recording.remarks


def with_ffmpeg(path: Path, *arguments: str, sound: np.ndarray = SOUND, rate: int = RATE) -> Path:
    """A file that ffmpeg makes of a sound."""
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "error", "-y", "-f", "wav", "-i", "pipe:0", *arguments, str(path)]
    subprocess.run(command, input=as_bytes(sound, rate, "WAV"), check=True, capture_output=True)
    return path


@pytest.mark.parametrize("in_this_process", [False, True])
@pytest.mark.parametrize("name", JOINABLE)
def test_recordings_that_are_joined_are_read_one_after_the_other(tmp_path, monkeypatch, name, in_this_process):
    if in_this_process:
        monkeypatch.setattr(sandbox, "take", lambda fresh=False: None)
    first, second = as_bytes(SOUND, RATE, *JOINABLE[name]), as_bytes(SOUND[: RATE // 2], RATE, *JOINABLE[name])
    alone = [read(io.BytesIO(part))[0] for part in (first, second, first)]
    path = tmp_path / "joined"
    path.write_bytes(first + second + first)
    samples, _, note, remarks = read(path)
    assert note is None and remarks == []
    assert np.array_equal(samples, np.concatenate(alone))
    assert heard_in_a_pipe(first + second + first) == heard(path) == heard(io.BytesIO(first + second + first))


@pytest.mark.parametrize("stereo_first", [False, True])
@pytest.mark.parametrize("name", [name for name in JOINABLE if name != "adpcm"])
def test_a_part_of_another_rate_and_other_channels_is_read_as_the_first(tmp_path, name, stereo_first):
    parts = [(SOUND, RATE), (OTHER, 8000)][:: -1 if stereo_first else 1]
    path = tmp_path / "joined"
    path.write_bytes(b"".join(as_bytes(sound, rate, *JOINABLE[name]) for sound, rate in parts))
    samples, rate, note, remarks = read(path)
    assert (rate, samples.shape[1]) == ((8000, 2) if stereo_first else (RATE, 1)) and note is None
    assert len(samples) == pytest.approx(2.5 * rate, abs=0.13 * rate)
    kinds = ["16000 Hz, 1 channel", "8000 Hz, 2 channels"][:: 1 if stereo_first else -1]
    assert remarks == [f"x: one part has {kinds[0]} and is converted to the format of the first: {kinds[1]}"]
    second = samples[-round(0.8 * rate) : -round(0.2 * rate)]
    assert np.abs(second).max() == pytest.approx(0.5, abs=0.1)
    crossings = np.count_nonzero(np.diff(np.signbit(second[:, -1])))
    assert crossings == pytest.approx(2 * (440 if stereo_first else 880) * 0.6, abs=8)


@pytest.mark.parametrize(
    "tag", [b"", b"TAG" + bytes(125), b"ID3\4\0\0\0\0\0\x0a" + bytes(10)], ids=["none", "v1", "v2"]
)
@pytest.mark.parametrize("counted", [True, False], ids=["with a count", "without"])
def test_mp3_goes_on_behind_tags(tmp_path, tag, counted):
    first = as_bytes(SOUND, RATE, "MP3")
    if not counted:  # the first frame has the count, and no sound
        first = first[_mpeg_frame_bytes(first[:4]) :]
    path = tmp_path / "a.mp3"
    path.write_bytes(first + tag + as_bytes(SOUND, RATE, "MP3"))
    samples, _, note, _ = read(path)
    assert note is None
    assert len(samples) == pytest.approx(2 * len(SOUND), abs=0.13 * RATE)
    path.write_bytes(first + tag)
    assert len(read(path)[0]) == pytest.approx(len(SOUND), abs=0.17 * RATE), "a tag is no sound"


# Tags of MP3 and FLAC, and what else stands between recordings.
_APE_ITEM = struct.pack("<II", 5, 0) + b"Title\0hello"
_APE = b"APETAGEX" + struct.pack("<III", 2000, len(_APE_ITEM) + 32, 1)
BETWEEN = {
    "ID3v1": b"TAG" + bytes(125),
    "ID3v2": b"ID3\4\0\0\0\0\2\x0a" + bytes(266),
    "APE": _APE + struct.pack("<I8x", 0xA0000000) + _APE_ITEM + _APE + struct.pack("<I8x", 0x80000000),
    "APE without a head": _APE_ITEM + _APE + bytes(12),
    "zeros": bytes(5000),
    "lyrics": b"LYRICSBEGINLYR00005hello000021LYRICS200" + b"TAG" + bytes(125),
    "noise": noise(0.1, 8000).tobytes(),
}


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("kind", ["MP3", "FLAC"])
def test_what_stands_between_recordings_and_behind_them_takes_no_sound_away(tmp_path, kind, between):
    one = as_bytes(SOUND, RATE, kind)
    alone = read(io.BytesIO(one))[0]
    path = tmp_path / "a"
    path.write_bytes(one + BETWEEN[between] + one)
    samples, _, note, remarks = read(path)
    if kind == "FLAC" and between in ("zeros", "lyrics", "noise"):  # no tag of FLAC
        assert "reading continues after the damage" in str(note) and np.array_equal(samples[-len(SOUND) :], alone)
        return
    assert np.array_equal(samples, np.concatenate([alone, alone]))
    assert note is None and remarks == []
    path.write_bytes(one + BETWEEN[between])
    samples, _, note, remarks = read(path)
    assert np.array_equal(samples, alone) and note is None and remarks == []


@pytest.mark.parametrize(("kind", "rest"), [("FLAC", b"ID3"), ("MP3", b"\xff\xfb\x90\x00")])
def test_what_looks_like_tags_or_frames_by_the_million_is_not_all_looked_at(tmp_path, monkeypatch, kind, rest):
    looked = []
    for name in ("_id3_bytes", "_mpeg_frame_bytes"):
        original = getattr(tails, name)
        monkeypatch.setattr(tails, name, lambda head, real=original: looked.append(1) or real(head))
    path = tmp_path / "a"
    path.write_bytes(as_bytes(SOUND, RATE, kind) + bytes(10) + rest * 1_000_000)
    read(path)
    assert 0 < len(looked) < 4 * tails._MOST_STEPS


def test_a_link_that_was_cut_in_the_middle_of_a_chain_is_told_of_and_the_rest_is_read(tmp_path):
    whole = as_bytes(np.tile(SOUND, 8), RATE, "OGG", "VORBIS")
    path = tmp_path / "a.ogg"
    path.write_bytes(whole[: round(0.7 * len(whole))] + whole)
    samples, _, note, _ = read(path)
    assert re.fullmatch(
        r"x: damaged at \d+\.\d\d s \(its last page is cut off\); reading continues after the damage", str(note)
    )
    assert np.array_equal(samples[-8 * len(SOUND) :], read(io.BytesIO(whole))[0])


@pytest.mark.parametrize("says", [1, 100, RATE])
def test_flac_whose_header_counts_less_than_there_is(tmp_path, says):
    data = bytearray(as_bytes(SOUND, RATE, "FLAC"))
    facts = int.from_bytes(data[18:26])  # STREAMINFO: 36 bits at its end count the samples
    data[18:26] = (facts >> 36 << 36 | says).to_bytes(8)
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    samples, _, note, remarks = read(path)
    assert np.array_equal(samples, read(io.BytesIO(as_bytes(SOUND, RATE, "FLAC")))[0])
    assert note is None
    assert remarks == [f"x: the header states {says / RATE:.2f} s; the samples after that are read too"]


def counts_too_little(kind: str) -> tuple[bytes, int]:
    """A file of 1.5 s whose header counts 0.5 s, and where the header has the count."""
    data = bytearray(as_bytes(SOUND, RATE, kind, "PCM_16"))
    name, code, more = {"AIFF": (b"SSND", ">I", 8), "W64": (b"data\xf3", "<Q", 24)}.get(kind, (b"data", "<I", 0))
    place = 8 if kind == "AU" else data.index(name) + (16 if kind == "W64" else 4)
    struct.pack_into(">I" if kind == "AU" else code, data, place, RATE + more)
    return bytes(data), place


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "W64"])
def test_plain_samples_of_which_the_header_counts_too_few_are_read_to_their_end(tmp_path, kind):
    data, _ = counts_too_little(kind)
    path = tmp_path / "a"
    path.write_bytes(data)
    samples, _, note, remarks = read(path)
    assert np.array_equal(samples, read(io.BytesIO(as_bytes(SOUND, RATE, kind, "PCM_16")))[0]) and note is None
    assert remarks == ["x: the header states 0.50 s; the samples after that are read too"]
    assert heard(path) == heard_in_a_pipe(data) == heard(io.BytesIO(data))


@pytest.mark.parametrize(
    "rest", [bytes(4096), b"LIST\x04\0\0\0abcd", b"TAG" + bytes(125), b"ID3\3" + bytes(40), b"\n", b"id3 \x05\0\0\0ab"]
)
@pytest.mark.parametrize("odd", [False, True])
def test_what_is_no_sound_behind_the_samples_is_none(tmp_path, rest, odd):
    content = noise(0.5, RATE).tobytes() + b"x" * odd
    for pad in (b"", b"\0") if odd else (b"",):  # which some writers leave out
        data = wav_bytes(content, RATE) + pad + rest
        samples, _, note, remarks = read(io.BytesIO(data))
        assert len(samples) == RATE // 2 and note is None and remarks == []
        assert heard(io.BytesIO(data)) == heard_in_a_pipe(data)


@pytest.mark.parametrize("between", [b"", b"LIST\x04\0\0\0abcd"])
def test_two_chunks_of_samples_are_both_read(between):
    first, second = (noise(0.5, RATE, seed).tobytes() for seed in (0, 1))
    data = wav_bytes(first, RATE) + between + wav_bytes(second, RATE)[36:]
    samples, _, note, remarks = read(io.BytesIO(data))
    assert np.array_equal(samples, read(io.BytesIO(wav_bytes(first + second, RATE)))[0])
    assert note is None and remarks == ["x: the header states 0.50 s; the samples after that are read too"]
    assert heard(io.BytesIO(data)) == heard_in_a_pipe(data)
    assert heard(io.BytesIO(data[: -RATE // 2]))[1] == "damaged"


@pytest.mark.parametrize("chunk", [b"LIST", b"JUNK", b"abcd"])
def test_a_header_of_many_chunks_takes_a_bounded_number_of_steps(tmp_path, monkeypatch, chunk):
    """The time is that of as many steps as there are chunks, up to a limit; it was that of their square."""
    taken = []
    original = headers._Header.take
    monkeypatch.setattr(headers._Header, "take", lambda self, count: taken.append(count) or original(self, count))
    data = wav_bytes(noise(0.5, RATE).tobytes(), RATE)
    for count in (1000, 500_000):
        taken.clear()
        path = tmp_path / "a.wav"
        path.write_bytes(data[:12] + (chunk + bytes(4)) * count + data[12:])
        seconds, status, _ = heard(path)
        assert (seconds, status) == (0.5, "ok")
        assert len(taken) < 2 * count + 20 and sum(taken) < 20 * count + 1000


CUT = [
    "AIFF",
    "AU",
    "AVR",
    "CAF",
    "FLAC",
    "MAT4",
    "MAT5",
    "MP3",
    "MPC2K",
    "NIST",
    "OGG",
    "RF64",
    "SDS",
    "SVX",
    "VOC",
    "W64",
]


@pytest.mark.parametrize("kind", [*CUT, "WAV", "WAVEX", "WVE"])
def test_a_file_that_was_cut_in_half_is_told_of(tmp_path, kind):
    subtype = "ALAW" if kind == "WVE" else soundfile.default_subtype(kind)
    data = as_bytes(SOUND, 8000 if kind == "WVE" else RATE, kind, subtype)
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(data[: len(data) // 2])
    seconds, status, said = heard(path)
    assert status in ("damaged", "refused")
    assert re.search("damaged(,| or) cut short", said) or "cannot be read" in said, said
    assert heard_in_a_pipe(data[: len(data) // 2])[:2] == (seconds, status)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("caf", "pcm_s16le"), ("voc", "pcm_s16le"), ("avi", "pcm_s16le"), ("flv", "pcm_s16le"), ("wma", "wmav2")]
    + [("wav", codec) for codec in ("adpcm_yamaha", "wmav2", "libmp3lame", "adpcm_ms")],
)
def test_a_container_that_was_cut_is_told_of(tmp_path, suffix, codec):
    rate = 44100 if suffix == "flv" else RATE
    whole = with_ffmpeg(tmp_path / f"a.{suffix}", "-c:a", codec, sound=sine(440, 1.5, rate), rate=rate)
    assert heard(whole)[1] == "ok"
    data = whole.read_bytes()
    for share in (0.4, 0.5, 0.7, 0.9):
        whole.write_bytes(data[: round(share * len(data))])
        assert heard(whole)[1] == "damaged"
        assert "damaged or cut short" in heard(whole)[2]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_without_its_last_page_is_cut(tmp_path, subtype):
    data = as_bytes(np.tile(SOUND, 8), RATE, "OGG", subtype)
    path = tmp_path / "a.ogg"
    path.write_bytes(data[: data.rindex(b"OggS")])
    assert heard(path)[1:] == ("damaged", heard(path)[2])
    assert "(it has no end-of-stream page)" in heard(path)[2]


# What healthy files say wrong of things that are no samples.
@pytest.mark.parametrize("more", [1.01, 0.5, 3.0])
def test_a_wrong_rate_of_bytes_is_no_damage(tmp_path, more):
    data = bytearray(as_bytes(SOUND, RATE, "WAV", "PCM_16"))
    struct.pack_into("<I", data, 28, round(2 * RATE * more))
    assert heard(io.BytesIO(data)) == (1.5, "ok", "")
    assert heard_in_a_pipe(bytes(data)) == (1.5, "ok", "")


@pytest.mark.parametrize("size", [0, 10, 10**6, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", ["WAV", "AIFF"])
def test_a_wrong_size_of_the_whole_is_no_damage_where_that_of_the_samples_is_right(tmp_path, kind, size):
    data = bytearray(as_bytes(SOUND, RATE, kind, "PCM_16"))
    struct.pack_into("<I" if kind == "WAV" else ">I", data, 4, size)
    path = tmp_path / "a"
    path.write_bytes(data)
    assert heard(path) == heard_in_a_pipe(bytes(data)) == heard(io.BytesIO(data)) == (1.5, "ok", "")


@needs_ffmpeg
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050])
@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "adpcm_ms"])
@pytest.mark.parametrize("piped", [False, True])
def test_adpcm_of_ffmpeg_is_whole(tmp_path, codec, rate, piped):
    path = with_ffmpeg(tmp_path / "a.wav", "-c:a", codec, sound=sine(440, 1.5, rate), rate=rate)
    seconds, status, said = heard_in_a_pipe(path.read_bytes()) if piped else heard(path)
    assert (status, said) == ("ok", "")
    assert seconds == pytest.approx(1.5, abs=0.2), "a block of 2041 samples is not cut"


@needs_sox
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [8, 16])
def test_voc_of_sox_is_whole_and_half_of_it_is_not(tmp_path, bits, channels):
    """In a block of type 9 sox counts 8 bytes fewer than it writes."""
    path = tmp_path / "a.voc"
    sound = as_bytes(np.stack([SOUND] * channels, axis=1), RATE, "WAV")
    assert SOX is not None
    command = [SOX, "-t", "wav", "-", "-b", str(bits), "-t", "voc", str(path)]
    subprocess.run(command, input=sound, check=True, capture_output=True)
    seconds, status, said = heard(path)
    assert seconds == pytest.approx(1.5, abs=0.02) and (status, said) == ("ok", "")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert heard(path)[1] == "damaged"


@needs_ffmpeg
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
def test_mp3_in_wav_is_whole(tmp_path, rate):
    path = with_ffmpeg(tmp_path / "a.wav", "-c:a", "libmp3lame", sound=sine(440, 6.9, rate), rate=rate)
    seconds, status, said = heard(path)
    assert seconds == pytest.approx(6.9, abs=0.2) and (status, said) == ("ok", "")


@pytest.mark.long
def test_every_container_has_the_same_answer_from_a_file_a_pipe_and_memory(tmp_path):
    path = tmp_path / "a"
    for seed in seeds(np.random.default_rng(0)):
        path.write_bytes(seed.data)
        assert heard(path) == heard_in_a_pipe(seed.data) == heard(io.BytesIO(seed.data)), (seed.kind, seed.subtype)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_random_files_is_true(tmp_path, kind):
    figures = fuzz(kind, 100, 1, tmp_path)
    assert figures.wrong == []
    assert figures.said.total() == 100


def test_a_chain_of_a_thousand_links_is_looked_through_once(tmp_path):
    link = as_bytes(SOUND[:1600], RATE, "OGG", "VORBIS")
    path = tmp_path / "a.ogg"
    path.write_bytes(link * 1000)
    with path.open("rb") as file:
        part: Part | None = Part(0, path.stat().st_size)
        count = 0
        while part is not None:
            count += 1
            assert part.end - part.start in (len(link), path.stat().st_size), "only as long as a link"
            place = part.start + len(link)
            part = find_next(file, part, place, 1600, "")
    assert count == 1000


CONTAINERS = {
    "mka": "flac", "webm": "libopus", "m4a": "aac", "flv": "mp3", "avi": "pcm_s16le", "wma": "wmav2",
    "nut": "pcm_s16le", "ts": "mp2", "tta": "tta", "aac": "aac", "rm": "real_144",
}  # fmt: skip


@needs_ffmpeg
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_containers_that_are_joined_are_read_one_after_the_other(tmp_path, suffix):
    rate = {"flv": 44100, "rm": 8000}.get(suffix, RATE)
    one = with_ffmpeg(tmp_path / f"a.{suffix}", "-c:a", CONTAINERS[suffix], sound=sine(440, 1.5, rate), rate=rate)
    seconds, status, _ = heard(one)
    assert status == "ok"
    data = one.read_bytes()
    one.write_bytes(data * 3)
    joined = heard(one)
    assert joined[0] == pytest.approx(3 * seconds, abs=0.15) and joined[1] == "ok"
    assert heard_in_a_pipe(data * 3)[:2] == joined[:2]


@needs_ffmpeg
def test_an_avi_that_goes_on_in_a_second_chunk_is_one_recording(tmp_path):
    path = with_ffmpeg(tmp_path / "a.avi", "-c:a", "pcm_s16le")
    whole, data = heard(path), path.read_bytes()
    path.write_bytes(data + b"RIFF" + struct.pack("<I", 16) + b"AVIXLIST" + struct.pack("<I", 4) + b"movi")
    assert heard(path) == whole


# What `cat` joins, two kinds at a time: how ffmpeg makes each.
_VIDEO = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=5:d=1.5", "-c:v", "libtheora", "-c:a", "libvorbis", "-f", "ogg")
PARTS = {
    "flac in Ogg": ("-c:a", "flac", "-f", "ogg"),
    "vorbis": ("-c:a", "libvorbis", "-f", "ogg"),
    "theora": _VIDEO,
    "mp4": ("-c:a", "aac", "-f", "mp4"),
    "mp4, index first": ("-c:a", "aac", "-movflags", "faststart", "-f", "mp4"),
    "fragments": ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-frag_duration", "500000", "-f", "mp4"),
}
OGG, MP4 = ("flac in Ogg", "vorbis", "theora"), ("mp4", "mp4, index first", "fragments")


@needs_ffmpeg
@pytest.mark.parametrize("kinds", [*itertools.product(OGG, OGG), *itertools.product(MP4, MP4)], ids=" + ".join)
def test_parts_that_ffmpeg_would_take_for_one_recording_are_each_read_once(tmp_path, kinds):
    parts = [with_ffmpeg(tmp_path / f"{number}", *PARTS[kind]) for number, kind in enumerate(kinds)]
    alone = [heard(part)[0] for part in parts]
    path = tmp_path / "joined"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    seconds, status, said = heard(path)
    assert seconds == pytest.approx(sum(alone), abs=0.01) and (status, said) == ("ok", "")


@needs_ffmpeg
@pytest.mark.parametrize("codecs", [("libvorbis", "libvorbis"), ("libopus", "flac"), ("libvorbis", "libopus")], ids=str)
def test_tracks_of_ogg_are_told_of_and_chosen(tmp_path, monkeypatch, codecs):
    path = tmp_path / "a.ogg"
    tones = [part for hertz in (440, 880) for part in ("-f", "lavfi", "-i", f"sine={hertz}:d=1.5:r=48000")]
    maps = ["-map", "1", "-map", "2", "-c:a:0", codecs[0], "-c:a:1", codecs[1]]
    with_ffmpeg(path, *tones, *maps)
    seconds, status, said = heard(path)
    assert seconds == pytest.approx(1.5, abs=0.1) and status == "ok"
    assert "has 2 audio tracks, of which 0 is read" in said
    for track, hertz in enumerate((440, 880)):
        with open_recording(path, excerpt=Selection(track=track)) as recording:
            samples = np.concatenate(list(recording.blocks()), axis=1)[0]
        assert np.count_nonzero(np.diff(np.signbit(samples))) == pytest.approx(2 * hertz * 1.5, rel=0.1)
    monkeypatch.setattr(decoders, "find_program", lambda: None)
    if codecs[0] == codecs[1]:
        assert "has 2 audio tracks, of which 0 is read; to read another, install ffmpeg" in heard(path)[2]


@needs_ffmpeg
@pytest.mark.parametrize("order", ["ab", "aba", "bab"])
@pytest.mark.parametrize(("suffix", "codec"), [("aac", "aac"), ("ac3", "ac3"), ("ts", "mp2")])
def test_a_change_of_rate_and_channels_in_a_stream_neither_adds_nor_takes_away(tmp_path, suffix, codec, order):
    """As broadcasts change between mono and stereo: ffmpeg begins anew there, and so do its times."""
    stereo = np.stack([sine(440, 1.5, 48000)] * 2, axis=1)
    a = with_ffmpeg(tmp_path / f"a.{suffix}", "-c:a", codec, sound=stereo, rate=48000)
    b = with_ffmpeg(tmp_path / f"b.{suffix}", "-c:a", codec, sound=sine(440, 1.5, 32000), rate=32000)
    parts = {"a": a, "b": b}
    alone = {name: heard(part)[0] for name, part in parts.items()}
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(b"".join(parts[name].read_bytes() for name in order))
    seconds, status, said = heard(path)
    assert seconds == pytest.approx(sum(alone[name] for name in order), abs=0.02) and status == "ok"
    assert "its rate or channel count changes" in said


def with_times(path: Path, times: str) -> Path:
    """Two seconds whose second half is given other times, as recorders do that begin anew, or stood still."""
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", "sine=440:d=2:r=16000", "-af", f"asetpts='{times}'"]
    subprocess.run([*command, "-c:a", "pcm_s16le", str(path)], check=True, capture_output=True)
    return path


@needs_ffmpeg
@pytest.mark.parametrize(
    ("times", "seconds", "said"),
    [
        ("PTS+if(gte(T,1),10800*SR,0)", 2.0, "its timestamps jump by +10800.00 s at 1.02 s"),
        ("PTS+if(gte(T,1),5*SR,0)", 7.0, ""),
    ],
)
def test_gaps_are_silence_as_in_a_player_and_jumps_of_hours_are_told_of(tmp_path, times, seconds, said):
    found = heard(with_times(tmp_path / "a.mka", times))
    assert found[0] == pytest.approx(seconds, abs=0.1)
    assert found[1] == "ok"
    assert said in found[2] and bool(said) == bool(found[2])


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["webm", "mka"])
def test_sessions_whose_times_begin_anew_lose_no_sample(tmp_path, suffix):
    codec = CONTAINERS[suffix]
    first = with_ffmpeg(
        tmp_path / f"1.{suffix}", "-c:a", codec, "-live", "1", "-f", "webm" if codec == "libopus" else "matroska"
    )
    second = with_ffmpeg(tmp_path / f"2.{suffix}", "-c:a", codec, sound=sine(880, 4.0, RATE))
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    seconds, status, _ = heard(path)
    assert status == "ok" and seconds == pytest.approx(heard(first)[0] + heard(second)[0], abs=0.1)


def two_tracks(path: Path, default: int | None) -> Path:
    """A film with two audio tracks, of 440 and 880 Hz."""
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "error", "-y"]
    for hertz in (440, 880):
        command += ["-f", "lavfi", "-i", f"sine={hertz}:d=1:r=16000"]
    command += ["-map", "0:a", "-map", "1:a", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu"]
    for track in (0, 1):
        command += [f"-disposition:a:{track}", "default" if track == default else "0"]
    subprocess.run([*command, str(path)], check=True, capture_output=True)
    return path


def hertz_of(samples: np.ndarray, rate: int) -> float:
    return float(np.count_nonzero(np.diff(np.signbit(samples[:, 0]))) / 2 / (len(samples) / rate))


@needs_ffmpeg
@pytest.mark.parametrize(("default", "hertz"), [(0, 440), (1, 880), (None, 440)])
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_the_default_track_is_read_and_the_others_are_told_of(tmp_path, suffix, default, hertz):
    if suffix == "mp4" and default is None:
        pytest.skip("in MP4 the first is the default")
    samples, rate, note, remarks = read(two_tracks(tmp_path / f"a.{suffix}", default))
    assert hertz_of(samples, rate) == pytest.approx(hertz, rel=0.03)
    language = "deu" if default else "eng"
    assert note is None
    assert remarks == [
        f"x: has 2 audio tracks, of which {default or 0} ({language}) is read; --track 0 to 1 reads another"
    ]


@needs_ffmpeg
def test_a_track_can_be_chosen(tmp_path):
    path = two_tracks(tmp_path / "a.mkv", 0)
    with open_recording(path, name="x", excerpt=Selection(track=1)) as recording:
        samples = np.concatenate(list(recording.blocks(channel="each")), axis=1).T
        assert hertz_of(samples, recording.info.sample_rate) == pytest.approx(880, rel=0.03)
    for source, count in ((path, 2), (io.BytesIO(as_bytes(SOUND, RATE, "WAV")), 1)):
        with pytest.raises(
            RecordingError, match=rf"^x: no audio track 7; it has {count}, numbered from 0; (leave|give) --track"
        ):
            open_recording(source, name="x", excerpt=Selection(track=7))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["nut", "bw64"])
def test_what_ffmpeg_writes_is_read(tmp_path, suffix):
    more = ["-f", "wav", "-rf64", "always"] if suffix == "bw64" else []
    path = with_ffmpeg(tmp_path / f"a.{suffix}", "-c:a", "pcm_s16le", *more)
    if suffix == "bw64":  # the same header by its name in ITU-R BS.2088
        path.write_bytes(b"BW64" + path.read_bytes()[4:])
    assert heard(path) == (1.5, "ok", "")
