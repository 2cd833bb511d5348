"""Builders: data sets made from imagery, vectors or other data sets."""
