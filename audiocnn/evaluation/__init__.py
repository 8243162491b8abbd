"""Figures of a model on labelled recordings, their intervals, thresholds, and the test sets of conditions."""
