"""Notes on images that are shifted, rotated, brighter, darker, or have red and blue swapped."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from test_cli import run

from cfa_lite import CFA, PublishedCFA, load
from cfa_lite.features import registration
from cfa_lite.features.reference import MIN_IMAGES, Reference
from cfa_lite.features.registration import Spectra
from cfa_lite.report import text_changes
from cfa_lite.results import Change

SIDE = 256


def part(seed, right=0, down=0, degrees=0, place=1):
    """An orange plate with holes and a slot on a blue table; good parts lie within `place` pixels."""
    rng = np.random.default_rng(seed)
    big = Image.new("RGB", (2 * SIDE, 2 * SIDE), (60, 70, 110))
    draw = ImageDraw.Draw(big)
    dx, dy = rng.uniform(-place, place, 2) + np.array([right, down])
    for box, color in [((80, 100, 430, 400), (200, 130, 70)), ((120, 140, 170, 190), (50, 50, 60)),
                       ((330, 130, 390, 190), (80, 60, 60)), ((140, 300, 360, 330), (240, 190, 120)),
                       ((360, 330, 400, 380), (40, 60, 90)), ((110, 250, 150, 280), (230, 220, 200))]:  # fmt: skip
        draw.rectangle([box[0] + 2 * dx, box[1] + 2 * dy, box[2] + 2 * dx, box[3] + 2 * dy], fill=color)
    small = big.resize((SIDE, SIDE), Image.Resampling.BOX).rotate(
        -degrees, Image.Resampling.BICUBIC, fillcolor=(60, 70, 110)
    )
    values = np.asarray(small.filter(ImageFilter.GaussianBlur(0.7)), np.float32) * rng.uniform(0.97, 1.03)
    return np.clip(values + rng.normal(0, 3, values.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def plates():
    return CFA(recipe="whitened", preset="fast", threads=1).fit([part(seed) for seed in range(20)])


@pytest.mark.parametrize(("right", "down"), [(5, 2), (-8, 0), (0, 12), (-20, -15)])
def test_a_shift_is_told_in_pixels_of_the_image(plates, right, down):
    (change,) = plates.inspect(part(100, right, down)).changes
    assert change.kind == "shifted"
    assert change.amount == pytest.approx((right, down), abs=1.6)


def test_a_shift_of_a_large_image_is_told_in_its_own_pixels(plates):
    def large(seed, right=0):
        return Image.fromarray(part(seed, right)).resize((3 * SIDE, 3 * SIDE), Image.Resampling.BILINEAR)

    model = CFA(recipe="whitened", preset="fast", threads=1).fit([large(seed) for seed in range(10)])
    result = model.inspect(large(100, 10))
    assert result.changes[0].amount == pytest.approx((30, 0), abs=3)
    assert result.message.startswith("The image is shifted by ") and " px right" in result.message


@pytest.mark.parametrize("degrees", [-3, 3, 5])
def test_a_rotation_is_told(plates, degrees):
    changes = {change.kind: change for change in plates.inspect(part(100, degrees=degrees)).changes}
    assert changes["rotated"].amount[0] == pytest.approx(degrees, abs=0.8)
    assert ("counterclockwise" in str(changes["rotated"])) == (degrees < 0)


def test_swapped_colors_and_light_are_told(plates):
    assert [str(c) for c in plates.inspect(part(100)[:, :, ::-1]).changes] == ["Red and blue look swapped."]
    for factor, kind in [(1.3, "brighter"), (0.75, "darker")]:
        (change,) = plates.inspect((part(100) * factor).clip(0, 255).astype(np.uint8)).changes
        assert change.kind == kind
        assert change.amount[0] == pytest.approx(abs(factor - 1), abs=0.06)


def test_good_images_and_defects_get_no_note(plates):
    for seed in range(100, 130):
        assert plates.inspect(part(seed)).changes == ()
    defective = part(100)
    defective[100:130, 90:140] = 20
    assert plates.inspect(defective).changes == ()


def test_a_note_changes_no_verdict_and_no_score(plates, tmp_path):
    plates.save(tmp_path / "part.cfa")
    same = load(tmp_path / "part.cfa", threads=1)
    same.fitted_ = plates.fitted_.__class__(**{**vars(plates.fitted_), "reference": None})
    shifted = part(100, 9)
    noted, plain = plates.inspect(shifted), same.inspect(shifted)
    assert noted.changes and not plain.changes
    assert noted.raw_score == plain.raw_score and noted.verdict == plain.verdict and noted.status == "ok"


def test_parts_that_lie_anywhere_get_no_note_of_their_place():
    model = CFA(recipe="whitened", preset="fast", threads=1).fit([part(seed, place=30) for seed in range(20)])
    assert model.fitted_.reference.shift_px is None
    for seed in range(100, 110):
        assert {c.kind for c in model.inspect(part(seed, place=60)).changes} <= {"rotated"}


def test_textures_have_no_common_position(model, line):
    assert model.fitted_.reference.shift_px is None
    assert [r.path for r in model.inspect_many(line) if {c.kind for c in r.changes} & {"shifted", "rotated"}] == []


def test_few_images_and_many_sizes(small_images):
    few = CFA(recipe="whitened", n_centers=8, threads=1).fit(small_images[: MIN_IMAGES - 1])
    assert few.fitted_.reference is None
    sizes = [image[: 64 - 8 * (i % 2)] for i, image in enumerate(small_images)]
    mixed = CFA(recipe="whitened", n_centers=8, threads=1, checks=False).fit(sizes)
    if len({mixed.fitted_.scorer.working_size(s.shape[:2], mixed.open_backbone()) for s in sizes}) > 1:
        assert mixed.fitted_.reference.thumbnail is None
    assert mixed.inspect(small_images[0]).status == "ok"


def test_a_gray_image_of_a_colored_product_is_not_swapped(plates):
    gray = np.asarray(Image.fromarray(part(100)).convert("L"))
    assert "swapped" not in {c.kind for c in plates.inspect(gray).changes}


def test_the_reference_is_saved(plates, tmp_path):
    plates.save(tmp_path / "part.cfa")
    loaded = load(tmp_path / "part.cfa", threads=1)
    before, after = plates.fitted_.reference, loaded.fitted_.reference
    assert after.to_dict() == before.to_dict()
    assert np.array_equal(after.thumbnail, before.thumbnail) and np.array_equal(after.colors, before.colors)
    image = part(100, 8, degrees=3)
    assert loaded.inspect(image).changes == plates.inspect(image).changes != ()


@pytest.mark.parametrize("name", ["shift_px", "quality", "brightest", "size_px"])
def test_a_damaged_reference_is_refused(plates, name):
    reference = plates.fitted_.reference
    values = {**reference.to_dict(), name: float("nan") if name != "size_px" else [0, 3]}
    with pytest.raises(ValueError):
        Reference.restore(values, reference.arrays())


def test_with_an_inspection_mask_the_whole_image_is_registered(plates):
    white = np.zeros((SIDE, SIDE), bool)
    white[60:190, 50:210] = True
    model = CFA(recipe="whitened", preset="fast", threads=1, mask=white).fit([part(seed) for seed in range(12)])
    (change,) = model.inspect(part(100, 8, 0)).changes
    assert change.amount == pytest.approx((8, 0), abs=1.6)


def test_the_published_recipe_tells_changes_too():
    model = PublishedCFA(epochs=1, threads=1).fit([part(seed) for seed in range(10)])
    assert model.inspect(part(100, 12)).changes[0].kind == "shifted"


def test_a_batch_gets_one_line(plates, tmp_path):
    plates.save(tmp_path / "part.cfa")
    folder = tmp_path / "line"
    folder.mkdir()
    for seed in range(10):
        Image.fromarray(part(seed + 50, 7 if seed < 6 else 0)).save(folder / f"{seed}.png")
    report = tmp_path / "page.html"
    done = run("score", tmp_path / "part.cfa", folder, "--report", report)
    assert "6 of 10 images are shifted by about 7 px right." in done.stderr
    assert done.stdout.count("shifted by") == 6
    assert "6 of 10 images are shifted by about 7 px right." in report.read_text(encoding="utf-8")
    workers = run("score", tmp_path / "part.cfa", folder, "--format", "jsonl")
    messages = [json.loads(row)["message"] for row in workers.stdout.splitlines()]
    assert sum("shifted" in message for message in messages) == 6


def test_batch_lines():
    shifted, swapped = Change("shifted", (5.2, -0.3)), Change("swapped")
    assert text_changes.batch_lines([(shifted,), (), ()]) == []  # its row tells it
    assert text_changes.batch_lines([(shifted,)] * 2 + [()] * 30) == []
    assert text_changes.batch_lines([(shifted, swapped)] * 2 + [()]) == [
        "2 of 3 images are shifted by about 5 px right.",
        "In 2 of 3 images, red and blue look swapped. Check the order of the colors that the camera gives.",
    ]
    apart = [(Change("shifted", (9.0, 0.0)),), (Change("shifted", (-9.0, 0.0)),), (Change("shifted", (0.0, 9.0)),)]
    assert text_changes.batch_lines(apart) == ["3 of 3 images are shifted, by about 9 px in different directions."]
    turned = [(Change("rotated", (-2.0,)),), (Change("rotated", (-2.4,)),)]
    assert text_changes.batch_lines(turned) == ["2 of 2 images are rotated by about 2 degrees counterclockwise."]
    assert text_changes.batch_lines([(Change("rotated", (3.0,)),), (Change("rotated", (-3.0,)),)]) == [
        "2 of 2 images are rotated, by about 3 degrees to both sides."
    ]
    assert text_changes.batch_lines([(Change("darker", (0.21,)),)] * 2) == [
        "2 of 2 images are about 21% darker than any good image."
    ]


@pytest.mark.parametrize("shape", [(64, 64), (40, 104), (16, 256)])
def test_a_circular_shift_is_found(shape, rng):
    values = rng.normal(size=shape).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        placement = Spectra(values).placement_of(np.roll(values, (2, -3), (0, 1)))
        flat = Spectra(np.zeros(shape)).placement_of(np.zeros(shape))
    assert (placement.down, placement.right) == pytest.approx((2, -3), abs=0.25)
    assert placement.quality > 0.5 > flat.quality
    assert Spectra(values).placement_of(values).quality == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("shape, grid", [((192, 192), (64, 64)), ((64, 64), (8, 8)), ((160, 224), (56, 72))])
def test_block_means_are_those_of_the_box_filter_of_pillow(shape, grid, rng):
    values = rng.uniform(0, 255, (2, *shape)).astype(np.float32)[0]
    expected = np.asarray(Image.fromarray(values).resize(grid[::-1], Image.Resampling.BOX))
    np.testing.assert_allclose(registration.block_means(values, grid), expected, atol=1e-4)
    every_other = np.repeat(np.repeat(values, 2, axis=0), 2, axis=1)[::2, ::2]  # not contiguous
    np.testing.assert_array_equal(registration.block_means(every_other, grid), registration.block_means(values, grid))


def test_a_thumbnail_is_that_of_the_filters_of_pillow(rng):
    pixels = rng.uniform(0, 255, (3, 256, 192)).astype(np.float32)
    rows, columns = registration.grid_of((256, 192))
    small = Image.fromarray(pixels[1]).resize((columns, rows), Image.Resampling.BOX)
    coarse = small.resize((columns // 8, rows // 8), Image.Resampling.BOX)
    gradients = np.asarray(coarse.resize((columns, rows), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(registration.thumbnail(pixels), np.asarray(small) - gradients, atol=1e-4)


def test_translated_mirrors_the_edge():
    values = np.arange(12.0).reshape(1, 3, 4)
    assert registration.translated(values, 1, -2)[0].tolist() == [[2, 3, 3, 2], [2, 3, 3, 2], [6, 7, 7, 6]]
    assert np.array_equal(registration.translated(values, 0, 0), values)
