"""Models that turn an image into a feature vector, to be read by neighbours, probes and searches."""
