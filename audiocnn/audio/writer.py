"""Files of sound that are written in blocks, beside their name, and appear under it when they are whole."""

from __future__ import annotations

import errno
import os
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiocnn.audio.bit_depth import AnySamples, at_depth, unit
from audiocnn.audio.sndfile import describe_error
from audiocnn.errors import UsageError, show_name
from audiocnn.files import lock

# libsndfile's Ogg encoders need the stack for what they get at once: in one large block they were seen to crash.
_BLOCK_FRAMES = 1 << 14
# A WAV counts its bytes in 32 bits; what may become more is written as RF64, which the same readers take.
_MOST_WAV_BYTES = 2**32 - 2**20
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # RFC 6716, section 2
_MOST_FLAC_CHANNELS, _MOST_FLAC_RATE = 8, 655350  # RFC 9639, section 9.1


@dataclass(frozen=True, slots=True)
class FileKind:
    suffix: str
    container: str
    depths: tuple[str, ...]


FILE_KINDS = {
    "wav": FileKind(".wav", "WAV", ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    "flac": FileKind(".flac", "FLAC", ("PCM_S8", "PCM_16", "PCM_24")),
    "opus": FileKind(".opus", "OGG", ("OPUS",)),
}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NEAREST = {"PCM_S8": "PCM_U8", "PCM_U8": "PCM_S8", "PCM_32": "PCM_24", "FLOAT": "PCM_24", "DOUBLE": "PCM_24"}
_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}


def depth_in(kind: str, depth: str) -> str:
    """The depth in which a kind of file keeps samples of this one: the same wherever it can."""
    known = FILE_KINDS[kind].depths
    return depth if depth in known else known[0] if len(known) == 1 else _NEAREST[depth]


def loses(kind: str, depth: str) -> bool:
    """Whether samples of this depth are rounded in such a file, without it being a lossy codec."""
    return kind == "flac" and depth in ("PCM_32", "FLOAT", "DOUBLE")


def check_kind(kind: str, sample_rate: int, channels: int, name: str) -> None:
    """UsageError where a kind of file cannot hold so many channels or such a rate."""
    if kind == "flac" and (channels > _MOST_FLAC_CHANNELS or sample_rate > _MOST_FLAC_RATE):
        can = f"FLAC holds {_MOST_FLAC_CHANNELS} channels and {_MOST_FLAC_RATE} Hz at most"
        raise UsageError(f"{name}: has {channels} channels and {sample_rate} Hz, and {can}; use --to wav")
    if kind == "opus" and channels > 255:
        raise UsageError(f"{name}: has {channels} channels, and Opus holds 255 at most; use --to wav")


def opus_rate(sample_rate: int) -> int:
    """The rate of Opus that keeps all of a sound: its own, else the next above it."""
    return next((rate for rate in _OPUS_RATES if rate >= sample_rate), _OPUS_RATES[-1])


class NoSpaceError(UsageError):
    """The disk is full: no other file can be written there, either."""


class SoundWriter:
    """One file. `write` as often as needed, then `publish`, or `discard`. Nothing is made before the first samples.

    most_frames: what may come at most.
    """

    def __init__(self, path: Path, kind: str, depth: str, sample_rate: int, channels: int, most_frames: int) -> None:
        self.path, self.kind, self.depth = path, kind, depth_in(kind, depth)
        self.sample_rate, self.channels, self.most_frames = sample_rate, channels, most_frames
        self.frames = 0  # at the rate of the file
        self.temporary: Path | None = None
        self._lock: int | None = None  # says that the file beside is in use; goes with this process
        self._file: Any = None
        self._resampler: Any = None

    def write(self, samples: AnySamples) -> None:
        """(frames, channels) more. UsageError: cannot be written."""
        if not len(samples):
            return
        try:
            if self._file is None:
                self._begin()
            if self._resampler is not None:
                samples = self._resampler.resample_chunk(unit(samples).astype(np.float32))
            self._write(samples)
        except (OSError, RuntimeError, AssertionError) as problem:
            raise self._refused(problem) from None

    def publish(self, force: bool) -> None:
        """Finish the file and give it its name. UsageError where that is taken, unless by force."""
        if self._file is None or self.temporary is None:
            return
        try:
            if self._resampler is not None:
                rest = np.zeros((0, self.channels), np.float32)
                self._write(self._resampler.resample_chunk(rest, last=True))
            self._file.close()
            self._check()
            with self.temporary.open("rb") as written:
                os.fsync(written.fileno())
            if force:
                self.temporary.replace(self.path)
            else:
                give_name(self.temporary, self.path)
        except (OSError, RuntimeError, AssertionError) as problem:
            raise self._refused(problem) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing but what was published."""
        if self._file is not None:
            with suppress(OSError, RuntimeError):
                self._file.close()
        if self.temporary is not None:
            self.temporary.unlink(missing_ok=True)
            self.temporary = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _begin(self) -> None:
        import soundfile

        rate, container = self.sample_rate, FILE_KINDS[self.kind].container
        if self.kind == "opus" and (rate := opus_rate(self.sample_rate)) != self.sample_rate:
            import soxr

            self._resampler = soxr.ResampleStream(self.sample_rate, rate, self.channels, dtype="float32", quality="HQ")
        if container == "WAV" and self.most_frames * self.channels * _BYTES[self.depth] > _MOST_WAV_BYTES:
            container = "RF64"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.temporary, self._lock = make_part(self.path.parent)
        self._file = soundfile.SoundFile(self.temporary, "w", rate, self.channels, self.depth, format=container)

    def _write(self, samples: AnySamples) -> None:
        ready = unit(samples) if self.kind == "opus" else at_depth(samples, self.depth)
        for start in range(0, len(ready), _BLOCK_FRAMES):
            self._file.write(ready[start : start + _BLOCK_FRAMES])
        self.frames += len(ready)

    def _check(self) -> None:
        """A disk that is full may show only in what can be read back."""
        import soundfile

        if self.temporary is None or soundfile.info(self.temporary).frames != self.frames:
            raise OSError(errno.EIO, "not all of it arrived on the disk")

    def _refused(self, problem: BaseException) -> UsageError:
        if isinstance(problem, FileExistsError):
            return name_taken_error(self.path)
        if reason := self._no_space(problem):
            what = f"{show_name(self.path.parent)}: no space for {show_name(self.path.name)} ({reason})"
            return NoSpaceError(f"{what}; make room, or name another folder")
        return UsageError(f"{show_name(self.path)}: cannot be written ({describe_error(problem)}); name another folder")  # type: ignore[arg-type]

    def _no_space(self, problem: BaseException) -> str:
        """Why nothing more can be written; empty where it can. libsndfile does not tell: then some bytes do."""
        if not isinstance(problem, OSError) and self._lock is not None:
            try:
                os.pwrite(self._lock, bytes(_BLOCK_FRAMES), os.fstat(self._lock).st_size)
            except OSError as tried:
                problem = tried
        return str(problem.strerror) if isinstance(problem, OSError) and problem.errno in _NO_SPACE else ""


def name_taken_error(path: Path) -> UsageError:
    return UsageError(f"{show_name(path)}: is there already; overwrite it with --force, or name another --output-dir")


def give_name(temporary: Path, path: Path) -> None:
    """Rename, but never over another file: FileExistsError. A link fails where the name is taken, also by a process
    that took it a moment ago; where the system has no links, looking before must do."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "is there already", str(path)) from None
        temporary.replace(path)


def _part_prefix() -> str:
    """How the names of unfinished files begin on this machine: others that share a folder may not see its locks."""
    machine = os.uname().nodename if hasattr(os, "uname") else ""
    return f".audiocnn-{zlib.crc32(os.fsencode(machine)):08x}-"


def make_part(folder: Path) -> tuple[Path, int]:
    """A new file for what is not finished, with the rights that a new file has, and what holds its lock."""
    while True:
        path = folder / f"{_part_prefix()}{os.urandom(6).hex()}.piece"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        lock(handle)
        if os.fstat(handle).st_nlink:  # else it was taken for a left one before it had its lock
            return path, handle
        os.close(handle)


def remove_left(folder: Path) -> None:
    """Take away what processes of this machine that were killed had not finished: no living one has its lock."""
    wanted = re.compile(re.escape(_part_prefix()) + "[0-9a-f]{12}[.]piece")
    try:
        left = [path for path in folder.iterdir() if wanted.fullmatch(path.name)]
    except OSError:
        return  # there is no such folder yet
    for path in left:
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            try:
                if lock(handle):
                    path.unlink()
            finally:
                os.close(handle)
