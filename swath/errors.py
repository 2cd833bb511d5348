"""Every exception that Swath raises on purpose; a message says what was wrong, what was found and what to do.

All of them derive from `SwathError`, so a program catches one class; the command line prints the message alone
and exits with status 2.

>>> issubclass(BandMismatch, SwathError)
True
"""

from __future__ import annotations


class SwathError(Exception):
    """A failure that the user can act on; its text is one clear sentence or two."""


class GeometryError(SwathError):
    """A window, box, polygon or mask that cannot be what it was asked to be."""


class ImageryNotFound(SwathError):
    """A file or address that is not there."""


class ImageryUnreadable(SwathError):
    """A file that exists but is not imagery, is empty, or is cut short."""


class BandMismatch(SwathError):
    """Bands that a model needs and a scene does not name."""


class UnitMismatch(SwathError):
    """Pixel values in a unit that cannot be turned into the one asked for."""


class GridMismatch(SwathError):
    """Grids that do not overlap, or whose reference systems cannot be related."""


class NothingToSee(SwathError):
    """Imagery without a single valid pixel."""


class AnnotationError(SwathError):
    """An annotation that is inconsistent, or asked for something that its kind has not got."""


class ShapeError(SwathError):
    """A tensor whose shape a model cannot take."""


class ConfigurationError(SwathError):
    """A configuration value outside what is meaningful."""


class WeightsMismatch(SwathError):
    """Weights that belong to another model, or to another configuration of it."""


class UnsafeWeights(SwathError):
    """A weights file that could run code when opened (a pickle)."""


class UnknownModel(SwathError):
    """A model name that is neither shipped, nor built in, nor a folder."""


class DataError(SwathError):
    """A data set folder that does not have its declared layout."""


class OutputExists(SwathError):
    """A result that is already there and was not asked to be replaced."""


class OutputFailed(SwathError):
    """A result that could not be written (disk full, folder missing, unknown format)."""


class ResumeMismatch(SwathError):
    """A half-finished run whose inputs, model or options differ from those of now."""


class SwathWarning(UserWarning):
    """Something assumed or left out that the user may want to know."""


class TrainingError(SwathError):
    """Training that cannot go on (a loss that is not a number, nothing to learn from)."""
