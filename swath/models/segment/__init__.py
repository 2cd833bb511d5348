"""Systems that give every pixel a class, or a map from which points are read."""
