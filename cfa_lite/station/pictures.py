"""Pictures for the page: images and parts of them as JPEG, anomaly maps as PNG, made on demand and kept in memory."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from PIL import Image

from ..report import overlay
from ..report.overlay import RenderedImage
from ..results import Inspection, not_scored
from .versions import InUse

T = TypeVar("T")
Box = tuple[int, int, int, int]

_MAX_SIDE_PX = 4096  # of a picture
_MAP_SIDE_PX = 900
_QUALITY = 90  # of JPEG; a part of an image at full resolution gets the higher one
_QUALITY_OF_PART = 95
_BYTES_OF_IMAGES = 128_000_000  # decoded; the last one is kept in any case
_BYTES_OF_MAPS, _BYTES_OF_PICTURES = 64_000_000, 64_000_000


class _Kept(Generic[T]):
    """The values that were used last, up to a number of bytes; at least one."""

    def __init__(self, max_bytes: int, n_bytes: Callable[[T], int]) -> None:
        self._max_bytes, self._n_bytes = max_bytes, n_bytes
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._total = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> T:
        with self._lock:
            if key in self._values:
                self._total -= self._n_bytes(self._values.pop(key))
            self._values[key] = value
            self._total += self._n_bytes(value)
            while self._total > self._max_bytes and len(self._values) > 1:
                self._total -= self._n_bytes(self._values.popitem(last=False)[1])
            return value


@dataclass(frozen=True)
class _Inspected:
    """A result, and the version of the model that gave it."""

    version: int
    result: Inspection


class Pictures:
    """Pictures of images.

    Images are read one at a time, so that the memory does not grow with the number of requests.

    Parameters
    ----------
    value_range : (float, float) or None
        Values of images that are shown as black and white.
    """

    def __init__(self, value_range: tuple[float, float] | None) -> None:
        self._value_range = value_range
        self._reading, self._inspecting = threading.Lock(), threading.Lock()
        self._images: _Kept[Image.Image] = _Kept(_BYTES_OF_IMAGES, lambda image: 4 * image.width * image.height)
        self._pictures: _Kept[bytes] = _Kept(_BYTES_OF_PICTURES, len)
        self._results: _Kept[_Inspected] = _Kept(
            _BYTES_OF_MAPS, lambda one: 10_000 + (0 if one.result.map is None else one.result.map.nbytes)
        )

    def size_px(self, path: Path, key: bytes) -> tuple[int, int]:
        """Return the height and width of an image. `key` is the hash of its content. Raises ImageError."""
        image = self._image(path, key)
        return image.height, image.width

    def picture(self, path: Path, key: bytes, side_px: int, box: Box | None = None) -> bytes:
        """Draw an image, or a part of it at its full resolution, with its longer side at most `side_px`.

        Parameters
        ----------
        path : Path
        key : bytes
            Hash of its content.
        side_px : int
        box : (int, int, int, int), optional
            Left, top, width and height of the part. It is cut at the border of the image.

        Returns
        -------
        bytes
            A JPEG file.

        Raises
        ------
        ImageError
            If the image cannot be read.
        ValueError
            If no pixel of the image is in the box.
        """
        side_px = min(side_px, _MAX_SIDE_PX)
        wanted = key, side_px, box
        known = self._pictures.get(wanted)
        if known is not None:
            return known
        image = self._image(path, key)
        if box is not None:
            left, top = max(0, box[0]), max(0, box[1])
            right, bottom = min(image.width, box[0] + box[2]), min(image.height, box[1] + box[3])
            if left >= right or top >= bottom:
                raise ValueError("no pixel of the image is in the box")
            image = image.crop((left, top, right, bottom))
        factor = side_px / max(image.size)
        if factor < 1:
            size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
            image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=_QUALITY if box is None else _QUALITY_OF_PART)
        return self._pictures.put(wanted, file.getvalue())

    def inspected(self, name: str, version: int, result: Inspection) -> None:
        """Keep a result of the line, so that its map need not be computed again."""
        self._results.put(name, _Inspected(version, result))

    def result(self, name: str, path: Path, in_use: InUse) -> Inspection:
        """Return the result of an image by the model in use; it is scored again if need be.

        Parameters
        ----------
        name : str
            Of the image in the journal.
        path : Path
        in_use : InUse
        """
        with self._inspecting:
            known = self._results.get(name)
            if known is None or known.version != in_use.number:
                known = self._results.put(name, _Inspected(in_use.number, next(in_use.model.inspect_many([path]))))
        return known.result

    def _image(self, path: Path, key: bytes) -> Image.Image:
        with self._reading:
            found = self._images.get(key)
            if found is None:
                plain = replace(not_scored(str(path), "error", "", 1.0, 0.0), value_range=self._value_range)
                found = self._images.put(key, RenderedImage(path, plain).rgb)
            return found


def draw_map(result: Inspection) -> bytes | None:
    """Draw an anomaly map as a transparent PNG file, in the colors of overlays. None without a map."""
    if result.map is None:
        return None
    h, w = result.image_size_px
    factor = min(1.0, _MAP_SIDE_PX / max(h, w))
    values = result.map_at(max(1, round(w * factor)), max(1, round(h * factor)))
    alpha = np.round(overlay.opacity(values) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.dstack([overlay.colorize(values), alpha])).save(file, "PNG", compress_level=1)
    return file.getvalue()


def regions_of(result: Inspection) -> list[dict[str, Any]]:
    """Return the regions of a result for the page: box, peak, kind, outline and outlines of the core."""
    return [
        {
            "box": region.box_px,
            "peak": round(region.peak, 2),
            "kind": region.kind,
            "contour": _points(region.contour_px),
            "cores": [_points(contour) for contour in region.core_contours_px],
        }
        for region in result.regions
    ]


def _points(points: list[tuple[float, float]]) -> list[list[float]]:
    return [[round(x, 1), round(y, 1)] for x, y in points]
