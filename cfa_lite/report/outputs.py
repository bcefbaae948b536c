"""What a scoring run leaves on disk besides its rows: one map, mask or overlay an image, and text files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from .. import atomic
from ..errors import OutputError
from ..features.images import ImageFile
from ..results import Inspection


def make_folder(path: str | os.PathLike) -> Path:
    """Make a folder for maps or overlays and see that it can be written to.

    Raises
    ------
    OutputError
        If it cannot.
    """
    with writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
        with atomic.whole_file(Path(path, ".cfa-lite-check")):
            pass
        Path(path, ".cfa-lite-check").unlink()
    return Path(path)


def write_image(image: Image.Image, path: Path, below: Path | None = None) -> None:
    """Write a PNG or TIFF, by the ending of `path`, whole or not at all.

    Folders are made as needed; if `below` is given, only those in it. Were one that was deleted while a run goes on
    made again, images whose rows are there would be missing without a word.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with writing(path):
        if below is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            folder = below
            for part in path.parent.relative_to(below).parts:
                folder /= part
                folder.mkdir(exist_ok=True)
        with atomic.whole_file(path) as file:
            image.save(file, "PNG" if path.suffix == ".png" else "TIFF")


def write_text(text: str, path: str | os.PathLike) -> None:
    """Write a text file, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with writing(path), atomic.whole_file(path) as file:
        file.write(text.encode())


def write_map(result: Inspection, path: Path, below: Path | None = None) -> None:
    """Write an image's map at the image's own size: 32-bit float TIFF, 1.0 is the limit."""
    write_image(Image.fromarray(result.full_map()), path, below)


def write_mask(result: Inspection, path: Path, below: Path | None = None) -> None:
    """Write where an image's regions are, at the image's own size: 8-bit PNG, 255 inside and 0 outside."""
    h, w = result.image_size_px
    write_image(Image.fromarray(np.where(result.mask_at(w, h), np.uint8(255), np.uint8(0))), path, below)


def output_names(pictures: Sequence[ImageFile]) -> list[Path]:
    """Where each image's outputs go, relative and without ending.

    The same folders as in the input and the image's name without its ending. Where two images
    would meet (also where upper and lower case are one), all of them keep their endings; those that
    still meet get the name of the folder they were found in before them, and then a number.
    """
    names = [picture.relative.with_suffix("") for picture in pictures]
    with_ending = [picture.relative for picture in pictures]
    below_input = [Path(_input_name(p), name) for p, name in zip(pictures, names)]
    for others in (with_ending, below_input):
        shared = _shared(names)
        names = [other if _key(name) in shared else name for name, other in zip(names, others)]
    taken: set[str] = set()
    for i, name in enumerate(names):
        number = 1
        while _key(names[i]) in taken:
            number += 1
            names[i] = name.with_name(f"{name.name}_{number}")
        taken.add(_key(names[i]))
    return names


def _input_name(picture: ImageFile) -> str:
    """Name of the folder that was given, or that the file given lies in."""
    path = picture.path if picture.path.is_absolute() else picture.path.absolute()
    return path.parents[len(picture.relative.parts) - 1].name


def _key(name: Path) -> str:
    return name.as_posix().casefold()


def _shared(names: list[Path]) -> set[str]:
    seen: set[str] = set()
    return {key for key in map(_key, names) if key in seen or seen.add(key)}  # type: ignore[func-returns-value]


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """A block that writes `path`; what the system says of it becomes OutputError."""
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror or error}). Choose another place, or free it."
        raise OutputError(message) from error
