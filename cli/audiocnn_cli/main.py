"""The `audiocnn` command: the list of commands, and the conversion of exceptions to one line and an exit code."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from audiocnn.errors import AudiocnnError, did_you_mean, show_name
from audiocnn_cli.app.command import CONTEXT, FORMER_SPELLINGS, make_command
from audiocnn_cli.app.completion import COMPLETION_VARIABLE, complete, install, script_for
from audiocnn_cli.app.exits import ExitStatus, LostProcessError, Terminated
from audiocnn_cli.app.former import rename_command
from audiocnn_cli.app.terminal import ClosedError, Terminal
from audiocnn_cli.app.typer_internals import CLICK_USAGE_ERROR, plain_hyphens, skip_type_checks, usage_line, write_rows

# The modules in `commands`; each defines a function with the name of the module.
COMMANDS = {
    "detect": "Find speech, or what a model was trained on, in recordings.",
    "score": "Print the score of each label over time.",
    "classify": "Assign a label to each recording, and list the best labels with their scores.",
    "train": "Train a network on your own sounds.",
    "runs": "List training runs with their results.",
    "evaluate": "Measure a model on annotated recordings.",
    "doubtful": "Find the labels of clips that are most likely wrong.",
    "review": "Label recordings in the browser with one key each, the most useful first.",
    "tune": "Choose the thresholds of a model on annotated recordings.",
    "search": "Search for better hyper-parameters of a recipe.",
    "ingest": "Make a dataset from folders, tables and recipes.",
    "models": "List the installed models and network specs.",
    "describe": "Show a network layer by layer: sizes, costs, receptive field.",
    "filters": "Draw the filters of a network, and find the sounds that activate them most.",
    "explain": "Show which times and frequencies of a recording led to a score.",
    "plot": "Draw a recording with its scores and segments, as a picture or an interactive page.",
    "ensemble": "Average several models into one.",
    "convert": "Convert annotations between formats: RTTM, TextGrid, Audacity, subtitles and more.",
    "split": "Cut recordings at their segments, exact to the sample.",
    "export": "Write the ONNX file of a model and compare it with PyTorch.",
    "info": "Show versions, devices and folders.",
}
_END_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Exit status of the signal received: an interrupted import can replace the signal's exception with another one.
_signalled: dict[str, ExitStatus] = {}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # further writes will fail too
_NO_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    "std::bad_alloc",
    "out of memory",
)
_REPORT = (
    "this is a bug in audiocnn: please report the command, its output with -v, and the file of `audiocnn info --bundle`"
)


class _Commands(TyperGroup):
    """Imports a command only when it is called, so that `audiocnn --help` imports none of them."""

    def get_params(self, ctx: Any) -> list[Any]:
        return skip_type_checks(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return command_of(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands without importing any of them."""
        write_rows(formatter, "Commands", list(COMMANDS.items()))

    def get_help(self, ctx: Any) -> str:
        return plain_hyphens(super().get_help(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        args, said = rename_command(args)
        ctx.meta[FORMER_SPELLINGS] = said
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f'unknown command "{args[0]}"; {did_you_mean(args[0], COMMANDS)}')
        return super().resolve_command(ctx, args)


def command_of(name: str) -> Any:
    return make_command(name, COMMANDS[name], getattr(import_module(f"audiocnn_cli.commands.{name}"), name))


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    epilog="Start with:  audiocnn detect RECORDING",
)


@app.callback(invoke_without_command=True)
def _root_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    show_completion: Annotated[
        str | None,
        typer.Option("--show-completion", metavar="SHELL", help="Print the completion script for bash, zsh or fish."),
    ] = None,
    install_completion: Annotated[
        str | None,
        typer.Option("--install-completion", metavar="SHELL", help="Install the completion script for that shell."),
    ] = None,
) -> None:
    """Convolutional networks for sound: find speech in recordings, train on your own, measure what you trained."""
    if version:
        from audiocnn import __version__

        context.obj.stdout.write(f"audiocnn {__version__}\n")
        raise typer.Exit(ExitStatus.OK)
    if show_completion or install_completion:
        if show_completion:
            context.obj.stdout.write(script_for(show_completion))
        if install_completion:
            context.obj.say(install(install_completion, context.obj.environ))
        raise typer.Exit(ExitStatus.OK)
    if context.invoked_subcommand is None:
        context.obj.stderr.write(context.get_help() + "\n")
        raise typer.Exit(ExitStatus.USAGE)


def run(args: Sequence[str] | None = None, terminal: Terminal | None = None) -> ExitStatus:
    """Run a command and return its exit status. No error that a user can cause leaves this function as an exception."""
    arguments = list(sys.argv[1:] if args is None else args)
    ours = terminal is None
    terminal = _terminal_of_process(arguments) if terminal is None else terminal
    terminal.words = arguments
    try:
        if ours:
            _take_signals()
        if terminal.environ.get(COMPLETION_VARIABLE):
            found = complete(arguments, COMMANDS, command_of)
            terminal.stdout.write("".join(f"{word}\n" for word in found))
            return ExitStatus.OK
        width = terminal.help_width()
        status = app(arguments, prog_name="audiocnn", standalone_mode=False, obj=terminal, terminal_width=width)
        terminal.stdout.flush()
        return ExitStatus(status or 0)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except Terminated:
        return ExitStatus.TERMINATED
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # Typer and Rich turn a broken pipe into SystemExit
            raise
        terminal.silence()
        return ExitStatus.OK
    except LostProcessError as problem:
        status = _report_problem(problem, terminal)
        if ours:
            terminal.stdout.flush()
            os._exit(status)
        return status
    except Exception as problem:  # noqa: BLE001 - every error ends as one line and a status
        return _signalled.get("status") or _report_problem(problem, terminal)


def _report_problem(problem: Exception, terminal: Terminal) -> ExitStatus:
    """Print an exception as one line and return the exit status. Any exception not handled here is a bug."""
    if isinstance(problem, CLICK_USAGE_ERROR):
        terminal.error(usage_line(problem))
        return ExitStatus.USAGE
    if isinstance(problem, AudiocnnError | ClosedError):
        terminal.error(str(problem))
        return ExitStatus.USAGE
    if isinstance(problem, BrokenPipeError):
        terminal.silence()
        return ExitStatus.OK
    if isinstance(problem, OSError) and problem.errno in _FULL and problem.filename is None:
        terminal.silence()
        terminal.error(f"standard output: cannot be written ({problem.strerror}); free some space or write elsewhere")
        return ExitStatus.USAGE
    if shortage := _explain_shortage(problem):
        terminal.error(shortage)
        return ExitStatus.USAGE
    return _report_bug(problem, terminal)


def _explain_shortage(problem: Exception) -> str | None:
    """A message for a missing resource or permission, or None. Libraries report these in many ways."""
    said = " ".join(str(problem).split())[:160]
    number = problem.errno if isinstance(problem, OSError) else None
    place = show_name(problem.filename) if isinstance(problem, OSError) and problem.filename else ""
    if isinstance(problem, MemoryError) or number == errno.ENOMEM or any(words in said.lower() for words in _NO_MEMORY):
        what = f"out of memory ({said or type(problem).__name__})"
        return f"{what}; free some memory, raise the limit (`ulimit -v`), or lower --jobs or --batch-size"
    if number in (errno.EMFILE, errno.ENFILE) or "too many open files" in said.lower():
        return f"too many open files ({said}); raise the limit (`ulimit -n 4096`) or lower --jobs"
    if number == errno.EAGAIN or "can't start new thread" in said:
        return f"too many processes or threads ({said}); raise the limit (`ulimit -u`) or lower --jobs"
    if number in _FULL and place:
        return f"{place}: cannot be written ({problem.strerror}); free some space there"  # type: ignore[attr-defined]
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) and place:
        return f"{place}: access denied ({problem.strerror}); change its permissions or choose another path"  # type: ignore[attr-defined]
    return None


def _take_signals() -> None:
    """Make signals end the process cleanly. Ignored signals, as under nohup, stay ignored."""
    _signalled.clear()
    for number in _END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt if number == signal.SIGINT else _terminate)


def _terminal_of_process(arguments: Sequence[str]) -> Terminal:
    """The terminal of a process started for this command. Sets up the process to start and end fast."""
    # Imported objects are never freed; garbage collection over them costs 80 ms, most of it when the process ends.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    if arguments[:1] in (["detect"], ["score"], ["classify"]):
        # numpy starts one thread per core for matrix products, which takes 10 to 50 ms; these commands compute none.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return Terminal.of_process()


def _report_bug(problem: Exception, terminal: Terminal) -> ExitStatus:
    """Print an unexpected exception as one line, and with -v its traceback."""
    if terminal.verbose:
        terminal.stderr.write(traceback.format_exc())
    terminal.error(f"{type(problem).__name__}: {problem}; {_REPORT}", kind="internal error")
    return ExitStatus.BUG


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C ends a command after clean-up. A second Ctrl-C during clean-up ends it at once."""
    _end_at_next_signal()
    _signalled["status"] = ExitStatus.INTERRUPTED
    raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM, or closing the terminal, ends a command as Ctrl-C does."""
    _end_at_next_signal()
    _signalled["status"] = ExitStatus.TERMINATED
    raise Terminated


def _end_at_next_signal() -> None:
    # Python would print tracebacks for a second signal and for code that the first one interrupts.
    sys.unraisablehook = lambda _: None
    for number in _END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
