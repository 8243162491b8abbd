"""Opening of recordings: files, pipes and streams go to the first of `DECODERS` that can read them."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO

from audiocnn.audio.ffmpeg import INSTALL_FFMPEG, FfmpegFile, find_program, no_track_error
from audiocnn.audio.find import SNDFILE_SUFFIXES
from audiocnn.audio.headers import (
    AUDIO_HEAD_BYTES,
    count_ogg_tracks,
    describe_substitute,
    is_media,
    may_hold_pcm,
    read_layout,
)
from audiocnn.audio.pcm import Layout, RawFormat
from audiocnn.audio.pcm_stream import PcmStream
from audiocnn.audio.sandbox import SandboxedFile, open_sandboxed
from audiocnn.audio.sndfile import CONVERT, COPY_OR_CONVERT, SndfileError, SoundFile, describe_error, open_sndfile
from audiocnn.audio.streams import READ_BYTES, ByteStream, Decoder, RefusedError
from audiocnn.audio.tails import (
    FLAC_TAIL_BYTES,
    Part,
    find_defect,
    find_next,
    first_part,
    flac_counts_less,
    promised_by,
)
from audiocnn.errors import RecordingError, bare
from audiocnn.files import open_waiting, temporary_errors

EARLY_LOOK_BYTES = 1 << 20  # of a stream, examined before all of it is copied
_RAW = "raw samples, which state neither rate nor channels; `detect` and `score` read them with --raw and --rate"
_RAW_STREAM = "if these are samples without a header, give their encoding with --raw"
_NAMED_SUFFIXES = (
    b".gsm",
    b".vox",
    b".vox6",
    b".vox8",
    b".sd2",
)  # libsndfile needs the name to recognise these
# Formats that are checked for defects even if the decoder has read them to the end.
_LOOKED_INTO = (b"OggS", b"Creative Voi", b"caff", b"\xf0\x7e")
_LIVE = "send uncompressed WAV, AIFF, AU, or raw samples with --raw and --rate"
_NAME_ERRORS = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class DamagedError(RefusedError):
    """The decoder knows the format, but cannot open the recording."""


@dataclass(kw_only=True, slots=True)
class AudioSource:
    """A source to open: its first bytes, and its name for messages."""

    name: str
    head: bytes
    track: int | None = None  # audio track, from 0; None: the default track
    is_piped: bool = False  # it is or was a stream
    refusals: list[RefusedError] = field(default_factory=list)  # of the decoders tried so far


@dataclass(kw_only=True, slots=True)
class DiskSource(AudioSource):
    """A file on disk: its absolute path, or an open file without a name. opened: the same file, already open, to be
    used first."""

    file: Path | BinaryIO
    opened: BinaryIO | None = None
    part: Part | None = None  # the only part to be read

    @property
    def is_raw(self) -> bool:
        return isinstance(self.file, Path) and self.file.name.lower().endswith(".raw")

    def open(self) -> BinaryIO:
        """Open the file once more, at its beginning. The caller closes it."""
        file, self.opened = self.opened, None
        if file is not None:
            file.seek(0)
            return file
        if isinstance(self.file, Path):
            return self.file.open("rb", buffering=0)
        file = os.fdopen(os.dup(self.file.fileno()), "rb", buffering=0)
        file.seek(0)
        return file


@dataclass(kw_only=True, slots=True)
class SeekableSource(AudioSource):
    """An open file of the caller, read from its current position."""

    file: BinaryIO


@dataclass(kw_only=True, slots=True)
class StreamSource(AudioSource):
    """A stream that cannot seek, or a file on disk whose samples have no header."""

    stream: ByteStream
    raw: RawFormat | None
    may_copy: bool


def open_decoder(
    path: str | Path | BinaryIO, name: str, raw: RawFormat | None, may_copy: bool, track: int | None
) -> Decoder:
    """The decoder for the argument of `recording.open_recording`; `name` is for messages. Raises RecordingError."""
    if isinstance(path, str | os.PathLike):
        return _open_path(path, name, raw, may_copy, track)
    if raw is None and getattr(path, "seekable", lambda: False)():
        return _open_seekable(path, name, track)
    return _open_stream(ByteStream(path), name, raw, may_copy, track)


def _open_path(given: str | Path, name: str, raw: RawFormat | None, may_copy: bool, track: int | None) -> Decoder:
    try:
        path = Path(given)
        status = path.stat()
        is_regular = stat.S_ISREG(status.st_mode)
        if not is_regular and stat.S_ISDIR(status.st_mode):
            raise RecordingError(f"{name}: is a folder, not a recording; name a file in it")
        if is_regular and status.st_size == 0:
            raise RecordingError(f"{name}: empty file (0 bytes); copy it again or leave it out")
        if raw is not None or not is_regular:
            file = open_waiting(path, name, RecordingError)
            return _open_stream(ByteStream(file, owned=True), name, raw, may_copy, track)
        file = path.open("rb", buffering=0)
        # An absolute path, because worker processes have their own working directory and "-" is standard input to
        # libsndfile.
        source = DiskSource(name=name, head=b"", file=path.absolute(), opened=file, track=track)
        try:
            source.head = file.read(AUDIO_HEAD_BYTES)
            return _open_source(source)
        finally:
            if source.opened is not None:
                source.opened.close()
    except FileNotFoundError:
        raise RecordingError(f"{name}: no such file; check the name") from None
    except (OSError, ValueError) as error:
        remedy = "the name" if getattr(error, "errno", errno.ENOENT) in _NAME_ERRORS else "its permissions"
        raise RecordingError(f"{name}: cannot be opened ({describe_error(error)}); check {remedy}") from None


def _open_seekable(file: BinaryIO, name: str, track: int | None, is_piped: bool = False) -> Decoder:
    start = file.tell()
    head = file.read(AUDIO_HEAD_BYTES)
    _check_not_empty(head, name)
    file.seek(start)
    return _open_source(SeekableSource(name=name, head=head, file=file, is_piped=is_piped, track=track))


def _open_stream(stream: ByteStream, name: str, raw: RawFormat | None, may_copy: bool, track: int | None) -> Decoder:
    try:
        head = stream.peek()
        _check_not_empty(head, name)
        source = StreamSource(
            name=name, head=head, track=track, is_piped=True, stream=stream, raw=raw, may_copy=may_copy
        )
        return _open_source(source)
    except BaseException as error:
        stream.close()
        if isinstance(error, OSError):
            raise RecordingError(
                f"{name}: cannot be read ({describe_error(error)}); check the program that writes it"
            ) from None
        raise


def _check_not_empty(head: bytes, name: str) -> None:
    if not head:
        raise RecordingError(f"{name}: empty (0 bytes); check the program that writes it")


def _open_source(source: AudioSource) -> Decoder:
    """The first decoder that accepts the source. Raises RecordingError: the refusal by a decoder that knows the format,
    or else the last refusal."""
    for open_with in DECODERS:
        try:
            if (decoder := open_with(source)) is not None:
                return _check_track(decoder, source)
        except RefusedError as refusal:
            source.refusals.append(bare(refusal))
    raise next((refusal for refusal in source.refusals if isinstance(refusal, DamagedError)), source.refusals[-1])


def _check_track(decoder: Decoder, source: AudioSource) -> Decoder:
    """Raises RecordingError if a track other than the only one is selected."""
    if source.track and not isinstance(decoder, FfmpegFile):
        decoder.close()
        raise no_track_error(source.name, source.track, 1)
    return decoder


def _with_pcm(source: AudioSource) -> Decoder | None:
    """WAV, AIFF, AU, W64 and raw samples, decoded as they arrive."""
    if isinstance(source, StreamSource):
        stream = source.stream
        layout = read_layout(stream) if source.raw is None else Layout(source.raw, stream.size())
        return None if layout is None else PcmStream(stream, layout)
    if isinstance(source, DiskSource) and source.is_raw:
        raise DamagedError(f"{source.name}: {_RAW}, or {CONVERT}")
    if not may_hold_pcm(source.head):
        return None
    if isinstance(source, DiskSource):
        if source.part is not None:
            return None
        stream = ByteStream(source.open(), owned=True)
    elif isinstance(source, SeekableSource):
        stream = ByteStream(source.file)
    else:
        return None
    start = stream.place()
    if (layout := read_layout(stream)) is not None:
        return PcmStream(stream, layout)
    if stream.owned:
        stream.close()
    elif start is not None:
        stream.go_to(start)
    return None


def _with_sndfile(source: AudioSource) -> Decoder | None:
    """Files on disk that libsndfile reads."""
    if not isinstance(source, DiskSource):
        return None
    if (tracks := count_ogg_tracks(source.head)) > 1:
        if find_program():
            raise DamagedError(f"{source.name}: has {tracks} audio tracks, which ffmpeg cannot read; {COPY_OR_CONVERT}")
        decoder = _open_sndfile(source)
        decoder.remark = (
            f"has {tracks} audio tracks, of which 0 is read; to read another, install ffmpeg and put it on the PATH"
        )
        return decoder
    return _open_sndfile(source)


def _open_sndfile(source: DiskSource) -> SandboxedFile | SoundFile:
    """Decode in a separate process, because decoders may crash; in this process if none can be started."""
    file = source.open()
    source.part = source.part or first_part(file, source.head)
    promised = promised_by(source.head, file)
    name = os.fsencode(source.file) if isinstance(source.file, Path) else b""
    try:
        if name.lower().endswith(_NAMED_SUFFIXES) and (named := open_sandboxed(name, source.name)) is not None:
            file.close()
            return named
        decoder = open_sandboxed(file, source.name, source.part) or open_sndfile(file, source.part)
    except BaseException as error:
        file.close()
        if isinstance(error, SndfileError):
            raise _refusal(str(error), source) from None
        raise
    decoder.promised = decoder.promised if promised is None else promised
    decoder.look_behind = partial(_open_following, source)
    return decoder


def _open_following(source: DiskSource, decoder: SandboxedFile | SoundFile | FfmpegFile) -> Decoder | None:
    """The decoder for data after the part that a decoder has read. Also sets the decoder's `defect` if its part is
    incomplete."""
    if decoder.file is None:  # it was opened by name
        return None
    size = os.fstat(decoder.file.fileno()).st_size
    part = source.part or Part(0, size)
    place = size if decoder.place is None else decoder.place
    if place == part.end == size and not decoder.trouble and not source.head.startswith(_LOOKED_INTO):
        if not source.head.startswith(b"fLaC"):
            return None
        decoder.file.seek(max(0, size - FLAC_TAIL_BYTES))
        if not flac_counts_less(source.head, decoder.done, decoder.file.read(FLAC_TAIL_BYTES)):
            return None
    with os.fdopen(os.dup(decoder.file.fileno()), "rb", buffering=0) as file:
        following = find_next(file, part, place, decoder.done, decoder.trouble)
        own = part if following is None else part._replace(end=following.start)
        decoder.defect = decoder.defect or find_defect(file, own)
        if following is None:
            return None
        file.seek(following.start)
        again = replace(source, file=file, opened=None, head=file.read(AUDIO_HEAD_BYTES), part=following, refusals=[])
        if following.start != part.start:
            return _open_source(again)
        opened = _open_sndfile(again)
    opened.continues, opened.defect = True, ""
    opened.drop(following.skip_frames)
    if following.zeros_at >= 0:
        counted = following.skip_frames / opened.sample_rate
        opened.remark = f"the header states {counted:.2f} s; the samples after that are read too"
    return opened


def _refusal(reason: str, source: AudioSource) -> RefusedError:
    if substitute := describe_substitute(source.head):
        return RefusedError(f"{source.name}: {substitute}")
    # libsndfile's message about a file that looks like MP3 but is not one mentions pipes.
    if "not recognised" in reason or "possibly a pipe" in reason:
        remedy = f"check the file, or {CONVERT if find_program() else INSTALL_FFMPEG}"
        remedy = f"{CONVERT}, or {_RAW_STREAM}" if source.is_piped else remedy
        named_well = PurePath(source.name).suffix.lower() in SNDFILE_SUFFIXES
        if named_well and not source.is_piped and not is_media(source.head):  # damaged, rather than of another format
            remedy = "check the file, or copy it again"
        return RefusedError(f"{source.name}: not a supported audio format; {remedy}")
    if "annel count is zero" in reason:
        return DamagedError(f"{source.name}: the header states 0 channels; write the file again")
    why = f"damaged, cut short, or an unsupported format ({reason})"
    return DamagedError(f"{source.name}: {why}; {COPY_OR_CONVERT}")


def _with_ffmpeg(source: AudioSource) -> Decoder | None:
    """Files on disk that look like media, or whose format libsndfile knows but cannot open."""
    if not isinstance(source, DiskSource) or source.is_raw:
        return None
    program, looks_like_media = find_program(), is_media(source.head)
    if program and (looks_like_media or any(isinstance(one, DamagedError) for one in source.refusals)):
        file = source.open()
        source.part = source.part or first_part(file, source.head, by_ffmpeg=True)
        decoder = FfmpegFile(program, file, source.name, source.track, source.part)
        decoder.look_behind = partial(_open_following, source)
        return decoder
    if looks_like_media:
        raise RecordingError(f"{source.name}: cannot be read without ffmpeg; {INSTALL_FFMPEG}")
    return None


def _with_copy(source: AudioSource) -> Decoder | None:
    """All other sources: they are copied to disk, unless the caller's file already is on disk, and the decoders are
    tried again."""
    if isinstance(source, StreamSource):
        if not source.may_copy:
            raise RecordingError(f"{source.name}: cannot be read as a live stream; {_LIVE}")
        copy = _copy(source.stream.take, source)
        source.stream.close()
    elif isinstance(source, SeekableSource):
        copy = _reopen(source.file) or _copy(source.file.read, source)
    else:
        return None
    with copy:
        head = copy.read(AUDIO_HEAD_BYTES)
        return _open_source(
            DiskSource(name=source.name, head=head, file=copy, is_piped=source.is_piped, track=source.track)
        )


DECODERS = (_with_pcm, _with_sndfile, _with_ffmpeg, _with_copy)
"""In the order in which they are tried. Each returns a decoder, or None if it does not apply. RefusedError means that
another decoder may apply; any other RecordingError means that none does."""


def _copy(read: Callable[[int], bytes], source: AudioSource) -> BinaryIO:
    """Copy a source to a temporary file, on disk to save memory. If its first megabyte is not audio, the rest, which
    may be endless, is not copied."""
    with temporary_errors(source.name, RecordingError):
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    looked = False
    try:
        while part := read(READ_BYTES):
            with temporary_errors(source.name, RecordingError):
                copy.write(part)
            if not looked and copy.tell() > EARLY_LOOK_BYTES:
                looked = True
                copy.seek(0)
                check_beginning(copy.read(EARLY_LOOK_BYTES), source.name, source.is_piped)
                copy.seek(0, os.SEEK_END)
        with temporary_errors(source.name, RecordingError):
            copy.seek(0)
    except BaseException:
        with suppress(OSError):  # still to be written
            copy.close()
        raise
    return copy


def check_beginning(head: bytes, name: str, is_piped: bool = True) -> None:
    """Raises RecordingError if the beginning of a source is not audio."""
    # After a long ID3 tag there may be a format that libsndfile or ffmpeg reads.
    if is_media(head) and (find_program() or head.startswith(b"ID3")):
        return
    with suppress(DamagedError):
        _open_seekable(io.BytesIO(head), name, None, is_piped).close()


def _reopen(file: BinaryIO) -> BinaryIO | None:
    """Reopen a file on disk that is open at its beginning; None for any other file."""
    plain = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if isinstance(plain, io.FileIO) and file.tell() == 0 and stat.S_ISREG(os.fstat(plain.fileno()).st_mode):
        return os.fdopen(os.dup(plain.fileno()), "rb")
    return None
