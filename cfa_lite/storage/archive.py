"""The ``.cfa`` file: a ZIP of plain .npy arrays (so NPZ) and one model.json. No pickle, nothing compressed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .. import atomic
from ..errors import ArchiveError

FORMAT = 5
_META = "model.json"
_CHECKSUM = "sha256"
_MAX_META_BYTES = 1 << 20
_MAX_ARRAY_BYTES = 1 << 28
_HEADER_BYTES = 1 << 12  # more than the .npy header of any array that `write` writes
_DTYPES = ("<f4", "|u1")
_DATE = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same fit gives the same bytes


def write(path: str | os.PathLike[str], meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write `meta` (JSON types only) and `arrays` (float32 or uint8) to `path`. No incomplete file is left behind.

    Raises
    ------
    ArchiveError
        If the file cannot be written.
    """
    members = {}
    declared = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        kind = _DTYPES[array.dtype.itemsize == 1]
        np.lib.format.write_array(buffer, np.ascontiguousarray(array, kind), version=(1, 0), allow_pickle=False)
        members[f"{name}.npy"] = buffer.getvalue()
        declared[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        }
    text = json.dumps(signed({"format": FORMAT, **meta, "arrays": declared}), indent=1, allow_nan=False)
    try:
        with atomic.whole_file(path, durable=True) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in {_META: text.encode(), **members}.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be written ({error.strerror or error}). Check the folder and free space."
        ) from error


def signed(meta: dict[str, Any]) -> dict[str, Any]:
    """Add a checksum of the metadata. It detects damage, but does not protect against forgery."""
    meta = {name: value for name, value in meta.items() if name != _CHECKSUM}
    return meta | {_CHECKSUM: hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()}


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the metadata and the arrays of a ``.cfa`` file. Everything is checked before it is used.

    Raises
    ------
    ArchiveError
        If the file is missing, damaged, not a ``.cfa`` file, or of a later format.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if _META not in members:
                raise ArchiveError(
                    f"{path} is not a cfa-lite model (it holds no {_META}). Give a file that `cfa-lite fit` wrote."
                )
            meta = json.loads(_member(archive, members[_META], _MAX_META_BYTES))
            _check_meta(path, meta)
            wanted = {_META, *(f"{name}.npy" for name in meta["arrays"])}
            if set(members) != wanted or len(archive.infolist()) != len(wanted):
                raise ValueError(f"its members differ from those that {_META} lists")
            arrays = {name: _array(archive, members[f"{name}.npy"], entry) for name, entry in meta["arrays"].items()}
    except FileNotFoundError:
        raise ArchiveError(f"{path} does not exist. Check the path, or make it with `cfa-lite fit`.") from None
    except ArchiveError:
        raise
    except IsADirectoryError:
        raise ArchiveError(
            f"{path} is a folder, not a model file. Give the model first, then the images, as in `cfa-lite score"
            " part.cfa line/`."
        ) from None
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be read ({error.strerror or error}). Check the path and its permissions."
        ) from error
    except zipfile.BadZipFile as error:
        raise ArchiveError(
            f"{path} is not a cfa-lite model, or is damaged ({error}). Copy it again, or fit again."
        ) from error
    except Exception as error:  # zipfile and json raise many kinds on damaged bytes
        raise ArchiveError(f"{path} is damaged ({error}). Copy it again, or fit again.") from error
    del meta[_CHECKSUM]
    return meta, arrays


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> bytes:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"member {info.filename!r} is compressed")
    if info.file_size > max_bytes:
        raise ValueError(f"member {info.filename!r} has {info.file_size} bytes, more than {max_bytes}")
    return archive.read(info)


def _check_meta(path: Path, meta: Any) -> None:
    if not isinstance(meta, dict) or not isinstance(meta.get("format"), int):
        raise ArchiveError(
            f"{path} is not a cfa-lite model ({_META} has no format). Give a file that `cfa-lite fit` wrote."
        )
    if meta["format"] != FORMAT:
        raise ArchiveError(
            f"{path} has format {meta['format']}; this version reads format {FORMAT}. Update cfa-lite, or fit again."
        )
    if meta != signed(meta):
        raise ValueError(f"{_META} does not match its checksum")
    arrays = meta.get("arrays")
    if not isinstance(arrays, dict):
        raise ValueError(f"{_META} lists no arrays")
    for name, entry in arrays.items():
        shape = entry["shape"]
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"array {name!r} has dtype {entry['dtype']!r}")
        if not all(isinstance(n, int) and 1 <= n <= 1 << 20 for n in shape) or 4 * math.prod(shape) > _MAX_ARRAY_BYTES:
            raise ValueError(f"array {name!r} has shape {shape}")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, entry: dict[str, Any]) -> np.ndarray:
    shape = tuple(entry["shape"])
    data = _member(archive, info, 4 * math.prod(shape) + _HEADER_BYTES)
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise ValueError(f"array {info.filename!r} does not match its checksum")
    buffer = io.BytesIO(data)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise ValueError(f"array {info.filename!r} does not have .npy version 1.0")
    found, fortran_order, dtype = np.lib.format.read_array_header_1_0(buffer)
    if found != shape or fortran_order or dtype != np.dtype(entry["dtype"]):
        raise ValueError(f"array {info.filename!r} is {dtype} {found}, not {entry['dtype']} {shape}")
    values = np.frombuffer(data, dtype, offset=buffer.tell())
    if values.size != math.prod(shape) or not np.isfinite(values).all():
        raise ValueError(f"array {info.filename!r} is cut short or not finite")
    return values.reshape(shape).astype(dtype.newbyteorder("="))
