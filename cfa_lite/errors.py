"""What can go wrong, by name. Wrong arguments stay ValueError and TypeError."""


class CfaLiteError(Exception):
    """Base of all errors of this package; its message says what, which and what to do."""


class ImageError(CfaLiteError):
    """An image, or a set of images, cannot be used."""


class BackboneError(CfaLiteError):
    """An ONNX backbone or its manifest is missing, damaged or does what its manifest does not say."""


class ArchiveError(CfaLiteError):
    """A ``.cfa`` file is missing, damaged, foreign or cannot be written."""


class OutputError(CfaLiteError):
    """A result, a map or an overlay cannot be written."""


class WorkerError(CfaLiteError):
    """Other processes, of this PC or of a cluster, cannot be reached or die again and again."""


class NotFittedError(CfaLiteError, ValueError):
    """A model was asked to score or save before ``fit``."""
