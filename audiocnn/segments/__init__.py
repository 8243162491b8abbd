"""Segments and annotations, the rule that turns scores into segments, and the finder that applies it."""
