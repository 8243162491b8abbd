"""Onsets and offsets besides scores: targets and loss by hand, votes on edges that are known, and a whole training."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx
import pytest
import torch
from fixtures_models import (
    LOG_MEL,
    RATE,
    TINY,
    network_of,
    recipe_of,
    spec_named,
    table_of,
    tone_of,
    tone_task,
    write_dataset,
    write_folder,
)

from audiocnn.errors import ModelError, RecipeError, SpecError
from audiocnn.evaluation.annotated import Scorer, evaluate
from audiocnn.inference.detect import Detector, DetectSettings, Ending
from audiocnn.inference.engine import load_engine
from audiocnn.inference.scores import ScoreBlock
from audiocnn.model.ensemble import make_ensemble
from audiocnn.model.model import ONNX, Model, join_outputs, order_outputs, read_model, split_outputs
from audiocnn.model.network import Network
from audiocnn.recipe.recipe import read_recipe
from audiocnn.segments.finder import RISE_SECONDS, SegmentRule, find_segments
from audiocnn.segments.onset_offset import VOTE_SECONDS, Localiser, weighted_median
from audiocnn.spec.spec import spec_from_table
from audiocnn.training.batches import make_training_set
from audiocnn.training.losses import EDGE_WEIGHT, edge_targets, localising_loss
from audiocnn.training.train import train
from benchmarks import localising as benchmark

HOP, FURTHEST = 0.02, 0.4
LOCALISER = Localiser(FURTHEST)
BARE = SegmentRule(pad_seconds=0.0)
OFFSET = TINY | {"f": TINY["f"] | {"output": "onset_offset", "window_seconds": 0.3}}


def rows_of(seconds, *events):
    """(rows, 3) of a network that knows the events (onset, offset) in seconds; 1 where the middle of a row is in one,
    and nothing in sight elsewhere."""
    middles = (np.arange(round(seconds / HOP)) + 0.5) * HOP
    rows = np.stack([np.zeros_like(middles), *[np.full_like(middles, FURTHEST)] * 2], axis=1).astype(np.float32)
    for onset, offset in events:
        inside = (middles >= onset) & (middles < offset)
        rows[inside, 0] = 1.0
        rows[inside, 1] = np.minimum(middles - onset, FURTHEST)[inside]
        rows[inside, 2] = np.minimum(offset - middles, FURTHEST)[inside]
    return rows


def found_in(rows, rule=BARE, blocks=(), seconds=None):
    """(start, end) of the segments of rows that come in blocks which end at these rows."""
    finder = LOCALISER.finder("word", HOP, rule)
    segments = [segment for block in np.split(rows, list(blocks)) for segment in finder.push(block)]
    return segments + finder.finish(len(rows) * HOP if seconds is None else seconds)


def edges(segments):
    return [(segment.start, segment.end) for segment in segments]


# What is learned


def test_the_edges_of_marks_are_counted_from_the_middles_of_the_rows():
    marks = torch.tensor([[0.0, 1, 1, 1, 0, 1]])[..., None]
    found = edge_targets(marks)[0, :, 0]
    assert found[1:4].tolist() == [[0.5, 2.5], [1.5, 1.5], [2.5, 0.5]]
    assert found[5].tolist() == [0.5, 0.5]  # the example ends there
    both = torch.cat([marks, marks.flip(1)], dim=2)
    assert edge_targets(both)[0, :, 1][[0, 2, 3, 4]].tolist() == [[0.5, 0.5], [0.5, 2.5], [1.5, 1.5], [2.5, 0.5]]


def test_marks_with_softened_edges_have_the_same_edges():
    marks = torch.tensor([[0.0, 1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3, 0]])[..., None]
    hard = torch.tensor([[0.0, 0, 1, 1, 1, 1, 0, 0]])[..., None]
    assert torch.equal(edge_targets(marks), edge_targets(hard))


def test_the_loss_is_cross_entropy_and_the_squared_error_inside_of_events_alone():
    network = Network(spec_from_table(OFFSET, "x"))
    reach = network.spec.furthest_seconds / network.geometry.hop_seconds  # rows
    marks = torch.tensor([[0.0, 1, 1, 0]])[..., None]
    logits = torch.zeros(1, 4, 3, requires_grad=True)
    wanted = np.array([0.5, 1.5, 1.5, 0.5]) / reach
    by_hand = math.log(2) + EDGE_WEIGHT * np.mean((0.5 - wanted) ** 2)
    loss = localising_loss(network, logits, marks)
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    loss.backward()
    moved = logits.grad[0].abs() > 0
    assert moved[:, 0].all()
    assert moved[:, 1:].tolist() == [[False] * 2, [True] * 2, [True] * 2, [False] * 2]


def test_without_an_event_only_the_scores_are_learned():
    network = Network(spec_from_table(OFFSET, "x"))
    logits = torch.zeros(2, 5, 3)
    assert float(localising_loss(network, logits, torch.zeros(2, 5, 1))) == pytest.approx(math.log(2), rel=1e-6)


def test_an_edge_beyond_half_a_window_is_wanted_at_half_a_window():
    network = Network(spec_from_table(OFFSET, "x"))
    marks = torch.ones(1, 2001, 1)
    near, far = torch.zeros(1, 2001, 3), torch.zeros(1, 2001, 3)
    far[..., 1:] = 30.0  # a sigmoid of 1: nothing in sight
    losses = [float(localising_loss(network, logits, marks)) - math.log(2) for logits in (near, far)]
    assert losses[0] > 0.9 * EDGE_WEIGHT * 0.25
    assert losses[1] < 0.01 * EDGE_WEIGHT


# The spec and what the network gives


def test_three_outputs_a_label_also_as_maps():
    plain, spec = spec_from_table(TINY, "x", 4), spec_from_table(OFFSET, "x", 4)
    assert (plain.outputs, spec.outputs, spec.localises, plain.localises) == (4, 12, True, False)
    assert spec.furthest_seconds == spec.geometry().window_seconds / 2
    assert spec_from_table(OFFSET, "x").f.output == "onset_offset"  # one label, too
    maps = spec_named("onset_offset_global").with_classes(5)
    assert maps.layers[0].out(maps.window_size()).channels == 15


def test_maps_that_are_too_few_are_refused():
    table = table_of(
        LOG_MEL, [{"conv": 2, "kernel": 3}, {"global": "average"}], {"output": "onset_offset", "output_dense": False}
    )
    with pytest.raises(SpecError, match=r"2 scores for 2 labels \(three each with onset_offset\)"):
        spec_from_table(table, "x", 2)


def test_edges_lie_behind_the_scores_and_within_half_a_window():
    network = network_of(spec_named("onset_offset"))
    logits = torch.randn(2, 7, 6) * 20
    found = network.found_of(logits)
    assert torch.equal(found[..., :2], logits[..., :2].sigmoid())
    assert torch.equal(network.scores_of(logits), found[..., :2])
    assert float(found[..., 2:].max()) <= network.spec.furthest_seconds
    assert torch.equal(network.pooled(logits), network.pooled(logits[..., :2]))
    scores, pairs = split_outputs(found.numpy(), 2)
    assert pairs.shape == (2, 7, 2, 2)
    np.testing.assert_array_equal(pairs[..., 1, 0], found[..., 4].numpy())
    np.testing.assert_array_equal(join_outputs(scores, pairs), found.numpy())
    assert split_outputs(scores, 2)[1] is None
    swapped, other = split_outputs(found.numpy()[..., order_outputs([1, 0])], 2)
    np.testing.assert_array_equal(swapped, scores[..., ::-1])
    np.testing.assert_array_equal(other, pairs[..., ::-1, :])


# Votes


def test_edges_are_where_the_rows_say_and_not_where_rows_begin():
    rows = rows_of(4.0, (1.013, 1.507), (2.499, 3.201))
    assert np.allclose(edges(found_in(rows)), [(1.013, 1.507), (2.499, 3.201)], atol=1e-5)
    padded = found_in(rows, SegmentRule(pad_seconds=0.03))
    assert np.allclose(edges(padded), [(0.983, 1.537), (2.469, 3.231)], atol=1e-5)
    assert [segment.score for segment in padded] == [1.0, 1.0]


def test_scores_that_come_late_and_go_early_are_mended_by_votes():
    rows = rows_of(3.0, (1.0, 2.0))
    late = rows.copy()
    late[:55, 0] = 0.0  # 0.1 s late
    late[96:, 0] = 0.0  # 0.08 s early
    assert np.allclose(edges(find_segments(late[:, 0], HOP, 3.0, "word", BARE)), [(1.1, 1.92)])
    assert np.allclose(edges(found_in(late)), [(1.0, 2.0)], atol=1e-5)


def test_a_few_wrong_votes_do_not_count():
    rows = rows_of(3.0, (1.0, 2.0))
    rows[50:54, 1] = 0.3
    rows[96:99, 2] = 0.35
    assert np.allclose(edges(found_in(rows)), [(1.0, 2.0)], atol=1e-5)


def test_without_an_edge_in_sight_the_segment_ends_at_its_rows():
    rows = rows_of(3.0, (1.0, 2.0))
    rows[:, 1:] = FURTHEST
    assert edges(found_in(rows)) == edges(find_segments(rows[:, 0], HOP, 3.0, "word", BARE))


def test_a_bridged_gap_has_no_say_in_the_edges():
    rows = rows_of(3.0, (1.003, 1.09), (1.15, 1.9))
    (found,) = found_in(rows, SegmentRule(pad_seconds=0.0, min_silence_seconds=0.1))
    assert (found.start, found.end) == pytest.approx((1.003, 1.9), abs=1e-5)


def test_an_onset_is_told_once_with_the_start_that_the_segment_gets():
    rows = rows_of(4.0, (1.013, 1.507), (2.499, 3.201))
    finder = LOCALISER.finder("word", HOP, SegmentRule())
    told, ended = [], []
    for row in range(len(rows)):
        ended += finder.push(rows[row : row + 1])
        told += [(row, start) for start in finder.onsets()]
    ended += finder.finish(4.0)
    assert [start for _, start in told] == [segment.start for segment in ended]
    first = 1.013 // HOP + 1
    assert told[0][0] <= first + VOTE_SECONDS / HOP + 2


def random_rows(random, count):
    """Rows in which anything may stand."""
    walk = np.cumsum(random.normal(0, 0.25, count)) + random.normal(0, 0.3, count)
    scores = 1 / (1 + np.exp(-3 * np.sin(walk)))
    return np.stack([scores, *random.uniform(0, FURTHEST, (2, count))], axis=1).astype(np.float32)


def random_rule(random):
    most = math.inf if random.random() < 0.5 else float(random.uniform(0.4, 2.0))
    return SegmentRule(
        threshold=0.5,
        min_speech_seconds=float(random.choice([0.0, 0.1, 0.25])),
        min_silence_seconds=float(random.choice([0.0, 0.1, 0.3])),
        pad_seconds=float(random.choice([0.0, 0.03, 0.2])),
        max_speech_seconds=most,
    )


@pytest.mark.parametrize("seed", range(60))
def test_segments_are_the_same_however_rows_come_and_keep_the_rule(seed):
    random = np.random.default_rng(seed)
    rows, rule = random_rows(random, 400), random_rule(random)
    seconds = len(rows) * HOP - float(random.uniform(0, HOP))
    whole = found_in(rows, rule, seconds=seconds)
    assert found_in(rows, rule, range(1, len(rows)), seconds) == whole
    assert found_in(rows, rule, sorted(random.integers(0, len(rows), 9)), seconds) == whole
    if rule.max_speech_seconds == math.inf:
        assert len(whole) == len(find_segments(rows[:, 0], HOP, seconds, "word", rule))
    end = 0.0
    for segment in whole:
        assert end - 1e-9 <= segment.start < segment.end <= seconds
        assert segment.end - segment.start <= rule.max_speech_seconds + 1e-6
        end = segment.end


@pytest.mark.parametrize("seed", range(20))
def test_segments_cut_short_with_wide_pads_are_the_same_however_rows_come(seed):
    random = np.random.default_rng([seed, 2])
    for _ in range(20):
        rows = random_rows(random, int(random.integers(30, 150)))
        rule = SegmentRule(
            min_speech_seconds=float(random.choice([0.0, 0.02])),
            min_silence_seconds=float(random.choice([0.0, 0.04, 0.3])),
            pad_seconds=float(random.choice([0.5, 0.7, 1.0, 2.0])),
            max_speech_seconds=float(random.choice([HOP, 0.1, 0.3, 0.5, 1.0])),
        )
        whole = found_in(rows, rule)
        assert found_in(rows, rule, range(1, len(rows))) == whole, rule
        assert found_in(rows, rule, sorted(random.integers(0, len(rows), 5))) == whole, rule
        assert all(segment.end - segment.start <= rule.max_speech_seconds + 1e-9 for segment in whole), rule


@pytest.mark.parametrize("seed", range(30))
def test_onsets_are_those_of_the_segments_whatever_stands_in_the_rows(seed):
    random = np.random.default_rng([seed, 1])
    rows, rule = random_rows(random, 300), dataclasses.replace(random_rule(random), max_speech_seconds=math.inf)
    finder = LOCALISER.finder("word", HOP, rule)
    told, ended = [], []
    for block in np.split(rows, sorted(random.integers(0, 300, 20))):
        ended += finder.push(block)
        told += finder.onsets()
    ended += finder.finish(300 * HOP)
    told += finder.onsets()
    assert told == [segment.start for segment in ended]


@pytest.mark.parametrize("seed", range(20))
def test_rows_that_know_no_better_than_the_scores_change_nothing(seed):
    random = np.random.default_rng([seed, 2])
    rows, rule = random_rows(random, 400), random_rule(random)
    rule = dataclasses.replace(rule, max_speech_seconds=math.inf)
    rows[:, 1:] = FURTHEST
    got, wanted = found_in(rows, rule), find_segments(rows[:, 0], HOP, 8.0, "word", rule)
    assert np.allclose(edges(got), edges(wanted), atol=1e-9)
    assert [s.score for s in got] == [s.score for s in wanted]


def test_memory_does_not_grow_with_a_segment():
    finder = LOCALISER.finder("word", HOP, BARE)
    rows = rows_of(60.0, (0.0, 60.0))
    for _ in range(20):
        finder.push(rows)
        assert len(finder._kept) <= 2 * round(VOTE_SECONDS / HOP) + round(RISE_SECONDS / HOP) + 12
    (found,) = finder.finish(1200.0)
    assert (found.start, found.end) == (0.0, 1200.0)


def test_rows_that_cannot_be_are_refused():
    finder = LOCALISER.finder("word", HOP, BARE)
    with pytest.raises(ValueError, match=r"expected \(rows, 3\)"):
        finder.push(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="onsets or offsets contain NaN"):
        finder.push(np.array([[0.5, np.nan, 0.1]]))


@pytest.mark.parametrize(
    ("values", "weights", "wanted"),
    [([3.0], [1.0], 3.0), ([1, 2, 9], [1, 1, 1], 2.0), ([1, 2], [1, 1], 1.5), ([1, 2, 9], [1, 1, 5], 9.0)],
)
def test_the_weighted_median(values, weights, wanted):
    assert weighted_median(np.array(values, float), np.array(weights, float)) == wanted


# All the way: trained, exported, detected, judged


@pytest.fixture(scope="module")
def localised(tmp_path_factory):
    """(the report of a training, the dataset)."""
    folder = tmp_path_factory.mktemp("localised")
    dataset = tone_task(folder / "dataset")
    *_, last = train(recipe_of(OFFSET, epochs=6, examples_per_epoch=320), dataset, folder / "run")
    return last, dataset


@pytest.mark.long
def test_a_training_gives_a_model_whose_segments_lie_at_the_edges(localised, tmp_path):
    last, _ = localised
    model = read_model(last.model.folder)
    assert model.localises
    assert 0.05 <= model.thresholds["tone"] <= 0.95
    assert last.export_difference < 1e-4
    graph = onnx.load(model.folder / ONNX)
    sizes = {
        out.name: [d.dim_param or d.dim_value for d in out.type.tensor_type.shape.dim] for out in graph.graph.output
    }
    assert sizes == {"scores": ["batch", "positions", 1], "edges": ["batch", "positions", 1, 2]}
    engine = load_engine(model, "cpu", jobs=1)
    samples = tone_of(2.0, 0.7, 1.33, 450)[None].astype(np.float32)
    detector = Detector(engine.model, DetectSettings(pad_seconds=0.0))
    rows = engine.outputs(samples)
    events = detector.push(ScoreBlock(0, 0, *split_outputs(rows, 1)))
    segments = [event.segment for event in events if isinstance(event, Ending)]
    (found,) = segments + [segment for finder in detector.finders[0] for segment in finder.finish(2.0)]
    assert (found.start, found.end) == pytest.approx((0.7, 1.33), abs=0.06)
    assert engine.score(samples).shape == (len(rows), 1)


@pytest.mark.long
def test_evaluate_judges_the_edges_that_detect_finds(localised):
    last, dataset = localised
    engine = load_engine(last.model, "cpu", jobs=1)
    model = engine.model
    rules = DetectSettings(pad_seconds=0.0).rules(model)

    def figures(localiser):
        scorer = Scorer(engine.outputs, RATE, engine.hop_seconds, model.labels, rules, localiser=localiser)
        *_, step = evaluate(dataset, scorer)
        return step.evaluation.labels["tone"].figures

    with_votes, without = figures(model.localiser), figures(None)
    assert with_votes["auroc"].value == without["auroc"].value
    assert with_votes["onset_error_ms"].value != without["onset_error_ms"].value
    assert with_votes["onset_error_ms"].value < 40


def test_whole_clips_are_refused(tmp_path):
    rows = [
        (f"{label}/{n}.wav", tone_of(0.5, 0.1, 0.4, hertz), {"label": label, "group": f"g{n}"})
        for label, hertz in (("low", 300), ("high", 500))
        for n in range(6)
    ]
    dataset = write_dataset(tmp_path / "dataset", rows)
    with pytest.raises(RecipeError, match=r"needs segments.* whole clips; annotate onsets and offsets"):
        make_training_set(recipe_of(OFFSET), dataset)


def test_a_mean_with_a_model_without_edges_is_refused(tmp_path):
    table = TINY | {"f": OFFSET["f"] | {"output": "sigmoid"}}
    models = [
        write_folder(network_of(spec_from_table(one, name)), tmp_path / name, name)
        for name, one in (("edges", OFFSET), ("scores", table))
    ]
    with pytest.raises(
        ModelError, match=r"only one of them predicts onsets and offsets; .*\(here onset_offset and sigmoid\)"
    ):
        make_ensemble(models, tmp_path / "both")


def test_only_models_that_give_edges_localise():
    spec = spec_from_table(OFFSET, "x")
    assert Model("x", None, spec, ("a",), {}).localiser == Localiser(spec.furthest_seconds)
    assert Model("x", None, spec_from_table(TINY, "x"), ("a",), {}).localiser is None


# The benchmark


def test_the_benchmark_compares_the_same_network_with_two_outputs():
    recipe = read_recipe(benchmark.RECIPE)
    frames = benchmark.with_output(recipe, "sigmoid")
    assert (recipe.spec.f.output, frames.spec.f.output) == ("onset_offset", "sigmoid")
    assert frames.spec.body == recipe.spec.body
    assert frames.spec.geometry() == recipe.spec.geometry()
    assert (frames.mix, frames.train, frames.seed) == (recipe.mix, recipe.train, recipe.seed)


def test_the_benchmark_says_value_and_interval_or_mean_and_spread():
    def row(value):
        return {name: {"value": value, "low": value - 1, "high": value + 1} for name in benchmark.FIGURES}

    one = benchmark.to_markdown({"votes": [row(2.0)]}).splitlines()
    assert one[0].count("|") == one[2].count("|") == len(benchmark.FIGURES) + 2
    assert one[2].startswith("| votes | 2.0 [1.0, 3.0] |")
    assert benchmark.to_markdown({"votes": [row(2.0), row(4.0)]}).splitlines()[2].startswith("| votes | 3.0 ± 1.4 |")
