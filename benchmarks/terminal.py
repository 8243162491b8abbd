"""A picture of what a command prints on a terminal, for the manual.

python -m benchmarks.terminal PICTURE.svg [--columns 100] [--rows 40] COMMAND ...

The command runs on a pseudo-terminal of that size, colours and all; what it printed becomes an SVG that names no font
or file from outside.
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

# Rich fetches Fira Code from the net; a page of the manual asks nobody for anything.
SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono"
)


def printed(command: Sequence[str], columns: int) -> str:
    """What the command prints, standard error included, on a terminal of so many columns."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        pieces = []
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            pieces.append(piece)
    os.close(master)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)}: exit code {process.returncode}")
    return b"".join(pieces).decode("utf-8").replace("\r\n", "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rows", type=int, default=0, help="the first rows only")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    text = printed(options.command, options.columns)
    text = re.sub(r"\x1b\[\?25[lh]|\x1b\[[0-9]*[JKA]|\x1b\][^\x1b\x07]*(?:\x07|\x1b\\)", "", text)
    lines = [re.sub(r".*\r", "", line) for line in text.split("\n")]
    if options.rows:
        lines = lines[: options.rows]
    console = Console(record=True, width=options.columns, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ " + shlex.join(options.command), style="bold"), soft_wrap=True)
    console.print(Text.from_ansi("\n".join(lines)), soft_wrap=True)
    svg = console.export_svg(title="audiocnn", theme=DIMMED_MONOKAI, code_format=SVG_FORMAT)
    options.picture.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
