"""Reading recordings and writing audio files: decoders, headers, streams, and finding recordings by name."""
