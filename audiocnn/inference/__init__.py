"""From samples to windows and scores, and from scores to segments or answers."""
