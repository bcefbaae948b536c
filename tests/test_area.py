"""Ignore areas: what is black in the mask is neither learnt from nor scored, nor felt beside it."""

import numpy as np
import pytest
from PIL import Image

from cfa_lite import CFA, ImageError, load
from cfa_lite.features import mask as mask_room


@pytest.fixture(scope="module")
def mask():
    values = np.zeros((64, 96), np.uint8)
    values[:, 40:] = 255
    return values


@pytest.fixture(scope="module")
def images():
    coarse = np.random.default_rng(5).integers(40, 200, (8, 8, 12, 3)).astype(np.uint8)
    return [np.asarray(Image.fromarray(c).resize((96, 64), Image.Resampling.BICUBIC)) for c in coarse]


def spoilt(picture, rng):
    """Anything at all in the ignored part."""
    changed = picture.copy()
    changed[:, :40] = rng.integers(0, 255, (64, 40, 3))
    return changed


@pytest.mark.parametrize("recipe", ["none", "adapted", "paper"])
def test_what_is_ignored_changes_nothing(recipe, images, mask, rng, tmp_path):
    options = dict(recipe=recipe, n_centers=16, gamma_c=16, epochs=1, mask=mask, threads=1)
    model = CFA(**options).fit(images)
    other = CFA(**options).fit([spoilt(p, rng) for p in images])
    assert other.threshold_ == model.threshold_
    model.save(tmp_path / "part.cfa")
    again = load(tmp_path / "part.cfa")
    for picture in images[:3]:
        expected = model.inspect(picture)
        for found in (model.inspect(spoilt(picture, rng)), other.inspect(picture), again.inspect(picture)):
            assert found.raw_score == expected.raw_score
            np.testing.assert_array_equal(found.map, expected.map)
        assert (expected.full_map()[:, :38] == 0).all()
        assert expected.full_map()[:, 44:].max() > 0.3
    whole = CFA(**{**options, "mask": None}).fit(images)
    assert whole.inspect(images[0]).raw_score != whole.inspect(spoilt(images[0], rng)).raw_score


def test_a_defect_is_found_inside_and_not_outside(images, mask):
    model = CFA(n_centers=16, mask=mask, threads=1).fit(images)
    inside, outside = images[0].copy(), images[0].copy()
    inside[20:40, 60:80] = 255
    outside[20:40, 5:25] = 255
    assert model.inspect(inside).score > 1.2 * model.inspect(images[0]).score
    assert model.inspect(outside).raw_score == model.inspect(images[0]).raw_score


def test_mask_of_another_size_or_black_is_refused(images, mask, tmp_path):
    with pytest.raises(ImageError, match="is 96x64 px, but the mask is 48x64 px. Make the mask"):
        CFA(mask=mask[:, :48]).fit(images)
    with pytest.raises(ImageError, match="black everywhere"):
        CFA(mask=np.zeros_like(mask)).fit(images)
    with pytest.raises(ImageError, match="gone.png does not exist"):
        CFA(mask=tmp_path / "gone.png").fit(images)
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(ImageError, match="broken.png cannot be read as a mask"):
        CFA(mask=tmp_path / "broken.png").fit(images)
    thin = np.zeros_like(mask)
    thin[:, 5] = 255
    assert mask_room.read(thin).inside((64, 96)).any()
    with pytest.raises(ImageError, match="too thin"):
        mask_room.read(thin).inside((32, 32))
    model = CFA(n_centers=16, mask=mask, threads=1).fit(images)
    result = model.inspect(images[0][:, :48])
    assert (result.verdict, result.message) == ("INVALID", "48x64 px, but the good images have 96x64 px")
    model.checks = False
    with pytest.raises(ImageError, match="image 0 is 48x64 px, but the mask is 96x64 px"):
        model.inspect(images[0][:, :48])


def test_a_single_image_of_another_size_is_left_out(images, mask):
    model = CFA(n_centers=16, mask=mask, threads=1).fit([*images, images[0][:, :80]])
    assert [name for name, _ in model.skipped_] == ["image 8"]


def test_masks_of_every_kind_read_the_same(mask, tmp_path):
    picture = Image.fromarray(mask)
    files = {
        "a.png": picture,
        "b.bmp": picture.convert("RGB"),
        "c.png": picture.convert("1"),
        "d.png": picture.convert("P"),
    }
    for name, image in files.items():
        image.save(tmp_path / name)
    for given in (mask, mask > 0, mask // 255, picture, *(tmp_path / name for name in files), str(tmp_path / "a.png")):
        np.testing.assert_array_equal(mask_room.read(given).mask, mask > 0)


def test_packed_masks_come_back(rng):
    for shape in ((5, 3), (64, 96)):
        mask = rng.random(shape) > 0.5
        found = mask_room.unpacked(mask_room.InspectionMask(mask).packed(), shape)
        np.testing.assert_array_equal(found.mask, mask)
    with pytest.raises(ValueError, match="bytes"):
        mask_room.unpacked(mask_room.InspectionMask(mask).packed(), (64, 104))


def test_cover_takes_the_nearest_pixel_that_counts():
    mask = np.zeros((8, 8), bool)
    mask[:, 4:] = True
    pixels = np.arange(3 * 64, dtype=np.float32).reshape(3, 8, 8)
    covered = mask_room.InspectionMask(mask).cover(pixels)
    np.testing.assert_array_equal(covered[:, :, 4:], pixels[:, :, 4:])
    np.testing.assert_array_equal(covered[:, :, :4], np.repeat(pixels[:, :, 4:5], 4, axis=2))
