"""Files of a run other than its table: maps, masks, overlays and text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from .. import atomic
from ..errors import OutputError
from ..features.images import ImageFile
from ..results import Inspection


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder for output files and check that files can be written to it.

    Parameters
    ----------
    path : path

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If the folder cannot be made or written to.
    """
    folder = Path(path)
    with writing(folder if folder.name else folder.absolute()):  # "." tells nobody which folder
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".cfa-lite-check"
        with atomic.whole_file(probe):
            pass
        probe.unlink()
    return folder


def refuse_overwriting(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Check that no output file is an input of the run, is written twice, or is a folder.

    Parameters
    ----------
    targets : iterable of Path
        Files that the run will write.
    inputs : iterable of Path
        Files that the run reads, such as images and the model.

    Raises
    ------
    OutputError
        If a file is in both, or twice among `targets`, or a folder has its name.
    """
    read = {path.resolve(): path for path in inputs}
    written: dict[Path, Path] = {}
    for target in targets:
        place = target.resolve()
        if place in read:
            raise OutputError(f"{target} would overwrite {read[place]}, which this run reads. Choose another file.")
        if written.setdefault(place, target) is not target:
            raise OutputError(f"{target} is given for two outputs. Choose different files.")
        if target.is_dir():
            raise OutputError(f"{target} is a folder. Give the name of a file.")


def write_image(image: Image.Image, path: Path, below: Path | None = None) -> None:
    """Write a PNG or TIFF file, as the extension of `path` says.

    Parameters
    ----------
    image : PIL.Image.Image
    path : Path
    below : Path, optional
        Folder that must exist; only folders inside it are made. By default all missing folders are made. A folder that
        is deleted during a run must not be made again: the files of earlier rows would be missing without a message.

    Raises
    ------
    OutputError
        If the file cannot be written. No incomplete file is left behind.
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


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write a UTF-8 text file.

    Parameters
    ----------
    text : str
    path : path

    Raises
    ------
    OutputError
        If the file cannot be written. No incomplete file is left behind.
    """
    with writing(path), atomic.whole_file(path) as file:
        file.write(text.encode())


def write_map(result: Inspection, path: Path, below: Path | None = None) -> None:
    """Write the anomaly map at the size of the image: 32-bit float TIFF, 1.0 is the limit. See `write_image`."""
    write_image(Image.fromarray(result.full_map()), path, below)


def write_mask(result: Inspection, path: Path, below: Path | None = None) -> None:
    """Write the mask of all regions at the size of the image: 8-bit PNG, 255 inside, 0 outside. See `write_image`."""
    _write_mask(result.mask_at(*result.image_size_px[::-1]), path, below)


def write_core_mask(result: Inspection, path: Path, below: Path | None = None) -> None:
    """Write the mask of the cores of all regions, as `write_mask`. See `Region.core_box_px`."""
    _write_mask(result.core_at(*result.image_size_px[::-1]), path, below)


def _write_mask(inside: np.ndarray, path: Path, below: Path | None) -> None:
    write_image(Image.fromarray(np.where(inside, np.uint8(255), np.uint8(0))), path, below)


def output_names(files: Sequence[ImageFile]) -> list[Path]:
    """Return a unique name for the output files of each image.

    Parameters
    ----------
    files : sequence of ImageFile

    Returns
    -------
    list of Path
        Relative paths without extension, in the order of `files`. A name has the folders of the input and the name of
        the image without its extension. Images whose names would be equal, ignoring case, keep their extensions. If
        names are still equal, the name of the input folder is put in front, and then a number is added.
    """
    names = [file.relative.with_suffix("") for file in files]
    with_extension = [file.relative for file in files]
    in_input_folder = [Path(_input_folder(file), name) for file, name in zip(files, names)]
    for others in (with_extension, in_input_folder):
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


def _input_folder(file: ImageFile) -> str:
    """Return the name of the folder that the user gave, or that contains the file that the user gave."""
    path = file.path if file.path.is_absolute() else file.path.absolute()
    return path.parents[len(file.relative.parts) - 1].name


def _key(name: Path) -> str:
    return name.as_posix().casefold()


def _shared(names: list[Path]) -> set[str]:
    counts = Counter(map(_key, names))
    return {key for key, n in counts.items() if n > 1}


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError in a block that writes `path` into an OutputError."""
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror or error}). Check the folder and the free space."
        raise OutputError(message) from error
