"""Changes of the limits without a new fit: calibrate, adjust, history, and the commands."""

import copy
import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from test_cli import run

from cfa_lite import CFA, ImageError, load


@pytest.fixture
def loaded(part):
    return load(part, threads=2)


def test_map_score_and_verdict_agree(loaded, cloth, line):
    seen = set()
    masks = {p.name for p in (cloth / "masks").iterdir()}
    for unsure_rate in (0.05, 0.5):
        loaded.calibrate([p for p in line if p.name not in masks], unsure_rate=unsure_rate)
        for result in list(loaded.inspect_many(line)):
            seen.add(result.verdict)
            assert (result.verdict == "NG") == bool(result.regions) == bool((result.full_map() > 1).any())
            assert result.score == result.map.max()
            if result.regions:
                assert result.regions[0].peak == result.score
    assert seen == {"OK", "UNSURE", "NG"}


def test_limits_are_order_statistics_of_the_held_out_scores(model):
    limits = model.limits_
    assert limits.n_images == limits.n_groups == 16
    assert limits.promised_rate == pytest.approx(1 / 17)
    assert limits.threshold == max(model.good_scores_)
    assert model.fitted_.training["most_unusual"][0]["raw_score"] == limits.threshold
    expected = sorted((s / limits.threshold for s in model.good_scores_), reverse=True)
    assert [r.score for r in model.most_unusual_] == pytest.approx(expected, rel=1e-6)
    assert all(r.verdict != "NG" and r.map.max() == np.float32(r.score) for r in model.most_unusual_)


def test_rates_and_margin_of_fit(small_images):
    few = CFA(recipe="whitened", n_centers=8, threads=1).fit(small_images)
    wide = CFA(recipe="whitened", n_centers=8, threads=1, false_alarm_rate=0.3, unsure_rate=0.6, limit_margin=0.2)
    wide.fit(small_images)
    np.testing.assert_array_equal(wide.good_scores_, few.good_scores_)
    ordered = np.sort(few.good_scores_)
    assert wide.limits_.threshold == pytest.approx(1.2 * ordered[6])  # 7th of 8: 2 / 9 are above
    assert wide.limits_.unsure_threshold == pytest.approx(1.2 * ordered[3])


@pytest.mark.parametrize(
    "params, words",
    [
        ({"false_alarm_rate": 0}, "false_alarm_rate=0 is not allowed. Use a number above 0 and below 1"),
        ({"unsure_rate": 1.0}, "unsure_rate=1.0 is not"), ({"false_alarm_rate": float("nan")}, "false_alarm_rate=nan"),
        ({"false_alarm_rate": 0.1, "unsure_rate": 0.05}, "unsure_rate=0.05 is below false_alarm_rate=0.1"),
        ({"limit_margin": -0.1}, "limit_margin=-0.1"), ({"mm_per_pixel": 0}, "mm_per_pixel=0"),
        ({"min_area": -1}, "min_area=-1"), ({"outliers": "no"}, "outliers='no'"), ({"group_by": 3}, "group_by=3"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(params, words, small_images):
    with pytest.raises(ValueError, match=words):
        CFA(**params).fit(small_images)


def test_min_area_removes_small_regions_and_changes_the_verdict(loaded, line):
    before = [r for r in list(loaded.inspect_many(line)) if r.verdict == "NG"]
    sizes = sorted(max(region.area_px for region in r.regions) for r in before)
    loaded.min_area, loaded.mm_per_pixel = sizes[0] + 1, 0.1
    after = {r.path: r for r in list(loaded.inspect_many(line))}
    dropped = [r for r in before if after[r.path].verdict != "NG"]
    assert len(dropped) == sum(size < loaded.min_area for size in sizes) > 0
    for result in dropped:
        assert after[result.path].score == 1 and not after[result.path].regions
        assert after[result.path].raw_score == result.raw_score
    for result in after.values():
        assert all(region.area_px >= loaded.min_area for region in result.regions)
        assert all(region.area_mm2 == pytest.approx(region.area_px / 100) for region in result.regions)


def test_calibrate_on_new_good_images(loaded, cloth, line, tmp_path):
    masks = {p.name for p in (cloth / "masks").iterdir()}
    new = [p for p in line if p.name not in masks]
    raw = {r.path: r.raw_score for r in list(loaded.inspect_many(new))}
    before = loaded.limits_
    assert loaded.calibrate(new, false_alarm_rate=0.2, unsure_rate=0.5, limit_margin=0.05) is loaded
    assert loaded.threshold_ == pytest.approx(1.05 * sorted(raw.values())[5])  # the highest of 6
    assert loaded.limits_.unsure_threshold == pytest.approx(1.05 * sorted(raw.values())[3])
    assert (loaded.limits_.source, loaded.limits_.n_images) == ("calibrate", 6)
    assert loaded.fitted_.history == (asdict(before),)
    assert all(r.verdict != "NG" for r in list(loaded.inspect_many(new)))
    loaded.save(tmp_path / "new.cfa")
    again = load(tmp_path / "new.cfa")
    assert again.limits_ == loaded.limits_ and again.fitted_.history == loaded.fitted_.history
    assert again.inspect(line[0]).score == loaded.inspect(line[0]).score
    grouped = again.calibrate(new, group_by="png")
    assert grouped.limits_.n_groups == 1 and len(grouped.fitted_.history) == 2


@pytest.fixture
def odd(line, tmp_path):
    """An unreadable image, and three that are INVALID: dark, blank and small."""
    folder = tmp_path / "odd"
    folder.mkdir()
    picture = Image.open(line[0]).convert("RGB")
    picture.point(lambda value: value // 8).save(folder / "dark.png")
    Image.new("RGB", picture.size, (90, 90, 90)).save(folder / "blank.png")
    picture.resize((40, 40)).save(folder / "small.png")
    (folder / "broken.png").write_text("no image")
    return folder


def test_calibrate_leaves_out_what_cannot_be_inspected(loaded, good, odd, caplog, tmp_path):
    before = loaded.limits_
    expected = copy.deepcopy(loaded).calibrate(good[:6]).limits_
    assert loaded.calibrate([odd / "broken.png", *good[:6], *sorted(odd.glob("[ds]*.png"))]) is loaded
    assert replace(loaded.limits_, n_left_out=0) == expected and loaded.limits_.n_left_out == 3
    assert [skipped.name for skipped in loaded.skipped_] == [str(odd / f"{n}.png") for n in ("broken", "dark", "small")]
    for words in ("broken.png cannot be read", "dark.png: The image is far darker", "small.png: The image is 40x40 px"):
        assert words in caplog.text
    loaded.save(tmp_path / "new.cfa")
    again = load(tmp_path / "new.cfa").calibrate(good[:6])
    assert [entry["n_left_out"] for entry in again.fitted_.history] == [0, 3] and again.skipped_ == ()
    assert again.fitted_.history[0] == asdict(before)
    loaded.checks = False
    assert loaded.calibrate([*good[:6], odd / "dark.png"]).limits_.n_images == 7


def test_calibrate_refuses_images_most_of_which_cannot_be_inspected(loaded, line, odd):
    before = loaded.limits_
    with pytest.raises(ImageError, match="1 of 5 good images can be used, too few for new limits") as raised:
        loaded.calibrate([line[0], *sorted(odd.iterdir())])
    assert str(raised.value).splitlines()[-1].strip() == "and 1 more"
    with pytest.raises(ImageError, match="0 of 1 good images can be used"):
        loaded.calibrate([odd / "broken.png"])
    with pytest.raises(ImageError, match="no images to calibrate with"):
        loaded.calibrate([])
    with pytest.raises(ValueError, match="false_alarm_rate=2"):
        loaded.calibrate(line, false_alarm_rate=2)
    assert loaded.limits_ == before and loaded.fitted_.history == () and loaded.skipped_ == ()


def test_command_calibrate_names_and_counts_what_it_leaves_out(part, cloth, odd, tmp_path, caplog):
    new = tmp_path / "new.cfa"
    done = run("calibrate", part, cloth / "good", odd, "-o", new)
    assert done.exit_code == 0, done.output
    assert "16 good images that fit has not seen, 4 left out" in done.stdout
    assert all(f"skipped: {path}" in caplog.text for path in odd.iterdir())
    assert "16 good images that fit has not seen, 4 left out" in run("info", new).stdout
    one = run("calibrate", part, sorted((cloth / "good").iterdir())[0], "--dry-run").stdout
    assert "1 good image that fit has not seen" in one and "with 1 good image, UNSURE and NG start" in one


def test_adjust(loaded, line):
    result = loaded.inspect(line[0])
    loaded.adjust(sensitivity=2)
    assert loaded.inspect(line[0]).score == pytest.approx(2 * result.score)
    assert loaded.limits_.promised_rate == pytest.approx(1)  # every good image is above half the limit
    loaded.adjust(threshold=result.raw_score)
    assert loaded.inspect(line[0]).score == 1
    assert [entry["source"] for entry in loaded.fitted_.history] == ["fit", "by hand"]


@pytest.mark.parametrize("given, told", [
    ({"threshold": float("nan")}, "threshold=nan is not allowed. Use a number above 0."),
    ({"sensitivity": 0}, "sensitivity=0 is not allowed. Use a number above 0."),
    ({}, "Give either a sensitivity or a threshold."),
    ({"sensitivity": 1, "threshold": 1}, "Give either a sensitivity or a threshold."),
])  # fmt: skip
def test_adjust_names_what_is_wrong(loaded, given, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        loaded.adjust(**given)


def test_command_calibrates_and_info_shows_earlier_limits(part, cloth, tmp_path):
    done = run(
        "calibrate",
        part,
        cloth / "good",
        "-o",
        tmp_path / "new.cfa",
        "--defects",
        cloth / "line",
        "--limit-margin",
        0.1,
    )
    assert done.exit_code == 0, done.output
    assert "16 good images that fit has not seen, margin 10%" in done.stdout
    assert "of 16 found (95% interval" in done.stdout
    told = run("info", tmp_path / "new.cfa").stdout
    assert "earlier limit 1  raw score" in told and "16 good images, each held out once" in told
    before = part.read_bytes()
    assert run("calibrate", part, cloth / "good", "--dry-run").exit_code == 0
    assert part.read_bytes() == before
    copy = tmp_path / "copy.cfa"
    copy.write_bytes(before)
    assert run("calibrate", copy, "--sensitivity", 1.5).exit_code == 0
    assert load(copy).threshold_ == pytest.approx(load(part).threshold_ / 1.5)
    for wrong in (("--sensitivity", 0), (cloth / "good", "--threshold", 1), ("--limit-margin", 1), (),
                  (cloth / "good", "--false-alarm-rate", 1.5)):  # fmt: skip
        assert run("calibrate", copy, *wrong).exit_code == 2, wrong


def test_command_scores_at_another_sensitivity(part, line, tmp_path):
    score = load(part).inspect(line[0]).score
    lines = [run("score", part, line[0], *how).stdout for how in (("--sensitivity", 3), ("--threshold", 0.1))]
    assert lines[0].startswith(f"NG     {3 * score:8.3f}") and lines[1].startswith("NG")
    assert run("score", part, line[0], "--threshold", -1).exit_code == 2


@pytest.fixture(scope="module")
def test_set(cloth, tmp_path_factory):
    """The inspected images of the demo in the layout of MVTec AD."""
    root = tmp_path_factory.mktemp("set")
    masks = {p.name: p for p in (cloth / "masks").iterdir()}
    for folder in ("test/good", "test/defect", "ground_truth/defect"):
        (root / folder).mkdir(parents=True)
    for path in sorted((cloth / "line").iterdir()):
        kind = "defect" if path.name in masks else "good"
        (root / "test" / kind / path.name).write_bytes(path.read_bytes())
        if path.name in masks:
            mask = root / "ground_truth" / "defect" / f"{path.stem}_mask.png"
            mask.write_bytes(masks[path.name].read_bytes())
    return root


def test_command_evaluates(part, test_set, tmp_path):
    done = run("evaluate", part, test_set, "--output", tmp_path / "r.json", "--report", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["n_good"], found["n_defective"]) == (6, 10)
    assert found["image_auroc"] > 0.8 and found["pixel_auroc"] > 0.8 and found["aupro"] > 0.5
    assert found["found"]["n"] == found["by_defect"]["defect"]["found"]
    assert found["false_alarms"]["promised"] == pytest.approx(1 / 17)
    assert "image AUROC     " in done.stdout and "promised at most 5.9%" in done.stdout
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "image AUROC" in page and page.count("<article") >= 10
    folders = run("evaluate", part, "--good", test_set / "test/good", "--defects", test_set / "test/defect")
    assert folders.exit_code == 0, folders.output
    assert "pixel AUROC" not in folders.stdout
    assert folders.stdout.splitlines()[1] == done.stdout.splitlines()[1]


def test_command_evaluate_explains_wrong_input(part, test_set, tmp_path):
    assert run("evaluate", part).exit_code == 2
    assert run("evaluate", part, test_set, "--good", test_set).exit_code == 2
    no_good = run("evaluate", part, test_set / "ground_truth")
    assert no_good.exit_code == 1 and "without good images" in no_good.stderr
    for folder in ("test/good", "test/defect", "ground_truth/defect"):
        (tmp_path / folder).mkdir(parents=True)
        source = next((test_set / folder).iterdir())
        (tmp_path / folder / ("a_mask.png" if "truth" in folder else "a.png")).write_bytes(source.read_bytes())
    Image.new("L", (40, 40), 255).save(tmp_path / "ground_truth/defect/a_mask.png")
    wrong = run("evaluate", part, tmp_path)
    assert wrong.exit_code == 1 and "a_mask.png is 40x40 px but its image" in wrong.stderr


def test_command_writes_masks_regions_and_a_page(part, cloth, tmp_path):
    done = run("score", part, cloth / "line", "--masks", tmp_path / "masks", "--core-masks", tmp_path / "cores",
               "--output", tmp_path / "r.jsonl", "--report", tmp_path / "r.html")  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines()]
    for row in rows:
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{row['path'][-7:-4]}.png"))
        assert mask.shape == (288, 384) and set(np.unique(mask)) <= {0, 255}
        core = np.asarray(Image.open(tmp_path / "cores" / f"{row['path'][-7:-4]}.png"))
        assert core.shape == mask.shape and core.any() == mask.any() and (core <= mask).all()
        assert mask.any() == (row["verdict"] == "NG") == bool(row["regions"]) == bool(row["n_regions"])
        for region in row["regions"]:
            left, top, width, height = region["box_px"]
            assert mask[top : top + height, left : left + width].any()
            assert mask[region["peak_px"][1], region["peak_px"][0]] == 255
            assert core[region["peak_px"][1], region["peak_px"][0]] == 255
            assert 0 < region["core_area_px"] <= region["area_px"]
            assert all(x >= left - 0.5 and y >= top - 0.5 for part in region["core_contours_px"] for x, y in part)
    assert any(region["core_area_px"] < region["area_px"] for row in rows for region in row["regions"])
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("<figure>") == sum(
        min(5, row["n_regions"]) for row in rows
    )
    assert "<title>Images inspected with part.cfa</title>" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_command_warns_of_a_shift(part, cloth, tmp_path):
    for i, path in enumerate(sorted((cloth / "good").iterdir()) * 2):
        Image.open(path).rotate(180).point(lambda v: v // 2 + 60).save(tmp_path / f"{i:02d}.png")
    done = run("score", part, tmp_path)
    assert "score higher than three quarters of the good images" in done.stderr
    assert "score higher than" not in run("score", part, cloth / "line").stderr


def test_command_fit_writes_a_report_and_states_the_guarantee(cloth, tmp_path):
    done = run("fit", cloth / "good", "-o", tmp_path / "p.cfa", "--recipe", "whitened", "--n-centers", 8,
               "--min-area", 50,
               "--mm-per-pixel", 0.2, "--report", tmp_path / "report", "--group-by", r"(\d)\.png")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (
        "10 independent groups of images are too few to guarantee that at most 1.00% of good images are NG. They"
        in done.stderr
    )
    assert "guarantee 9.09%; 99 would be enough." in done.stderr
    assert "The 16 good images form 10 independent groups." in done.stderr
    assert (
        "Regions below 50 px (2 square mm) are ignored. A round region of this area has a diameter of 8.0 px (1.6 mm)"
        in done.stderr
    )
    assert "The most unusual good images, with their scores: 0" in done.stderr
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<article") == 16 and "Good images of p.cfa" in page
    assert "Regions below 50 px" in run("info", tmp_path / "p.cfa").stdout
    for wrong in (("--false-alarm-rate", 0), ("--unsure-rate", 1), ("--group-by", "(")):
        assert run("fit", cloth / "good", "-o", tmp_path / "q.cfa", "--recipe", "whitened", *wrong).exit_code == 2, (
            wrong
        )
    assert not (tmp_path / "q.cfa").exists()


def test_command_fit_with_a_mask(cloth, tmp_path):
    Image.new("L", (384, 288), 255).save(tmp_path / "all.png")
    Image.new("L", (384, 288), 0).save(tmp_path / "none.png")
    fit = ("fit", cloth / "good", "-o", tmp_path / "p.cfa", "--recipe", "whitened", "--n-centers", 8, "--mask")
    black = run(*fit, tmp_path / "none.png")
    assert black.exit_code == 1 and "none.png: The inspection mask is black everywhere" in black.stderr
    assert not (tmp_path / "p.cfa").exists()
    assert run(*fit, tmp_path / "all.png").exit_code == 0
    assert "100% of the image is inspected" in run("info", tmp_path / "p.cfa").stdout
