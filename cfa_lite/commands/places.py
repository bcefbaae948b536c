"""Arguments in each other's place: a folder of images where the model belongs, and a model among images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import ArchiveError, ImageError


def check(part: Path | None, images: Sequence[Path]) -> None:
    """Check that a command got a model and images, each in its place.

    Parameters
    ----------
    part : Path or None
        What was given as the model. None for a command that takes none.
    images : sequence of Path
        What was given as images, in all arguments and options together.

    Raises
    ------
    ArchiveError
        If `part` is a folder or an image.
    ImageError
        If a model is among `images`.
    """
    from ..features.image_files import SUFFIXES

    command = f"cfa-lite {click.get_current_context().info_name}"
    models = [path for path in images if path.suffix.lower() == ".cfa" and not path.is_dir()]
    if part is not None and (part.is_dir() or part.suffix.lower() in SUFFIXES):
        kind = "a folder" if part.is_dir() else "an image"
        swapped = f" {models[0]} and {part} are swapped." if models else ""
        model, given = (models[0], part) if models else ("part.cfa", "line/")
        command = command.replace("info", "score")
        option = "--good " if command.endswith("teach") else ""
        raise ArchiveError(
            f"{part} is {kind}, not a model file. Give the model first, then the images, as in"
            f" `{command} {model} {option}{given}`.{swapped}"
        )
    if models and part is None:
        raise ImageError(
            f"{models[0]} is a model, not an image. `{command}` learns from images and writes the model, as in"
            f" `{command} good/ -o {models[0]}`."
        )
    if models:
        raise ImageError(
            f"{models[0]} is a model, not an image. `{command}` takes one model, and then images and folders."
        )
