"""Datasets: sources, stored samples, splits, duplicates and a survey."""
