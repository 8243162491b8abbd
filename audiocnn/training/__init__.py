"""The training loop and its parts, the table of runs, and hyperparameter search."""
