"""Errors of this package. Wrong arguments raise ValueError and TypeError."""


class CfaLiteError(Exception):
    """Base class of all errors of this package; the message says what is wrong, where, and what to do."""


class ImageError(CfaLiteError):
    """An image, or a set of images, cannot be used."""


class BackboneError(CfaLiteError):
    """An ONNX backbone or its manifest is missing or damaged, or the two contradict each other."""


class ArchiveError(CfaLiteError):
    """A ``.cfa`` file is missing, damaged, of another kind, or cannot be written."""


class OutputError(CfaLiteError):
    """A result, an anomaly map or an overlay cannot be written."""


class WorkerError(CfaLiteError):
    """Worker processes, on this computer or in a cluster, cannot be reached or die repeatedly."""


class NotFittedError(CfaLiteError, ValueError, AttributeError):
    """A model was asked to inspect or save before ``fit``."""
