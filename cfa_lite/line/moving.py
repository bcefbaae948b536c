"""Moving inspected images into folders by verdict, so that none is lost or overwritten."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from .. import atomic
from .arrivals import digest
from .journal import Journal
from .records import Move


def free_path(wanted: Path) -> Path:
    """Return a path where no file is: this one, or one with a number."""
    number, free = 1, wanted
    while os.path.lexists(free):
        number += 1
        free = wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}")
    return free


def finish_moves(journal: Journal) -> list[Path]:
    """Move the images of the journal that are not yet at their destinations.

    Parameters
    ----------
    journal : Journal

    Returns
    -------
    list of Path
        Where the images were that are now moved.

    Raises
    ------
    OSError
        If an image cannot be moved. The images before it are moved.
    """
    moved = []
    for move in journal.to_move():
        if _move(journal, move):
            moved.append(move.path)
    return moved


def _move(journal: Journal, move: Move) -> bool:
    """Move an image; return whether it is at its destination. Each step may have been done before a crash."""
    is_there = _holds(move.destination, move.content.digest)
    is_here = _holds(move.path, move.content.digest)
    if is_there:
        if is_here:  # copied to another disk, and not yet removed
            move.path.unlink()
    elif not is_here:
        if move.path.exists():  # a new image has taken its place
            journal.set_destination(move.number, None)
        return False  # otherwise somebody has taken it away, or the share is away
    else:
        destination = free_path(move.destination)
        if destination != move.destination:
            journal.set_destination(move.number, destination)
        destination.parent.mkdir(parents=True, exist_ok=True)
        _rename(move.path, destination)
    journal.set_moved(move.number)
    return True


def _rename(source: Path, destination: Path) -> None:
    try:
        source.rename(destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with source.open("rb") as given, atomic.whole_file(destination, durable=True) as file:
            shutil.copyfileobj(given, file)
        shutil.copystat(source, destination)
        source.unlink()


def _holds(path: Path, expected: bytes) -> bool:
    """Return whether a file exists and has this hash."""
    try:
        return digest(path.read_bytes()) == expected
    except FileNotFoundError:
        return False
