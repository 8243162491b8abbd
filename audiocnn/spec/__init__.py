"""A network as data: its layers, sizes, features and geometry, by arithmetic alone. Nothing here imports torch."""
