"""Finding image files in folders, and naming what was left out of them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import features

from ..errors import ImageError

# Endings of the formats that `decoding` opens. JPEG 2000 is an optional part of Pillow.
_JPEG_2000 = (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx") if features.check("jpg_2000") else ()
SUFFIXES = frozenset((
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".pgm", ".ppm",
    ".pnm", ".pbm", ".pfm", ".gif", *_JPEG_2000,
))  # fmt: skip

# Reasons to leave out something that has an ending of `SUFFIXES`, or is a folder.
HIDDEN_FILE, HIDDEN_FOLDER = "hidden", "hidden folder"
LINKED_FOLDER, UNREADABLE_FOLDER = "linked folder", "unreadable folder"
WRITTEN = "in folders of outputs"

_N_REASONS, _N_NAMES = 4, 3  # that a line names; it counts the others

T = TypeVar("T")


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

    def __fspath__(self) -> str:
        """Return the path, so that an image file can be passed where a path is expected."""
        return os.fspath(self.path)


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that a search did not take.

    Attributes
    ----------
    path : Path
    reason : str
        "of .txt" or "of no ending" for a file that is no image by its name, "hidden" for a hidden image, "linked
        folder", "unreadable folder" or "hidden folder".
    """

    path: Path
    reason: str

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder, in which nothing was searched."""
        return self.reason.endswith("folder")


class Found(Sequence[T]):
    """What a search found, in order, and what it left out.

    Parameters
    ----------
    items : iterable
    left_out : iterable of LeftOut
    """

    def __init__(self, items: Iterable[T], left_out: Iterable[LeftOut] = ()) -> None:
        self._items = tuple(items)
        self.left_out = tuple(left_out)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)


def find_images(inputs: Iterable[str | os.PathLike[str]]) -> Found[ImageFile]:
    """Find images among files and, recursively, in folders.

    Parameters
    ----------
    inputs : iterable of str or path
        A file is taken whatever its suffix. In folders, files with a suffix of `SUFFIXES` are taken; hidden files and
        folders are skipped, and links to folders are not followed.

    Returns
    -------
    sequence of ImageFile
        Each file once. The files of a folder are sorted. Its attribute `left_out`, a tuple of `LeftOut`, has what the
        folders hold besides. `summary` puts it into words.

    Raises
    ------
    ImageError
        If an input does not exist or cannot be read, or a folder contains no image.
    """
    found: dict[str, ImageFile] = {}
    left_out: dict[Path, LeftOut] = {}
    for given in map(Path, inputs):
        if given.is_dir():
            files, others = _search(given)
            if not files:
                besides = f" {line}" if (line := summary(others)) else ""
                raise ImageError(
                    f"{given} contains no image ({', '.join(sorted(SUFFIXES))}).{besides} Give the path of another"
                    " folder."
                )
            left_out.update((other.path, other) for other in others)
        elif given.exists():
            files = [ImageFile(given, Path(given.name))]
        else:
            raise ImageError(f"{given} does not exist. Check the path.")
        for file in files:
            found.setdefault(os.path.realpath(file.path), file)
    named = {file.path for file in found.values()}  # a file of another ending may be named beside its folder
    return Found(found.values(), (other for path, other in left_out.items() if path not in named))


def _search(root: Path) -> tuple[list[ImageFile], list[LeftOut]]:
    files: list[ImageFile] = []
    left_out: list[LeftOut] = []

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == root:
            raise ImageError(f"{root} cannot be read ({error.strerror}). Check its permissions.") from error
        left_out.append(LeftOut(Path(error.filename), UNREADABLE_FOLDER))

    for folder, subfolders, names in os.walk(root, onerror=unreadable):
        linked = {name for name in subfolders if os.path.islink(os.path.join(folder, name))}  # noqa: PTH114, PTH118  (no Path per file)
        hidden = {name for name in subfolders if name.startswith(".")}
        left_out += [LeftOut(Path(folder, name), HIDDEN_FOLDER) for name in sorted(hidden)]
        left_out += [LeftOut(Path(folder, name), LINKED_FOLDER) for name in sorted(linked - hidden)]
        subfolders[:] = sorted(set(subfolders) - linked - hidden)
        for name in sorted(names):
            path = Path(folder, name)
            reason = _reason(path)
            if reason is None:
                files.append(ImageFile(path, path.relative_to(root)))
            elif reason:
                left_out.append(LeftOut(path, reason))
    return files, left_out


def _reason(path: Path) -> str | None:
    """Return why a file is left out of a folder: None if it is taken, "" if it is not worth a word."""
    ending = path.suffix.lower()
    if path.name.startswith("."):
        return HIDDEN_FILE if ending in SUFFIXES else ""  # such as .DS_Store
    return None if ending in SUFFIXES else f"of {ending or 'no ending'}"


def beside_folders(folder: Path) -> list[LeftOut]:
    """Return the files and hidden folders of a folder of which only the other folders are searched."""
    left_out = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            reason = HIDDEN_FOLDER if path.name.startswith(".") else ""
        else:
            reason = _reason(path) or ("" if path.name.startswith(".") else f"of {path.suffix.lower()}")
        if reason:
            left_out.append(LeftOut(path, reason))
    return left_out


def summary(left_out: Sequence[LeftOut]) -> str:
    """Put what was left out into words.

    Parameters
    ----------
    left_out : sequence of LeftOut

    Returns
    -------
    str
        One line, such as "3 files were left out: 2 of .txt, 1 of no ending (a.txt, b.txt, notes).", or "" if nothing
        was left out.
    """
    if not left_out:
        return ""
    n_folders = sum(one.is_folder for one in left_out)
    counts = [(len(left_out) - n_folders, "file"), (n_folders, "folder")]
    counted = " and ".join(f"{n} {noun}{'s' * (n != 1)}" for n, noun in counts if n)
    # Folders come first: a folder may hold many images.
    ordered = sorted(left_out, key=lambda one: not one.is_folder)
    reasons = Counter(one.reason for one in ordered).most_common()
    reasons.sort(key=lambda counted: not counted[0].endswith("folder"))
    told = [f"{n} {reason}{'s' * (n != 1 and reason.endswith('folder'))}" for reason, n in reasons[:_N_REASONS]]
    if others := sum(n for _, n in reasons[_N_REASONS:]):
        told.append(f"{others} others")
    names = [one.path.name for one in ordered[:_N_NAMES]] + ["..."] * (len(ordered) > _N_NAMES)
    verb = "was" if len(left_out) == 1 else "were"
    line = f"{counted} {verb} left out: {', '.join(told)} ({', '.join(names)})."
    return "".join(c if c.isprintable() else "?" for c in line)  # a file name may contain line ends


def time_of(image: object) -> str:
    """Return when the file of an image was last changed, in local time: YYYY-MM-DD HH:MM:SS.

    Empty if the image is no path, or the file is away.
    """
    if not isinstance(image, (str, os.PathLike)):
        return ""
    try:
        changed = time.localtime(Path(image).stat().st_mtime)
    except (OSError, ValueError, OverflowError):  # also a time that the system cannot show
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", changed)
