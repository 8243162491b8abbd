"""The models and detectors to evaluate, from the options of `evaluate`, `tune` and `doubtful`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError
from audiocnn_cli.app.options import JudgedPad, SegmentOptions, SegmentRuleOptions, read_pads

if TYPE_CHECKING:
    from audiocnn.evaluation.annotated import Scorer
    from audiocnn.evaluation.results import ClipEvaluation, Evaluation
    from audiocnn.inference.engine import Engine
    from audiocnn.segments.finder import SegmentRule
    from audiocnn.workflows.judge import Candidate


def peer_candidates(against: str | None, given: SegmentRuleOptions) -> list[Candidate]:
    """The detectors given with --against, each once, in order."""
    from audiocnn.evaluation.peers import PEER_LABEL, load_peer
    from audiocnn.workflows.judge import Candidate

    names = dict.fromkeys(name.strip() for name in against.split(",")) if against is not None else []
    if names and "end_pad_seconds" in read_pads(given.pad):
        raise UsageError(f"--pad {given.pad}: --against needs the same pad at both ends; give one number")
    found = []
    for peer in map(load_peer, names):
        rule = dataclasses.replace(peer.rule, pad_seconds=0.0)
        scorer, thresholds = peer.scorer(peer_rule(rule, given)), {PEER_LABEL: rule.threshold}
        found.append(Candidate(peer.name, scorer, peer.origin, thresholds, version=peer.version))
    return found


def peer_rule(rule: SegmentRule, given: SegmentRuleOptions) -> SegmentRule:
    """The segment rule of a peer: options for durations apply to all candidates, thresholds only to models."""
    lengths = {
        "min_speech_seconds": given.min_duration,
        "min_silence_seconds": given.min_silence,
        **read_pads(given.pad),
        "max_speech_seconds": given.max_duration,
    }
    return dataclasses.replace(rule, **{name: seconds for name, seconds in lengths.items() if seconds is not None})


@dataclass(frozen=True)
class JudgedSegments(SegmentOptions):
    """How scores become segments for evaluation. Segments are extended only if an option or the operating points of the
    model say so."""

    pad: JudgedPad = None


def scorer_by_options(engine: Engine, rule: SegmentRuleOptions) -> Scorer:
    """A scorer for a model with these options."""
    from audiocnn.workflows.judge import make_scorer
    from audiocnn_cli.app.options import detect_settings

    return make_scorer(engine, detect_settings(rule))


def clips_of(evaluation: Evaluation, option: str, data: str) -> ClipEvaluation:
    """The evaluation of whole clips. Raises UsageError if no clip has labels. option: the option that needs them, ""
    for the command."""
    if evaluation.clip is None:
        prefix = f"{option}: " if option else ""
        raise UsageError(f"{prefix}needs clips with a label for the whole clip; {data} only has segments")
    return evaluation.clip
