"""Input of many recordings and output of their results."""
