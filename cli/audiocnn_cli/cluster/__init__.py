"""The same commands on a Ray cluster."""
