"""Completeness: whether a file holds its whole image, or is still being written.

Many decoders fill up what is missing, with black or with garbage, and report no error.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import IO, Any, Literal

from PIL import Image

from .row_order import codec

_TAIL = 32  # bytes; compressed data do not end with so many zeros
_PNG, _JPEG, _GIF, _WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"WEBP"
_JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_END, _JPEG_END, _GIF_END = b"\0\0\0\0IEND\xae\x42\x60\x82", b"\xff\xd9", b";"
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # TIFF: StripOffsets or TileOffsets, StripByteCounts or TileByteCounts
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def missing(source: str | os.PathLike[str] | bytes) -> str:
    """Return what is missing of the content of an image file, "" if nothing is found to be missing.

    Parameters
    ----------
    source : path or bytes

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:  # noqa: PTH123  (takes a str)
        if not file.read(1):
            return "the file is empty"
        file.seek(0)
        if not file.read(_TAIL).strip(b"\0"):
            return "the file begins with zeros"
        return _missing_of(file)


def missing_of_image(image: Image.Image) -> str:
    """Return what is missing of the file of an image that was opened but not loaded; its position is kept."""
    file: IO[bytes] | None = getattr(image, "fp", None)
    if file is None or getattr(file, "closed", False) or not getattr(file, "seekable", bool)():
        return ""
    position = file.tell()
    try:
        if image.format == "TIFF":
            return _missing_of_tiff(file, getattr(image, "tag_v2", {}))
        if image.format == "GIF":
            return ""  # Pillow notices it, and something may follow the end
        if image.format == "BMP" and codec(image) == "bmp_rle":
            return "its end consists of zeros" if _ends_in_zeros(file, _size(file)) else ""
        return _missing_of(file)
    finally:
        file.seek(position)


def _missing_of(file: IO[bytes]) -> str:
    n_bytes = _size(file)
    file.seek(0)
    head = file.read(16)
    if head.startswith(_PNG):
        return "" if _has_png_end(file, n_bytes) else "the end of the PNG is missing"
    if head.startswith(_JPEG):
        return "" if _ends_with(file, n_bytes, _JPEG_END) or _has_jpeg_end(file) else "the end of the JPEG is missing"
    if head.startswith(_JPEG_2000):
        return "" if _has_within(file, n_bytes, _JPEG_END) else "the end of the JPEG 2000 is missing"
    if head.startswith(_GIF):
        return "" if _has_within(file, n_bytes, _GIF_END) else "the end of the GIF is missing"
    if head[8:12] == _WEBP:
        return _missing_of_webp(file, n_bytes)
    if head.startswith(_TIFF):
        return _missing_directory(file, head, n_bytes)
    return ""


def _size(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)


def _ends_with(file: IO[bytes], n_bytes: int, end: bytes) -> bool:
    file.seek(max(0, n_bytes - len(end)))
    return file.read() == end


def _has_within(file: IO[bytes], n_bytes: int, end: bytes) -> bool:
    """Return whether a file ends with `end`, perhaps with zeros behind it; two bytes may be anywhere."""
    if _ends_with(file, n_bytes, end):
        return True
    file.seek(0)
    content = file.read().rstrip(b"\0")
    return content.endswith(end) if len(end) == 1 else end in content


def _ends_in_zeros(file: IO[bytes], end: int, start: int = 0) -> bool:
    """Return whether the last bytes before `end`, but after `start`, are all zero."""
    begin = max(start, end - _TAIL)
    file.seek(begin)
    return end > begin and not file.read(end - begin).strip(b"\0")


def _has_png_end(file: IO[bytes], n_bytes: int) -> bool:
    if _ends_with(file, n_bytes, _PNG_END):
        return True
    position = len(_PNG)
    while position + 12 <= n_bytes:  # something may follow the end
        file.seek(position)
        head = file.read(8)
        if head[4:] == b"IEND":
            return file.read(4) == _PNG_END[8:]
        if not head[4:].isalpha():
            return False
        position += 12 + int.from_bytes(head[:4], "big")
    return False


def _has_jpeg_end(file: IO[bytes]) -> bool:
    file.seek(0)
    content = file.read()
    position = 2
    while content[position : position + 1] == b"\xff":  # segments before the image, such as one with a thumbnail
        marker = content[position + 1 : position + 2]
        if marker == b"\xda":  # start of scan: image data hold no marker but restarts
            return content.find(_JPEG_END, position) >= 0
        is_fill = marker == b"\xff"
        position += 1 if is_fill else 2 + max(2, int.from_bytes(content[position + 2 : position + 4], "big"))
    return False


def _missing_of_webp(file: IO[bytes], n_bytes: int) -> str:
    file.seek(4)
    end = 8 + int.from_bytes(file.read(4), "little")
    if end > n_bytes:
        return f"it has {n_bytes} of {end} bytes"
    position = 12
    while position + 8 <= end:
        file.seek(position)
        head = file.read(8)
        size = int.from_bytes(head[4:], "little")
        if not head[:4].strip(b"\0"):
            return "its end consists of zeros"
        if head[:3] == b"VP8" and _ends_in_zeros(file, position + 8 + size - _limit_of_vp8(file, head), position + 8):
            return "the end of the image consists of zeros"
        position += 8 + size + size % 2
    return ""


def _limit_of_vp8(file: IO[bytes], head: bytes) -> int:
    """Return how many zeros an image of WebP may end with: lossy black rows are zeros, up to a bit per 4x4 pixels."""
    if head[3:4] != b" ":  # lossless
        return 0
    frame = file.read(10)
    w, h = (int.from_bytes(frame[i : i + 2], "little") & 0x3FFF for i in (6, 8))
    return w * h // 128


def _missing_directory(file: IO[bytes], head: bytes, n_bytes: int) -> str:
    """Return whether a TIFF lacks its directory, which many programs write last."""
    order: Literal["little", "big"] = "little" if head[:1] == b"I" else "big"
    is_big = b"+" in head[2:4]
    position = int.from_bytes(head[8:16] if is_big else head[4:8], order)
    file.seek(min(position, n_bytes))
    count_bytes, entry_bytes, pointer_bytes = (8, 20, 8) if is_big else (2, 12, 4)
    n_entries = int.from_bytes(file.read(count_bytes), order)
    directory = file.read(n_entries * entry_bytes + pointer_bytes)
    if not position or not n_entries or len(directory) < n_entries * entry_bytes + pointer_bytes:
        return "the directory of the TIFF is missing"
    for start in range(0, n_entries * entry_bytes, entry_bytes):
        entry = directory[start : start + entry_bytes]
        size = _BYTES_OF_TYPE.get(int.from_bytes(entry[2:4], order), 0) * int.from_bytes(entry[4:-pointer_bytes], order)
        if not entry.strip(b"\0"):
            return "the directory of the TIFF is missing"
        if size > pointer_bytes and int.from_bytes(entry[-pointer_bytes:], order) + size > n_bytes:
            return "a part of the directory of the TIFF is missing"
    return ""


def _missing_of_tiff(file: IO[bytes], tags: Any) -> str:
    n_bytes = _size(file)
    offsets, counts = _values(tags, _OFFSETS), _values(tags, _COUNTS)
    if any(not offset for offset in offsets) or any(not count for count in counts):
        return "a part of the image was not yet written"
    parts = sorted(zip(offsets, counts))
    if not parts:
        return ""
    last = max(offset + count for offset, count in parts)
    if last > n_bytes:
        return f"it has {n_bytes} of {last} bytes"
    start, count = parts[-1]
    if tags.get(259, 1) != 1 and _ends_in_zeros(file, start + count, start):  # compressed
        return "the end of the image consists of zeros"
    return ""


def _values(tags: Any, names: Sequence[int]) -> Sequence[int]:
    found = next((tags[name] for name in names if name in tags), ())
    return found if isinstance(found, (tuple, list)) else (found,)


def stamp(source: str | os.PathLike[str] | bytes) -> tuple[int, int] | None:
    """Return size and time of a file, which change while it is written; None for bytes."""
    if isinstance(source, bytes):
        return None
    status = os.stat(source)  # noqa: PTH116  (also takes a str)
    return status.st_size, status.st_mtime_ns
