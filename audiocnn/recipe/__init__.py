"""How a model is made, as data: the recipe, its settings, what fits a set of recordings, and their parts."""
