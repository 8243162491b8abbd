"""`audiocnn detect`: find segments in recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from audiocnn.labels.formats import FORMATS
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import (
    BASIC,
    INPUT,
    OUTPUT,
    RUNNING,
    ClusterOptions,
    DetectFormat,
    Device,
    Files,
    InputOptions,
    Jobs,
    ModelName,
    RawOptions,
    Ray,
    RecordingOutputs,
    SegmentOptions,
    detect_settings,
    flag,
    format_option,
)
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.job import BatchJob, BlockProgress, run_job
from audiocnn_cli.io.results import Resume, choose_format, find_destination

if TYPE_CHECKING:
    from audiocnn.audio.pcm import RawFormat
    from audiocnn.audio.recording import Selection
    from audiocnn.inference.detect import DetectSettings
    from audiocnn.inference.engine import Engine
    from audiocnn.inference.scores import ScoredRecording
    from audiocnn.labels.formats.base import Writer
    from audiocnn.model.model import Model
    from audiocnn_cli.commands.detect.writers import DetectLayout, DetectResult
    from audiocnn_cli.io.output import Output
    from audiocnn_cli.io.resume import Provenance

_Format = Annotated[
    DetectFormat,
    format_option(f"{', '.join(FORMATS)} or table; auto: by the suffix of -o, a table on a terminal, else JSON Lines."),
    BASIC,
]
_ExitFlag = Annotated[bool, flag("--exit-status", "Exit with 1 if no recording has a segment.", RUNNING)]
_Summary = Annotated[
    bool,
    flag("--summary", "Print one line (or record) for each recording and one for all, without segments.", OUTPUT),
    BASIC,
]
_Follow = Annotated[
    bool,
    flag(
        "--follow", "Process a live stream on standard input: print each onset and segment once it is certain.", INPUT
    ),
]


def detect(
    terminal: Terminal,
    files: Files = None,
    model: ModelName = None,
    rule: SegmentOptions = SegmentOptions(),  # noqa: B008 - frozen
    given: InputOptions = InputOptions(),  # noqa: B008
    samples: RawOptions = RawOptions(),  # noqa: B008
    follow: _Follow = False,
    format: _Format = DetectFormat.auto,
    summary: _Summary = False,
    output: RecordingOutputs = RecordingOutputs(),  # noqa: B008
    resume: Resume = False,
    device: Device = "auto",
    jobs: Jobs = None,
    ray: Ray = None,
    exit_status: _ExitFlag = False,
) -> ExitStatus:
    """On a terminal, one recording is shown as a table with a timeline, several recordings as one line each. In a
    pipe, each segment and each file is a line of JSON. A file that cannot be read does not stop the others.

    \b
    audiocnn detect interview.wav
    audiocnn detect recordings/ -o segments.csv
    audiocnn detect archive/ -o found.jsonl --resume
    audiocnn detect archive/ --output-dir labels/ -f textgrid --skip-existing
    sox in.wav -t wav - | audiocnn detect - | jq .
    arecord -q -f S16_LE -r 16000 | audiocnn detect --follow -
    """
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import DEFAULT_LIVE_MODEL, DEFAULT_MODEL, find_model
    from audiocnn_cli.commands.detect.follow import check_follow, follow_stream
    from audiocnn_cli.commands.detect.writers import DetectLayout, check_number, check_summary
    from audiocnn_cli.io.inputs import find_inputs, read_channel, read_excerpt, read_raw
    from audiocnn_cli.io.results import check_single_stream, suffix_of

    cluster = None if ray is None else ClusterOptions(ray, jobs, device)
    if cluster is None:
        destination = find_destination(output, resume)
    else:
        from audiocnn_cli.cluster.run import cluster_destination, run_on_cluster

        destination = cluster_destination(cluster, output, resume, format)
    kind = choose_format(destination, format, terminal)
    if summary:
        check_summary(kind, destination, follow, ray)
    settings = detect_settings(rule, read_channel(given.channel))
    raw, excerpt = read_raw(samples), read_excerpt(given)
    if follow:
        check_follow(files, given, kind)
        check_single_stream(destination, "--follow")
    inputs = find_inputs(files, given, terminal, raw, destination.check)
    if destination.folder is None:
        inputs = check_number(inputs, kind)
    if destination.done:
        return destination.say_done(terminal)
    chosen = find_model(model or (DEFAULT_LIVE_MODEL if follow else DEFAULT_MODEL))
    settings.rules(chosen)
    if chosen.must_choose:
        fact = f"{chosen.name} assigns one of its labels to every sound, including rain and music"
        terminal.error(f'{fact}; train it again to get a model that can also answer "none of these"', "warning")
    names = None
    if kind == "table" and (terminal.shows_tables or summary) and given.files_from is None:
        known = list(inputs)
        inputs, names = iter(known), tuple(one.name for one in known)
    provenance = detect_provenance(chosen, settings, raw, excerpt) if kind == "jsonl" else None
    task = DetectTask(settings, DetectLayout(kind, provenance.settings if provenance else "", summary, names))
    provenance = None if summary else provenance  # a summary cannot be resumed
    job = BatchJob(task, inputs, given, destination, suffix_of(kind), provenance, unit="segment")
    if cluster is not None:
        return run_on_cluster(job, chosen, cluster, terminal).status(exit_status)
    engine = load_engine(chosen, device, jobs)
    terminal.detail(f"model {chosen.folder} on {engine.device}, one score every {engine.hop_seconds:g} s")
    if follow:
        batch = follow_stream(terminal, engine, settings, raw, excerpt, kind, destination)
    else:
        batch = run_job(job, engine, terminal)
    return batch.status(exit_status)


@dataclass(frozen=True)
class DetectTask:
    settings: DetectSettings
    layout: DetectLayout

    @property
    def channel(self) -> str | int:
        return self.settings.channel

    def writer(self, out: Output, engine: Engine, terminal: Terminal) -> Writer[DetectResult]:
        from audiocnn_cli.commands.detect.writers import detect_writer

        return detect_writer(self.layout, engine.model.labels, out, terminal)

    def results(self, scored: ScoredRecording, progress: BlockProgress, live: bool) -> Iterator[DetectResult]:
        from audiocnn.inference.detect import detect_scored
        from audiocnn_cli.commands.detect.follow import detect_live
        from audiocnn_cli.commands.detect.writers import LIVE_FORMATS

        if live and self.layout.kind in LIVE_FORMATS and not self.layout.summary:
            yield from detect_live(scored, self.settings, progress)
        else:
            yield detect_scored(scored, self.settings, progress)

    def count(self, result: DetectResult) -> int:
        from audiocnn.inference.detect import Detection, Ending

        return len(result.segments) if isinstance(result, Detection) else isinstance(result, Ending)


def detect_provenance(
    model: Model, settings: DetectSettings, raw: RawFormat | None, excerpt: Selection | None = None
) -> Provenance:
    from audiocnn.model.model import digest_settings
    from audiocnn_cli.io.resume import Provenance

    rules = {label: dataclasses.asdict(rule) for label, rule in settings.rules(model).items()}
    for rule in rules.values():
        if rule["end_pad_seconds"] is None:  # keeps digests of versions without this field valid
            del rule["end_pad_seconds"]
    facts = [rules, settings.channel, raw and dataclasses.asdict(raw)]
    facts += [] if excerpt is None else [dataclasses.asdict(excerpt)]
    return Provenance(model.name, digest_settings(model, facts))
