"""The training loop and all that it needs, the table of runs, and the search for better recipes."""
