"""What mkdocs needs beyond mkdocs.yml: the navigation, from the index that docs/README.md is, and the files of the
project that pages link to, which the site takes along."""

from __future__ import annotations

import os.path
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
INDEX = "README.md"
_LINK = re.compile(r"(?<=\]\()(?P<target>\.\./[^)#\s]+)(?=[)#])")


class FencedExamples(griffe.Extension):
    """Examples in docstrings, lines of `>>>` and what they print, as blocks of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"(?m)(^>>> .*(?:\n(?!\n).+)*)", r"```pycon\n\1\n```", text)


def read_nav(index: str) -> list[dict[str, Any]]:
    """The navigation: each `## Section` of the index with the pages that its list items begin with."""
    nav: list[dict[str, Any]] = [{"Home": INDEX}]
    for section in index.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        pages = re.findall(r"^- \[(.+?)\]\(([^)#]+\.md)\)", body, re.MULTILINE)
        nav.append({title.strip(): [{name.replace("`", ""): page} for name, page in pages]})
    return nav


def on_config(config: Any) -> Any:
    config.nav = read_nav((Path(config.docs_dir) / INDEX).read_text(encoding="utf-8"))
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links to files of the project outside docs/ lead to copies of them in the site, under project/."""

    def copied(found: re.Match[str]) -> str:
        target = found["target"]
        path = os.path.normpath(Path(config.docs_dir) / posixpath.dirname(page.file.src_uri) / target)
        inside = os.path.relpath(path, ROOT).replace(os.sep, "/")
        if path == config.docs_dir or Path(path).is_relative_to(config.docs_dir) or not Path(path).exists():
            return target
        if Path(path).is_dir():
            inside = f"{inside}/README.md" if (Path(path) / INDEX).is_file() else _list_folder(inside, config, files)
        name = f"project/{inside}" + (".txt" if Path(inside).suffix in (".md", ".py", ".toml") else "")
        if files.get_file_from_path(name) is None and (ROOT / inside).is_file():
            files.append(File.generated(config, name, content=(ROOT / inside).read_bytes()))
        return posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or ".")

    return widen_lists(_LINK.sub(copied, markdown))


def widen_lists(markdown: str) -> str:
    """What stands inside of list items, four columns in, as Python-Markdown has it; code hosts take two or three."""
    lines: list[str] = []
    width, fenced, loose = 0, False, False
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        item = None if fenced else re.match(r"(?:- |\d+\. )", line)
        if item:
            if width and loose and lines[-1].strip():
                lines.append("")
            width = item.end()
        elif line.strip() and not line.startswith(" " * max(width, 1)):
            width, loose = 0, False
        elif width and not line.strip():
            loose = True
        lines.append(" " * (4 - width) + line if width and not item and line.strip() else line)
    return "\n".join(lines) + "\n"


def _list_folder(inside: str, config: Any, files: Files) -> str:
    name = f"project/{inside}.txt"
    if files.get_file_from_path(name) is None:
        names = sorted(path.name for path in (ROOT / inside).iterdir() if path.is_file())
        files.append(File.generated(config, name, content="\n".join(names) + "\n"))
    return f"{inside}.txt"
