"""The manual: one index with every page, a reference that says what the code does, and a site that builds."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browsers import launched, needs_browser

from audiocnn_cli.main import COMMANDS, command_of

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if path != DOCS / "README.md")
SECTIONS = ["Tutorial", "How-to", "Reference", "Background", "Notes"]
MOST_PICTURE_BYTES = 200_000


def load(name):
    """A file of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate():
    return load("generate")


@pytest.fixture(scope="module")
def index():
    return (DOCS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_in_the_index_once(index, page):
    assert len(re.findall(rf"^- \[[^]]+\]\({re.escape(page)}\): \S", index, re.MULTILINE)) == 1


def test_the_index_has_the_sections_and_each_page_lies_in_its_own(index):
    sections = {part.partition("\n")[0]: part for part in index.split("\n## ")[1:]}
    assert list(sections) == SECTIONS
    for title, part in sections.items():
        folders = {path.partition("/")[0] for path in re.findall(r"^- \[[^]]+\]\(([^)]+)\)", part, re.MULTILINE)}
        assert folders == {title.lower()}


def test_pictures_are_small_and_used():
    text = "\n".join(page.read_text(encoding="utf-8") for page in [*DOCS.rglob("*.md"), ROOT / "README.md"])
    pictures = [path for path in DOCS.rglob("*") if path.suffix in (".png", ".svg", ".jpg")]
    assert len(pictures) >= 8
    for path in pictures:
        assert path.stat().st_size < MOST_PICTURE_BYTES, path
        assert path.name in text, f"{path} is on no page"


def test_generated_pages_are_what_the_code_says(generate):
    """`python docs/generate.py` writes them again."""
    stale = [path.name for path, text in generate.pages() if path.read_text(encoding="utf-8") != text]
    assert stale == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_reference(name):
    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    common = page.partition("\n## Options of every command\n")[2].partition("\n## ")[0]
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    options = [
        option for param in command_of(name).params if not param.hidden for option in param.opts if option[0] == "-"
    ]
    assert len(options) >= 5
    for option in options:
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", section + common), option


def test_keys_in_tables_are_checked(generate):
    page = "<!-- keys: mix -->\n\n| key | meaning |\n|---|---|\n| `secnods` | length |\n"
    with pytest.raises(KeyError, match="secnods"):
        generate.fill_page(page)
    filled = generate.fill_page(page.replace("secnods", "seconds"))
    assert "| `seconds` | 4 | above 0, up to 600 | length |" in filled


def test_code_in_lists_is_code_in_the_site_too():
    pytest.importorskip("mkdocs", reason="needs mkdocs, which `pip install -e '.[docs]'` brings")
    import markdown

    text = "- one\n  goes on:\n\n      code here\n\n  and on\n- two\n\n1. first\n\n   more\n\n    block\n"
    html = markdown.markdown(load("hooks").widen_lists(text), extensions=["sane_lists"])
    assert html.count("<pre>") == 1 and "<code>code here\n</code>" in html
    assert "<p>and on</p>" in html and "<p>more</p>" in html and html.count("<ol>") == 1
    plain = "text\n\n    block\n"
    assert load("hooks").widen_lists(plain) == plain


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Loaded(HTMLParser):
    """What a page loads by itself: scripts, style sheets, pictures, frames, fonts."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "audio", "video", "source", "embed"):
            self.found.append(values.get("src"))
        if tag == "link" and {"stylesheet", "icon", "preload", "preconnect", "font"} & set(values["rel"].split()):
            self.found.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="needs mkdocs, which `pip install -e '.[docs]'` brings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.long
def test_the_site_builds_with_every_page_in_its_navigation(site):
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in PAGES:
        name = re.sub(r"\.md$", ".html", page)
        assert (site / name).is_file()
        assert f'href="{name}"' in home, f"{page} is not in the navigation"
    assert not list(site.rglob("*.py"))


@pytest.mark.long
def test_the_site_loads_nothing_from_outside(site):
    for page in site.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert len(loaded.found) >= 3
        outside = [name for name in loaded.found if name and re.match(r"(https?:)?//", name)]
        assert outside == [], page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']*", sheet.read_text(encoding="utf-8"))


@pytest.mark.long
@needs_browser
def test_a_browser_asks_for_nothing_outside(site):
    asked = []
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, launched() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "tutorial/archive.html", "reference/commands.html", "background/quality.html"):
            page.goto(address + name)
            page.wait_for_load_state("networkidle")
        page.get_by_placeholder("Search").click()
        page.keyboard.type("resume")
        page.locator("a.md-search-result__link[href*='batches.html']").first.wait_for(timeout=30_000)
        server.shutdown()
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.long
def test_every_public_name_is_documented_in_the_site(site):
    import audiocnn

    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in audiocnn.__all__:
        if not name.startswith("__"):
            assert f'id="{getattr(audiocnn, name).__module__}.{name}"' in page, name
