"""Results of the images that a model is calibrated with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import ImageError
from ..results import Inspection


def calibration_results(
    inspected: Iterable[Inspection], n: int, progress: Callable[[str, int, int], None] | None
) -> list[Inspection]:
    """Collect the results of `n` images. The limits are to apply to all of them, so none may be left out.

    Raises
    ------
    ImageError
        If an image was not scored.
    """
    results: list[Inspection] = []
    for result in inspected:
        if result.status != "ok":
            told = result.message.removeprefix(result.path).lstrip(" :")
            if result.status == "error":  # told of the path, such as "has 245.8 megapixels"
                raise ImageError(f"{result.path} {told} Remove it from the good images, or replace it.")
            raise ImageError(f"{result.path} cannot be used for calibration. {told} Remove it, or replace it.")
        results.append(result)
        if progress:
            progress("scoring good images", len(results), n)
    return results
