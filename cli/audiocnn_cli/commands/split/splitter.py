"""The work of `split`: finding the segments of a recording and cutting it."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Protocol

from audiocnn.audio.bit_depth import OwnSamples
from audiocnn.audio.find import is_folder
from audiocnn.audio.remote import Remote
from audiocnn.audio.writer import NoSpaceError, loses, remove_left
from audiocnn.errors import RecordingError, UsageError, show_name, show_names
from audiocnn.labels.lookup import LabelFile, UnnamedError
from audiocnn.labels.split import (
    ALL_CHANNELS,
    PieceFile,
    SplitSettings,
    check_free,
    cut_pieces,
    find_outside,
    plan_pieces,
)
from audiocnn.segments.segment import Segment
from audiocnn_cli.app.options import SegmentOptions
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.split.manifest import CutRecording, SplitResult, WrittenCut
from audiocnn_cli.io.batch import BatchRun
from audiocnn_cli.io.inputs import Input, keep_stream
from audiocnn_cli.io.mirror import Mirror, check_inside
from audiocnn_cli.io.results import ResultWriter

Tracks = Mapping[int, Sequence[Segment]]


@dataclass(frozen=True)
class KnownSegments:
    """The segments of a recording. by_channel: each track applies to its own channel, not to all channels."""

    tracks: Tracks
    by_channel: bool
    duration_seconds: float | None = None
    note: str | None = None
    remarks: Sequence[str] = ()
    are_labels: bool = False  # from an annotation file, which may belong to another recording


PendingInput = tuple[Input, Callable[[], KnownSegments]]


class SegmentSource(Protocol):
    """Goes over recordings and yields each with a function that returns its segments. device: device of the network, if
    any."""

    device: str

    def __call__(self, inputs: Iterator[Input], batch: BatchRun, endless: bool) -> Generator[PendingInput]: ...


class ModelSegments:
    def __init__(
        self, model: str | None, rule: SegmentOptions, channel: str | int, device: str, jobs: int | None
    ) -> None:
        from audiocnn.inference.engine import load_engine
        from audiocnn.model.model import DEFAULT_MODEL, find_model
        from audiocnn_cli.app.options import detect_settings

        chosen = find_model(model or DEFAULT_MODEL)
        self.settings = detect_settings(rule, channel)
        self.settings.rules(chosen)
        self.engine = load_engine(chosen, device, jobs)
        self.device = self.engine.device

    def __call__(self, inputs: Iterator[Input], batch: BatchRun, endless: bool) -> Generator[PendingInput]:
        from audiocnn.inference.detect import detect_scored
        from audiocnn.inference.scores import ScoredRecording, score_many

        taken: deque[Input] = deque()  # inputs that were read ahead

        def noted() -> Iterator[Input]:
            for one in inputs:
                taken.append(one)
                yield one

        def found(scored: ScoredRecording) -> KnownSegments:
            heard = detect_scored(scored, self.settings, batch.step)
            by_channel = self.engine.channels == 1 and self.settings.channel != "mix"
            return KnownSegments(heard.tracks, by_channel, heard.duration_seconds, heard.note, remarks=heard.remarks)

        sources = batch.sources(noted(), endless)
        with closing(score_many(sources, self.engine, self.settings.channel, batch.idle)) as readings:
            for reading in readings:
                yield taken.popleft(), partial(found, reading)


class LabelledSegments:
    device = ""

    def __init__(self, path: str, label_column: str | None) -> None:
        self.file = LabelFile(Path(path), label_column)
        self.named = 0
        self.unnamed: list[str] = []  # recordings that it does not name, taken as recordings without segments

    def __call__(self, inputs: Iterator[Input], batch: BatchRun, endless: bool) -> Generator[PendingInput]:
        first = list(islice(inputs, 2))
        for one in chain(first, inputs):
            yield one, partial(self.found, one.name, len(first) == 1)

    def found(self, name: str, alone: bool) -> KnownSegments:
        try:
            tracks = self.file.of(name, alone).tracks
        except UnnamedError:
            if alone or self.file.names_silent:
                raise
            self.unnamed.append(name)
            tracks = {}
        else:
            self.named += 1
        return KnownSegments(tracks, self.file.has_channels, are_labels=True)

    def tell_unnamed(self, terminal: Terminal) -> bool:
        """Report recordings that were taken as having no segments. Returns whether no name matched at all, which is an
        error."""
        where, names = show_name(self.file.path), show_names(self.unnamed, terminal.verbose)
        if self.unnamed and not self.named:
            terminal.error(f"{where}: does not name {names}; check the names in it")
        elif self.unnamed:
            terminal.say(f"audiocnn: {where} has no segments for {names}: nothing to cut")
        return bool(self.unnamed) and not self.named


def segments_from(
    labels: str | None,
    label_column: str | None,
    model: str | None,
    rule: SegmentOptions,
    channel: str | int,
    device: str,
    jobs: int | None,
) -> SegmentSource:
    """A model or an annotation file as source. Raises UsageError for options that do not apply to it."""
    if labels is None:
        if label_column is not None:
            raise UsageError("--label-column applies to the file of --labels; give --labels too, or omit it")
        return ModelSegments(model, rule, channel, device, jobs)
    for name, value in {"model": model, **vars(rule)}.items():
        if value is not None:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} applies to a model and cannot be combined with --labels; omit one of them")
    return LabelledSegments(labels, label_column)


class Splitter:
    """Cuts recordings. Standard input is copied to a file, since it is read twice."""

    def __init__(
        self, terminal: Terminal, folder: Path, settings: SplitSettings, channel: str | int, force: bool
    ) -> None:
        self.terminal, self.folder, self.settings = terminal, folder, settings
        self.channel, self.force = channel, force
        self.mirror = Mirror(folder, "", force=force)
        self.pieces = 0
        self.cleared: set[Path] = set()  # folders from which unfinished files of killed runs were removed
        self.written: set[int] = set()  # with force: hashes of the names of pieces written by this run
        self.rounded = False  # whether the warning about rounded samples was printed

    def kept(self, inputs: Iterator[Input]) -> Iterator[Input]:
        """The inputs, with standard input, named pipes and URLs copied to seekable files."""
        for one in inputs:
            try:
                if isinstance(one.source, Path):
                    yield self.copied(one, one.source) if is_pipe(one.source) else one
                elif isinstance(one.source, Remote):
                    with one.source.fetched() as stream:
                        yield self.copied(one, stream)
                else:
                    yield one if one.source is None else self.copied(one, one.source)
            except RecordingError as problem:
                yield replace(one, source=None, problem=str(problem))

    def copied(self, one: Input, stream: Path | BinaryIO) -> Input:
        copy, path = keep_stream(stream, show_name(one.name), has_header=one.raw is None)
        return replace(one, source=StreamCopy(copy, path, one))

    def split(
        self, one: Input, found: Callable[[], KnownSegments], manifest: ResultWriter[SplitResult], batch: BatchRun
    ) -> None:
        """Cut one recording. RecordingError, LabelError and UsageError concern only this recording."""
        known = found()
        source = self.own_samples(one)
        tracks = self.tracks(known, source)
        pieces = plan_pieces(
            tracks, source.sample_rate, known.duration_seconds, self.base(one), self.settings, one.excerpt
        )
        check_free(pieces, source.path, self.force)
        self.check_other(pieces, source.name)
        for place in {piece.path.parent for piece in pieces} - self.cleared:
            self.cleared.add(place)
            remove_left(place)
        if pieces and loses(self.settings.kind, source.depth) and not self.rounded:
            self.rounded = True
            self.terminal.error(
                f"{source.name}: FLAC stores at most 24 bits per sample and rounds this recording; use --to wav",
                kind="warning",
            )
        cuts = []
        try:
            for done in cut_pieces(source, pieces, self.settings.kind, self.force):
                manifest.recording(WrittenCut(one.name, done))
                cuts.append(done)
                self.pieces += 1
                manifest.out.commit()  # every line stands for a complete file
        except NoSpaceError:
            batch.stopped = True  # the other recordings would fail too
            raise
        length = known.duration_seconds
        if length is None and source.frames is not None:
            length = source.frames / source.sample_rate
        if known.are_labels:
            end = max((cut.end_seconds for cut in cuts), default=0.0) if length is None else length
            self.tell_outside(known, source, end, batch)
        note = known.note or source.note
        remarks = known.remarks or source.remarks
        cut = CutRecording(one.name, length, source.sample_rate, source.channels, note, remarks, cuts)
        manifest.recording(cut)
        batch.finish(length or 0.0, cut)
        if isinstance(one.source, StreamCopy):
            one.source.close()  # frees disk space, which many downloads would fill

    def tell_outside(self, known: KnownSegments, source: OwnSamples, end_seconds: float, batch: BatchRun) -> None:
        """Report labels that lie outside of the recording, entirely or in part."""
        meant = [one for track in known.tracks.values() for one in track]
        meant = [one for one in meant if not self.settings.only or one.label in self.settings.only]
        lost, cut = find_outside(meant, source.sample_rate, end_seconds)
        batch.left_out([f"{source.name}: {one}" for one in lost], [f"{source.name}: {one}" for one in cut])

    def own_samples(self, one: Input) -> OwnSamples:
        opened, track = one.opened, one.excerpt.track if one.excerpt else None
        if isinstance(opened, Path):
            return OwnSamples(opened, one.raw, track=track)
        assert isinstance(opened, StreamCopy)
        return OwnSamples(opened.path, one.raw, one.name, track)

    def tracks(self, known: KnownSegments, source: OwnSamples) -> dict[int | None, Sequence[Segment]]:
        """The segments by the channels to cut out; the key `ALL_CHANNELS` stands for all channels together."""
        together = [segment for track in known.tracks.values() for segment in track]
        if self.channel == "mix":
            return {ALL_CHANNELS: together}
        wanted = range(source.channels) if self.channel == "each" else [int(self.channel)]
        if wanted[0] >= source.channels:
            have = f"it has {source.channels}, numbered from 0"
            raise RecordingError(f"{source.name}: no channel {self.channel}; {have}")
        return {channel: known.tracks.get(channel, ()) if known.by_channel else together for channel in wanted}

    def base(self, one: Input) -> Path:
        """The common part of the paths of the pieces of a recording, determined by `Mirror` as for other outputs."""
        base = self.mirror.target(one.source.of if isinstance(one.source, StreamCopy) else one)
        check_inside(self.folder, base)
        return base

    def check_other(self, pieces: Sequence[PieceFile], name: str) -> None:
        """Raises RecordingError if a piece would overwrite a piece of another recording of this run."""
        if not self.force:
            return  # existing files are never overwritten
        keys = {hash(str(piece.path)): piece for piece in pieces}
        if taken := self.written & keys.keys():
            path = show_name(keys[taken.pop()].path)
            raise RecordingError(
                f"{show_name(name)}: its piece {path} is also a piece of another recording in the list"
            )
        self.written |= keys.keys()


class StreamCopy(io.BufferedReader):
    """A stream copied to a temporary file, which `path` opens any number of times until this is closed."""

    def __init__(self, copy: BinaryIO, path: Path, of: Input) -> None:
        raw = io.FileIO(copy.fileno(), closefd=False)  # shares the descriptor: a list may need many
        raw.seek(0)
        raw.name = of.name  # for messages
        super().__init__(raw)
        self.copy, self.path, self.of = copy, path, of

    def close(self) -> None:
        super().close()
        self.copy.close()


def is_pipe(path: Path) -> bool:
    """Whether a path is a pipe or device, which can be read only once."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


def check_pieces_folder(folder: str | None, files: Sequence[str] | None, shard: str | None) -> Path:
    """The folder for pieces. Raises UsageError if it is missing, is a file, or contains a folder that is searched."""
    if folder is None:
        raise UsageError("no folder for the pieces; give one with --output-dir")
    if not folder:
        raise UsageError('--output-dir "": the name is empty; give a folder, or . for the current one')
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UsageError(f"--output-dir {folder}: is a file; give a folder")
    for name in files or ():
        searched, pieces = Path(name).resolve(), path.resolve()
        if is_folder(name) and searched.is_relative_to(pieces):
            raise UsageError(
                f"--output-dir {folder}: pieces would mix with the recordings in {show_name(name)}; choose another"
            )
        if is_folder(name) and shard is not None and pieces.is_relative_to(searched):
            raise UsageError(
                f"--output-dir {folder}: pieces in {show_name(name)} would change the --shard numbering; choose another"
            )
    return path


def leave_out_pieces(inputs: Iterator[Input], folder: Path, files: Sequence[str] | None) -> Iterator[Input]:
    """The inputs without pieces of this or another run found in searched folders."""
    folders, pieces = [Path(name) for name in files or () if is_folder(name)], folder.resolve()
    for one in inputs:
        searched = isinstance(one.source, Path) and any(one.source.is_relative_to(folder) for folder in folders)
        if not (searched and Path(os.path.realpath(one.name)).is_relative_to(pieces)):
            yield one
