"""Property tests of this folder: fewer examples, since hundreds of small numpy calls are slow, and no deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("samples", max_examples=40, deadline=None)
settings.load_profile("samples")
