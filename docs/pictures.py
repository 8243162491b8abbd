"""Make the pictures of the tutorial again: `python docs/pictures.py FOLDER`.

FOLDER is where both lessons were followed: it has `data/`, `walk.html`, `sounds/`, `evening.flac` and `runs/`.
Needs `script` (util-linux), playwright and a browser.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.text import Text

TUTORIAL = Path(__file__).resolve().parent / "tutorial"
WIDTH = 92  # of a terminal, in characters
QUIETLY = " --corrections none --force --no-progress"  # called so, and not shown
TERMINALS = {
    "walk": "audiocnn detect data/samples/walk.flac",
    "samples": "audiocnn detect data/samples",
    "doubtful": "audiocnn doubtful sounds/ -m runs/sounds --top 6" + QUIETLY,
    "evening": "audiocnn detect -m runs/corrected evening.flac",
}


def draw_terminal(name: str, command: str, folder: Path) -> None:
    """What a command prints on a terminal, as an SVG that needs no font from elsewhere."""
    done = subprocess.run(
        ["script", "-qec", f"stty cols {WIDTH}; {command}", "/dev/null"],
        cwd=folder, env=os.environ | {"TERM": "xterm-256color"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    shown = command.replace(QUIETLY, "")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {shown}\n{done.stdout}".replace("\r", "").rstrip("\n")))
    svg = console.export_svg(title="", unique_id=name)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")
    svg = re.sub(r"<!-- Generated with .*? -->\s*", "", svg)
    svg = re.sub(r"<g transform=\"translate\(26,22\)\">.*?</g>", "", svg, flags=re.DOTALL)
    (TUTORIAL / f"{name}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


@contextmanager
def open_browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport={"width": 1100, "height": 700})
        browser.close()


def save_picture(name: str, png: bytes) -> None:
    """A screenshot with few colours, which takes a third of the bytes."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(64)
    picture.save(TUTORIAL / f"{name}.png", optimize=True)


def draw_pages(folder: Path) -> None:
    """The page of `plot`, the report of a training, and the page of a review, as a browser shows them."""
    with open_browser() as page:
        page.goto((folder / "walk.html").resolve().as_uri())
        page.wait_for_timeout(1500)
        save_picture("plot", page.screenshot())
        page.goto((folder / "runs/sounds/report.html").resolve().as_uri())
        save_picture("report", page.screenshot(full_page=True, clip={"x": 0, "y": 200, "width": 1100, "height": 940}))
        command = [sys.executable, "-m", "audiocnn_cli", "review", "sounds/", "-m", "runs/sounds", "--no-open"]
        with subprocess.Popen(
            [*command, "-o", "pictures.csv"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as server:
            assert server.stdout is not None
            address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
            page.goto(address)
            page.get_by_text("whistle").first.wait_for(timeout=60_000)
            for _ in range(12):
                page.wait_for_timeout(1500)
                if page.get_by_text("doubtful").count():
                    break
                page.keyboard.press("s")  # later
            save_picture("review", page.screenshot())
            server.terminate()


if __name__ == "__main__":
    chosen = Path(sys.argv[1])
    for title, line in TERMINALS.items():
        draw_terminal(title, line, chosen)
    draw_pages(chosen)
