"""Visual anomaly detection on the CPU: learn a product from images of good parts, and find defects in new images.

>>> from cfa_lite import CFA, load
>>> model = CFA().fit("good/")  # doctest: +SKIP
>>> model.inspect("line/017.png").verdict  # doctest: +SKIP
'NG'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__
from .errors import ArchiveError, BackboneError, CfaLiteError, ImageError, NotFittedError, OutputError, WorkerError

if TYPE_CHECKING:
    from .estimator import CFA, load
    from .features.image_files import find_images
    from .published.estimator import PublishedCFA
    from .results import Inspection, Region

__all__ = [
    "CFA", "ArchiveError", "BackboneError", "CfaLiteError", "ImageError", "Inspection", "NotFittedError", "OutputError",
    "PublishedCFA", "Region", "WorkerError", "__version__", "find_images", "load",
]  # fmt: skip

# Imported on first use, because they need NumPy, Numba and onnxruntime: `--help` answers at once.
_LAZY = {
    "CFA": ".estimator", "load": ".estimator", "PublishedCFA": ".published.estimator", "Inspection": ".results",
    "Region": ".results", "find_images": ".features.image_files",
}  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
