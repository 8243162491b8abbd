"""A recording becomes samples, and samples become files: decoders, headers, streams, names of recordings."""
