"""Evaluation of models on labelled recordings: metrics, confidence intervals, thresholds, and test sets of
conditions."""
