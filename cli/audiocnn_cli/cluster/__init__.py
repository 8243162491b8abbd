"""Running commands on a Ray cluster."""
