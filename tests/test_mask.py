"""The inspection mask: ignored pixels are neither learned nor scored, and do not affect the others."""

import numpy as np
import pytest
from PIL import Image

from cfa_lite import CFA, ImageError, PublishedCFA, load
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


def with_ignored_pixels_changed(image, rng):
    """Replace the ignored pixels by random values."""
    changed = image.copy()
    changed[:, :40] = rng.integers(0, 255, (64, 40, 3))
    return changed


@pytest.mark.parametrize("recipe", ["whitened", "adapted", "published"])
def test_ignored_pixels_change_nothing(recipe, images, mask, rng, tmp_path):
    published = recipe == "published"
    cls, options = PublishedCFA if published else CFA, {"mask": mask, "threads": 1}
    options.update({"gamma_c": 16, "epochs": 1} if published else {"recipe": recipe, "n_centers": 16})
    model = cls(**options).fit(images)
    other = cls(**options).fit([with_ignored_pixels_changed(p, rng) for p in images])
    assert other.threshold_ == model.threshold_
    model.save(tmp_path / "part.cfa")
    again = load(tmp_path / "part.cfa")
    for image in images[:3]:
        expected = model.inspect(image)
        for found in (
            model.inspect(with_ignored_pixels_changed(image, rng)),
            other.inspect(image),
            again.inspect(image),
        ):
            assert found.raw_score == expected.raw_score
            np.testing.assert_array_equal(found.map, expected.map)
        assert (expected.full_map()[:, :38] == 0).all()
        assert expected.full_map()[:, 44:].max() > 0.3
    whole = cls(**{**options, "mask": None}).fit(images)
    assert whole.inspect(images[0]).raw_score != whole.inspect(with_ignored_pixels_changed(images[0], rng)).raw_score


def test_a_defect_is_found_inside_and_not_outside(images, mask):
    model = CFA(n_centers=16, mask=mask, threads=1).fit(images)
    inside, outside = images[0].copy(), images[0].copy()
    inside[20:40, 60:80] = 255
    outside[20:40, 5:25] = 255
    assert model.inspect(inside).score > 1.2 * model.inspect(images[0]).score
    assert model.inspect(outside).raw_score == model.inspect(images[0]).raw_score


def test_mask_of_another_size_or_black_is_refused(images, mask, tmp_path):
    with pytest.raises(ImageError, match="is 96x64 px, but the inspection mask is 48x64 px. Draw the mask"):
        CFA(mask=mask[:, :48]).fit(images)
    with pytest.raises(ImageError, match="black everywhere"):
        CFA(mask=np.zeros_like(mask)).fit(images)
    with pytest.raises(ImageError, match="gone.png does not exist"):
        CFA(mask=tmp_path / "gone.png").fit(images)
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(ImageError, match="broken.png cannot be read as an inspection mask"):
        CFA(mask=tmp_path / "broken.png").fit(images)
    thin = np.zeros_like(mask)
    thin[:, 5] = 255
    assert mask_room.read(thin).inside((64, 96)).any()
    with pytest.raises(ImageError, match="too thin"):
        mask_room.read(thin).inside((32, 32))
    model = CFA(n_centers=16, mask=mask, threads=1).fit(images)
    result = model.inspect(images[0][:, :48])
    assert (result.verdict, result.message) == ("INVALID", "The image is 48x64 px, but the good images are 96x64 px.")
    model.checks = False
    with pytest.raises(ImageError, match="image 0 is 48x64 px, but the inspection mask is 96x64 px"):
        model.inspect(images[0][:, :48])


def test_image_of_another_size_is_skipped(images, mask):
    model = CFA(n_centers=16, mask=mask, threads=1).fit([*images, images[0][:, :80]])
    assert [skipped.name for skipped in model.skipped_] == ["image 8"]


def test_masks_of_every_kind_read_the_same(mask, tmp_path):
    image = Image.fromarray(mask)
    files = {
        "a.png": image,
        "b.bmp": image.convert("RGB"),
        "c.png": image.convert("1"),
        "d.png": image.convert("P"),
    }
    for name, image in files.items():
        image.save(tmp_path / name)
    for given in (mask, mask > 0, mask // 255, image, *(tmp_path / name for name in files), str(tmp_path / "a.png")):
        np.testing.assert_array_equal(mask_room.read(given).white, mask > 0)


def test_a_mask_that_is_incomplete_or_would_be_read_wrongly_is_refused(rng, tmp_path):
    """The pixels that are missing would be ignored, so that no defect would be found there."""
    noise = Image.fromarray((rng.random((64, 96)) > 0.3).astype(np.uint8) * np.uint8(255))
    noise.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))
    with pytest.raises(ImageError, match="cut.png cannot be read as an inspection mask .* incomplete"):
        mask_room.read(tmp_path / "cut.png")
    (tmp_path / "page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="page.png cannot be read as an inspection mask .* no supported format"):
        mask_room.read(tmp_path / "page.png")  # it would start Ghostscript


def test_masks_of_16_bits_and_turned_masks(rng, tmp_path):
    white = rng.random((64, 96)) > 0.3
    Image.fromarray(np.where(white, 40000, 20000).astype(np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(mask_room.read(tmp_path / "deep.png").white, white)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(white).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(mask_room.read(tmp_path / "turned.png").white, white[::-1, ::-1])


def test_packed_masks_can_be_unpacked(rng):
    for shape in ((5, 3), (64, 96)):
        mask = rng.random(shape) > 0.5
        found = mask_room.unpack(mask_room.InspectionMask(mask).packed(), shape)
        np.testing.assert_array_equal(found.white, mask)
    with pytest.raises(ValueError, match="bytes"):
        mask_room.unpack(mask_room.InspectionMask(mask).packed(), (64, 104))


def test_cover_takes_the_nearest_inspected_pixel():
    mask = np.zeros((8, 8), bool)
    mask[:, 4:] = True
    pixels = np.arange(3 * 64, dtype=np.float32).reshape(3, 8, 8)
    covered = mask_room.InspectionMask(mask).cover(pixels)
    np.testing.assert_array_equal(covered[:, :, 4:], pixels[:, :, 4:])
    np.testing.assert_array_equal(covered[:, :, :4], np.repeat(pixels[:, :, 4:5], 4, axis=2))
