"""Placement by search: simulated annealing of which neurons share a core, and of where cores sit, for traffic and for damage."""
