"""Protection of a chip, put in between `deploy` and `inject`: which cells, by what, and what it costs."""
