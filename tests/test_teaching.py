"""Known defects: what is learned from labeled images, how much it counts, and that nothing is lost."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import run

from cfa_lite import CFA, ImageError, PublishedCFA, load
from cfa_lite.errors import ArchiveError
from cfa_lite.inference import known_defects
from cfa_lite.method import defect_directions, resampling
from cfa_lite.report import text_taught
from cfa_lite.storage import archive
from cfa_lite.teaching import directions, labelled, leaving_out, places
from cfa_lite.teaching.leaving_out import Standard


@pytest.fixture(scope="module")
def bad(cloth, tmp_path_factory):
    """Folder of the demo's defects by kind, and a folder of their masks."""
    folder = tmp_path_factory.mktemp("bad")
    with (cloth / "defects.csv").open() as file:
        for row in csv.DictReader(file):
            name, kind = row["file"], row["defect"]
            if not kind:
                continue
            for part, source, stem in (("bad", "line", ""), ("masks", "masks", "_mask")):
                target = folder / part / kind / f"{name.removesuffix('.png')}{stem}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((cloth / source / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def taught(part, good, bad, tmp_path_factory):
    """A taught model, and its file."""
    model = load(part, threads=2)
    result = model.teach(good, bad / "bad", masks=bad / "masks")
    path = tmp_path_factory.mktemp("taught") / "taught.cfa"
    model.save(path)
    return model, path, result


def images_of(folder):
    return sorted(folder.rglob("*.png"))


def test_directions_are_fishers_discriminant(rng):
    points, weights = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)), rng.uniform(size=300)
    prototypes = rng.normal(size=(2, 5))
    covariance = np.cov(points.T, aweights=weights, bias=True)
    within = covariance + defect_directions.RIDGE * np.trace(covariance) / 5 * np.eye(5)
    expected = np.linalg.solve(within, (prototypes - np.average(points, axis=0, weights=weights)).T)
    normal = defect_directions.spread(points.astype(np.float32), weights)
    np.testing.assert_allclose(defect_directions.directions(prototypes, normal), expected, rtol=1e-3)


def test_responses_are_those_of_resized_descriptors(model, good, rng):
    """A linear response of resized features is the resized response of features."""
    backbone, scorer = model.open_backbone(), model.fitted_.scorer
    from cfa_lite.features import feature_maps, images

    pixels = images.to_pixels(images.read(good[0]), (128, 192))
    maps, levels = feature_maps.from_pixels(pixels, backbone), places.pooled(scorer.levels)
    grid = places.grid_of(maps, scorer.levels, (128, 192))
    assert grid == (16, 24)
    of_descriptors = rng.normal(size=(sum(lv.weight.shape[1] for lv in levels), 3)).astype(np.float32)
    weights, start = {}, 0
    for level in levels:
        stop = start + level.weight.shape[1]
        weights[level.key], start = level.weight @ of_descriptors[start:stop], stop
    found = known_defects.responses(maps, weights, {lv.key: lv.mean for lv in levels})
    at = np.array([0, 7, 23, 24 * 9 + 5, 383])
    expected = places.descriptors(maps, scorer.levels, grid, at) @ of_descriptors
    np.testing.assert_allclose(known_defects.summed(found, grid).reshape(3, -1)[:, at].T, expected, atol=2e-2)


@pytest.mark.parametrize("grid", [(2, 3), (8, 12)])
def test_to_grid_keeps_the_mean_of_a_plane(rng, grid):
    rows, columns = np.mgrid[0:4, 0:6].astype(np.float32)
    found = resampling.to_grid(np.stack([rows, columns]), grid)
    assert found.shape == (2, *grid)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), (1.5, 2.5), rtol=1e-5)
    if grid == (2, 3):
        np.testing.assert_array_equal(found[0], [[0.5] * 3, [2.5] * 3])


def test_a_taught_model_finds_what_it_was_taught_and_loses_nothing(part, taught, line, good):
    before, (after, _, result) = load(part, threads=2), taught
    decision = after.info()["training"]["known_defects"]
    assert decision["kept"]
    assert 0.9 < decision["weight"] < 1
    for a, b in zip(list(before.inspect_many(line)), list(after.inspect_many(line))):
        assert b.raw_score >= a.raw_score  # known defects only raise a score
        assert b.score == b.map.max()
        assert (b.verdict == "NG") == bool(b.regions)
        assert all(r.kind in ("unknown", *decision["told"]) for r in b.regions)
        assert all((r.kind_certainty is None) == (r.kind == "unknown") for r in b.regions)
    assert {c.name for c in result.good} == {str(path) for path in good}
    assert sum(c.after > 1 for c in result.good) == 0
    assert after.limits_.source == "teach"
    assert after.limits_.promised_rate == pytest.approx(1 / 17)
    # A model that has not seen the image finds it as well: each is left out in turn.
    checked = [c for c in result.defects if c.after is not None]
    assert len(checked) == len(result.defects)
    assert sum(c.after > 1 for c in checked) >= sum(c.before > 1 for c in checked)


def test_good_images_of_the_fit_keep_their_held_out_scores(part, good, bad):
    model = load(part, threads=2)
    held_out = model.good_scores_.copy()
    result = model.teach(good, images_of(bad / "bad")[:1])
    before = np.array([change.before for change in result.good])
    np.testing.assert_allclose(before, held_out / held_out.max(), rtol=1e-5)
    assert (model.good_scores_ >= held_out * (1 - 1e-6)).all()


def test_false_alarms_alone_give_new_limits(part, good, cloth):
    model = load(part, threads=2)
    alarm = max(sorted((cloth / "new-good").iterdir()), key=lambda path: model.inspect(path).score)
    before = model.inspect(alarm)
    result = model.teach([*good, alarm], good_only=True)
    assert result.defects == [] and len(result.good) == len(good) + 1
    assert model.threshold_ == pytest.approx(max(before.raw_score, before.raw_limit), rel=1e-4)
    assert model.inspect(alarm).raw_score == before.raw_score and model.inspect(alarm).verdict != "NG"


def test_teaching_twice_is_teaching_at_once_and_forgetting_undoes_it(part, good, bad, line, taught):
    at_once, in_turn = taught[0], load(part, threads=2)
    for kind in sorted(path.name for path in (bad / "bad").iterdir()):
        in_turn.teach(good, {kind: images_of(bad / "bad" / kind)}, masks={kind: images_of(bad / "masks" / kind)})
    scores = [[r.raw_score for r in m.inspect_many(line)] for m in (at_once, in_turn)]
    np.testing.assert_allclose(*scores, rtol=1e-5)
    assert len(in_turn.fitted_.history) == len(list((bad / "bad").iterdir()))
    kinds = sorted({image.kind for image in in_turn.fitted_.taught})
    in_turn.teach(good, forget=kinds[:1])
    assert {image.kind for image in in_turn.fitted_.taught} == set(kinds[1:])
    in_turn.teach(good, forget=kinds[1:])
    plain = load(part, threads=2)
    assert in_turn.fitted_.scorer.known is None
    assert [r.raw_score for r in in_turn.inspect_many(line)] == [r.raw_score for r in plain.inspect_many(line)]
    assert in_turn.threshold_ == pytest.approx(plain.threshold_, rel=1e-5)


def test_an_image_taught_again_replaces_its_earlier_self(part, good, bad):
    model, image = load(part, threads=2), images_of(bad / "bad")[0]
    model.teach(good, {"scratch": [image]})
    model.teach(good, {"crack": [image]})
    assert [one.kind for one in model.fitted_.taught] == ["crack"]


def test_fit_with_defects_saves_and_loads_bit_equal(small_images, rng, tmp_path):
    spotted = [image.copy() for image in small_images[:3]]
    for i, image in enumerate(spotted):
        image[20 + i : 28 + i, 30:38] = 0
    model = CFA(n_centers=8, threads=1).fit(small_images, defects={"spot": spotted[:2]})
    assert [image["kind"] for image in model.info()["taught"]] == ["spot", "spot"]
    model.save(tmp_path / "part.cfa")
    read = load(tmp_path / "part.cfa")
    assert read.info() == model.info()
    for a, b in zip(model.inspect_many(spotted), read.inspect_many(spotted)):
        assert (a.raw_score, a.regions) == (b.raw_score, b.regions)
        np.testing.assert_array_equal(a.map, b.map)


def test_tiles_give_the_same_scores(taught, monkeypatch, line):
    from cfa_lite.features import tiling

    model = taught[0]
    whole = model.inspect(line[-1]).raw_score
    monkeypatch.setattr(tiling, "WHOLE_PX", 128 * 128)
    monkeypatch.setattr(tiling, "CORE_PX", 128)
    assert model.inspect(line[-1]).raw_score == pytest.approx(whole, rel=0.02)


def test_inspection_mask_holds_for_known_defects(small_images):
    white = np.ones((64, 96), bool)
    white[:, 48:] = False
    spotted = [image.copy() for image in small_images[:2]]
    for image in spotted:
        image[20:28, 20:28] = 255
    model = CFA(n_centers=8, threads=1, mask=white).fit(small_images, defects=spotted)
    beside = small_images[3].copy()
    beside[20:28, 70:78] = 255  # the same defect where nothing is inspected
    assert model.inspect(beside).raw_score == pytest.approx(model.inspect(small_images[3]).raw_score, rel=0.05)
    found = model.inspect(spotted[0]).map
    assert (found[:, found.shape[1] // 2 :] <= 0).all()


def test_without_a_mask_the_most_anomalous_places_teach(taught, part, good, bad):
    defect = images_of(bad / "bad")[0]
    mask = np.asarray(Image.open(bad / "masks" / defect.parent.name / f"{defect.stem}_mask.png")) > 127
    masked = [one for one in taught[2].places if one.image.name == defect.name][0]
    assert masked.image.has_mask
    h, w = masked.used.shape
    share = resampling.cell_means(mask, (h, w))
    assert share[masked.used].mean() > 0.3
    plain = load(part, threads=2).teach(good, [defect]).places[0]
    rows, columns = np.nonzero(plain.used)
    peak = np.unravel_index(plain.score_map.argmax(), plain.score_map.shape)
    assert np.hypot(rows - peak[0], columns - peak[1]).min() <= 16
    shown = plain.shown(1.0)
    assert shown.regions
    assert shown.map.max() == np.float32(1.5)


def test_an_image_in_which_nothing_stands_out_is_named(part, good, line, cloth):
    names = {path.name for path in (cloth / "masks").iterdir()}
    model = load(part, threads=2)
    plain = sorted((r for r in model.inspect_many([p for p in line if p.name not in names])), key=lambda r: r.raw_score)
    model.teach(good, [plain[0].path])
    assert model.info()["training"]["known_defects"]["unclear"] == [f"{Path(plain[0].path).name} (defect)"]


def standard_inputs(rng, n_good=60):
    of_good = [rng.normal(-3, 1, (2, 4, 4)).astype(np.float32) for _ in range(n_good)]
    cells = [rng.normal(1, 0.05, (4, 4)) for _ in range(n_good)]
    return of_good, cells


def two_images(kind_of=(0, 0)):
    return directions.Directions(
        np.zeros((2, 1)), ("a", "b")[: max(kind_of) + 1], np.array(kind_of), np.arange(2),
        {0: np.array([1]), 1: np.array([0])},
    )  # fmt: skip


def taught_stub(kind, anomaly):
    from cfa_lite.fitted import TaughtImage

    return TaughtImage("x", kind, "2026-01-01", "00", 1, False, anomaly, np.zeros((1, 1)), np.array([anomaly]))


@pytest.mark.parametrize("response, helps", [(9.0, True), (-9.0, False)])
def test_known_defects_count_only_if_they_help_images_that_are_left_out(rng, response, helps):
    of_good, cells = standard_inputs(rng)
    if not helps:  # the directions raise good images instead
        of_good = [one + 40 * (i % 3 == 0) for i, one in enumerate(of_good)]
    images = [taught_stub("a", 1.14), taught_stub("a", 1.14)]
    # Many images, so that the prior does not decide.
    found, of_taught = two_images(), [np.full((2, 1), response, np.float32)] * 2
    found = replace(found, without={j: np.array([1 - j % 2]) for j in range(2)})
    check = leaving_out.check(found, images, of_taught, of_good, cells, unit=0.4)
    assert (sum(check.gains) > 0) == helps
    expected = sum(check.gains) + leaving_out.PRIOR_IMAGES * leaving_out.PRIOR_GAIN
    assert check.weight == (0.75 if expected > 0 else 0.0)
    assert helps or check.weight == 0
    assert set(check.scores) == {0, 1}


def test_one_image_is_trusted_half_and_not_checked(rng):
    of_good, cells = standard_inputs(rng)
    found = directions.Directions(np.zeros((1, 1)), ("a",), np.array([0]), np.arange(1), {})
    check = leaving_out.check(found, [taught_stub("a", 1.0)], [np.zeros((1, 1))], of_good, cells, 0.1)
    assert (check.weight, check.gains) == (0.5, [])
    assert check.kinds["a"].told_from == np.inf


def resembling(*images):
    """Images of kinds a, b and c, given as text such as "a40 b1 c": the kind, and its responses to each kind."""
    return [(text[0], dict(zip("abc", map(float, text[1:].split(","))))) for text in images]


@pytest.mark.parametrize(
    ("images", "told_from"),
    [
        (["a4,0", "a6,0", "b0,4", "b0,4"], 2.5),
        (["a4,0", "b0,4", "b0,4"], np.inf),  # one image shows nothing
        (["a4", "a6", "a6", "a6"], np.inf),  # nothing shows what an image of another kind would resemble
        (["a4,5", "a6,7", "b0,4", "b0,4"], np.inf),  # it resembles another kind more
        # Without its own kind, b resembles a as much as a does. So would a kind that was never taught.
        (["a4,0", "a6,0", "b5,9", "b5,9"], np.inf),
        (["a4,0", "a6,0", "b1,9", "b2,9"], 2.5),  # not so much
        (["a4,0", "a6,0", "a7,0", "a8,0", "b4,9", "b3.5,9"], 6.0),  # told where only a is left
        (["a4,0,0", "a6,0,0", "b5,9,6", "b5,9,6", "c0,0,9"], 2.5),  # b would be told to be c
    ],
)
def test_a_kind_is_told_only_where_it_was_right_and_other_kinds_are_not_told(images, told_from):
    check = leaving_out._kinds(["a", "b", "c"], resembling(*images))["a"]
    assert check.told_from == told_from
    assert (0.75 <= check.certainty < 1) == np.isfinite(told_from)


def test_leaving_out_never_uses_the_image_itself(rng):
    images = [
        replace(taught_stub(kind, 1.0), descriptors=rng.normal(size=(1, 4)).astype(np.float32))
        for kind in ("a", "a", "a", "b")
    ]
    found = directions.of_images(images, 0)
    assert len(found.of_model) == 4 + 1  # each image, and the kind with several
    for j, used in found.without.items():
        changed = list(images)
        changed[j] = replace(images[j], descriptors=images[j].descriptors + 100)
        np.testing.assert_array_equal(directions.of_images(changed, 0).prototypes[used], found.prototypes[used])
    many = directions.of_images([replace(images[i % 4], descriptors=rng.normal(size=(1, 4))) for i in range(80)], 0)
    assert len(many.of_model) <= directions.MAX_SINGLE + 2
    assert len(many.without) == directions.MAX_CHECKED


def test_standard_is_not_blinded_by_one_image(rng):
    peaks = rng.normal(5, 1, (100, 1))
    peaks[0] = 1e6
    standard = Standard.of(peaks)
    assert standard.median == pytest.approx(5, abs=0.5)
    assert standard.spread == pytest.approx(1, abs=0.3)
    assert leaving_out.robust_spread(np.ones(5)) > 0


def test_kinds_come_from_folders_and_masks_are_found(bad, tmp_path):
    found = labelled.collect(bad / "bad", bad / "masks")
    assert {one.kind for one in found} == {path.name for path in (bad / "bad").iterdir()}
    assert all(one.given_mask.name == f"{one.image.stem}_mask.png" for one in found)
    one_folder = images_of(bad / "bad")[0].parent
    assert {one.kind for one in labelled.collect(one_folder)} == {"defect"}
    several = labelled.collect(sorted((bad / "bad").iterdir()))
    assert {one.kind for one in several} == {path.name for path in (bad / "bad").iterdir()}


def test_a_mask_beside_all_others_belongs_to_one_image_only(tmp_path):
    for name in ("bad/a/000.png", "bad/b/000.png", "bad/b/001.png", "masks/000.png", "masks/001_mask.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 64), 255).save(tmp_path / name)
    found = labelled.collect(tmp_path / "bad", tmp_path / "masks")
    assert [one.given_mask and one.given_mask.name for one in found] == [None, None, "001_mask.png"]
    assert [one.kind for one in labelled.collect({"k": tmp_path / "bad" / "a"})] == ["k"]


def test_teaching_tells_the_limit_and_labels_that_do_not_help(part, cloth, bad, tmp_path):
    model = tmp_path / "part.cfa"
    model.write_bytes(part.read_bytes())
    done = run("teach", model, "--good", cloth / "good", "--defects", bad / "bad", "--dry-run")
    assert "raw score" in done.stdout
    assert "without known defects" in done.stdout
    assert "16 images are too few to guarantee" in done.stderr
    info = load(model).info() | {"taught": [{"name": "a", "kind": "k", "date": "d", "has_mask": False}] * 2}
    decision = {
        "kept": True,
        "weight": 0.75,
        "n_checked": 2,
        "gain": -0.01,
        "gain_error": 0.1,
        "told": [],
        "unclear": [],
    }
    info["training"] = {**info["training"], "known_defects": decision}
    assert "do not help to find each other" in " ".join(text_taught.remarks(info))
    assert "0.98 times as rare" in text_taught.known_defect_lines(info)["their share"]


def test_bad_input_is_refused_and_the_model_unchanged(part, good, bad, tmp_path):
    model = load(part, threads=2)
    before = model.info()
    defect = images_of(bad / "bad")[0]
    mask = bad / "masks" / defect.parent.name / f"{defect.stem}_mask.png"
    (tmp_path / "empty").mkdir()
    copy = tmp_path / "copy.png"
    copy.write_bytes(defect.read_bytes())
    Image.new("L", (40, 40), 255).save(tmp_path / "small.png")
    Image.new("L", (10, 10), 255).save(tmp_path / "tiny.png")
    Image.new("L", Image.open(defect).size, 0).save(tmp_path / "black.png")
    Image.new("L", (900, 40), 9).save(tmp_path / "strip.png")
    Image.new("L", Image.open(defect).size, 90).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no image")
    for arguments, words in [
        ({"defects": [good[3]]}, f"{good[3].name} is among the defective images"),
        ({"defects": [defect, copy]}, "are the same image"),
        ({"defects": [defect], "masks": [tmp_path / "small.png"]}, "is 40x40 px but its image"),
        ({"defects": [defect], "masks": [tmp_path / "tiny.png"]}, "is 10x10 px but its image"),
        ({"defects": [defect], "masks": [tmp_path / "black.png"]}, "is completely black"),
        ({"defects": [defect], "masks": [mask, mask]}, "1 defective images but 2 masks"),
        ({"defects": [defect], "masks": tmp_path / "empty"}, "No defective image has a mask"),
        ({"defects": [defect], "masks": tmp_path / "gone"}, "is not a folder of masks"),
        ({"defects": tmp_path / "empty"}, "contains no image"),
        ({"defects": []}, "There are no defective images"),
        ({"defects": {"good": [defect]}}, "is not a name for a kind"),
        ({"defects": {"": [defect]}}, "has the kind ''. The name of a kind must be printable text"),
        ({"defects": {"a\nb": [defect]}}, "must be printable text"),
        ({"defects": {3: [defect]}}, "has the kind 3"),
        ({"defects": {f"k{i}": [defect] for i in range(60)}}, "have 60 kinds"),
        ({"defects": [tmp_path / "strip.png"]}, "strip.png: The image is 900x40 px"),
        ({"defects": [tmp_path / "blank.png"]}, "No defective image can be used"),
        ({"defects": [tmp_path / "text.png"]}, "text.png"),
        ({"defects": [defect], "forget": ["rust"]}, "was not taught a kind 'rust'"),
    ]:
        with pytest.raises(ImageError) as raised:
            model.teach(good, **arguments)
        assert words in str(raised.value)
        assert model.info() == before
    with pytest.raises(ImageError, match="2 of 5 good images can be used, too few for new limits"):
        model.teach([*good[:2], *(tmp_path / f"{name}.png" for name in ("strip", "blank", "text"))], [defect])
    with pytest.raises(ImageError, match="3 good images are too few to learn from known defects"):
        model.teach(good[:3], [defect])
    with pytest.raises(ValueError, match="nothing to teach"):
        model.teach(good)
    brighter = np.minimum(np.asarray(Image.open(good[3]).convert("RGB")).astype(int) + 2, 255).astype(np.uint8)
    with pytest.raises(ImageError, match=f"{good[3].name} among the good ones is nearly the same image"):
        model.teach(good, [brighter])
    for wrong in (5, np.zeros((9, 9), np.uint8), b"x"):
        with pytest.raises(TypeError, match="A list is expected"):
            model.teach(good, wrong)
    with pytest.raises(TypeError, match="A list is expected"):
        model.teach(good, [defect], masks=np.zeros((9, 9), bool))
    assert model.info() == before
    with pytest.raises(TypeError, match="speed cannot be changed"):
        model.teach(good, [defect], speed=3)
    with pytest.raises(ValueError, match="published recipe cannot learn"):
        PublishedCFA(epochs=1).fit(good[:3], defects=[defect])


def test_what_would_be_invalid_teaches_nothing_and_is_named(part, good, bad, tmp_path, caplog):
    """Good and defective images alike: the result is that of the other images."""
    defects = images_of(bad / "bad")[:2]
    picture = Image.open(defects[0]).convert("RGB")
    Image.new("RGB", picture.size, (90, 90, 90)).save(tmp_path / "blank.png")
    picture.resize((40, 40)).save(tmp_path / "small.png")
    picture.point(lambda value: value // 8).save(tmp_path / "dark.png")
    (tmp_path / "text.png").write_text("no image")
    blank, small, dark, text = (tmp_path / f"{name}.png" for name in ("blank", "small", "dark", "text"))
    plain, odd = load(part, threads=2), load(part, threads=2)
    plain.teach(good, defects)
    found = odd.teach([blank, *good, text, dark, small], [dark, *defects, blank, small])
    assert [Path(one.name).name for one in found.skipped] == [
        "blank.png", "text.png", "dark.png", "small.png", "dark.png", "blank.png", "small.png"
    ]  # fmt: skip
    assert odd.skipped_ == found.skipped
    assert all(f"skipped: {one.message}" in caplog.text for one in found.skipped)
    assert odd.limits_ == replace(plain.limits_, n_left_out=4)
    for key, array in plain.fitted_.scorer.arrays().items():
        np.testing.assert_array_equal(odd.fitted_.scorer.arrays()[key], array)
    assert odd.info()["training"]["known_defects"] == plain.info()["training"]["known_defects"] | {"n_left_out": 3}
    assert (
        "3 images would have been INVALID and taught nothing"
        in text_taught.known_defect_lines(odd.info())["known defects"]
    )
    odd.checks = False
    assert len(odd.teach([*good, dark], [*defects, small]).skipped) == 0
    assert odd.limits_.n_images == len(good) + 1


def test_a_fit_leaves_out_defects_that_would_be_invalid(small_images, rng, tmp_path):
    defects = [image.copy() for image in small_images[:2]]
    for defect in defects:
        defect[20:40, 30:60] = rng.integers(0, 255, (20, 30, 3))
    blank = np.full_like(defects[0], 90)
    model = CFA(recipe="whitened", n_centers=8, threads=1).fit(small_images, defects=[blank, *defects])
    assert [one.name for one in model.skipped_] == ["defect 0"]
    assert len(model.fitted_.taught) == 2
    assert model.info()["training"]["known_defects"]["n_left_out"] == 1
    with pytest.raises(ImageError, match="No defective image can be used: each would be INVALID"):
        CFA(recipe="whitened", n_centers=8, threads=1).fit(small_images, defects=[blank])


def test_a_fit_looks_at_defects_and_masks_before_it_takes_time(small_images, tmp_path):
    h, w = small_images[0].shape[:2]
    for name, size in (("defect", (w, h)), ("dot", (1, 1)), ("mask", (10, 10))):
        Image.new("L", size, 200).save(tmp_path / f"{name}.png")
    defect, dot, mask = (tmp_path / f"{name}.png" for name in ("defect", "dot", "mask"))
    seen = []
    for arguments, words in [
        ({"defects": [dot]}, "dot.png is 1x1 px; at least 32x32 px are required"),
        ({"defects": [defect], "masks": [mask]}, f"mask.png is 10x10 px but its image {defect} is {w}x{h} px"),
        ({"defects": [defect], "masks": [tmp_path / "gone.png"]}, "gone.png"),
    ]:
        with pytest.raises(ImageError, match=words):
            CFA(threads=1).fit(small_images, **arguments, progress=lambda *told: seen.append(told))
    assert not seen


def test_command_teach_names_what_it_leaves_out(part, cloth, bad, tmp_path, caplog):
    defect = images_of(bad / "bad")[0]
    extra = tmp_path / "extra"
    extra.mkdir()
    Image.new("RGB", Image.open(defect).size, (90, 90, 90)).save(extra / "blank.png")
    taught = ("teach", part, "--good", cloth / "good", extra, "--defects", defect, extra / "blank.png")
    done = run(*taught, "-o", tmp_path / "new.cfa", "--report", tmp_path / "report")
    assert done.exit_code == 0, done.stderr
    assert caplog.text.count("skipped: ") == 2
    assert "16 good images, given to teach; known defects were learned without each, 1 left out" in done.stdout
    assert "blank.png: The image shows nothing" in (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "1 image would have been INVALID" in run("info", tmp_path / "new.cfa").stdout


def test_damaged_records_are_refused(taught, tmp_path):
    meta, arrays = archive.read(taught[1])
    for name, change in {
        "kinds": lambda m: m["known_defects"].update(kind_of=[7] * len(m["known_defects"]["kind_of"])),
        "gain": lambda m: m["known_defects"].update(gain=-1),
        "told": lambda m: m["known_defects"].update(told_from=[]),
        "places": lambda m: m["taught"][0].update(n_places=999),
        "used": lambda m: m["taught"][0].update(n_used=0),
        "missing": lambda m: m.pop("taught"),
    }.items():
        changed = json.loads(json.dumps(meta))
        change(changed)
        path = tmp_path / f"{name}.cfa"
        archive.write(path, {k: v for k, v in changed.items() if k not in ("format", "arrays")}, arrays)
        with pytest.raises(ArchiveError, match="is damaged"):
            load(path)
    for name in ("known_offset", "0_known", "taught_anomaly", "learned_fingerprints"):
        kept = {k: v for k, v in arrays.items() if k != name}
        archive.write(tmp_path / "a.cfa", {k: v for k, v in meta.items() if k not in ("format", "arrays")}, kept)
        with pytest.raises(ArchiveError, match="is damaged"):
            load(tmp_path / "a.cfa")


def test_commands(part, cloth, bad, tmp_path, line):
    model, report = tmp_path / "part.cfa", tmp_path / "report"
    model.write_bytes(part.read_bytes())
    kinds = sorted((bad / "bad").iterdir())
    dry = run(
        "teach", model, "--good", cloth / "good", "--defects", *kinds, "--defect-masks", bad / "masks", "--dry-run",
        "--report", report,
    )  # fmt: skip
    assert dry.exit_code == 0, dry.stderr
    assert model.read_bytes() == part.read_bytes()
    assert "defects found" in dry.stdout
    assert "each left out in turn" in dry.stdout
    page = (report / "report.html").read_text("utf-8")
    assert page.count("<article") == len(images_of(bad / "bad"))
    new = tmp_path / "taught.cfa"
    done = run("teach", model, "--good", cloth / "good", "--defects", *kinds, "-o", new)
    assert done.exit_code == 0, done.stderr
    shown = run("info", new)
    assert f"{kinds[0].name}, 2 images" in shown.stdout
    assert "given to teach" in shown.stdout
    run("score", new, cloth / "line", "--output", tmp_path / "rows.jsonl", "--report", tmp_path / "line.html")
    rows = [json.loads(row) for row in (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()]
    found = {region["kind"] for row in rows for region in row["regions"]}
    assert found <= {"unknown", *(kind.name for kind in kinds)}
    assert found
    assert "kind: <bdi>" in (tmp_path / "line.html").read_text("utf-8")
    forgot = run("teach", new, "--good", cloth / "good", "--forget", kinds[0].name)
    assert forgot.exit_code == 0, forgot.stderr
    assert kinds[0].name not in {image["kind"] for image in load(new).info()["taught"]}
    assert "that `cfa-lite calibrate` had set" not in forgot.stderr
    calibrated = run("calibrate", new, *line[:8], "--defects", bad / "bad", "--limit-margin", 0.5)
    assert calibrated.exit_code == 0
    assert f"; {len(load(new).info()['taught'])} of them were taught, so this is optimistic" in calibrated.stdout
    again = run("teach", new, "--good", cloth / "good", "--defects", *kinds, "--dry-run")
    assert "The limit that `cfa-lite calibrate` had set (raw score " in again.stderr


def test_commands_refuse(part, cloth, bad, tmp_path):
    model = tmp_path / "part.cfa"
    for arguments, words in [
        (("--defect-masks", bad / "masks"), "--defect-masks needs --defects"),
        (("--defects", bad / "bad", "--each"), "--defects cannot be combined with --each"),
        (("--defects", bad / "bad", "--recipe", "paper"), "--defects cannot be combined with --recipe paper"),
    ]:
        result = run("fit", cloth / "good", "-o", model, *arguments)
        assert result.exit_code == 2
        assert words in result.stderr
    model.write_bytes(part.read_bytes())
    assert "nothing to teach" in run("teach", model, "--good", cloth / "good").stderr
    assert run("teach", model, "--good", cloth / "good", "--defects", tmp_path / "gone").exit_code != 0
    assert model.read_bytes() == part.read_bytes()


def test_masks_that_belong_to_no_image_are_named(bad, tmp_path, caplog, part, cloth):
    kind = sorted(path.name for path in (bad / "bad").iterdir())[0]
    masks = tmp_path / "masks"
    shutil.copytree(bad / "masks", masks)
    (first, *_) = images_of(masks / kind)
    first.rename(first.with_name("typo_mask.png"))
    done = run("teach", part, "--good", cloth / "good", "--defects", bad / "bad", "--defect-masks", masks, "--dry-run")
    assert done.exit_code == 0
    told = [record.getMessage() for record in caplog.records]
    n = len(images_of(masks))
    assert told == [
        f"1 of the masks in {masks} belongs to no defective image: {kind}/typo_mask.png. A mask has the name of its"
        " image, with or without _mask at the end."
    ]
    caplog.clear()
    labelled.collect(bad / "bad" / kind, masks / kind)
    labelled.collect(bad / "bad", bad / "masks")
    assert [record.getMessage()[:1] for record in caplog.records] == ["1"]
    assert n > 2


def evaluate(model, good, defects, *options):
    done = run("evaluate", model, "--good", good, "--defects", defects, *options)
    assert done.exit_code == 0, done.output
    return done


def test_evaluate_tells_which_images_the_model_has_learned_from(taught, bad, cloth, tmp_path):
    path = taught[1]
    defects = tmp_path / "defects"
    shutil.copytree(bad / "bad", defects)
    shutil.copytree(cloth / "defects", defects, dirs_exist_ok=True)  # that were not taught
    n_taught, n_all = len(images_of(bad / "bad")), len(images_of(defects))
    done = evaluate(path, cloth / "new-good", defects, "--output", tmp_path / "m.json")
    assert (
        f"{n_taught} of these {n_all} defective images were learned from. Figures with them are optimistic."
        in done.stderr
    )
    summary = json.loads((tmp_path / "m.json").read_text())
    assert summary["learned_from"] == {"good": 0, "defective": n_taught, "left_out": False}
    assert summary["n_defective"] == n_all
    some_good = tmp_path / "good"  # a renamed copy in another format has the same pixels
    shutil.copytree(cloth / "new-good", some_good)
    Image.open(images_of(cloth / "good")[0]).save(some_good / "copy.bmp")
    done = evaluate(path, some_good, defects, "--unseen-only", "--output", tmp_path / "m.json")
    told = f"{n_taught} of these {n_all} defective images were learned from and 1 of 9 good images was learned from."
    assert told in done.stderr
    summary = json.loads((tmp_path / "m.json").read_text())
    assert (summary["n_good"], summary["n_defective"]) == (8, n_all - n_taught)
    refused = run("evaluate", path, "--good", some_good, "--defects", bad / "bad", "--unseen-only")
    assert refused.exit_code == 1
    assert "has learned from all defective images" in refused.stderr


def test_evaluate_of_new_images_tells_nothing(part, bad, cloth):
    assert "optimistic" not in evaluate(part, cloth / "new-good", bad / "bad").stderr


def test_a_single_kind_is_never_told_and_this_is_explained(part, good, bad):
    kind = sorted(path.name for path in (bad / "bad").iterdir())[0]
    model = load(part, threads=2)
    model.teach(good, {kind: images_of(bad / "bad" / kind)})
    info = model.info()
    assert info["training"]["known_defects"]["told"] == []
    if info["training"]["known_defects"]["kept"]:
        assert any("no other kind was taught" in remark for remark in text_taught.remarks(info))
    kinds = {region.kind for result in model.inspect_many(images_of(bad / "bad")) for region in result.regions}
    assert kinds == {"unknown"}
