"""The definition of a model as data: the recipe, its settings, settings that fit a dataset, and its parts."""
