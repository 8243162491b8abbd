"""Networks as data: layers, sizes, features and geometry, by arithmetic alone. Nothing here imports torch."""
