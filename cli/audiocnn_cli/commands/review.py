"""`audiocnn review`: label recordings on a page in the browser, served only on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.audio.remote import refuse_urls
from audiocnn.errors import UsageError, printable, show_name
from audiocnn.units import count_noun
from audiocnn.workflows.label_place import REVIEW_TABLE
from audiocnn_cli.app.exits import ExitStatus, Terminated
from audiocnn_cli.app.options import INPUT, OUTPUT, RUNNING, Device, flag, option
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.listener import TerminalListener

if TYPE_CHECKING:
    from audiocnn.data.sources.settings import DataSettings
    from audiocnn.evaluation.review import Review, ReviewSource
    from audiocnn.inference.engine import Engine
    from audiocnn.report.review_server import ReviewServer

_MOST_LISTED = 20
_MOST_PORT = 65535

_Sounds = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|RECORDING",
        help="A folder of recordings, with or without labels, or one recording.",
        show_default=False,
    ),
]
_Model = Annotated[
    str | None,
    option(
        "--model",
        "MODEL",
        "Model whose least certain clips come first: a name from `audiocnn models`, or a model folder.",
        short="-m",
    ),
]


@dataclass(frozen=True)
class _What:
    unlabelled: Annotated[bool, flag("--unlabelled", "Do not take folder names as labels.", INPUT)] = False
    segments: Annotated[
        bool | None,
        typer.Option(
            "--segments/--clips",
            help="Mark segments, or label whole clips. [default: segments for long recordings]",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None


@dataclass(frozen=True)
class _Where:
    output: Annotated[
        str | None,
        option(
            "--output",
            "TABLE",
            f"Table for `train --corrections`, saved after each key; continued if it exists. [default: {REVIEW_TABLE}]",
            OUTPUT,
            short="-o",
        ),
    ] = None
    no_open: Annotated[bool, flag("--no-open", "Print the address and open no browser.", RUNNING)] = False
    port: Annotated[
        int | None, option("--port", "N", "Port of the server. [default: any free port]", RUNNING, least=1)
    ] = None


def review(
    terminal: Terminal,
    sounds: _Sounds,
    model: _Model = None,
    what: _What = _What(),
    where: _Where = _Where(),
    device: Device = "auto",
) -> ExitStatus:
    """The page plays one clip after another: clips that the model is unsure of, clips whose label is doubtful, and
    clips unlike those heard so far. Each answer is one key and is saved at once. The page can only be opened on this
    machine, with the token in its address. Ctrl-C stops the server and prints the command that trains with the
    answers.

    \b
    audiocnn review sounds/ --model runs/sounds
    audiocnn review field/ --unlabelled -o field.csv
    audiocnn review interview.wav -m speech_1d --no-open
    """
    from audiocnn.audio.ffmpeg import left_out_line
    from audiocnn.data.sources.correction_table import CorrectionTable
    from audiocnn.evaluation.review import Review, read_review_source
    from audiocnn.report.review_server import ReviewServer

    refuse_urls(sounds)
    if where.port is not None and where.port > _MOST_PORT:
        raise UsageError(f"--port {where.port}: not a port; give one up to {_MOST_PORT}, or omit it")
    source = read_review_source(Path(sounds), not what.unlabelled)
    alone = Path(sounds).is_file()
    timed = what.segments if what.segments is not None else alone or source.timed
    table = CorrectionTable(Path(where.output or REVIEW_TABLE), timed)
    engine = _load(model, device)
    _say_refused(source, terminal)
    if source.left_out:
        terminal.error(left_out_line(source.left_out), kind="warning")
    if table.rows:
        terminal.say(f"audiocnn: {show_name(table.path)}: continuing with {count_noun(len(table.rows), 'answer')}")
    before = corrections_of(sounds, engine, terminal) if not what.unlabelled else None
    if before is not None:
        source = source.with_corrections(before)
    tables = [*(before.correction_tables if before else ()), table.path]
    only = what.unlabelled or alone or (before is not None and before.only_corrected)
    from audiocnn.workflows.heard import train_again_command

    command = train_again_command(str(source.folder), tables, only)
    current = Review(source.clips, table, engine)
    server = ReviewServer(current, source.folder, command, where.port or 0)
    with _closing(server, current, command, terminal):
        if where.no_open or not _open_browser(server.single_use_address, terminal):
            terminal.write(f"{server.address}\n")
            terminal.stdout.flush()
        else:
            terminal.say(f"audiocnn: the page is open in the browser; to open it again: {server.address}")
        terminal.say("audiocnn: press Ctrl-C to end the review; every answer is saved")
        Event().wait()
    return ExitStatus.SOME_FAILED if source.refused or current.problems else ExitStatus.OK


def _load(model: str | None, device: str) -> Engine | None:
    if model is None:
        return None
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import find_model

    return load_engine(find_model(model), device)


def corrections_of(sounds: str, engine: Engine | None, terminal: Terminal) -> DataSettings | None:
    """The settings of these recordings with the corrections that the model was trained with; None without any."""
    from audiocnn.data.sources.settings import DataSettings
    from audiocnn.workflows.heard import with_run_corrections

    if engine is None:
        return None
    listener = TerminalListener(terminal)
    settings = with_run_corrections(DataSettings(Path(sounds), where=sounds), [engine.model], listener)
    return settings if settings.correction_tables else None


def _say_refused(source: ReviewSource, terminal: Terminal) -> None:
    for name, reason in source.refused[: None if terminal.verbose else _MOST_LISTED]:
        terminal.error(f"{printable(name)}: {printable(reason)}", kind="refused")
    if not terminal.verbose and len(source.refused) > _MOST_LISTED:
        terminal.say(f"audiocnn: ... and {len(source.refused) - _MOST_LISTED} more; -v lists all")


def _open_browser(address: str, terminal: Terminal) -> bool:
    """Open a browser window. Returns whether that was possible."""
    has_display = sys.platform != "linux" or any(terminal.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if not has_display:
        return False
    import webbrowser

    return webbrowser.open(address)


@contextmanager
def _closing(server: ReviewServer, current: Review, command: str, terminal: Terminal) -> Iterator[None]:
    """Context that ends at Ctrl-C, the normal end of a review. A summary is printed in any case."""
    try:
        yield
    except KeyboardInterrupt:
        _end(server, current, command, terminal)
    except Terminated:
        _end(server, current, command, terminal)
        raise


def _end(server: ReviewServer, current: Review, command: str, terminal: Terminal) -> None:
    server.close()
    for name, why in current.problems.items():
        terminal.error(f"{printable(name)}: {printable(why)}")
    done = len(current.reviewed)
    if not current.table.rows:
        terminal.say("audiocnn: no clip reviewed, nothing saved")
        return
    saved = f"saved in {show_name(current.table.path)}"
    terminal.say(
        f"audiocnn: {count_noun(done, 'recording' if current.table.timed else 'clip')} reviewed, {saved}; next:"
    )
    terminal.say(f"  {printable(command)}")
