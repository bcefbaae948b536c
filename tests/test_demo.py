"""Tests of the demo: images are repeatable, all different, and defective exactly where their masks say."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfa_lite.demo import DemoSummary, make_demo
from cfa_lite.demo.cloth import DEFECTS, SIZE_PX, weave, weave_with_defect
from cfa_lite.errors import OutputError

COUNTS = {"n_good": 3, "n_line_good": 2, "n_per_defect": 1, "n_new_good": 1, "n_known": 1}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "new" / "cloth"
    calls = []
    summary = make_demo(folder, 7, **COUNTS, progress=lambda *call: calls.append(call))
    return folder, summary, calls


def test_summary_progress_and_files(demo):
    folder, summary, calls = demo
    assert summary == DemoSummary(folder, n_good=3, n_line=7, n_defective=5)
    parts = (("good", 3), ("line", 7), ("new-good", 1), ("defects", 5))
    assert calls == [(part, i, n) for part, n in parts for i in range(1, n + 1)]
    names = set(contents(folder))
    assert {n for n in names if n.startswith("good/")} == {f"good/{i:03d}.png" for i in range(3)}
    assert {n for n in names if n.startswith("line/")} == {f"line/{i:03d}.png" for i in range(7)}
    for defect in DEFECTS:
        assert {n for n in names if f"/{defect}/" in n} == {
            f"test/{defect}/000.png", f"ground_truth/{defect}/000_mask.png", f"defects/{defect}/000.png",
            f"defect-masks/{defect}/000_mask.png",
        }  # fmt: skip
    assert {n for n in names if n.startswith(("test/good", "new-good"))} == {
        "test/good/000.png", "test/good/001.png", "new-good/000.png",
    }  # fmt: skip
    assert len(names) == 3 + 7 + 5 + 1 + 3 + 4 * 5  # no temporary file is left


def test_the_test_set_holds_the_line_sorted_by_defect(demo):
    folder, files = demo[0], contents(demo[0])
    with (folder / "defects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        kind, image = row["defect"] or "good", files[f"line/{row['file']}"]
        assert image in [data for name, data in files.items() if name.startswith(f"test/{kind}/")]
        if row["defect"]:
            assert files[f"masks/{row['file']}"] == files[f"ground_truth/{kind}/000_mask.png"]


def test_same_seed_same_bytes_other_seed_other_images_and_order(demo, tmp_path):
    first = contents(demo[0])
    make_demo(tmp_path / "again", 7, **COUNTS)
    assert contents(tmp_path / "again") == first
    make_demo(tmp_path / "other", 8, **COUNTS)
    other = contents(tmp_path / "other")
    assert other["defects.csv"] != first["defects.csv"]
    assert not {first[n] for n in first if n.endswith(".png")} & {other[n] for n in other if n.endswith(".png")}


def test_every_image_differs_and_has_the_documented_form(demo):
    images = [p for part in ("good", "line", "new-good", "defects") for p in sorted((demo[0] / part).rglob("*.png"))]
    assert len({p.read_bytes() for p in images}) == len(images) == 16
    for path in images:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", SIZE_PX[::-1])


def test_csv_and_masks_agree_with_the_line(demo):
    folder = demo[0]
    with (folder / "defects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == sorted(p.name for p in (folder / "line").iterdir())
    assert sorted(row["defect"] for row in rows) == sorted(["", "", *DEFECTS])
    defective = [row["file"] for row in rows if row["defect"]]
    assert defective == sorted(p.name for p in (folder / "masks").iterdir())
    for name in defective:
        with Image.open(folder / "masks" / name) as image:
            assert (image.mode, image.size) == ("L", SIZE_PX[::-1])
            assert set(np.unique(image)) == {0, 255}


@pytest.mark.parametrize("defect", DEFECTS)
def test_mask_marks_the_changed_pixels(defect):
    for i in range(2):
        image, mask = weave_with_defect(np.random.default_rng([3, i]), defect)
        clean = weave(np.random.default_rng([3, i]))
        changed = np.abs(image.astype(int) - clean).max(2)
        inside = mask == 255
        assert 100 < inside.sum() < 0.15 * mask.size
        assert not (inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any())
        assert changed[inside].mean() > 5
        assert changed[inside].mean() > 20 * changed[~inside].mean()
        assert (changed[~inside] > 40).mean() < 1e-3


def test_other_image_sizes():
    image, mask = weave_with_defect(np.random.default_rng(0), "slub", (160, 162))
    assert (image.shape, mask.shape) == ((160, 162, 3), (160, 162))
    assert weave(np.random.default_rng(0), (1024, 160)).shape == (1024, 160, 3)


@pytest.mark.parametrize("size", [(159, 300), (300, 1025)])
def test_refuses_other_sizes(size):
    with pytest.raises(ValueError, match="size_px must be from 160 to 1024 px"):
        weave(np.random.default_rng(0), size)


def test_refuses_an_unknown_defect():
    with pytest.raises(ValueError, match=r"missing_pick.*'moth'"):
        weave_with_defect(np.random.default_rng(0), "moth")


def test_refuses_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not empty") as caught:
        make_demo(tmp_path, **COUNTS)
    assert str(tmp_path) in str(caught.value)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def test_accepts_an_empty_folder_and_refuses_a_file(tmp_path):
    empty, file = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    assert make_demo(empty, n_good=2, n_line_good=1, n_per_defect=1).n_line == 6
    file.write_text("keep")
    for folder in (file, file / "below"):
        with pytest.raises(OutputError, match="cannot be written"):
            make_demo(folder, **COUNTS)
    assert file.read_text() == "keep"


@pytest.mark.parametrize(
    ("argument", "value", "allowed"),
    [("seed", -1, "0 to"), ("n_good", 1, "2 to 999"), ("n_line_good", 0, "1 to 500"), ("n_per_defect", 100, "1 to 99")],
)
def test_refuses_counts_out_of_range(tmp_path, argument, value, allowed):
    with pytest.raises(ValueError, match=f"{argument} must be from {allowed}"):
        make_demo(tmp_path / "new", **{argument: value})
    assert not (tmp_path / "new").exists()
