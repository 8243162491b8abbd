"""`audiocnn ingest`: create or continue a dataset from folders, tables and recipes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocnn.audio.find import is_url
from audiocnn.audio.remote import Remote
from audiocnn.errors import SpecError, UsageError, printable, show_name
from audiocnn.spec.features import FEATURES
from audiocnn.units import clock, plural
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import BASIC, LabelOptions, ReportFormat, TableFormat, flag, option
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.ingest import IngestFollower

if TYPE_CHECKING:
    from audiocnn.data.dataset import Dataset
    from audiocnn.data.ingest import IngestSettings
    from audiocnn.data.sources.settings import DataSettings
    from audiocnn.spec.spec import Spec

_OUTCOMES = ("added", "updated", "kept", "removed", "refused")
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="A folder, local or remote; a table (.csv, .tsv), a file of labels or a recipe (.toml).",
        show_default=False,
    ),
]
DatasetFolder = Annotated[
    str, typer.Option("--output", "-o", metavar="DATASET", help="Folder to create or to continue."), BASIC
]
Features = Annotated[
    str | None,
    option("--features", "SPEC", "Also store the spectrograms of this network, so that `train` need not compute them."),
    BASIC,
]
SampleRate = Annotated[
    int | None,
    option(
        "--sample-rate",
        "HERTZ",
        "Sample rate of the stored samples. [default: the recipe's, else {sample_rate}]",
        least=1,
    ),
    BASIC,
]
Channels = Annotated[
    int | None,
    option(
        "--channels",
        "N",
        "Number of channels to store; 1: the mean of all; more: mono is repeated. [default: {channels}]",
        least=1,
    ),
    BASIC,
]
DecodeThreads = Annotated[
    int | None,
    option("--jobs", "N", "Number of decoding threads. [default: {decode_threads}]", short="-j", least=1),
    BASIC,
]
DecodeCluster = Annotated[
    str | None,
    option(
        "--ray",
        "ADDRESS",
        "Decode on a Ray cluster: local starts one, auto joins the one of this machine, or HOST:PORT.",
    ),
]
DropOthers = Annotated[
    bool, typer.Option("--force", help="Remove recordings of sources that are no longer named."), BASIC
]
WithSurvey = Annotated[
    bool, flag("--survey", "Report the contents and problems: copies, leaks, silence, unbalanced labels."), BASIC
]


def ingest(
    terminal: Terminal,
    sources: Sources,
    output: DatasetFolder,
    features: Features = None,
    sample_rate: SampleRate = None,
    channels: Channels = None,
    jobs: DecodeThreads = None,
    ray: DecodeCluster = None,
    force: DropOthers = False,
    labels: LabelOptions = LabelOptions(),  # noqa: B008 - frozen
    survey: WithSurvey = False,
    format: TableFormat = ReportFormat.auto,
) -> ExitStatus:
    """A source is a folder with one subfolder for each label; a folder with annotation files (RTTM, TextGrid,
    Audacity, ELAN and more) next to the recordings; an annotation file that names the recordings; a table with the
    columns filename and label, and optionally onset, offset, split and group; or a recipe with a [data] table.
    Running the command again only processes what has changed; an interrupted run continues.

    \b
    audiocnn ingest sounds/ -o sounds.dataset
    audiocnn ingest labels.csv -o birds.dataset --features sound_2d
    audiocnn ingest sounds/ -o sounds.dataset --survey
    """
    from audiocnn.audio.ffmpeg import left_out_line
    from audiocnn.data.dataset import Dataset
    from audiocnn.data.ingest import IngestSettings
    from audiocnn.data.ingest import ingest as ingested

    settings = IngestSettings(
        sample_rate=sample_rate,
        channels=channels or IngestSettings.channels,
        features=None if features is None else _find_features(features),
        jobs=jobs or 0,
        replace=force,
    )
    if ray is not None:
        settings = _with_cluster(settings, ray, jobs, terminal)
    left_out = Counter[str]()
    with IngestFollower(terminal, "ingest") as follower:
        try:
            for step in ingested(
                [_source_of(source, labels) for source in sources],
                Path(output),
                settings,
                left_out,
            ):
                follower(step)
        except KeyboardInterrupt:
            terminal.say(f"audiocnn: interrupted after {sum(follower.counts.values())} files; run it again to continue")
            raise
    if left_out:
        terminal.error(left_out_line(left_out), kind="warning")
    dataset = Dataset.open(output)
    write_summary(dataset, follower, terminal, format)
    if survey:
        write_survey(dataset, terminal, format)
    return ExitStatus.SOME_FAILED if dataset.refused else ExitStatus.OK


def _source_of(source: str, labels: LabelOptions) -> Path | Remote | DataSettings:
    """A source with the label options applied. Raises UsageError for a source that does not support them."""
    from audiocnn.data.dataset import is_dataset
    from audiocnn.data.sources import recipe_settings
    from audiocnn.data.sources.settings import DataSettings
    from audiocnn.workflows.sources import refuse_label_options, with_label_options

    if labels == LabelOptions():
        return Remote(source) if is_url(source) else Path(source)
    if is_url(source) or is_dataset(source):
        refuse_label_options(labels, source)
    if not Path(source).exists():
        raise UsageError(f"{source}: no such file or folder; check the name")
    plain = DataSettings(Path(source), where=show_name(source))
    return with_label_options(recipe_settings(Path(source)) if source.endswith(".toml") else plain, labels)


def _with_cluster(settings: IngestSettings, address: str, workers: int | None, terminal: Terminal) -> IngestSettings:
    """The settings with decoding on a Ray cluster. Raises UsageError for an invalid address."""
    from audiocnn_cli.cluster.ingest import decoder_on
    from audiocnn_cli.cluster.ray import check_address

    check_address(address)
    return replace(settings, decode=decoder_on(address, workers, terminal))


def write_summary(dataset: Dataset, follower: IngestFollower, terminal: Terminal, format: ReportFormat) -> None:
    summary = dataset_summary(dataset, follower)
    if not terminal.wants_table(format):
        terminal.write(json.dumps(summary, ensure_ascii=False) + "\n")
        return
    facts = f"{dataset.sample_rate} Hz, {plural(dataset.channels, 'channel')}"
    lines = [
        f"{printable(str(dataset.folder))}: {plural(len(dataset.entries), 'recording')},"
        f" {clock(summary['seconds'])}, {facts}"
        + (f", features of {dataset.feature_name}" if dataset.feature_name else "")
    ]
    for name in ("labels", "splits"):
        if summary[name]:
            parts = (f"{printable(key)} {count}" for key, count in summary[name].items())
            lines.append(f"  {name}: " + ", ".join(parts))
    lines += [f"  {printable(line)}" for line in (*summary["parts"], *summary["unused"])]
    done = ", ".join(f"{follower.counts[kind]} {kind}" for kind in _OUTCOMES if follower.counts[kind])
    terminal.write("\n".join([*lines, f"  this time: {done or 'nothing to do'}"]) + "\n")


def write_survey(dataset: Dataset, terminal: Terminal, format: ReportFormat) -> None:
    from audiocnn.data.survey import describe_survey
    from audiocnn_cli.io.ingest import run_survey

    found = run_survey(dataset, terminal)
    if terminal.wants_table(format):
        from rich.padding import Padding
        from rich.text import Text

        for line in describe_survey(found):
            terminal.out.print(Padding(Text(printable(line)), (0, 0, 0, 2)))
    else:
        terminal.write(json.dumps(found.to_dict(), ensure_ascii=False) + "\n")


def dataset_summary(dataset: Dataset, follower: IngestFollower) -> dict[str, Any]:
    """The contents of the dataset and the outcomes of this run. `labels` counts clips and annotations. `parts` says how
    splits and folds were recognised. `unused` lists what looks like splits or folds but was not used."""
    labels = Counter(label for entry in dataset.entries for label in entry.labels)
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
        "parts": list(dataset.parts.understood),
        "unused": [one.line for one in dataset.parts.unused],
        "refused": len(dataset.refused),
        "done": {kind: follower.counts[kind] for kind in _OUTCOMES},
    }


def _find_features(name: str) -> Spec:
    """The network of --features: a spec by name or file, or from a recipe. Raises UsageError for a kind of features,
    which does not determine bands and frames."""
    from audiocnn.model.model import spec_folders
    from audiocnn.recipe.recipe import read_recipe
    from audiocnn.spec.spec import find_spec
    from audiocnn.toml import read_toml

    if name in FEATURES:
        raise UsageError(f"--features {name}: bands and frames depend on the network; give a network, such as sound_2d")
    if name.endswith(".toml") and "input" not in read_toml(Path(name), SpecError):
        return read_recipe(Path(name)).spec
    return find_spec(name, spec_folders())
