"""Recordings that only ffmpeg reads, such as m4a, aac, wma, amr and the audio of videos. ffmpeg must be on the PATH.

It runs as a process that writes one audio track to a pipe, as float32 WAV. It can read only the given file: no network,
no playlists, no pictures.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
from collections import Counter, deque
from contextlib import suppress
from typing import IO, BinaryIO

import numpy as np

from audiocnn.audio.headers import read_layout
from audiocnn.audio.pcm import Samples
from audiocnn.audio.pcm_stream import PcmStream
from audiocnn.audio.streams import ByteStream, FileDecoder, RefusedError
from audiocnn.audio.tails import Part
from audiocnn.errors import RecordingError
from audiocnn.units import plural

_PROGRAM = "ffmpeg"
INSTALL_FFMPEG = "install ffmpeg, which reads m4a, aac, wma, amr and the audio of videos, or convert the file elsewhere"
# Suffixes to look for in folders. Suffixes with other common uses are absent: .ts and .mts programs, .dts device trees.
FFMPEG_SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".aac", ".mka", ".mkv", ".webm", ".wma", ".wmv", ".asf"}
    | {".avi", ".flv", ".amr", ".wv", ".ape", ".tta", ".tak", ".mpc", ".ac3", ".eac3", ".mpg", ".mpeg", ".vob", ".m2ts"}
    | {".mxf", ".ra", ".rm", ".dsf", ".oma", ".spx"}
)
# Audio and video containers. Formats that refer to other files, such as playlists, are absent.
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,ivf,loas,matroska,webm,mlp,"
    "mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wtv,wv,xwma"
)
_MOST_ALLOC_BYTES = 1 << 28  # limit of one memory block: otherwise ffmpeg allocates as much as a header states


def find_program() -> str | None:
    import shutil

    return shutil.which(_PROGRAM)


# Computes the time of each frame in samples. Gaps and a late start of the track become silence, so that times equal
# those of a player. Times that go back or jump far, as in concatenated recordings, are not followed, so no sample is
# dropped for them. Registers: 0: position of this frame if it follows directly; 1: samples of the previous frame; 2:
# how much later it should be by its own time; 3: offset added to times; 4, 5: a jump and its place, reported with the
# next frame because the end of a track counts as a frame whose time means nothing. If the rate or channels change,
# ffmpeg restarts this filter, and a frame in the middle then looks like the first frame of a track that begins late.
# The time of the first frame is therefore only reported, and the silence before it is inserted here.
_TIMES = """
if(ld(4), print(ld(4), 32); print(ld(5), 32); st(4, 0));
if(isnan(PREV_OUTPTS), print(PTS/SR, 24));
st(0, if(isnan(PREV_OUTPTS), if(between(PTS, -SR, 0), PTS, 0), PREV_OUTPTS+ld(1)));
st(1, S);
if(isnan(PREV_OUTPTS), st(3, ld(0)-PTS));
st(2, PTS+ld(3)-ld(0));
if(isnan(PTS)+isnan(PREV_OUTPTS)+between(ld(2), -SR/10, SR/10), ld(0),
if(between(ld(2), 0, {gap}*SR), ld(0)+ld(2),
if(gt(abs(ld(2)), SR), st(4, ld(2)/SR); st(5, ld(0)/SR)); st(3, ld(0)-PTS); ld(0)))
"""
# ADTS and AC-3 have no times, and those that ffmpeg makes up are wrong if the rate changes.
_NO_TIMES = "if(isnan(PREV_OUTPTS), print(0, 24)); N"
_UNTIMED = (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9", b"\x0bw", b"ID3")
_MOST_GAP_SECONDS = 60


def ffmpeg_command(program: str, source: str, track: int = 0, is_timed: bool = True) -> list[str]:
    """The command that writes an audio track as float WAV to standard output."""
    given = ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-max_alloc", str(_MOST_ALLOC_BYTES)]
    given += ["-protocol_whitelist", "file,subfile", "-format_whitelist", DEMUXERS, "-i", source]
    times = "".join((_TIMES if is_timed else _NO_TIMES).format(gap=_MOST_GAP_SECONDS).split())
    made = ["-map", f"0:a:{track}", "-map_metadata", "-1", "-af", f"asetpts='{times}',aresample=async=1:first_pts=0"]
    return [program, *given, *made, "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]


def left_out_line(counts: Counter[str]) -> str:
    """A warning about files, counted by suffix, that are skipped without ffmpeg."""
    files = "1 file is" if counts.total() == 1 else f"{counts.total()} files are"
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return f"{files} skipped ({kinds}): only ffmpeg reads them, and it is not on the PATH; install it"


_HANG_SECONDS = 30.0  # without output
_LEAVE_SECONDS = 2.0
_MOST_JUMPS = 2000
_SAID_SECONDS = 5.0  # for the description of the input, which ffmpeg logs before it writes output
_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_TRACK = re.compile(r"Stream #0:\d+(?:\[\w+\])?(?:\((\w+)\))?: Audio: (.*)")
_START = re.compile(r"\[warning\] (-?\d+\.\d+|nan)$")
_JUMP = re.compile(r"\[info\] (-?\d+\.\d+)$")
_TROUBLE = re.compile(r"\[(?:error|fatal|panic)\] (.+)")
_CLEAN = re.compile(r"^(?:\[[^]]*\] )*|(?:file:)?\S*/dev/fd/\d+: ")


def no_track_error(name: str, track: int, count: int) -> RecordingError:
    remedy = "omit --track" if count == 1 else f"give --track 0 to {count - 1}"
    return RecordingError(f"{name}: no audio track {track}; it has {count}, numbered from 0; {remedy}")


class FfmpegFile(FileDecoder):
    """A file that ffmpeg decodes."""

    compressed = True
    promised = 0  # a container states the length of its longest track
    place = 0  # the read position is unknown
    _silent_frames: int | None = None  # known only after the first piece
    _first_piece: Samples | None = None

    def __init__(
        self, program: str, source: BinaryIO, name: str, track: int | None = None, part: Part | None = None
    ) -> None:
        """`source` is an open file on disk. It is closed with this object, or if it cannot be opened. track: number of
        the audio track, from 0; None: the track marked as default in the file, or else the first. Raises RefusedError,
        or RecordingError if the track does not exist."""
        self.name, self._program, self.file, self._part = name, program, source, part
        self._track, self._is_chosen = track or 0, track is not None
        self.done, self.trouble = 0, ""  # frames read, and the reason for stopping
        try:
            self._start()
            default = next((number for number, (_, flag) in enumerate(self._said.tracks) if flag), 0)
            if track is None and default:
                self._end()
                self._track = default
                self._start()
            self.sample_rate, self.channels = self._pcm.sample_rate, self._pcm.channels
            self.piece_frames = self._pcm.piece_frames
            seconds = self._said.duration_seconds
            self.frames = round(seconds * self.sample_rate) if seconds else None
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()

    @property
    def remark(self) -> str:  # type: ignore[override]
        """Notes on other tracks, on jumps in the timestamps and on changes of format."""
        remarks, tracks, jumps = [], self._said.tracks, self._said.jumps
        if len(tracks) > 1 and not self._is_chosen:
            language = f" ({tracks[self._track][0]})" if tracks[self._track][0] else ""
            others = f"select another with --track 0 to {len(tracks) - 1}"
            remarks.append(f"has {len(tracks)} audio tracks, of which {self._track}{language} is read; {others}")
        if len(jumps) > 1:
            times = "" if len(jumps) < 4 else f" {len(jumps) // 2} times, first"
            where = f"by {jumps[0]:+.2f} s at {jumps[1]:.2f} s"
            remarks.append(f"its timestamps jump{times} {where}; the samples are read without a gap")
        if len(self._said.starts) > 1:
            kind = f"{self.sample_rate} Hz, {plural(self.channels, 'channel')}"
            remarks.append(f"its rate or channel count changes; all of it is read in the first format: {kind}")
        return "; ".join(remarks)

    def read(self, most_frames: int) -> Samples:
        if self._silent_frames is None:
            self._first_piece = self._pcm.read(most_frames)
            self._silent_frames = round(self._said.wait_for_start() * self.sample_rate) if len(self._first_piece) else 0
        if self._silent_frames:
            piece = np.zeros((min(self._silent_frames, most_frames), self.channels), np.float32)
            self._silent_frames -= len(piece)
        elif self._first_piece is not None:
            piece, self._first_piece = self._first_piece, None
        else:
            piece = self._pcm.read(most_frames)
        if not len(piece) and not self._stopped:
            self.trouble = self._trouble()
            if self.trouble:
                raise OSError(self.trouble)
        self.done += len(piece)
        return piece

    def stop(self) -> None:
        self._stopped = True
        self._process.kill()

    def rewind(self) -> None:
        self._end()
        self.done, self.trouble = 0, ""
        try:
            self._start()
        except RefusedError as error:
            raise OSError(str(error)) from None

    def close(self) -> None:
        self._end()
        self.file.close()

    def _start(self) -> None:
        self.file.seek(self._part.start if self._part else 0)
        is_timed = not self.file.read(4).startswith(_UNTIMED)
        self.file.seek(0)
        number = self.file.fileno()
        self._stopped = False
        self._silent_frames, self._first_piece = None, None
        try:
            self._process = subprocess.Popen(
                ffmpeg_command(self._program, self._source_url(number), self._track, is_timed),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(number,),
                process_group=0,  # Ctrl-C is handled by this process
                env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"},
            )
        except OSError as error:
            raise RefusedError(
                f"{self.name}: ffmpeg cannot be started ({error.strerror}); check its installation"
            ) from None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._said = _Said(self._process.stderr)
        self._bytes = ByteStream(_Watched(self._process.stdout))  # type: ignore[arg-type]
        layout = None
        with suppress(OSError):
            layout = read_layout(self._bytes)
        self._said.begun.wait(_SAID_SECONDS)
        if self._track >= (count := len(self._said.tracks)) > 0:
            raise no_track_error(self.name, self._track, count)
        if layout is None:
            raise RefusedError(f"{self.name}: {self._why_not()}")
        self._pcm = PcmStream(self._bytes, layout)

    def _source_url(self, descriptor: int) -> str:
        if self._part is None:
            return f"file:/dev/fd/{descriptor}"
        return f"subfile,,start,{self._part.start},end,{self._part.end},,:file:/dev/fd/{descriptor}"

    def _why_not(self) -> str:
        reason = self._trouble() or "no output"
        if "matches no streams" in reason or "does not contain any stream" in reason:
            return "ffmpeg finds no audio in it; leave it out"
        return f"not a supported audio format (ffmpeg: {reason}); check the file, or copy it again"

    def _trouble(self) -> str:
        """The error that ffmpeg reported, if any. Waits for the process to end, which happens once it has no more
        output."""
        try:
            code = self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        trouble = self._said.trouble()
        return trouble or (f"ffmpeg ended with exit code {code}" if code else "")

    def _end(self) -> None:
        process = getattr(self, "_process", None)
        if process is None:
            return
        process.kill()
        process.wait()
        self._said.trouble()
        for stream in (process.stdout, process.stderr):
            stream.close()
        if hasattr(self, "_bytes"):
            self._bytes.close()


class _Watched:
    """A pipe: each read returns data or the end within _HANG_SECONDS, or raises OSError."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.pipe = pipe
        self.poll = select.poll()
        self.poll.register(pipe.fileno(), select.POLLIN)

    def read(self, count: int) -> bytes:
        if not self.poll.poll(1000 * _HANG_SECONDS):
            raise OSError(f"ffmpeg gave no output for {_HANG_SECONDS:g} s")
        return self.pipe.read(count)

    def close(self) -> None:
        pass  # the owner of the process closes the pipe


class _Said:
    """Log output of ffmpeg, read in a thread so that ffmpeg never blocks. Long output is shortened to its end."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.pipe = pipe
        self.duration_seconds = 0.0
        self.begun = threading.Event()  # the description of the input is complete
        self.started = threading.Event()  # and the start time of the track is known
        self.starts: list[float] = []  # start times in seconds, one more after each change of rate or channels
        self.tracks: list[tuple[str, bool]] = []  # audio tracks: the language, and whether it is the default
        self.jumps: list[float] = []  # of timestamps: the size and the place in seconds, alternately
        self.troubles = deque[str](maxlen=2)
        self.thread = threading.Thread(target=self.listen, name="ffmpeg", daemon=True)
        self.thread.start()

    def listen(self) -> None:
        with suppress(OSError, ValueError):
            for line in iter(lambda: self.pipe.readline(1 << 12), b""):
                self._hear(line.decode("utf-8", "replace").strip())
        self.begun.set()
        self.started.set()

    def _hear(self, text: str) -> None:
        if found := _TROUBLE.search(text):
            self.troubles.append(found[1])
        if self.begun.is_set():
            if len(self.jumps) < _MOST_JUMPS and (found := _JUMP.match(text)):
                self.jumps.append(float(found[1]))
            elif len(self.starts) < _MOST_JUMPS and (found := _START.match(text)):
                self.starts.append(float(found[1]))
                self.started.set()
        elif found := _DURATION.search(text):
            hours, minutes, seconds = found.groups()
            self.duration_seconds = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        elif found := _TRACK.search(text):
            self.tracks.append((found[1] or "", "(default)" in found[2]))
        elif "Stream mapping:" in text or "Output #0" in text or "matches no streams" in text:
            self.begun.set()

    def wait_for_start(self) -> float:
        """Seconds of silence before the track. Call it after reading a piece."""
        self.started.wait(_SAID_SECONDS)
        start = self.starts[0] if self.starts else 0.0
        return start if 0 < start <= _MOST_GAP_SECONDS else 0.0

    def trouble(self) -> str:
        """The last error. Waits for the end of the log."""
        self.thread.join(_LEAVE_SECONDS)
        said = _CLEAN.sub("", self.troubles[-1]) if self.troubles else ""
        return " ".join("".join(c if c.isprintable() else " " for c in said).split()).rstrip(".")
