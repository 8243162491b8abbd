"""The tables of docs/background/quality.md: from reports, the right way round; and what trials change in a recipe."""

from __future__ import annotations

import json

import pytest

from audiocnn.errors import RecipeError
from benchmarks import quality, trials

NAMES = (
    "auroc", "fpr_at_5pct_miss", "false_segment_share", "calibration_error", "onset_error_ms", "offset_error_ms",
    "detection_error_rate", "detection_error_rate_collar", "detection_cost", "f1",
)  # fmt: skip
CONDITIONS = ("clean", "meetings", "music", "noise_-5db", "noise_0db", "nonspeech")


def cell(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.02}


def label(value, spoken=True):
    nothing = {"value": None, "low": None, "high": None}
    figures = {name: cell(value) for name in NAMES}
    if not spoken:
        figures = dict.fromkeys(NAMES, nothing) | {"false_segment_share": cell(value)}
    return {"speech": {"figures": figures, "smoothed": {"0.6": {"auroc": cell(value + 0.001)}}}}


def report(model, value, folder="there", other=None):
    groups = {
        "condition": {name: label(value, name != "nonspeech") for name in CONDITIONS},
        "kind": {name: label(value, name != "nonspeech") for name in ("meetings", "mixture", "nonspeech")},
        "source": {"berklee": label(value / 2, spoken=False)},
    }
    said = {"model": model, "folder": folder, "groups": groups}
    return said | ({"difference_to": {"model": other[0], "groups": other[1]}} if other else {})


def file_of(model, value, difference):
    """A model at `value`, and Silero, whose difference to it is given."""
    groups = {
        "condition": {name: label(difference) for name in CONDITIONS},
        "kind": {name: label(difference) for name in ("meetings", "mixture", "nonspeech")},
        "source": {"berklee": label(difference / 2, spoken=False)},
    }
    return [report(model, value), report("silero", value + difference, None, (model, groups))]


def test_conditions_come_in_the_order_of_the_noise_and_meetings_last():
    assert quality.conditions_of(report("a", 0.9)) == ["clean", "noise_0db", "noise_-5db", "music", "meetings"]


def test_each_detector_has_one_column():
    text = quality.page_text([file_of("speech_1d", 0.9, 0.05), file_of("speech_2d", 0.8, 0.15)])
    assert "| condition | speech_1d | speech_2d | silero |" in text
    assert "| noise_0db | 0.900 [0.890, 0.920] | 0.800 [0.790, 0.820] | 0.950 [0.940, 0.970] |" in text
    assert "| all | 90.0 [89.0, 92.0] | 80.0 [79.0, 82.0] | 95.0 [94.0, 97.0] |" in text
    assert "| berklee | 45.0 [44.0, 47.0] | 40.0 [39.0, 42.0] | 47.5 [46.5, 49.5] |" in text
    assert "nonspeech |" not in text


def test_a_difference_is_that_of_the_model_to_the_peer():
    """The report holds silero less the model; the table says the model less silero."""
    text = quality.differences([file_of("speech_1d", 0.9, 0.05), file_of("speech_2d", 0.8, 0.0)])
    assert "| less silero | speech_1d | speech_2d |" in text
    assert "| meetings: AUROC | -0.050 [-0.070, -0.040] * | +0.000 [-0.020, +0.010] |" in text


def test_false_segments_are_compared_by_source_where_the_reports_have_them():
    first, second = file_of("speech_1d", 0.9, 0.05), file_of("speech_2d", 0.8, 0.1)
    for report_of_model in (first[0], second[0]):
        report_of_model["groups"]["source"] |= {"voices": label(0.9), "ovos": label(0.1, spoken=False)}
        report_of_model["groups"]["source"]["voices"]["speech"]["figures"]["false_segment_share"]["value"] = None
    second[1]["difference_to"]["groups"]["source"] = {}
    text = quality.differences([first, second])
    assert "| berklee: clips with a false segment | -0.025 [-0.045, -0.015] * | - |" in text
    assert "voices" not in text  # has no clips without speech
    assert "ovos" not in text  # the difference is in neither report


@pytest.mark.parametrize("digits", [0, 1, 3])
def test_nothing_is_less_than_nothing(digits):
    said = quality.shown({"value": -0.0, "low": -0.0004, "high": 0.0004}, digits)
    zero = f"{0:.{digits}f}"
    assert said == f"{zero} [{zero}, {zero}]"


@pytest.mark.parametrize(
    "card", ["# m\n\ntable\n\n## Figures\n\nold\n\n## Limits\n\nnone\n", "# m\n\ntable\n\n## Limits\n\nnone\n"]
)
def test_the_figures_of_a_card_are_replaced_and_nothing_else(card):
    text = quality.with_figures(card, "## Figures\n\nnew")
    assert text == "# m\n\ntable\n\n## Figures\n\nnew\n\n## Limits\n\nnone\n"
    assert quality.with_figures(text, "## Figures\n\nnew") == text


def test_a_page_gets_its_tables_between_the_marks(tmp_path, capsys):
    page, said = tmp_path / "page.md", tmp_path / "r.json"
    page.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n")
    said.write_text(json.dumps(file_of("speech_1d", 0.9, 0.05)))
    assert quality.main([str(said), "--page", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- table -->\n**AUROC")
    assert text.endswith("\n<!-- end of table -->\nafter\n")
    assert "old" not in text
    page.write_text("no marks")
    assert quality.main([str(said), "--page", str(page)]) == 2
    assert "has no place for the table" in capsys.readouterr().err


def test_a_trial_changes_what_it_names(tmp_path):
    (tmp_path / "base.toml").write_text('spec = "speech_1d"\nseed = 1\n[mix]\nseconds = 2.0\n[train]\nepochs = 9\n')
    recipe = trials.recipe_with(tmp_path / "base.toml", {"seed": 4, "mix": {"murmur_share": 0.0}})
    assert (recipe.seed, recipe.mix.seconds, recipe.mix.murmur_share, recipe.train.epochs) == (4, 2.0, 0.0, 9)
    assert [path.name for path in tmp_path.iterdir()] == ["base.toml"]
    with pytest.raises(RecipeError, match='unknown key "murmur"'):
        trials.recipe_with(tmp_path / "base.toml", {"mix": {"murmur": 0.0}})


def test_trials_are_shown_with_the_spread_of_their_seeds():
    runs = {"1": dict.fromkeys(trials.FIGURES, 0.9), "2": dict.fromkeys(trials.FIGURES, 0.92)}
    text = trials.to_markdown({"base": runs, "other": {"1": dict.fromkeys(trials.FIGURES, None)}})
    assert "| base | 2 | 0.9100 ± 0.0141 |" in text
    assert "| other | 1 | - |" in text
