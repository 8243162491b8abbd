"""Look into trained networks: filters and their strongest sounds, explanations of a score, and plots of a recording."""
