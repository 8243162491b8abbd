"""Inspection of trained networks: filters and their strongest sounds, explanations of scores, plots of recordings."""
