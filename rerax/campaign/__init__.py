"""Campaigns: points, grids, the folder that holds their rows, and the run that fills it."""
