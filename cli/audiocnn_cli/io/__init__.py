"""Many recordings in, whole results out."""
