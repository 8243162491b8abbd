"""Looking into trained networks: what the first layer listens for, what moves a filter most, what moved a score.

filters: filter_figures (numbers), filter_cells and filter_pictures (drawing)
strongest: strongest_sounds (the search), strongest_pictures
explaining: stretches (which samples), views (what is turned down), occlusion, feature_maps, explain_picture
"""
