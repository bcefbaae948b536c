"""Whether enough of the images that were given can be used, and the messages about the others."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ImageError, one_line
from ..fitted import SkippedImage

_N_LISTED = 3  # images in an error


def check_count(n_given: int, messages: Sequence[str]) -> None:
    """Check that enough images are left to fit; `messages` are about those that cannot be used.

    Raises
    ------
    ImageError
        If fewer than two are left.
    """
    n_usable = n_given - len(messages)
    if n_usable < 2:
        raise ImageError(
            f"{n_usable} of {n_given} images can be used. At least 2 good images are needed; 20 or more are"
            f" better.{listed(messages)}"
        )


def check_most(n_used: int, skipped: Sequence[SkippedImage]) -> None:
    """Check that new limits speak for most of the good images that were given.

    Raises
    ------
    ImageError
        If none is used, or fewer than are left out.
    """
    if n_used == 0 or n_used < len(skipped):
        raise ImageError(
            f"{n_used} of {n_used + len(skipped)} good images can be used, too few for new limits. Check the folder. If"
            f" the camera or the light has changed, fit again.{listed([one.message for one in skipped])}"
        )


def listed(messages: Sequence[str]) -> str:
    """Return messages for the end of an error: a line each, and the number of those beyond the first three."""
    more = [f"and {len(messages) - _N_LISTED} more"] if len(messages) > _N_LISTED else []
    return "".join(f"\n  {one_line(message)}" for message in [*messages[:_N_LISTED], *more])
