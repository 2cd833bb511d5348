"""Named evaluations: which data, how it is prepared, which figures, with intervals; and baselines to beat."""
