"""--align: shifted parts are inspected where the good parts lie, and everything is told where it is in the image."""

import json

import numpy as np
import pytest
from PIL import Image
from test_changes import SIDE, part
from test_cli import run

from cfa_lite import CFA, PublishedCFA, load
from cfa_lite.errors import ImageError
from cfa_lite.features import alignment
from cfa_lite.features.alignment import Aligner


def scratched(seed, right=0, down=0):
    """A part with a scratch at column 160, row 110 of the part, and its place in the image."""
    image = part(seed, right, down, place=0)
    x, y = 160 + right, 110 + down
    image[y - 3 : y + 3, x - 12 : x + 12] = (40, 200, 60)
    return image, (x, y)


def fitted(**params):
    return CFA(recipe="whitened", preset="fast", threads=1, align=True, **params)


@pytest.fixture(scope="module")
def plates():
    return fitted().fit([part(seed) for seed in range(20)])


@pytest.fixture(scope="module")
def unaligned():
    return CFA(recipe="whitened", preset="fast", threads=1).fit([part(seed) for seed in range(20)])


@pytest.mark.parametrize(("right", "down"), [(12, 0), (-9, 7)])
def test_shifted_good_parts_are_as_good_as_others(plates, unaligned, right, down):
    shifted = [part(seed, right, down) for seed in range(100, 106)]
    scores = np.array([[model.inspect(image).score for image in shifted] for model in (plates, unaligned)])
    there = np.array([plates.inspect(part(seed)).score for seed in range(100, 106)])
    assert scores[0].max() < min(1, scores[1].min())
    assert np.median(scores[1]) > 1.2 * np.median(scores[0])
    assert np.median(scores[0]) == pytest.approx(np.median(there), rel=0.3)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (14, -9), (-12, 11)])
def test_map_regions_and_masks_are_in_the_coordinates_of_the_image(plates, right, down):
    image, (x, y) = scratched(100, right, down)
    result = plates.inspect(image)
    assert result.verdict == "NG"
    region = result.regions[0]
    assert region.peak_px == pytest.approx((x, y), abs=9)
    left, top, width, height = region.box_px
    assert left <= x <= left + width and top <= y <= top + height
    full = result.full_map()
    assert full.shape == (SIDE, SIDE)
    assert np.unravel_index(full.argmax(), full.shape) == pytest.approx((y, x), abs=9)
    assert result.mask_at(SIDE, SIDE)[y, x]
    assert result.raw_score == pytest.approx(float(result.map.max()) * result.raw_limit, rel=1e-5)


def test_what_was_moved_out_is_told(plates):
    result = plates.inspect(part(100, 20, -10))
    assert "shifted by" in result.message
    assert "px at its bottom edge and 20 px at its left edge were not inspected." in result.message
    assert plates.inspect(part(100)).message == ""


def test_an_image_that_cannot_be_aligned_is_inspected_where_it_is(plates, rng):
    noise = rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    result = plates.inspect(noise)
    assert result.verdict in ("NG", "INVALID") and "could not be aligned" in result.message


def test_textures_are_refused(good):
    with pytest.raises(ImageError, match="no common position .* without --align"):
        fitted().fit(good)


def test_different_sizes_are_refused():
    images = [np.asarray(Image.fromarray(part(i)).resize((256 + 64 * (i % 2), 256))) for i in range(8)]
    with pytest.raises(ImageError, match="different sizes cannot be aligned"):
        fitted(checks=False).fit(images)


def test_good_parts_that_are_not_placed_exactly_can_be_fitted(plates):
    rng = np.random.default_rng(3)
    apart = fitted().fit([part(seed, *rng.integers(-10, 11, 2)) for seed in range(20)])
    assert apart.fitted_.aligner.largest_px > 4
    shifted = [part(seed, *rng.integers(-10, 11, 2)) for seed in range(100, 108)]
    assert max(apart.inspect(image).score for image in shifted) < 1
    image, (x, y) = scratched(100, 6, 6)
    result = apart.inspect(image)
    assert result.verdict == "NG" and result.regions[0].peak_px == pytest.approx((x, y), abs=9)


def test_the_most_unusual_images_show_their_maps_where_they_are():
    good = [part(seed) for seed in range(19)]
    odd, (x, y) = scratched(50, 15, 10)
    model = fitted(outliers="count").fit([*good, odd])
    shown = next(one for one in model.most_unusual_ if one.path == "image 19")
    assert np.unravel_index(shown.full_map().argmax(), (SIDE, SIDE)) == pytest.approx((y, x), abs=9)


def test_an_inspection_mask_moves_with_the_part():
    white = np.ones((SIDE, SIDE), bool)
    white[95:125, 140:185] = False  # the scratch
    model = fitted(mask=white).fit([part(seed) for seed in range(20)])
    for right, down in [(0, 0), (14, -9)]:
        assert model.inspect(scratched(100, right, down)[0]).verdict == "OK"


@pytest.mark.slow
def test_large_images_are_aligned_in_tiles():
    def large(image):
        return Image.fromarray(image).resize((5 * SIDE, 5 * SIDE), Image.Resampling.BILINEAR)

    model = fitted(size="full", n_centers=32).fit([large(part(seed, place=0)) for seed in range(4)])
    assert model.fitted_.aligner.size_px == (1280, 1280)  # more than one tile
    image, (x, y) = scratched(100, 9, -6)
    result = model.inspect(large(image))
    assert result.regions[0].peak_px == pytest.approx((5 * x, 5 * y), abs=70)


def test_teaching_uses_the_aligned_images(plates, tmp_path):
    plates.save(tmp_path / "part.cfa")
    model = load(tmp_path / "part.cfa", threads=1)
    image, (x, y) = scratched(100, 13, -8)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y - 3 : y + 3, x - 12 : x + 12] = True
    taught = model.teach([part(seed) for seed in range(20)], {"scratch": [image]}, masks={"scratch": [mask]})
    places = taught.places[0].shown(model.threshold_)
    assert places.regions[0].peak_px == pytest.approx((x, y), abs=14)
    other, at = scratched(101, -10, 6)
    result = model.inspect(other)
    assert result.verdict == "NG" and result.regions[0].peak_px == pytest.approx(at, abs=14)


def test_the_published_recipe_can_align():
    good = [part(seed) for seed in range(10)]
    aligned, plain = (PublishedCFA(epochs=1, threads=1, align=on).fit(good) for on in (True, False))
    there, shifted, far = aligned.inspect(part(100)), aligned.inspect(part(100, 12)), plain.inspect(part(100, 12))
    assert shifted.raw_score - there.raw_score < (far.raw_score - there.raw_score) / 2


def test_commands(tmp_path):
    for name, shift in [("good", 0), ("line", 9)]:
        (tmp_path / name).mkdir()
        for seed in range(12):
            Image.fromarray(part(seed + 50 * (shift > 0), shift)).save(tmp_path / name / f"{seed}.png")
    file = str(tmp_path / "part.cfa")
    fit = ["fit", str(tmp_path / "good"), "-o", file, "--align", "--preset", "fast", "--recipe", "whitened"]
    assert run(*fit).exit_code == 0
    shown = run("info", file).stdout
    assert "alignment        images are moved to where the good images lie, which were off by up to" in shown
    rows = {}
    for workers in ([], ["--workers", "1"]):
        done = run("score", file, tmp_path / "line", "--format", "jsonl", "--no-checks", *workers)
        found = [json.loads(row) for row in done.stdout.splitlines()]
        rows[bool(workers)] = [(row["score"], row["message"]) for row in found]
        assert all("shifted by" in row["message"] for row in found)
    assert rows[True] == rows[False]
    assert run("calibrate", file, tmp_path / "line").exit_code == 0


def test_an_aligner_is_saved(plates, tmp_path):
    plates.save(tmp_path / "part.cfa")
    loaded = load(tmp_path / "part.cfa", threads=1)
    image = part(100, 10, 4)
    assert loaded.inspect(image).raw_score == plates.inspect(image).raw_score
    before = plates.fitted_.aligner
    assert loaded.fitted_.aligner.to_dict() == before.to_dict()
    with pytest.raises(ValueError):
        Aligner.restore({**before.to_dict(), "size_px": [640, 32]}, before.thumbnail)
    with pytest.raises(ValueError):
        Aligner.restore({**before.to_dict(), "quality": float("inf")}, before.thumbnail)


def test_moving_back_is_the_reverse_of_aligning(rng):
    values = rng.random((7, 9)).astype(np.float32)
    for shift in [(0, 0), (2, -3), (-1, 4)]:
        back = alignment.moved_back(alignment.aligned(values, shift), shift)
        rows = slice(max(0, shift[0]), 7 + min(0, shift[0]))
        columns = slice(max(0, shift[1]), 9 + min(0, shift[1]))
        assert np.array_equal(back[rows, columns], values[rows, columns])
        outside = np.ones_like(values, bool)
        outside[rows, columns] = False
        assert (back[outside] == back.min()).all()
