"""TIFF: what Pillow decodes wrongly is refused by its tags, and what it does not decode is described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from PIL import TiffImagePlugin

# Tags of TIFF 6.0, by their names there.
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR = 258, 259, 262, 277, 284
_INK_SET, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _IMAGE_DEPTH = 332, 338, 339, 32997
_WHITE_IS_ZERO, _RGB, _CMYK, _YCBCR, _LAB = 0, 2, 5, 6, (8, 9, 10)  # values of PhotometricInterpretation
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3  # values of SampleFormat
_RAW, _JPEG = 1, (6, 7)  # values of Compression
_ASSOCIATED_ALPHA = 1  # value of ExtraSamples

_PHOTOMETRICS = {
    0: "white is zero", 1: "gray", 2: "RGB", 3: "palette", 4: "transparency mask", 5: "CMYK", 6: "YCbCr", 8: "CIE Lab",
    9: "ICC Lab", 32803: "color filter array", 34892: "linear raw",
}  # fmt: skip
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}

Tags = Mapping[int, Any]


def refusal(tags: Tags, is_big_endian: bool) -> str:
    """Return why a TIFF is refused although Pillow decodes it: it would give wrong values without an error.

    Parameters
    ----------
    tags : mapping of int to value
        Of the first page, such as ``image.tag_v2``.
    is_big_endian : bool

    Returns
    -------
    str
        What is wrong and what to do, or "" if Pillow reads the values as they are.
    """
    bits, sample_format = _bits(tags), _sample_format(tags)
    photometric, compression = tags.get(_PHOTOMETRIC), tags.get(_COMPRESSION, _RAW)
    is_planar = tags.get(_PLANAR) == 2 and tags.get(_SAMPLES, 1) > 1
    if is_planar and ((bits > 8 and compression == _RAW) or photometric not in (_RGB, _CMYK, _YCBCR)):
        return "its channels are stored apart (PlanarConfiguration 2). Save it interleaved (PlanarConfiguration 1)"
    if photometric == _WHITE_IS_ZERO and bits > 8:
        return f"0 is white in its {bits}-bit values. Save it so that 0 is black (PhotometricInterpretation 1)"
    if is_big_endian and compression != _RAW and (bits == 32 or (bits > 8 and sample_format != _UNSIGNED)):
        return f"it holds compressed {bits}-bit values in big-endian byte order. Save it uncompressed or little-endian"
    if bits == 8 and sample_format == _SIGNED:
        return "its 8-bit values are signed. Save it with unsigned values"
    if photometric == _YCBCR and compression not in _JPEG:
        return "it holds YCbCr colors without JPEG compression. Save it as RGB"
    if photometric in _LAB:
        return "it holds CIE Lab colors. Save it as RGB"
    if photometric == _CMYK and tags.get(_INK_SET, 1) != 1:
        return "its four channels are not the inks cyan, magenta, yellow and black. Save it as RGB"
    if tags.get(_IMAGE_DEPTH, 1) != 1:
        return "it is a volume, of which one layer would be read. Save the layer to inspect"
    return ""


def is_unsigned_32_bit(tags: Tags) -> bool:
    """Return whether values are unsigned integers of 32 bits, which Pillow gives as signed ones."""
    return _bits(tags) == 32 and _sample_format(tags) == _UNSIGNED


def has_associated_alpha(tags: Tags) -> bool:
    """Return whether colors were multiplied by alpha when they were stored. Pillow divides them, which loses depth."""
    return _ASSOCIATED_ALPHA in tags.get(_EXTRA_SAMPLES, ())


def described(file: IO[bytes]) -> str:
    """Describe a TIFF that Pillow does not decode, such as "64-bit floating-point gray, compression 1"; "" if damaged.

    Parameters
    ----------
    file : binary file object
        At its start.
    """
    header = file.read(8)
    if header[:4] == b"MM\0+":
        return "BigTIFF in big-endian byte order"
    if header[:4] == b"II+\0":  # BigTIFF
        header += file.read(8)
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        bits = _bits(tags)
    except Exception:  # as in `decoding`: a damaged file raises errors of many types
        return ""
    if not {256, 257} <= set(tags):
        return ""
    kind = _FORMATS.get(_sample_format(tags), "unknown")
    colors = _PHOTOMETRICS.get(tags.get(_PHOTOMETRIC, -1), "of an unknown color space")
    n_samples = tags.get(_SAMPLES, 1)
    channels = f"{n_samples} channel{'s' * (n_samples != 1)}"
    return f"{bits}-bit {kind} {colors}, {channels}, compression {tags.get(_COMPRESSION, _RAW)}"


def _bits(tags: Tags) -> int:
    return int(max(tags.get(_BITS, (1,))))


def _sample_format(tags: Tags) -> int:
    return int(max(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))))
