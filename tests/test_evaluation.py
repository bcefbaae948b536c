import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, precision_score, recall_score

from cfa_lite import ImageError
from cfa_lite.evaluation import ground_truth
from cfa_lite.evaluation.ground_truth import GroundTruthMasks, find_in_folders, find_test_set, read_mask
from cfa_lite.evaluation.metrics import binomial_interval, remarks, summary, summary_lines
from cfa_lite.evaluation.pixel_metrics import PixelMetrics
from cfa_lite.results import Inspection, not_scored


def regions_of(mask):
    """Find 8-connected regions by flood fill, each a list of (row, column)."""
    left, regions = set(zip(*np.nonzero(mask))), []
    while left:
        edge, region = [left.pop()], []
        while edge:
            y, x = edge.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        regions.append(region)
    return regions


def naive_auroc(maps, masks):
    """Return the share of pairs (defective, normal) in the right order. A tie counts as one half."""
    normal = np.sort(np.concatenate([m[~k] for m, k in zip(maps, masks)]))
    defective = np.concatenate([m[k] for m, k in zip(maps, masks)])
    below, up_to = (np.searchsorted(normal, defective, side) for side in ("left", "right"))
    return (below + up_to).mean() / 2 / normal.size


def naive_aupro(maps, masks, max_fpr=0.3):
    """Evaluate the curve at each value that occurs, with straight lines between them."""
    normal = np.sort(np.concatenate([m[~k] for m, k in zip(maps, masks)]))
    regions = [np.sort([m[at] for at in r]) for m, k in zip(maps, masks) for r in regions_of(k)]
    thresholds = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
    fpr = np.append(0, 1 - np.searchsorted(normal, thresholds) / normal.size)
    overlap = np.append(0, np.mean([1 - np.searchsorted(r, thresholds) / r.size for r in regions], axis=0))
    area = 0.0
    for x0, x1, y0, y1 in zip(fpr, fpr[1:], overlap, overlap[1:]):
        if x0 < max_fpr and x1 > x0:
            end = min(x1, max_fpr)
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / max_fpr


def measured(maps, masks):
    pixels = PixelMetrics()
    for anomaly_map, mask in zip(maps, masks):
        pixels.add(anomaly_map, mask)
    return pixels


@pytest.fixture
def pixels_of_images(rng):
    """Four maps and masks: regions of many sizes, two that touch at a corner, and a good image."""
    masks = np.zeros((4, 60, 80), bool)
    masks[0, 5:9, 5:9] = masks[0, 9:12, 9:30] = True
    masks[0, 40:59, 50:79] = masks[1, 0, 0] = masks[1, 30:34, 20:70] = masks[2, 10:12, :] = True
    maps = rng.normal(0, 1, masks.shape) + masks * rng.uniform(0.2, 2.5, (4, 1, 1))
    return maps.astype(np.float32), masks


CHANGES = {
    "negative and positive": lambda m: m,
    "all negative": lambda m: m - 5,
    "with ties": lambda m: np.round(m * 2) / 2,
    "tiny": lambda m: m * 1e-30,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 1.0])
def test_pixel_metrics_agree_with_naive_versions(pixels_of_images, change, max_fpr):
    maps, masks = pixels_of_images
    maps = CHANGES[change](maps).astype(np.float32)
    pixels = measured(maps, masks)
    assert pixels.auroc() == pytest.approx(naive_auroc(maps, masks), abs=1e-4)
    assert pixels.aupro(max_fpr) == pytest.approx(naive_aupro(maps, masks, max_fpr), abs=1e-4)


def test_pixel_metrics_by_hand():
    """Three normal pixels, regions of one and two; two normal pixels are above the lower half of the second."""
    anomaly_map = np.float32([[9, 0, 5, 2], [0, 4, 3, 0]])
    mask = np.array([[1, 0, 1, 0], [0, 0, 1, 0]], bool)
    pixels = PixelMetrics()
    pixels.add(anomaly_map, mask)
    assert pixels.auroc() == pytest.approx((5 + 5 + 4) / 15)
    # Overlap is 3/4 up to a fifth of the normal pixels (the 4), then 1.
    assert pixels.aupro(0.4) == pytest.approx((0.2 * 0.75 + 0.2 * 1) / 0.4)


def test_negative_zero_equals_zero():
    pixels = PixelMetrics()
    pixels.add(np.float32([[0.0, -0.0]]), np.array([[False, True]]))
    assert pixels.auroc() == 0.5


def test_perfect_and_inverted_maps(pixels_of_images):
    _, masks = pixels_of_images
    perfect = measured(masks.astype(np.float32), masks)
    assert (perfect.auroc(), perfect.aupro()) == pytest.approx((1, 1))
    worst = measured(-masks.astype(np.float32), masks)
    assert (worst.auroc(), worst.aupro()) == pytest.approx((0, 0))


def test_pixel_metrics_depend_only_on_the_order_of_values(pixels_of_images):
    maps, masks = pixels_of_images
    plain = measured(maps, masks)
    for change in (np.exp, lambda m: 3 * m + 1, np.arctan):
        changed = measured(change(maps), masks)
        assert changed.auroc() == pytest.approx(plain.auroc(), abs=1e-4)
        assert changed.aupro() == pytest.approx(plain.aupro(), abs=1e-4)


def test_pixel_metrics_do_not_depend_on_image_order_or_cropping(pixels_of_images):
    maps, masks = pixels_of_images
    plain = measured(maps, masks)
    pieces = [(m[at], k[at]) for m, k in zip(maps[::-1], masks[::-1]) for at in (slice(0, 35), slice(35, None))]
    assert not any((k[34] & k[35]).any() for k in masks)
    fed = measured(*zip(*pieces))
    assert (fed.auroc(), fed.aupro()) == pytest.approx((plain.auroc(), plain.aupro()), rel=1e-12)


def test_each_region_has_the_same_weight():
    """If a large region is found and a small one is missed, the overlap is one half, although most pixels are found."""
    mask = np.zeros((100, 100), bool)
    mask[:50], mask[99, 99] = True, True
    anomaly_map = mask.astype(np.float32)
    anomaly_map[99, 99] = -1
    assert measured([anomaly_map], [mask]).aupro() == pytest.approx(0.5)
    assert measured([anomaly_map], [mask]).auroc() > 0.999


@pytest.mark.parametrize("value", [False, True])
def test_one_class_of_pixels_gives_nan(value):
    pixels = measured([np.ones((4, 4), np.float32)], [np.full((4, 4), value)])
    assert math.isnan(pixels.auroc()) and math.isnan(pixels.aupro())
    assert math.isnan(PixelMetrics().auroc()) and math.isnan(PixelMetrics().aupro())


def test_invalid_maps_are_refused():
    pixels = PixelMetrics()
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and its mask \(3, 2\)"):
        pixels.add(np.zeros((2, 3), np.float32), np.zeros((3, 2), bool))
    with pytest.raises(ValueError, match="not finite"):
        pixels.add(np.full((2, 2), np.nan, np.float32), np.zeros((2, 2), bool))
    for wrong in (0, 1.1):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            pixels.aupro(wrong)


def draw(path, values=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 50), 90, np.uint8) if values is None else values).save(path)


@pytest.fixture
def data_set(tmp_path):
    """Two good images and two kinds of defect, with masks named in both ways."""
    root = tmp_path / "set"
    for name in ("good/1.png", "good/2.png", "scratch/1.png", "hole/a.b.png", "hole/2.JPG"):
        draw(root / "test" / name)
    for name in ("scratch/1_mask.png", "hole/a.b.bmp", "hole/2_mask.PNG"):
        draw(root / "ground_truth" / name)
    return root


def below(root, images):
    return [
        (p.path.relative_to(root).as_posix(), p.label, p.mask and p.mask.relative_to(root).as_posix()) for p in images
    ]


IN_DATA_SET = [
    ("test/good/1.png", "good", None),
    ("test/good/2.png", "good", None),
    ("test/hole/2.JPG", "hole", "ground_truth/hole/2_mask.PNG"),
    ("test/hole/a.b.png", "hole", "ground_truth/hole/a.b.bmp"),
    ("test/scratch/1.png", "scratch", "ground_truth/scratch/1_mask.png"),
]


def test_data_set_and_its_test_folder_are_the_same(data_set, monkeypatch):
    (data_set / "test" / ".cache").mkdir()
    (data_set / "test" / "notes.txt").write_text("")
    assert below(data_set, find_test_set(data_set)) == IN_DATA_SET
    assert below(data_set, find_test_set(data_set / "test")) == IN_DATA_SET
    assert [p.defective for p in find_test_set(data_set)] == [False, False, True, True, True]
    monkeypatch.chdir(data_set / "test")
    here = find_test_set(Path())
    assert [p.mask and p.mask.resolve() for p in here] == [p.mask and p.mask.resolve() for p in find_test_set(data_set)]


def test_data_set_without_ground_truth(data_set):
    (data_set / "ground_truth").rename(data_set / "elsewhere")
    assert below(data_set, find_test_set(data_set)) == [(path, kind, None) for path, kind, _ in IN_DATA_SET]


def test_incomplete_data_sets_are_refused(data_set):
    with pytest.raises(ImageError, match=r"nowhere is not a folder. Check"):
        find_test_set(data_set / "nowhere")
    (data_set / "ground_truth/scratch/1_mask.png").unlink()
    with pytest.raises(
        ImageError, match=r"scratch/1.png has no mask: .*ground_truth/scratch/1_mask.png does not exist"
    ):
        find_test_set(data_set)
    (data_set / "test/good").rename(data_set / "test/fine")
    with pytest.raises(ImageError, match=r"test set without good images.*test/<defect>, or name one folder"):
        find_test_set(data_set)
    draw(data_set / "only" / "good" / "1.png")
    with pytest.raises(ImageError, match="without defective images"):
        find_test_set(data_set / "only")
    (data_set / "only" / "hole").mkdir()
    with pytest.raises(ImageError, match=r"hole contains no image"):
        find_test_set(data_set / "only")


def test_masks_and_training_images_are_no_defects(data_set):
    """The data set and its folders side by side: only scratch and hole are defects."""
    test, whole = data_set / "test", data_set.with_name("whole")
    test.rename(whole)
    (data_set / "ground_truth").rename(whole / "ground_truth")
    draw(whole / "train" / "good" / "1.png")
    found = find_test_set(whole)
    assert below(whole, found) == [(path[5:], label, mask) for path, label, mask in IN_DATA_SET]  # without test/
    assert [(other.path.name, other.reason) for other in found.left_out] == [("train", "training folder")]
    (whole / "ground_truth").rename(whole / "masks")
    assert {image.label for image in find_test_set(whole)} == {"good", "hole", "scratch"}
    for defect in ("scratch", "hole"):
        (whole / defect).rename(data_set / defect)
    with pytest.raises(ImageError, match="without defective images: the others are masks, train"):
        find_test_set(whole)


@pytest.fixture
def line(tmp_path):
    """A line of two good and two defective images; the masks are named in both ways."""
    for name in (
        "line/1.png",
        "line/2.png",
        "line/3.png",
        "line/4.png",
        "masks/2.png",
        "masks/4_mask.png",
        "good/1.png",
    ):
        draw(tmp_path / name)
    (tmp_path / "defects.csv").write_text("file,defect\n1.png,\n2.png,knot\n3.png,\n", encoding="utf-8-sig")
    return tmp_path


IN_LINE = [
    ("line/1.png", "good", None),
    ("line/3.png", "good", None),
    ("line/4.png", "defect", "masks/4_mask.png"),
    ("line/2.png", "knot", "masks/2.png"),
]


def test_images_of_a_line_are_defective_if_they_have_a_mask(line):
    assert below(line, find_test_set(line)) == IN_LINE
    assert below(line, find_test_set(line / "line")) == IN_LINE
    (line / "defects.csv").unlink()
    assert {(image.path.name, image.label) for image in find_test_set(line)} == {
        ("1.png", "good"), ("2.png", "defect"), ("3.png", "good"), ("4.png", "defect"),
    }  # fmt: skip


def test_a_line_that_contradicts_itself_is_refused(line):
    (line / "defects.csv").write_text("file,defect\n1.png,knot\n")
    with pytest.raises(ImageError, match=r"line/1.png has no mask: .*masks/1_mask.png does not exist"):
        find_test_set(line)
    (line / "defects.csv").write_text("name;kind\n1.png;\n")
    with pytest.raises(ImageError, match=r"defects.csv cannot be read as a table of defects"):
        find_test_set(line)
    (line / "defects.csv").unlink()
    draw(line / "masks" / "5.png")
    with pytest.raises(ImageError, match=r"masks/5.png is the mask of no image in .*would count as good"):
        find_test_set(line)
    (line / "masks" / "5.png").unlink()
    for name in ("1.png", "3.png"):
        (line / "line" / name).unlink()
    with pytest.raises(ImageError, match="has no good image"):
        find_test_set(line)


def test_the_demo_can_be_evaluated_as_a_whole(cloth):
    kinds = {"good": 6} | dict.fromkeys(("missing_pick", "knot", "stain", "slub", "hole"), 2)
    for root in (cloth, cloth / "test", cloth / "line"):
        found = find_test_set(root)
        labels = [image.label for image in found]
        assert {label: labels.count(label) for label in labels} == kinds
        assert not found.left_out
        assert len(GroundTruthMasks(found)) == 10


def test_find_in_folders(tmp_path):
    for name in ("fine/1.png", "bad/1.png", "bad/hole/deep/2.png", "masks/1.png", "masks/hole/deep/2_mask.tif"):
        draw(tmp_path / name)
    good, defects, masks = (tmp_path / name for name in ("fine", "bad", "masks"))
    assert below(tmp_path, find_in_folders(good, defects, masks)) == [
        ("fine/1.png", "good", None),
        ("bad/1.png", "defect", "masks/1.png"),
        ("bad/hole/deep/2.png", "hole", "masks/hole/deep/2_mask.tif"),
    ]
    assert [p.mask for p in find_in_folders(good, defects, None)] == [None, None, None]
    (masks / "1.png").unlink()
    with pytest.raises(ImageError, match=r"bad/1.png has no mask: .*masks/1_mask.png does not exist"):
        find_in_folders(good, defects, masks)


def test_folders_that_overlap_or_lack_masks_are_refused(tmp_path):
    for name in ("fine/1.png", "bad/1.png", "bad/good/1.png", "bad/masks/1.png"):
        draw(tmp_path / name)
    good, defects = tmp_path / "fine", tmp_path / "bad"
    with pytest.raises(ImageError, match="nowhere does not exist"):
        find_in_folders(tmp_path / "nowhere", defects, None)
    inside = [(defects / "good", defects, None), (defects, defects / "good", None), (good, defects, defects / "masks"),
              (defects, defects, None), (good, defects, good)]  # fmt: skip
    for folders in inside:
        with pytest.raises(ImageError, match="so its images would count twice"):
            find_in_folders(*folders)
    with pytest.raises(ImageError, match=r"bad/good/1.png is in a folder good among the defective"):
        find_in_folders(good, defects, None)


@pytest.mark.parametrize("dtype, value", [(np.uint8, 1), (np.uint8, 255), (np.uint16, 1), (np.uint16, 255),
                                          (np.uint16, 65535), (bool, True)])  # fmt: skip
def test_masks_of_any_depth(tmp_path, dtype, value):
    values = np.zeros((40, 50), dtype)
    values[3:7, 10:40] = value
    draw(tmp_path / "m.png", values)
    image = ground_truth.LabeledImage(tmp_path / "p.png", "hole", tmp_path / "m.png")
    mask = read_mask(image, (40, 50))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, values > 0)


def test_masks_in_color_and_with_soft_edges(tmp_path):
    values = np.zeros((40, 50, 3), np.uint8)
    values[3:7, 10:40] = 255
    values[7, 10:40], values[8, 10:40] = 150, 100
    draw(tmp_path / "m.png", values)
    mask = read_mask(ground_truth.LabeledImage(tmp_path / "p.png", "hole", tmp_path / "m.png"), (40, 50))
    np.testing.assert_array_equal(mask, values[:, :, 0] > 127)


def test_unusable_masks_are_refused(tmp_path):
    draw(tmp_path / "m.png", np.full((40, 50), 255, np.uint8))
    draw(tmp_path / "black.png", np.zeros((40, 50), np.uint8))
    (tmp_path / "text.png").write_text("no image")

    def image(name):
        return ground_truth.LabeledImage(tmp_path / "p.png", "hole", name and tmp_path / name)

    with pytest.raises(ImageError, match=r"ground-truth mask .*m.png is 50x40 px but its image .*p.png is 40x50 px"):
        read_mask(image("m.png"), (50, 40))
    with pytest.raises(ImageError, match=r"black.png is completely black but .*p.png counts as defective"):
        read_mask(image("black.png"), (40, 50))
    with pytest.raises(ImageError, match=r"text.png cannot be read as an image"):
        read_mask(image("text.png"), (40, 50))
    with pytest.raises(ImageError, match=r"p.png has no mask. Draw one"):
        read_mask(image(None), (40, 50))


def test_good_images_have_an_empty_mask(tmp_path):
    mask = read_mask(ground_truth.LabeledImage(tmp_path / "p.png", "good", None), (4, 5))
    assert (mask.shape, mask.dtype, mask.sum()) == ((4, 5), bool, 0)


def test_masks_are_read_once_and_checked_first(tmp_path):
    """The mask files are not needed after they were read. An unreadable image does not end the evaluation."""
    values = np.zeros((40, 50), np.uint8)
    values[3:7, 10:41] = 255
    draw(tmp_path / "p.png")
    draw(tmp_path / "m.png", values)
    draw(tmp_path / "black.png", np.zeros((40, 50), np.uint8))
    (tmp_path / "text.png").write_text("no image")
    defective = ground_truth.LabeledImage(tmp_path / "p.png", "hole", tmp_path / "m.png")
    good = ground_truth.LabeledImage(tmp_path / "p.png", "good", None)
    unreadable = ground_truth.LabeledImage(tmp_path / "text.png", "hole", tmp_path / "m.png")
    masks = GroundTruthMasks([good, defective, unreadable])
    assert len(masks) == 1
    (tmp_path / "m.png").unlink()
    np.testing.assert_array_equal(masks.mask(defective, (40, 50)), values > 0)
    np.testing.assert_array_equal(masks.mask(good, (40, 50)), np.zeros((40, 50), bool))
    assert masks.mask(defective, (40, 50)).dtype == bool
    with pytest.raises(ImageError, match=r"m\.png does not exist"):
        masks.mask(defective, (50, 40))
    black = ground_truth.LabeledImage(tmp_path / "p.png", "hole", tmp_path / "black.png")
    with pytest.raises(ImageError, match=r"black\.png is completely black"):
        GroundTruthMasks([good, black])


@pytest.mark.parametrize(
    "k, n, low, high", [(0, 66, 0, 0.0544), (3, 16, 0.0405, 0.4565), (10, 10, 0.6915, 1), (0, 0, 0, 1)]
)
def test_binomial_interval(k, n, low, high):
    assert binomial_interval(k, n) == pytest.approx((low, high), abs=5e-5)


def answers(*rows):
    """Return images and results from (kind, score, verdict). A score of None is an image that could not be scored."""
    images, results = [], []
    for i, (kind, score, verdict) in enumerate(rows):
        images.append(ground_truth.LabeledImage(Path(kind, f"{i}.png"), kind, None))
        if score is None:
            results.append(not_scored(f"{kind}/{i}.png", "error", "broken", 2.0, 0.01))
        else:
            results.append(Inspection(path=f"{kind}/{i}.png", status="ok", verdict=verdict, score=score,
                                       raw_score=2 * score, raw_limit=2.0, seconds=0.01))  # fmt: skip
    return images, results


MIXED = answers(
    ("good", 0.5, "OK"), ("good", 0.95, "UNSURE"), ("good", 1.2, "NG"), ("good", None, ""), ("good", 1.5, "NG"),
    ("nep", 2.0, "NG"), ("nep", 0.9, "UNSURE"), ("cut", 0.4, "OK"), ("cut", 1.3, "NG"), ("cut", 1.6, "NG"),
    ("hole", None, ""),
)  # fmt: skip


def test_only_the_folder_line_has_the_masks_beside_it(tmp_path):
    """The good images of the demo have names that its masks have as well."""
    for folder in ("line", "masks", "good"):
        (tmp_path / folder).mkdir()
        for name in ("0.png", "1.png")[: 1 if folder == "masks" else 2]:
            Image.new("L", (8, 8), 255).save(tmp_path / folder / name)
    assert [image.label for image in find_test_set(tmp_path / "line")] == ["good", "defect"]
    with pytest.raises(ImageError, match="has no folder good"):
        find_test_set(tmp_path / "good")
    (tmp_path / "line").rename(tmp_path / "monday")
    assert [image.label for image in find_test_set(tmp_path / "monday")] == ["good", "defect"]


def test_summary_by_hand():
    values = summary(*MIXED, None, 0.01)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert (values["n_good"], values["n_defective"], values["n_failed"]) == (4, 5, 2)
    # Good images below each defective one: 4 (2.0), 4 (1.6), 3 (1.3), 1 (0.9), 0 (0.4).
    assert values["image_auroc"] == pytest.approx(12 / 20)
    # Precision at each defective image, best first: 1/1, 2/2, 3/4, 4/7, 5/9.
    assert values["average_precision"] == pytest.approx((1 + 1 + 3 / 4 + 4 / 7 + 5 / 9) / 5)
    assert (values["precision"], values["recall"]) == pytest.approx((3 / 5, 3 / 5))
    assert values["f1"] == pytest.approx(3 / 5)
    false_alarms, found = values["false_alarms"], values["found"]
    assert false_alarms.pop("interval") == pytest.approx(binomial_interval(2, 4))
    assert false_alarms == {"n": 2, "of": 4, "rate": 0.5, "promised": 0.01}
    assert found.pop("interval") == pytest.approx(binomial_interval(3, 5))
    assert found == {"n": 3, "of": 5, "rate": 0.6}
    assert values["unsure"] == {"good": 1, "defective": 1}
    assert list(values["by_defect"].items()) == [
        ("cut", {"found": 2, "of": 3, "unsure": 0, "not_inspected": 0}),
        ("hole", {"found": 0, "of": 0, "unsure": 0, "not_inspected": 1}),
        ("nep", {"found": 1, "of": 2, "unsure": 1, "not_inspected": 0}),
    ]
    assert values["missed"] == [
        {"path": "cut/7.png", "defect": "cut", "score": 0.4},
        {"path": "nep/6.png", "defect": "nep", "score": 0.9},
    ]
    assert values["false_alarm_images"] == [
        {"path": "good/4.png", "score": 1.5},
        {"path": "good/2.png", "score": 1.2},
    ]
    assert (values["pixel_auroc"], values["aupro"]) == (None, None)
    assert "shift" not in values


def test_f1_precision_and_recall_are_those_of_scikit_learn(rng):
    for _ in range(20):
        rows = [(rng.choice(["good", "cut"]), 1.0, rng.choice(["OK", "UNSURE", "NG", "NG"])) for _ in range(12)]
        values = summary(*answers(("good", 1.0, "NG"), ("cut", 1.0, "OK"), *rows), None, 0.01)
        truth = [False, True] + [kind == "cut" for kind, _, _ in rows]
        called = [True, False] + [verdict == "NG" for _, _, verdict in rows]
        assert values["f1"] == pytest.approx(f1_score(truth, called))
        assert values["precision"] == pytest.approx(precision_score(truth, called))
        assert values["recall"] == pytest.approx(recall_score(truth, called))


def test_summary_contains_pixel_metrics(pixels_of_images):
    pixels = measured(*pixels_of_images)
    values = summary(*MIXED, pixels, 0.01)
    assert (values["pixel_auroc"], values["aupro"]) == (pixels.auroc(), pixels.aupro())
    empty = summary(*MIXED, PixelMetrics(), 0.01)
    assert (empty["pixel_auroc"], empty["aupro"]) == (None, None)


@pytest.mark.parametrize("rows", [[], [("cut", None, "")], [("good", 0.5, "OK")], [("cut", 0.5, "OK")]])
def test_undefined_metrics_are_none(rows):
    values = summary(*answers(*rows), PixelMetrics(), 0.01, good_scores=[])
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert (values["image_auroc"], values["average_precision"], values["precision"]) == (None, None, None)
    assert values["shift"] == {"p_value": None}
    assert summary_lines(values)["image AUROC"] == "-   average precision -"


def test_numbers_of_images_and_results_must_agree():
    with pytest.raises(ValueError, match="11 images but 10 results"):
        summary(MIXED[0], MIXED[1][1:], None, 0.01)


def test_shift_of_good_test_images():
    """Three scores above three others are one of twenty orders. The test is one-sided."""
    images = answers(("good", 1.1, "NG"), ("good", 1.2, "NG"), ("good", 1.3, "NG"), ("cut", 0.1, "OK"))
    assert summary(*images, None, 0.01, np.array([0.1, 0.2, 0.3]))["shift"] == {"p_value": pytest.approx(1 / 20)}
    assert summary(*images, None, 0.01, [2.1, 2.2, 2.3])["shift"] == {"p_value": pytest.approx(1)}


def test_summary_lines():
    rows = (
        [("good", 0.5, "OK")] * 66 + [("nep", 1.5, "NG")] * 8 + [("nep", 0.9, "UNSURE")] * 2 + [("nep", 0.4, "OK")] * 2
    )
    pixels = measured([np.float32([[1, 0]])], [np.array([[True, False]])])
    assert summary_lines(summary(*answers(*rows, ("cut", 1.5, "NG")), pixels, 0.01)) == {
        "images": "66 good, 13 defective",
        "image AUROC": "0.846   average precision 0.871",
        "pixel AUROC": "1.000   AUPRO 1.000",
        "at the limit": "F1 0.82, found 9 of 13 (69%, 95% interval 39 to 91%)",
        "false alarms": "0 of 66 (0.0%, 95% interval 0.0 to 5.4%), promised at most 1.0%",
        "unsure": "0 good, 2 defective",
        "  cut": "1 of 1 found",
        "  nep": "8 of 12 found, 2 unsure",
    }
    assert summary_lines(summary(*MIXED, None, 0.01))["  hole"] == "0 of 0 found, 1 not inspected"
    assert summary_lines(summary(*MIXED, None, 0.01))["images"] == (
        "4 good, 5 defective, 2 could not be scored (1 good, 1 defective), which count in no figure"
    )
    few = summary_lines(summary(*MIXED, None, 1.0))
    assert few["false alarms"].endswith("%), no guarantee: too few calibration images")


def test_remarks_on_a_guaranteed_rate_that_does_not_hold():
    bad = answers(*[("good", 1.5 + i / 100, "NG") for i in range(20)], ("cut", 2.0, "NG"))
    fitted = np.linspace(0.2, 1, 20)

    def said(promised_rate, good_scores):
        return [re.split(r"\. |\.$", remark)[0] for remark in remarks(summary(*bad, None, promised_rate, good_scores))]

    broken = "The promise of at most 1.0% false alarms does not hold on these images"
    shifted = "Good test images score higher than the good images that set the limits"
    assert said(0.01, None) == said(0.01, fitted + 1) == [broken]
    assert said(0.01, fitted) == [broken, shifted]
    assert said(0.9, fitted) == [shifted]  # 83 to 100% were seen
    assert said(0.9, fitted + 1) == []
