"""Data augmentation for training: effects, mixtures with backgrounds, masking of spectrograms."""
