"""Finding image files in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"))


@dataclass(frozen=True)
class ImageFile:
    """An image file.

    Attributes
    ----------
    path : Path
    relative : Path
        Path below the folder in which the image was found; for a file that was named, the file name.
    """

    path: Path
    relative: Path


def find_images(inputs: Iterable[str | os.PathLike[str]]) -> list[ImageFile]:
    """Find images among files and, recursively, in folders.

    Parameters
    ----------
    inputs : iterable of str or path
        A file is taken whatever its suffix. In folders, files with a suffix of `SUFFIXES` are taken; hidden files and
        folders are skipped.

    Returns
    -------
    list of ImageFile
        Each file once. The files of a folder are sorted.

    Raises
    ------
    ImageError
        If an input does not exist or a folder contains no image.
    """
    found: dict[str, ImageFile] = {}
    for given in map(Path, inputs):
        if given.is_dir():
            files = []
            for folder, subfolders, names in os.walk(given):
                subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
                for name in sorted(names):
                    if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                        path = Path(folder, name)
                        files.append(ImageFile(path, path.relative_to(given)))
            if not files:
                raise ImageError(
                    f"{given} contains no image ({', '.join(sorted(SUFFIXES))}). Give the path of another folder."
                )
        elif given.exists():
            files = [ImageFile(given, Path(given.name))]
        else:
            raise ImageError(f"{given} does not exist. Check the path.")
        for file in files:
            found.setdefault(os.path.realpath(file.path), file)
    return list(found.values())
