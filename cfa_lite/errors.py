"""Errors of this package, and text in messages. Wrong arguments raise ValueError and TypeError."""

import logging
import unicodedata
import warnings


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


def one_line(text: str) -> str:
    """Replace control characters and line ends by escapes, such as a backslash and n, so that text stays one line."""
    if text.isprintable():
        return text
    escaped = (f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text)
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    is_control = (unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in text)
    return "".join(named.get(c, e) if control else c for c, e, control in zip(text, escaped, is_control))


def hide_messages_of_pillow() -> None:
    """Hide the warnings and log messages of Pillow in a program of this package, whose own messages tell what matters.

    A library must not do this to the program that uses it.
    """
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else messages without a handler go to stderr
