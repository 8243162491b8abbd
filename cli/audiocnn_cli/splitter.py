"""The work of `split`: which segments a recording has, and what becomes of it."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from audiocnn.addresses import Remote
from audiocnn.depth import OwnSamples
from audiocnn.errors import RecordingError, UsageError
from audiocnn.filenames import is_folder, show_name
from audiocnn.segments import Segment
from audiocnn.sound_writer import loses, remove_left
from audiocnn.splitting import ALL, Piece, SplitSettings, check_free, cut, plan
from audiocnn_cli.batch import Batch
from audiocnn_cli.inputs import Input
from audiocnn_cli.manifest import Manifest, Source
from audiocnn_cli.mirror import Mirror, check_inside, refused
from audiocnn_cli.options import SegmentOptions
from audiocnn_cli.output import Output
from audiocnn_cli.terminal import Terminal

COPY_BYTES = 1 << 20
Tracks = Mapping[int, Sequence[Segment]]


@dataclass(frozen=True)
class Known:
    """The segments of a recording. by_channel: each track is meant for its own channel, not for all of them."""

    tracks: Tracks
    by_channel: bool
    duration_seconds: float | None = None
    note: str | None = None


Asked = tuple[Input, Callable[[], Known]]


class Ask(Protocol):
    """Goes over recordings; what it gives with each tells its segments. device: where the network runs, if one does."""

    device: str

    def __call__(self, inputs: Iterator[Input], batch: Batch, endless: bool) -> Generator[Asked]:
        """Each recording, in order."""
        ...


class AskModel:
    """What a model hears."""

    def __init__(
        self, model: str | None, rule: SegmentOptions, channel: str | int, device: str, jobs: int | None
    ) -> None:
        from audiocnn.engine import load_engine
        from audiocnn.model import DEFAULT_MODEL, find_model
        from audiocnn_cli.detect import detect_settings

        chosen = find_model(model or DEFAULT_MODEL)
        self.settings = detect_settings(rule, channel)
        self.settings.rules(chosen)
        self.engine = load_engine(chosen, device, jobs)
        self.device = f"on {self.engine.device}"

    def __call__(self, inputs: Iterator[Input], batch: Batch, endless: bool) -> Generator[Asked]:
        from audiocnn.parallel import Reading, detect_reading, score_many

        taken: deque[Input] = deque()  # by the readers, which are ahead

        def noted() -> Iterator[Input]:
            for one in inputs:
                taken.append(one)
                yield one

        def found(reading: Reading) -> Known:
            heard = detect_reading(reading, self.engine, self.settings, batch.step)
            by_channel = self.engine.channels == 1 and self.settings.channel != "mix"
            return Known(heard.tracks, by_channel, heard.duration_seconds, heard.note)

        sources = batch.sources(noted(), endless)
        with closing(score_many(sources, self.engine, self.settings.channel, batch.idle)) as readings:
            for reading in readings:
                yield taken.popleft(), partial(found, reading)


class AskLabels:
    """What a file of labels says."""

    device = ""

    def __init__(self, path: str) -> None:
        from audiocnn.label_lookup import LabelFile

        self.file = LabelFile(Path(path))

    def __call__(self, inputs: Iterator[Input], batch: Batch, endless: bool) -> Generator[Asked]:
        first = list(islice(inputs, 2))
        for one in chain(first, inputs):
            yield one, partial(self.found, one.name, len(first) == 1)

    def found(self, name: str, alone: bool) -> Known:
        """Of one recording."""
        return Known(self.file.of(name, alone).tracks, self.file.has_channels)


def segments_from(
    labels: str | None, model: str | None, rule: SegmentOptions, channel: str | int, device: str, jobs: int | None
) -> Ask:
    """A model, or a file of labels, with which nothing about scores can be asked."""
    if labels is None:
        return AskModel(model, rule, channel, device, jobs)
    for name, value in {"model": model, **vars(rule)}.items():
        if value is not None:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is for what a model finds, and --labels says what there is; leave one out")
    return AskLabels(labels)


class Splitter:
    """Cuts one recording after the other. What comes on standard input is kept in a file, since it is read twice."""

    def __init__(
        self, terminal: Terminal, folder: Path, settings: SplitSettings, channel: str | int, force: bool
    ) -> None:
        self.terminal, self.folder, self.settings = terminal, folder, settings
        self.channel, self.force = channel, force
        self.mirror = Mirror(folder, "", skip_existing=False, force=force)
        self.pieces = 0
        self.copies: tempfile.TemporaryDirectory[str] | None = None
        self.cleared: set[Path] = set()  # folders without what killed runs had not finished
        self.written: set[int] = set()  # with force: hashes of the names of pieces, since none is left of one run
        self.rounded = False  # whether it was said that samples are

    def __enter__(self) -> Splitter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.copies is not None:
            self.copies.cleanup()

    def kept(self, inputs: Iterator[Input]) -> Iterator[Input]:
        """The same, with standard input and pipes that have a name as files that have a way back."""
        for one in inputs:
            if isinstance(one.source, Path) and is_pipe(one.source):
                try:
                    with one.source.open("rb") as stream:
                        yield self.copied(one, stream)
                except OSError as problem:
                    yield refused(one, f"cannot be opened ({problem.strerror}); check the rights")
            elif isinstance(one.source, Remote):
                try:
                    with one.source.fetched() as stream:
                        yield self.copied(one, stream)
                except RecordingError as problem:
                    yield replace(one, source=None, problem=str(problem))
            else:
                yield one if one.source is None or isinstance(one.source, Path) else self.copied(one, one.source)

    def copied(self, one: Input, stream: BinaryIO) -> Input:
        """What a stream brings, to its end."""
        try:
            if self.copies is None:
                self.copies = tempfile.TemporaryDirectory(prefix="audiocnn-", ignore_cleanup_errors=True)
            handle, path = tempfile.mkstemp(dir=self.copies.name)
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(stream, file, COPY_BYTES)
            return replace(one, source=Copy(Path(path), one))
        except OSError as problem:
            return refused(one, f"cannot be kept in a file ({problem.strerror}); make room")

    def split(self, one: Input, found: Callable[[], Known], manifest: Manifest, out: Output, batch: Batch) -> None:
        """Cut one recording. RecordingError, LabelError, UsageError: with it, not with the others."""
        known = found()
        source = self.own_samples(one)
        pieces = plan(
            self.tracks(known, source), source.sample_rate, known.duration_seconds, self.base(one), self.settings
        )
        check_free(pieces, source.path, self.force)
        self.check_other(pieces, source.name)
        for place in {piece.path.parent for piece in pieces} - self.cleared:
            self.cleared.add(place)
            remove_left(place)
        if pieces and loses(self.settings.kind, source.depth) and not self.rounded:
            self.rounded = True
            self.terminal.error(
                f"{source.name}: FLAC holds 24 bits at most, and this has more; --to wav keeps all", kind="warning"
            )
        cuts = []
        for done in cut(source, pieces, self.settings.kind, self.force):
            manifest.cut(one.name, done)
            cuts.append(done)
            self.pieces += 1
            out.commit()  # every line tells of a file that is whole
        length = known.duration_seconds
        if length is None and source.frames is not None:
            length = source.frames / source.sample_rate
        note = known.note or source.note
        manifest.done(Source(one.name, length, source.sample_rate, source.channels, note), cuts)
        batch.finish(length or 0.0, note)
        if isinstance(one.source, Copy):
            one.source.path.unlink(missing_ok=True)  # of many addresses, the disk would fill

    def own_samples(self, one: Input) -> OwnSamples:
        """The recording as it lies in its file."""
        opened = one.opened
        if isinstance(opened, Path):
            return OwnSamples(opened, one.raw)
        assert isinstance(opened, Copy)
        return OwnSamples(opened.path, one.raw, one.name)

    def tracks(self, known: Known, source: OwnSamples) -> dict[int | None, Sequence[Segment]]:
        """The segments by the channels that are cut out; the key `ALL` is all channels together."""
        together = [segment for track in known.tracks.values() for segment in track]
        if self.channel == "mix":
            return {ALL: together}
        wanted = range(source.channels) if self.channel == "each" else [int(self.channel)]
        if wanted[0] >= source.channels:
            have = f"it has {source.channels}, numbered from 0"
            raise RecordingError(f"{source.name}: no channel {self.channel}; {have}")
        return {channel: known.tracks.get(channel, ()) if known.by_channel else together for channel in wanted}

    def base(self, one: Input) -> Path:
        """Where the pieces of a recording lie, without what tells them apart: as `mirror` has it for other outputs."""
        base = self.mirror.target(one.source.of if isinstance(one.source, Copy) else one)
        check_inside(self.folder, base)
        return base

    def check_other(self, pieces: Sequence[Piece], name: str) -> None:
        """RecordingError where a piece would overwrite that of another recording of this run."""
        if not self.force:
            return  # what is there is never overwritten
        keys = {hash(str(piece.path)): piece for piece in pieces}
        if taken := self.written & keys.keys():
            path = show_name(keys[taken.pop()].path)
            raise RecordingError(f"{show_name(name)}: its piece {path} is that of another recording of this list")
        self.written |= keys.keys()


class Copy(io.BufferedReader):
    """A stream that was kept in a file."""

    def __init__(self, path: Path, of: Input) -> None:
        raw = io.FileIO(path)
        raw.name = of.name  # for messages
        super().__init__(raw)
        self.path, self.of = path, of


def is_pipe(path: Path) -> bool:
    """Whether a name is that of something that can be read once."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


def check_folder(folder: str | None, files: Sequence[str] | None, shard: str | None) -> Path:
    """The folder for pieces; UsageError for none, for a file, and where it is searched for recordings itself."""
    if folder is None:
        raise UsageError("no folder for the pieces: name one with --output-dir")
    if not folder:
        raise UsageError('--output-dir "": an empty name; name a folder, or . for this one')
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UsageError(f"--output-dir {folder}: is a file; name a folder")
    for name in files or ():
        searched, pieces = Path(name).resolve(), path.resolve()
        if is_folder(name) and searched.is_relative_to(pieces):
            raise UsageError(f"--output-dir {folder}: recordings are looked for in {show_name(name)}; name another")
        if is_folder(name) and shard is not None and pieces.is_relative_to(searched):
            raise UsageError(
                f"--output-dir {folder}: pieces in {show_name(name)} change what --shard counts; name another"
            )
    return path


def outside(inputs: Iterator[Input], folder: Path, files: Sequence[str] | None) -> Iterator[Input]:
    """Without what a folder that is searched holds of pieces, from this run or another."""
    folders, pieces = [Path(name) for name in files or () if is_folder(name)], folder.resolve()
    for one in inputs:
        searched = isinstance(one.source, Path) and any(one.source.is_relative_to(folder) for folder in folders)
        if not (searched and Path(os.path.realpath(one.name)).is_relative_to(pieces)):
            yield one
