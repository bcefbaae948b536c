"""What the journal of a watch keeps of an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Content:
    """What a file held when it was read.

    Attributes
    ----------
    stamp : (int, int)
        Size in bytes and time of the last change in nanoseconds.
    digest : bytes
        Hash of the content, b"" if it could not be read.
    """

    stamp: tuple[int, int]
    digest: bytes


@dataclass(frozen=True)
class Kept:
    """An inspected image.

    Attributes
    ----------
    number : int
        Of the image in the journal, from 1 on.
    path : Path
        Where it was.
    destination : Path or None
        Where it is moved.
    content : Content
    name : str
        For its output files; no other image has it.
    row : bytes
    """

    number: int
    path: Path
    destination: Path | None
    content: Content
    name: str
    row: bytes


@dataclass(frozen=True)
class Move:
    """An image that must be moved to its destination.

    Attributes
    ----------
    number : int
        Of the image in the journal.
    path, destination : Path
    content : Content
    """

    number: int
    path: Path
    destination: Path
    content: Content
