"""`audiocnn filters`: what the first layer listens for, as a picture and as numbers; the sounds that move it most."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError
from audiocnn_cli.exits import ExitStatus
from audiocnn_cli.options import Force, Jobs, ReportFormat, Table
from audiocnn_cli.progress import Bar, rate
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from audiocnn.inspection.filters import FilterBank
    from audiocnn.inspection.strongest_sounds import Found, Sound
    from audiocnn.network import Network

STRONGEST = "Strongest"
MOST_AROUND_SECONDS = 60.0

Name = Annotated[str, typer.Argument(metavar="MODEL", help="A name from `audiocnn models`, or a model folder.")]
Picture = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="The picture; .png, .svg or .pdf.", rich_help_panel="Output"),
]
Most = Annotated[int, typer.Option("--most", min=1, metavar="N", help="Draw at most so many filters, the strongest.")]


@dataclass(frozen=True)
class Hunt:
    """Where to look for the sounds that move filters most, and what becomes of them."""

    strongest: Annotated[
        list[str] | None,
        typer.Option(
            "--strongest",
            metavar="DATA",
            help="A dataset, table, recipe, folder or recording: find, list and cut out the sounds that move each"
            " filter most. May be repeated.",
            rich_help_panel=STRONGEST,
        ),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="NAME",
            help="Of the last layer of this group. [default: of the first layer]",
            rich_help_panel=STRONGEST,
        ),
    ] = None
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            min=1,
            metavar="K",
            help="So many places a filter, each of another recording. [default: 9]",
            rich_help_panel=STRONGEST,
        ),
    ] = None
    around: Annotated[
        float | None,
        typer.Option(
            "--around",
            metavar="SECONDS",
            help="Cut so much more on both sides. [default: 0.25]",
            rich_help_panel=STRONGEST,
        ),
    ] = None
    clips: Annotated[
        str | None,
        typer.Option(
            "--clips",
            metavar="DIR",
            help="Where the cut sounds go. [default: beside the picture, FILE.strongest]",
            rich_help_panel=STRONGEST,
        ),
    ] = None


def filters(
    terminal: Terminal,
    model: Name,
    output: Picture = None,
    most: Most = 128,
    hunt: Hunt = Hunt(),
    force: Force = False,
    jobs: Jobs = None,
    format: Table = ReportFormat.auto,
) -> ExitStatus:
    """On samples a filter is drawn as its waveform and spectrum, on features as a patch; where the network divides into
    towers, each has its side. The numbers go to stdout, a row a filter, in the order of the picture.

    \b
    audiocnn filters speech_1d -o filters.png
    audiocnn filters speech_2d -o filters.png --strongest recordings/ --group B
    """
    path = None if output is None else Path(output)
    check_hunt(hunt)
    clips = check_outputs(path, hunt, force)
    from audiocnn.inspection.filter_pictures import draw_filters
    from audiocnn.inspection.filters import read_filters
    from audiocnn.model import find_model
    from audiocnn.pictures import save_figure
    from audiocnn.weights import load_network
    from audiocnn_cli.filter_table import write_filters

    use_threads(jobs)
    network = load_network(find_model(model))
    bank = read_filters(network)
    sought = Sought(terminal, network, bank, hunt, clips) if hunt.strongest else None
    if path is not None:
        save_figure(draw_filters(bank, most), path)
    if hunt.group is None:
        write_filters(bank, terminal, terminal.wants_table(format))
    if sought is None:
        return ExitStatus.OK
    return sought.follow(pictures_of(path, hunt)[1:], most, terminal.wants_table(format))


def check_outputs(path: Path | None, hunt: Hunt, force: bool) -> Path | None:
    """The folder for cut sounds, if there is one. UsageError where something is there already, before any work."""
    from audiocnn.pictures import check_picture

    for picture in pictures_of(path, hunt):
        check_picture(picture, force)
    if not hunt.strongest or not (hunt.clips or path):
        return None
    from audiocnn.inspection.strongest_sounds import check_clips

    clips = Path(hunt.clips or Path(str(path)).with_suffix(".strongest"))
    check_clips(clips, force)
    return clips


def use_threads(jobs: int | None) -> None:
    """So many threads for the network; None leaves it to torch."""
    if jobs is not None:
        import torch

        torch.set_num_threads(jobs)


def check_hunt(hunt: Hunt) -> None:
    """UsageError for an option that says nothing without --strongest, and for seconds that cannot be."""
    if hunt.around is not None and not 0 <= hunt.around <= MOST_AROUND_SECONDS:
        raise UsageError(f"--around cannot be {hunt.around:g}; use seconds from 0 to {MOST_AROUND_SECONDS:g}")
    if hunt.strongest:
        return
    for field in dataclasses.fields(hunt):
        if getattr(hunt, field.name) is not None:
            raise UsageError(f"--{field.name} is about the sounds to look for; name some with --strongest DATA")


def pictures_of(path: Path | None, hunt: Hunt) -> list[Path]:
    """The picture of the filters, and that of the strongest sounds."""
    if path is None:
        return []
    return [path, path.with_name(f"{path.stem}.strongest{path.suffix}")] if hunt.strongest else [path]


class Sought:
    """The search for the strongest sounds. Making it checks all that can be checked before the work."""

    def __init__(self, terminal: Terminal, network: Network, bank: FilterBank, hunt: Hunt, clips: Path | None) -> None:
        from audiocnn.inspection.strongest import places_of
        from audiocnn.inspection.strongest_sounds import CONTEXT_SECONDS, TOP, sounds_of

        self.terminal, self.network, self.clips = terminal, network, clips
        self.bank = bank if hunt.group is None else None
        self.places = places_of(network, hunt.group)
        channels = network.spec.input.channels
        self.sounds: list[Sound] = [sound for data in hunt.strongest or () for sound in sounds_of(data, channels)]
        self.top = TOP if hunt.top is None else hunt.top
        self.around = CONTEXT_SECONDS if hunt.around is None else hunt.around
        self.failed = 0

    def follow(self, pictures: list[Path], most: int, table: bool) -> ExitStatus:
        """Find, cut, list, draw."""
        from audiocnn_cli.filter_table import strongest_record, write_strongest

        found = self.find()
        cuts = self.cut(found, pictures[0] if pictures else None, most)
        places = [place for each in found for place in each]
        records = [strongest_record(place, self.network, self.places[0].group, cuts.get(place.key)) for place in places]
        if self.clips is not None:
            from audiocnn.formats import jsonl
            from audiocnn.inspection.strongest_sounds import LIST_NAME
            from audiocnn.whole_files import write_whole

            write_whole(self.clips / LIST_NAME, "".join(jsonl.dumps(row) + "\n" for row in records).encode())
        write_strongest(records, self.terminal, table)
        self.tell_unmoved(found)
        return ExitStatus.SOME_FAILED if self.failed else ExitStatus.OK

    def find(self) -> list[list[Found]]:
        """The places of each filter, the best first; tells of recordings that could not be read."""
        import time

        from audiocnn.inspection.strongest import find_strongest

        began, seconds = time.monotonic(), 0.0
        with Bar(self.terminal, "listening") as bar:
            for step in find_strongest(self.network, self.places, self.sounds, self.top):
                if step.found is not None:
                    return step.found
                seconds += step.seconds
                if step.problem:
                    self.failed += 1
                    self.terminal.error(step.problem)
                bar.update(
                    step.done, step.total, f"{step.done} of {step.total}, {rate(seconds, time.monotonic() - began)}"
                )
        raise AssertionError("the last step has what was found")

    def cut(
        self, found: list[list[Found]], picture: Path | None, most: int
    ) -> dict[tuple[int, int], tuple[Path, float]]:
        """Cut out every place and draw some; of each cut its file, and where in the recording it begins."""
        from audiocnn.inspection.strongest import patch_of
        from audiocnn.inspection.strongest_pictures import draw_strongest, rows_of
        from audiocnn.inspection.strongest_sounds import begin_clips, cut_out, write_clip
        from audiocnn.pictures import save_figure

        sample_rate = self.network.geometry.sample_rate
        rows: dict[int, list[tuple[Found, NDArray[np.float64]]]] = {}
        if picture is not None:
            rows = {number: [] for number in rows_of(found, self.bank, most)}
        wanted = [place for each in found for place in each if self.clips is not None or place.filter in rows]
        cuts: dict[tuple[int, int], tuple[Path, float]] = {}
        if self.clips is not None:
            begin_clips(self.clips)
        with Bar(self.terminal, "cutting") as bar:
            for done, (place, samples, begin) in enumerate(cut_out(wanted, sample_rate, self.around), 1):
                if self.clips is not None:
                    cuts[place.key] = (write_clip(self.clips, place, samples, sample_rate), begin / sample_rate)
                if place.filter in rows:
                    seen = samples[:, place.span[0] - begin : place.span[1] - begin]
                    rows[place.filter].append((place, patch_of(self.network, place, seen)))
                bar.update(done, len(wanted))
        if picture is not None:
            ordered = {number: sorted(row, key=lambda one: one[0].rank) for number, row in rows.items()}
            waveform = self.network.spec.input.features == "waveform"
            save_figure(draw_strongest(ordered, self.bank, self.title(len(rows), len(found)), waveform), picture)
        return cuts

    def title(self, rows: int, filters: int) -> str:
        """Of the picture of the strongest sounds."""
        place, settings = self.places[0], self.network.spec.input
        reach = settings.reach.then(place.reach[-1])
        some = f"{filters} filters" if rows == filters else f"{rows} of {filters} filters"
        what = f"{self.network.spec.name}, group {place.group}: {some} and what moves them most"
        size = f"what one sees is {reach.kernel / settings.sample_rate * 1000:g} ms long"
        if settings.features != "waveform":
            size += f"; {settings.features}, bright is more, each on its own scale"
        return what + ("; first in each row the filter" if self.bank else "") + f"\n{size}"

    def tell_unmoved(self, found: list[list[Found]]) -> None:
        """Filters that stayed at 0 or below in every recording."""
        silent = len([each for each in found if not each])
        if silent:
            self.terminal.say(f"audiocnn: {silent} of {len(found)} filters are moved by nothing here (never above 0)")
