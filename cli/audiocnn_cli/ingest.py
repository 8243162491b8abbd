"""`audiocnn ingest`: folders, tables and recipes in, a dataset out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocnn.addresses import Remote, is_url
from audiocnn.units import clock
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.findings import plural
from audiocnn_cli.following import IngestFollower
from audiocnn_cli.options import ReportFormat, Table
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from audiocnn.dataset import Dataset
    from audiocnn.ingest import IngestSettings

KINDS = ("added", "updated", "kept", "removed", "refused")

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="A folder, here or at an address; a table (.csv, .tsv), a file of labels or a recipe (.toml).",
        show_default=False,
    ),
]
Target = Annotated[str, typer.Option("--output", "-o", metavar="DATASET", help="The folder to make, or to go on with.")]
Features = Annotated[
    str | None,
    typer.Option("--features", metavar="NAME", help="Keep log_mel, mel, stft, mfcc or cqt too, as float16."),
]
SampleRate = Annotated[
    int | None,
    typer.Option(
        "--sample-rate",
        min=1,
        metavar="HERTZ",
        help="Rate of the samples that are kept. [default: the recipe's, else {sample_rate}]",
        show_default=False,
    ),
]
Channels = Annotated[
    int | None,
    typer.Option(
        "--channels",
        min=1,
        metavar="N",
        help="Channels that are kept; 1 is the mean of all; for more, mono is repeated. [default: {channels}]",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, metavar="N", help="Threads that decode. [default: 2]", show_default=False),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Decode on a Ray cluster: local starts one here, auto joins that of this machine, or HOST:PORT.",
        show_default=False,
    ),
]
Replace = Annotated[bool, typer.Option("--force", help="Drop recordings of sources that are not named any more.")]
Look = Annotated[
    bool,
    typer.Option("--survey", help="Say what is in it and what is wrong: copies, leaks, silence, uneven labels."),
]


def ingest(
    terminal: Terminal,
    sources: Sources,
    output: Target,
    features: Features = None,
    sample_rate: SampleRate = None,
    channels: Channels = None,
    jobs: Jobs = None,
    ray: Ray = None,
    force: Replace = False,
    survey: Look = False,
    format: Table = ReportFormat.auto,
) -> ExitStatus:
    """A source is a folder with a subfolder for each label; a folder with files of labels (RTTM, TextGrid, Audacity,
    ELAN and more) beside the recordings; such a file alone, which names them; a table with the columns filename and
    label, and perhaps onset, offset, split and group; or a recipe with a [data] table. Run it again and it takes what
    has changed; killed, it goes on where it was.

    \b
    audiocnn ingest sounds/ -o sounds.dataset
    audiocnn ingest labels.csv -o birds.dataset --features log_mel
    audiocnn ingest sounds/ -o sounds.dataset --survey
    """
    from audiocnn.dataset import Dataset
    from audiocnn.ffmpeg import left_out_line
    from audiocnn.ingest import IngestSettings
    from audiocnn.ingest import ingest as ingested
    from audiocnn_cli.compute import check_features, compute_of

    check_features(features)
    settings = IngestSettings(
        sample_rate=sample_rate,
        channels=channels or IngestSettings.channels,
        features=features,
        frontend_for=compute_of if features else None,
        jobs=jobs or 0,
        replace=force,
    )
    if ray is not None:
        settings = with_cluster(settings, ray, jobs, terminal)
    left_out = Counter[str]()
    with IngestFollower(terminal, "ingest") as follower:
        try:
            for step in ingested(
                [Remote(source) if is_url(source) else Path(source) for source in sources],
                Path(output),
                settings,
                left_out,
            ):
                follower(step)
        except KeyboardInterrupt:
            terminal.say(f"audiocnn: interrupted after {sum(follower.counts.values())} files; run it again to go on")
            raise
    if left_out:
        terminal.error(left_out_line(left_out), kind="warning")
    dataset = Dataset.open(output)
    report(dataset, follower, terminal, format)
    if survey:
        report_survey(dataset, terminal, format)
    return ExitStatus.SOME_FAILED if dataset.refused else ExitStatus.OK


def with_cluster(settings: IngestSettings, address: str, workers: int | None, terminal: Terminal) -> IngestSettings:
    """The settings, with a cluster that decodes. UsageError where it cannot."""
    from audiocnn_cli.cluster import check_address
    from audiocnn_cli.cluster_ingest import decoder_on

    check_address(address)
    return replace(settings, decode=decoder_on(address, workers, terminal))


def report(dataset: Dataset, follower: IngestFollower, terminal: Terminal, format: ReportFormat) -> None:
    """What is in the dataset now: JSON, or a few lines."""
    summary = summary_of(dataset, follower)
    if not terminal.wants_table(format):
        terminal.write(json.dumps(summary, ensure_ascii=False) + "\n")
        return
    facts = f"{dataset.sample_rate} Hz, {plural(dataset.channels, 'channel')}"
    lines = [
        f"{printable(str(dataset.folder))}: {plural(len(dataset.entries), 'recording')},"
        f" {clock(summary['seconds'])}, {facts}" + (f", {dataset.feature_name}" if dataset.feature_name else "")
    ]
    for name in ("labels", "splits"):
        if summary[name]:
            parts = (f"{printable(key)} {count}" for key, count in summary[name].items())
            lines.append(f"  {name}: " + ", ".join(parts))
    done = ", ".join(f"{follower.counts[kind]} {kind}" for kind in KINDS if follower.counts[kind])
    terminal.write("\n".join([*lines, f"  this time: {done or 'nothing to do'}"]) + "\n")


def report_survey(dataset: Dataset, terminal: Terminal, format: ReportFormat) -> None:
    """What `survey` finds: JSON, or lines."""
    from audiocnn.survey import findings
    from audiocnn_cli.surveying import surveyed

    found = surveyed(dataset, terminal)
    if terminal.wants_table(format):
        terminal.write("".join(f"  {printable(line)}\n" for line in findings(found)))
    else:
        terminal.write(json.dumps(found.to_dict(), ensure_ascii=False) + "\n")


def summary_of(dataset: Dataset, follower: IngestFollower) -> dict[str, Any]:
    """What is in the dataset, and what was done. `labels` counts clips and annotations."""
    labels = Counter(entry.label for entry in dataset.entries if entry.label)
    for entry in dataset.entries:
        labels.update(annotation.label for annotation in dataset.annotations(entry))
    return {
        "schema": 1,
        "type": "dataset",
        "dataset": str(dataset.folder),
        "recordings": len(dataset.entries),
        "seconds": round(sum(dataset.duration_seconds(entry) for entry in dataset.entries), 4),
        "sample_rate": dataset.sample_rate,
        "channels": dataset.channels,
        "features": dataset.feature_name,
        "labels": {label: labels[label] for label in dataset.labels},
        "splits": dict(Counter(entry.split for entry in dataset.entries if entry.split)),
        "refused": len(dataset.refused),
        "done": {kind: follower.counts[kind] for kind in KINDS},
    }
