"""Every error this package raises on purpose.

The root derives from Exception, not RuntimeError: napari's generator workers lose RuntimeErrors.
Messages say, in one sentence: what, expected, got, what to do.
"""

from __future__ import annotations


class WsiMilError(Exception):
    """Root of all errors that carry a sentence for the user."""


class BadRequest(WsiMilError):
    """An argument, option or prompt that cannot be served."""


class SlideError(WsiMilError):
    """Anything wrong with a slide file."""


class SlideNotFound(SlideError):
    """The path or URL leads nowhere."""


class UnsupportedSlide(SlideError):
    """The file is whole, as far as we can see, but no backend can show it."""


class SlideDamaged(SlideError):
    """The file's structure is broken, lying or unreasonably large."""


class SlideReadError(SlideError):
    """Pixels that should be there could not be read or decoded."""


class SlideClosed(SlideError):
    """The slide was closed and is asked for pixels."""


class PixelSizeUnknown(SlideError):
    """The slide has no trustworthy pixel size and the caller needs one."""


class NoTissue(WsiMilError):
    """No tissue to work on in the slide or region."""


class ModelError(WsiMilError):
    """Anything wrong with a model."""


class UnknownModel(ModelError):
    """No model of this name."""


class ModelNotHere(ModelError):
    """A model that is known but has to be downloaded first, or could not be."""


class WeightsError(ModelError):
    """Weights that are missing, altered or of another architecture."""


class ContractMismatch(ModelError):
    """A head was given features of another encoder, size, pixel size or normalisation."""


class StoreError(WsiMilError):
    """A feature store or result file that is damaged or belongs to something else."""
