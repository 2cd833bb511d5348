"""Settings for the whole suite: no deadlines, since kernels compile at their first call."""

from hypothesis import settings

settings.register_profile("swath", deadline=None)
settings.load_profile("swath")
