"""Sound made different for training: effects, mixtures with backgrounds, masks of spectrograms."""
