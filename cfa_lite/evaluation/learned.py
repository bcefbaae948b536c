"""Test images that a model has learned from: figures with them are better than those of new images."""

from __future__ import annotations

from collections.abc import Sequence

from .. import threads
from ..base.inspector import Inspector
from ..errors import ImageError
from ..features import alignment, fingerprints, images
from .ground_truth import LabeledImage


def find(model: Inspector, tested: Sequence[LabeledImage]) -> list[LabeledImage]:
    """Find the images that a model has learned from, as good images of the fit or as known defects.

    Parameters
    ----------
    model : CFA or PublishedCFA
    tested : sequence of LabeledImage

    Returns
    -------
    list of LabeledImage
        Those with the same pixels, whatever their names. Good images that only `teach` or `calibrate` was given are not
        known. An image that cannot be read is not among them.
    """
    product = model.fitted_
    known = {image.fingerprint for image in product.taught}
    if product.learned is not None:
        known.update(fingerprints.from_array(product.learned.fingerprints))
    if not known:
        return []
    backbone, scorer = model.open_backbone(), product.scorer

    def is_known(one: LabeledImage) -> bool:
        try:
            loaded = images.read(one.path, str(one.path), product.value_range, model.max_megapixels)
            if scorer.mask is not None:
                scorer.mask.check_size(loaded.size_px, str(one.path))
        except ImageError:
            return False  # the evaluation tells why
        pixels = images.to_pixels(loaded, scorer.working_size(loaded.size_px, backbone))
        return fingerprints.of_pixels(alignment.placed(pixels, product.aligner, scorer.mask)[0]) in known

    found = threads.ordered_map(is_known, tested, threads.resolve(model.threads))
    return [one for one, is_learned in zip(tested, found) if is_learned]


def without(tested: Sequence[LabeledImage], learned: Sequence[LabeledImage]) -> list[LabeledImage]:
    """Leave out the images that a model has learned from.

    Raises
    ------
    ImageError
        If no good or no defective image is left.
    """
    left_out = {one.path for one in learned}
    rest = [one for one in tested if one.path not in left_out]
    for is_defective, kind in ((False, "good"), (True, "defective")):
        if not any(one.defective == is_defective for one in rest):
            raise ImageError(f"The model has learned from all {kind} images. Evaluate it with other ones.")
    return rest


def remark(tested: Sequence[LabeledImage], learned: Sequence[LabeledImage], is_left_out: bool) -> str:
    """Tell how many of the images a model has learned from, "" if none; `tested` includes them."""
    told: list[str] = []
    for is_defective, kind in ((True, "defective"), (False, "good")):
        n = sum(one.defective == is_defective for one in learned)
        of = sum(one.defective == is_defective for one in tested)
        if n:
            told.append(
                f"{n} of {'these ' if not told else ''}{of} {kind} images {'was' if n == 1 else 'were'} learned from"
            )
    if not told:
        return ""
    end = "They are left out." if is_left_out else "Figures with them are optimistic. --unseen-only leaves them out."
    return f"{' and '.join(told)}. {end}"
