"""Models of two dates: what changed between `before` and `after`."""
