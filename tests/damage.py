"""Damaged files for tests/test_fuzz.py and benchmarks/fuzz.py. Each function damages the bytes of an intact file."""

import hashlib
import io
import json
import warnings
import zipfile

import numpy as np

from cfa_lite.storage import archive


def of_archive(whole, rng):
    """Damage a .cfa file in a random way."""
    kind = ARCHIVE_KINDS[rng.integers(len(ARCHIVE_KINDS))]
    return kind.__name__, kind(whole, rng)


def of_bytes(whole, rng):
    """Damage any file in a random way."""
    kind = BYTE_KINDS[rng.integers(len(BYTE_KINDS))]
    return kind.__name__, kind(whole, rng)


def cut(whole, rng):
    return whole[: rng.integers(len(whole))]


def flipped_bits(whole, rng):
    damaged = bytearray(whole)
    for _ in range(rng.integers(1, 9)):
        damaged[_place(whole, rng)] ^= 1 << rng.integers(8)
    return bytes(damaged)


def overwritten(whole, rng):
    at, n = _place(whole, rng), int(rng.integers(1, 65))
    return whole[:at] + rng.bytes(min(n, len(whole) - at)) + whole[at + n :]


def inserted(whole, rng):
    at = _place(whole, rng)
    return whole[:at] + rng.bytes(int(rng.integers(1, 65))) + whole[at:]


def deleted(whole, rng):
    at = _place(whole, rng)
    return whole[:at] + whole[at + int(rng.integers(1, 65)) :]


def noise(whole, rng):
    return rng.bytes(int(rng.integers(0, 4096)))


BYTE_KINDS = (cut, flipped_bits, overwritten, inserted, deleted, noise)


def _place(whole, rng):
    """Return a random position. Start and end of the file are more likely, because they hold the fields of a format."""
    near = rng.integers(3)
    n = len(whole)
    return int(
        rng.integers(n) if near == 0 else rng.integers(min(n, 512)) if near == 1 else n - 1 - rng.integers(min(n, 2048))
    )


def swapped_members(whole, rng):
    contents = _members(whole)
    one, other = rng.choice([name for name in contents if name != "model.json"], 2, replace=False)
    contents[one], contents[other] = contents[other], contents[one]
    return _archive(contents)


def removed_member(whole, rng):
    contents = _members(whole)
    del contents[rng.choice(list(contents))]
    return _archive(contents)


def renamed_member(whole, rng):
    contents = _members(whole)
    name = rng.choice(list(contents))
    contents[str(rng.choice(["../up.npy", "a.npy", name.upper(), "x" * 300]))] = contents.pop(name)
    return _archive(contents)


def added_member(whole, rng):
    return _archive(_members(whole) | {"more.npy": _npy(np.zeros(3, np.float32))})


def duplicated_member(whole, rng):
    """Add a second member of the same name. Readers differ in which one they take."""
    file = io.BytesIO(whole)
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as out:
        warnings.simplefilter("ignore")
        name = str(rng.choice(out.namelist()))
        out.writestr(name, out.read(str(rng.choice(out.namelist()))))
    return file.getvalue()


def other_array(whole, rng):
    contents = _members(whole)
    name = rng.choice([name for name in contents if name.endswith(".npy")])
    return _archive(contents | {name: _npy(_another(np.load(io.BytesIO(contents[name])), rng))})


def _another(old, rng):
    return (
        old.astype(np.float64), old[..., None], old.ravel()[:-1], np.array([{"a": 1}], object), old.astype("<U8"),
        np.full(old.shape, np.float32(np.nan)), np.asfortranarray(np.atleast_2d(old)), old.astype(">f4"),
    )[rng.integers(8)]  # fmt: skip


def huge_shape(whole, rng):
    """Declare far more values in a header than there are."""
    contents = _members(whole)
    name = rng.choice([name for name in contents if name.endswith(".npy")])
    shape = [(1 << 31, 1 << 31), (1 << 40,), (-1,), (0,)][rng.integers(4)]
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    meta = json.loads(contents["model.json"])
    if rng.integers(2):
        meta["arrays"][name[:-4]]["shape"] = list(shape)
    return _archive(contents | {name: file.getvalue() + b"\0" * 64, "model.json": json.dumps(meta).encode()})


def compressed(whole, rng):
    return _archive(_members(whole), zipfile.ZIP_DEFLATED)


def bomb(whole, rng, name=None):
    """Compress a member of 200 MB (any if `name` is None) to 200 kB."""
    contents = _members(whole)
    name = name or str(rng.choice(list(contents)))
    file = io.BytesIO(_archive({other: data for other, data in contents.items() if other != name}))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as out:
        out.writestr(name, b" " * 200_000_000)
    return file.getvalue()


ODD_VALUES = (
    None, True, -1, 0, 1e308, "text", [], {}, [[[]]], float("nan"), float("inf"), "\ud800", 10**400, 99,
)  # fmt: skip


def changed_json(whole, rng):
    """Replace any value of model.json."""
    contents = _members(whole)
    meta = json.loads(contents["model.json"])
    holder, key = _any_value(meta, rng)
    holder[key] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
    return _archive(contents | {"model.json": json.dumps(meta).encode("utf-8", "surrogatepass")})


def deep_json(whole, rng):
    return _archive(_members(whole) | {"model.json": b"[" * 100_000})


def later_format(whole, rng):
    contents = _members(whole)
    meta = json.loads(contents["model.json"]) | {"format": int(rng.integers(4, 100))}
    return _archive(contents | {"model.json": json.dumps(meta).encode()})


def foreign(whole, rng):
    file = io.BytesIO()
    np.savez(file, a=np.zeros(4), b=np.ones((2, 2)))
    return file.getvalue()


ARCHIVE_KINDS = (
    *BYTE_KINDS, swapped_members, removed_member, renamed_member, added_member, duplicated_member, other_array,
    huge_shape, compressed, changed_json, changed_json, changed_json, deep_json, later_format, foreign,
)  # fmt: skip


def forged(whole, rng):
    """Replace a value or an array, and update every checksum."""
    contents = _members(whole)
    meta = json.loads(contents["model.json"])
    if rng.integers(2):
        holder, key = _any_value(meta, rng)
        holder[key] = ODD_VALUES[rng.integers(len(ODD_VALUES) - 2)]  # 99 as scale is legal, and slow
        what = f"{key}={str(holder[key])[:20]}"
    else:
        name = str(rng.choice(list(meta["arrays"])))
        new = _another(np.load(io.BytesIO(contents[f"{name}.npy"])), rng)
        contents[f"{name}.npy"] = _npy(new)
        sha256 = hashlib.sha256(contents[f"{name}.npy"]).hexdigest()
        meta["arrays"][name] = {"dtype": new.dtype.str, "shape": list(new.shape), "sha256": sha256}
        what = f"{name} {new.dtype} {new.shape}"
    return what, _archive(contents | {"model.json": json.dumps(archive.signed(meta)).encode("utf-8", "surrogatepass")})


def _any_value(meta, rng):
    holder, key = meta, rng.choice(sorted(meta))
    while isinstance(holder[key], (dict, list)) and holder[key] and rng.integers(4):
        holder = holder[key]
        key = rng.choice(sorted(holder)) if isinstance(holder, dict) else int(rng.integers(len(holder)))
    return holder, key


def _members(whole):
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        return {name: file.read(name) for name in file.namelist()}


def _archive(contents, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, data in contents.items():
            out.writestr(name, data)
    return file.getvalue()


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def images(rng):
    """Return intact image files of every supported format, by name."""
    from PIL import Image

    gray = Image.fromarray(rng.integers(0, 256, (40, 48)).astype(np.uint8))
    color = Image.fromarray(rng.integers(0, 256, (40, 48, 3)).astype(np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (40, 48)).astype(np.uint16))
    big_endian = Image.frombytes("I;16B", (48, 40), rng.bytes(2 * 48 * 40))
    turned = Image.Exif()
    turned[0x0112] = 6
    found = {}
    for name, image, options in (
        ("gray.png", gray, {}), ("deep.png", deep, {}), ("palette.png", color.convert("P"), {}),
        ("alpha.png", color.convert("RGBA"), {}), ("turned.png", color, {"exif": turned}),
        ("moving.png", color, {"save_all": True, "append_images": [color.rotate(180)]}),
        ("a.jpg", color, {}), ("turned.jpg", color, {"exif": turned}), ("cmyk.jpg", color.convert("CMYK"), {}),
        ("progressive.jpg", color, {"progressive": True}), ("a.bmp", color, {}),
        ("palette.bmp", color.convert("P"), {}),
        ("a.tiff", color, {}), ("lzw.tiff", gray, {"compression": "tiff_lzw"}), ("deep.tiff", deep, {}),
        ("bits.tiff", gray.convert("1"), {"compression": "group4"}), ("big_endian.tiff", big_endian, {}),
        ("pages.tiff", gray, {"save_all": True, "append_images": [gray]}),
        ("a.webp", color, {}), ("lossless.webp", color, {"lossless": True}), ("a.pgm", gray, {}),
        ("a.ppm", color, {}),
    ):  # fmt: skip
        file = io.BytesIO()
        ending = name.rsplit(".", 1)[1].upper().replace("JPG", "JPEG").replace("PGM", "PPM")
        image.save(file, ending, **options)
        found[name] = file.getvalue()
    return found
