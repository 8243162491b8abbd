"""The manual names everything that is there, and its links lead somewhere."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from audiocnn.augment.settings import MixSettings
from audiocnn.data.sources.settings import DataSettings
from audiocnn.evaluation.conditions import Condition, MixtureSettings, Subset, is_conditions, read_conditions
from audiocnn.labels.formats import FORMATS
from audiocnn.recipe.recipe import EvaluateSettings, read_recipe
from audiocnn.recipe.settings import TrainSettings
from audiocnn.spec.features import COMMON_KEYS, FEATURE_KEYS, FEATURES
from audiocnn.spec.layers import ACTIVATIONS, LAYER_KINDS
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "docs").rglob("*.md")])
RECIPES = sorted((ROOT / "data" / "recipes").glob("*.toml"))
MODELS = [path for path in RECIPES if not is_conditions(path)]


def text_of(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"audiocnn {name}" in text_of("README.md")


@pytest.mark.parametrize(
    "key", sorted({*LAYER_KINDS, *FEATURES, *ACTIVATIONS, *COMMON_KEYS}.union(*FEATURE_KEYS.values()))
)
def test_every_word_of_a_spec_is_explained(key: str) -> None:
    assert f"`{key}`" in text_of("docs/reference/specs.md") or f"`{key} =" in text_of("docs/reference/specs.md")


@pytest.mark.parametrize("settings", [MixSettings, TrainSettings, EvaluateSettings, DataSettings])
def test_every_key_of_a_recipe_is_explained(settings: type) -> None:
    page = text_of("docs/reference/recipes.md")
    missing = [field.name for field in dataclasses.fields(settings) if f"`{field.name}`" not in page]
    assert missing in ([], ["where"])  # where a recipe stands is not a key of it


@pytest.mark.parametrize("settings", [MixSettings, TrainSettings])
def test_the_defaults_in_the_manual_are_those_of_the_code(settings: type) -> None:
    rows = [line for line in text_of("docs/reference/recipes.md").splitlines() if line.startswith("| `")]
    for field in dataclasses.fields(settings):
        row = next(line for line in rows if f"`{field.name}`" in line)
        keys = re.findall(r"`(\w+)`", row.split("|")[1])
        cell = row.split("|")[2].strip()
        values = [cell] if len(keys) == 1 else re.findall(r"\[[^]]*\]|[^,\s][^,]*", cell)
        shown = values[keys.index(field.name)].strip("` ")
        wanted = field.default
        if isinstance(wanted, str | bool):
            assert shown == (str(wanted).lower() if isinstance(wanted, bool) else wanted or "none"), field.name
        else:
            found = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", shown)]
            assert found == [float(x) for x in (wanted if isinstance(wanted, tuple) else (wanted,))], field.name


@pytest.mark.parametrize("code", ExitStatus)
def test_every_exit_code_is_explained(code: ExitStatus) -> None:
    assert re.search(rf"^\| .*\b{int(code)}\b.* \|", text_of("docs/reference/output.md"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("settings", [MixtureSettings, Condition, Subset])
def test_every_key_of_a_condition_is_explained_with_its_default(settings: type) -> None:
    section = text_of("docs/reference/recipes.md").split("\n## Conditions:")[1]
    for field in dataclasses.fields(settings):
        if field.name == "mix":  # what the keys of mixtures are read into
            continue
        assert re.search(rf"`{field.name}`|^    {field.name} = ", section, re.MULTILINE), field.name
        if settings is MixtureSettings:
            row = next(line for line in section.splitlines() if re.match(rf"\| [^|]*`{field.name}`", line))
            keys, cell = re.findall(r"`(\w+)`", row.split("|")[1]), row.split("|")[2].strip()
            values = [cell] if len(keys) == 1 else re.findall(r"\[[^]]*\]|[^,\s][^,]*", cell)
            found = [float(number) for number in re.findall(r"-?[\d.]+", values[keys.index(field.name)])]
            wanted = field.default
            numbers = wanted if isinstance(wanted, tuple) else [wanted] if isinstance(wanted, (int, float)) else []
            assert found == [float(x) for x in numbers], field.name


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_read_and_listed(path: Path) -> None:
    if path in MODELS:
        assert read_recipe(path).name == path.stem
    else:
        assert read_conditions(path).conditions
    assert f"data/recipes/{path.name}" in text_of("data/README.md")
    assert f"data/recipes/{path.name}" in path.read_text(encoding="utf-8").splitlines()[0]


def test_the_readme_has_the_two_commands() -> None:
    readme = text_of("README.md")
    assert re.search(
        r"^    pip install -c constraints\.txt \. && audiocnn detect data/samples/\S+$", readme, re.MULTILINE
    )
    assert re.search(r"^    pip install -c constraints\.txt -e '\.\[test\]' && pytest$", readme, re.MULTILINE)
    for sample in re.findall(r"data/samples/[\w.]+", readme):
        assert (ROOT / sample).is_file()


def test_pages_name_no_place_of_one_machine() -> None:
    for page in [*PAGES, *RECIPES, *(ROOT / "models").rglob("*.toml"), *(ROOT / "models").rglob("*.md")]:
        assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", page.read_text(encoding="utf-8")), page


def test_the_page_of_the_architecture_names_files_that_there_are() -> None:
    """`io/job.run_job` is a name in io/job.py, `models/specs/` a folder; bare words are rooms or names."""
    page = text_of("docs/background/architecture.md")
    homes = [ROOT, ROOT / "audiocnn", ROOT / "cli" / "audiocnn_cli"]
    named = [word for word in re.findall(r"`([\w/.]+)`", page) if "/" in word]
    assert len(named) > 40
    for word in named:
        path, _, name = word.partition(".") if not word.endswith((".py", ".svg", ".md")) else (word, "", "")
        found = [home / f"{path}{end}" for home in homes for end in ("", ".py") if (home / f"{path}{end}").exists()]
        assert found, f"{word}: there is no such file"
        if name:
            assert name.partition(".")[0] in found[-1].read_text(encoding="utf-8"), word


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_label_format_is_explained(name: str) -> None:
    rows = [line.split("|")[1] for line in text_of("docs/reference/formats.md").splitlines() if line.startswith("| `")]
    assert any(f"`{name}`" in row for row in rows)
