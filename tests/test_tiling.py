"""Working sizes: proportions, full size, and large images in tiles without seams."""

import numpy as np
import pytest
from PIL import Image
from test_cli import run

from cfa_lite import CFA, load
from cfa_lite.demo import cloth
from cfa_lite.features import tiling


@pytest.fixture
def small_tiles(monkeypatch):
    """Small tiles, so that a test image has several. The halo is unchanged."""
    monkeypatch.setattr(tiling, "CORE_PX", 256)
    monkeypatch.setattr(tiling, "WHOLE_PX", 0)


@pytest.mark.parametrize("unit_px", [32, 28])
@pytest.mark.parametrize("grid", [(1, 1), (8, 128), (50, 79), (94, 2), (36, 36)])
def test_cores_cover_an_image_once_and_halos_surround_them(grid, unit_px):
    size_px = grid[0] * unit_px, grid[1] * unit_px
    seen = np.zeros(size_px, int)
    pieces = tiling.cut(size_px, unit_px)
    for tile in pieces:
        seen[tile.core] += 1
        for core, halo, side in zip(tile.core, tile.halo, size_px):
            assert core.start % unit_px == halo.start % unit_px == 0
            if len(pieces) > 1:
                assert core.start - halo.start >= tiling.HALO_PX or halo.start == 0
                assert halo.stop - core.stop >= tiling.HALO_PX or halo.stop == side
    assert (seen == 1).all()
    areas = [(t.halo[0].stop - t.halo[0].start) * (t.halo[1].stop - t.halo[1].start) for t in pieces]
    assert max(areas) <= 1.1 * tiling.WHOLE_PX


def test_stitched_maps_equal_maps_of_the_whole_image(small_tiles, rng):
    image = rng.random((3, 320, 704)).astype(np.float32)

    def work(tile):
        part = image[(slice(None), *tile)]
        return {"fine": part[:, ::4, ::4], "coarse": part[0, ::32, ::32] * 2}

    found = tiling.stitched((320, 704), 32, work)
    assert len(tiling.cut((320, 704), 32)) == 6
    np.testing.assert_array_equal(found["fine"], image[:, ::4, ::4])
    np.testing.assert_array_equal(found["coarse"], image[0, ::32, ::32] * 2)


@pytest.fixture(scope="module")
def strips():
    return [cloth.weave(np.random.default_rng([9, i]), (256, 1024)) for i in range(5)]


@pytest.mark.parametrize("mask", [False, True])
def test_seams_are_invisible(strips, monkeypatch, mask):
    """A strip in tiles and whole, at the same scale: maps differ by at most 2% of the limit."""
    counts = np.ones((256, 1024), bool)
    counts[:100, 300:700] = not mask
    model = CFA(recipe="whitened", n_centers=64, size="full", mask=counts, threads=2).fit(strips[:4])
    assert model.scale_ == 1 and model.fitted_.training["working_px"] == [256, 1024]
    changed_image = strips[4].copy()
    changed_image[120:140, 250:290] = 255  # across a seam
    whole = model.inspect(changed_image)
    monkeypatch.setattr(tiling, "CORE_PX", 256)
    monkeypatch.setattr(tiling, "WHOLE_PX", 0)
    tiled = model.inspect(changed_image)
    assert not np.array_equal(tiled.map, whole.map)  # it was in tiles
    assert np.abs(tiled.map - whole.map).max() <= 0.02
    assert tiled.verdict == whole.verdict == "NG"
    assert 200 < tiled.regions[0].peak_px[0] < 340


def test_fit_in_tiles_agrees_with_fit_of_whole_images(strips, small_tiles, monkeypatch):
    tiled = CFA(recipe="whitened", n_centers=16, size="full", threads=2).fit(strips)
    monkeypatch.setattr(tiling, "WHOLE_PX", 10**9)
    whole = CFA(recipe="whitened", n_centers=16, size="full", threads=2).fit(strips)
    assert tiled.threshold_ == pytest.approx(whole.threshold_, rel=0.02)


def test_size_and_smallest_defect_set_the_scale(good):
    images = good[:3]  # 384x288
    scales = {}
    for name, options in {
        "default": {}, "512": {"size": 512}, "full": {"size": "full"}, "40": {"smallest_defect": 40},
        "5": {"smallest_defect": 5}, "2": {"smallest_defect": 2},
    }.items():  # fmt: skip
        scales[name] = CFA(recipe="whitened", n_centers=4, **options).fit(images).scale_
    assert scales["default"] == scales["40"] == pytest.approx(256 / np.sqrt(384 * 288))
    assert scales["512"] == pytest.approx(2 * scales["default"])
    assert scales["full"] == scales["2"] == 1
    assert scales["5"] == pytest.approx(4 / 5)


def test_command_takes_sizes_and_ranges(cloth, tmp_path):
    fit = ("fit", cloth / "good", "-o", tmp_path / "p.cfa", "--recipe", "whitened", "--n-centers", 4)
    assert run(*fit, "--size", "full").exit_code == 0
    assert load(tmp_path / "p.cfa").scale_ == 1
    told = run("info", tmp_path / "p.cfa").stdout
    assert "about 4 px of the image in diameter" in told and "size full" in told
    assert run(*fit, "--range", "auto", "--size", 128).exit_code == 0
    low, high = load(tmp_path / "p.cfa").fitted_.value_range
    assert 0 <= low < 60 and 150 < high <= 255
    assert "is black" in run("info", tmp_path / "p.cfa").stdout
    for wrong in (("--size", "big"), ("--size", 10), ("--range", "5"), ("--range", "9,2"), ("--smallest-defect", 0)):
        assert run(*fit, *wrong).exit_code == 2, wrong
    assert run("fit", cloth / "good", "-o", tmp_path / "q.cfa", "--recipe", "paper", "--size", 300).exit_code == 2


def test_images_with_a_small_value_range_get_a_remark_and_are_shown_by_it(tmp_path, cloth, good):
    folder = tmp_path / "deep"
    folder.mkdir()
    for path in good[:4]:
        values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 12  # of a 12-bit camera
        Image.fromarray(values).save(folder / f"{path.stem}.png")
    fit = ("fit", folder, "-o", tmp_path / "p.cfa", "--recipe", "whitened", "--n-centers", 4)
    assert "The images use only 4" in run(*fit).stderr
    again = run(*fit, "--value-range", "0,4095")
    assert again.exit_code == 0 and "of the value range" not in again.stderr
    assert run("score", tmp_path / "p.cfa", folder, "--overlays", tmp_path / "seen").exit_code == 0
    shown = np.asarray(Image.open(tmp_path / "seen" / f"{good[0].stem}.png"))[60:200, 20:300]
    assert shown.std() > 20  # not black


def test_images_of_different_sizes_get_a_remark(good, tmp_path):
    folder = tmp_path / "sizes"
    folder.mkdir()
    for i, path in enumerate(good[:3]):
        Image.open(path).crop((0, 0, 384 - 100 * i, 288 - 60 * i)).save(folder / f"{i}.png")
    done = run("fit", folder, "-o", tmp_path / "p.cfa", "--recipe", "whitened", "--n-centers", 4)
    assert "The areas of the images differ by a factor of 3.6 (184x168 to 384x288 px)" in done.stderr
