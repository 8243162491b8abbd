"""Audio files are written in blocks to a temporary file beside the target, and get their name when they are
complete."""

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

# libsndfile's Ogg encoders put their input on the stack, and large blocks crashed.
_BLOCK_FRAMES = 1 << 14
# WAV stores its size in 32 bits. Files that may grow larger are written as RF64, which the same programs read.
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
    """The bit depth for samples of this depth in a kind of file: the same if it is supported."""
    known = FILE_KINDS[kind].depths
    return depth if depth in known else known[0] if len(known) == 1 else _NEAREST[depth]


def loses(kind: str, depth: str) -> bool:
    """Whether samples of this depth are rounded in such a file, although its codec is lossless."""
    return kind == "flac" and depth in ("PCM_32", "FLOAT", "DOUBLE")


def check_kind(kind: str, sample_rate: int, channels: int, name: str) -> None:
    """Raises UsageError if a kind of file does not support this many channels or this rate."""
    if kind == "flac" and (channels > _MOST_FLAC_CHANNELS or sample_rate > _MOST_FLAC_RATE):
        can = f"FLAC supports at most {_MOST_FLAC_CHANNELS} channels and {_MOST_FLAC_RATE} Hz"
        raise UsageError(f"{name}: has {channels} channels and {sample_rate} Hz, but {can}; use --to wav")
    if kind == "opus" and channels > 255:
        raise UsageError(f"{name}: has {channels} channels, but Opus supports at most 255; use --to wav")


def opus_rate(sample_rate: int) -> int:
    """The Opus rate that loses nothing: the same rate, or else the next higher one."""
    return next((rate for rate in _OPUS_RATES if rate >= sample_rate), _OPUS_RATES[-1])


class NoSpaceError(UsageError):
    """The disk is full, so other files cannot be written there either."""


class SoundWriter:
    """One audio file. Call `write` any number of times, then `publish` or `discard`. Nothing is created before the
    first samples.

    most_frames: the maximum number of frames.
    """

    def __init__(self, path: Path, kind: str, depth: str, sample_rate: int, channels: int, most_frames: int) -> None:
        self.path, self.kind, self.depth = path, kind, depth_in(kind, depth)
        self.sample_rate, self.channels, self.most_frames = sample_rate, channels, most_frames
        self.frames = 0  # at the rate of the file
        self.temporary: Path | None = None
        self._lock: int | None = None  # a lock that marks the temporary file as in use; it ends with this process
        self._file: Any = None
        self._resampler: Any = None

    def write(self, samples: AnySamples) -> None:
        """Append (frames, channels). Raises UsageError if they cannot be written."""
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
        """Complete the file and give it its name. Raises UsageError if the name exists, unless force is true."""
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
        """Remove everything that was not published."""
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
        """Read the file back: a full disk may not show otherwise."""
        import soundfile

        if self.temporary is None or soundfile.info(self.temporary).frames != self.frames:
            raise OSError(errno.EIO, "it was not written completely")

    def _refused(self, problem: BaseException) -> UsageError:
        if isinstance(problem, FileExistsError):
            return name_taken_error(self.path)
        if reason := self._no_space(problem):
            what = f"{show_name(self.path.parent)}: no space for {show_name(self.path.name)} ({reason})"
            return NoSpaceError(f"{what}; free some space, or choose another folder")
        reason = describe_error(problem)  # type: ignore[arg-type]
        return UsageError(f"{show_name(self.path)}: cannot be written ({reason}); choose another folder")

    def _no_space(self, problem: BaseException) -> str:
        """The reason why nothing more can be written, or an empty text. libsndfile does not report it, so a few bytes
        are written as a test."""
        if not isinstance(problem, OSError) and self._lock is not None:
            try:
                os.pwrite(self._lock, bytes(_BLOCK_FRAMES), os.fstat(self._lock).st_size)
            except OSError as tried:
                problem = tried
        return str(problem.strerror) if isinstance(problem, OSError) and problem.errno in _NO_SPACE else ""


def name_taken_error(path: Path) -> UsageError:
    return UsageError(f"{show_name(path)}: already exists; overwrite it with --force, or choose another --output-dir")


def give_name(temporary: Path, path: Path) -> None:
    """Rename without replacing another file. Raises FileExistsError. Creating a link fails if the name exists, also if
    another process has just created it. Without support for links, the name is checked first."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "already exists", str(path)) from None
        temporary.replace(path)


def _part_prefix() -> str:
    """The prefix of unfinished files of this machine. Machines that share a folder may not see each other's locks."""
    machine = os.uname().nodename if hasattr(os, "uname") else ""
    return f".audiocnn-{zlib.crc32(os.fsencode(machine)):08x}-"


def make_part(folder: Path) -> tuple[Path, int]:
    """A new temporary file with default permissions, and the descriptor that holds its lock."""
    while True:
        path = folder / f"{_part_prefix()}{os.urandom(6).hex()}.piece"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        lock(handle)
        if os.fstat(handle).st_nlink:  # otherwise another process removed it before it was locked
            return path, handle
        os.close(handle)


def remove_left(folder: Path) -> None:
    """Remove unfinished files of processes on this machine that were killed; no process holds their lock."""
    wanted = re.compile(re.escape(_part_prefix()) + "[0-9a-f]{12}[.]piece")
    try:
        left = [path for path in folder.iterdir() if wanted.fullmatch(path.name)]
    except OSError:
        return  # the folder does not exist yet
    for path in left:
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            try:
                if lock(handle):
                    path.unlink()
            finally:
                os.close(handle)
