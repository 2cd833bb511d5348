"""Models: one contract (`base`), cards, safe weights, and a module a paper in a folder a family."""
