"""cfa-lite: learn a product from images of good parts, find what is wrong with new ones. CPU only.

>>> from cfa_lite import CFA, load
>>> model = CFA().fit("good/")                      # doctest: +SKIP
>>> model.inspect("line/017.png").verdict       # doctest: +SKIP
'NG'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__
from .errors import ArchiveError, BackboneError, CfaLiteError, ImageError, NotFittedError, OutputError, WorkerError

if TYPE_CHECKING:
    from .estimator import CFA, load
    from .results import Inspection

__all__ = [
    "CFA", "ArchiveError", "BackboneError", "CfaLiteError", "ImageError", "NotFittedError", "OutputError",
    "Inspection", "WorkerError", "__version__", "load",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import what needs NumPy, Numba and onnxruntime on first use, so that ``--help`` answers at once."""
    if name in ("CFA", "load"):
        from . import estimator

        return getattr(estimator, name)
    if name == "Inspection":
        from .results import Inspection

        return Inspection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
