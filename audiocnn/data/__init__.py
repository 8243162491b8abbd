"""Datasets: sources, samples on disk, splits, duplicates and a survey."""
