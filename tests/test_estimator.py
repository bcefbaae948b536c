import copy
import logging
import pickle
import threading

import numpy as np
import pytest
from PIL import Image

from cfa_lite import CFA, BackboneError, ImageError, NotFittedError, load
from cfa_lite.features.images import ImageError as SameImageError


def test_defects_score_higher_and_are_located(model, cloth, line):
    """What the whole line is for: most defects of the demo score above every good image of its line, and
    the map is higher in their masks than elsewhere."""
    results = list(model.inspect_many(line))
    masks = {p.name: p for p in (cloth / "masks").iterdir()}
    good = [r.score for p, r in zip(line, results) if p.name not in masks]
    bad = [(p, r) for p, r in zip(line, results) if p.name in masks]
    assert np.mean([r.score > max(good) for _, r in bad]) >= 0.6
    contrasts = []
    for path, result in bad:
        mask = np.asarray(Image.open(masks[path.name])) > 0
        full = result.full_map()
        assert full.shape == mask.shape
        contrasts.append(full[mask].mean() / full[~mask].mean())
    assert min(contrasts) > 1
    assert np.median(contrasts) > 1.3


def test_score_is_raw_score_over_threshold(model, line):
    for result in list(model.inspect_many(line)):
        assert result.score == pytest.approx(result.raw_score / model.threshold_, rel=1e-6)
        assert result.verdict == ("NG" if result.score > 1 else "UNSURE" if result.score > result.unsure_from else "OK")
        assert result.score == result.map.max()
        assert result.map.dtype == np.float32


def test_threshold_is_the_highest_held_out_score(model):
    assert model.threshold_ == model.fitted_.training["held_out_scores"]["highest"] == max(model.good_scores_)


def test_training_scores_are_lower_than_held_out_scores(model, good):
    """Otherwise the limit would not be cross-fitted."""
    seen = np.array([r.raw_score for r in list(model.inspect_many(good))])
    assert np.median(seen) < model.fitted_.training["held_out_scores"]["median"]


def test_same_score_by_every_route(part, line):
    """Bit-equal: each image is processed alone, and BLAS uses one thread."""
    one, two = load(part, threads=1), load(part, threads=2)
    batch = list(one.inspect_many(line))
    for position in (0, 5):
        alone = one.inspect(line[position])
        image = Image.open(line[position])
        others = [
            two.inspect(line[position]), list(two.inspect_many(line))[position],
            list(one.inspect_many(line[::-1]))[::-1][position],
            one.inspect(image), one.inspect(np.asarray(image)), one.inspect(str(line[position])),
        ]  # fmt: skip
        for other in (batch[position], *others):
            assert other.raw_score == alone.raw_score
            np.testing.assert_array_equal(other.map, alone.map)


def test_two_threads_score_at_once_with_one_model(model, line):
    expected = [r.raw_score for r in list(model.inspect_many(line))]
    found = {}
    workers = [threading.Thread(target=lambda i=i: found.update({i: list(model.inspect_many(line))})) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for results in found.values():
        assert [r.raw_score for r in results] == expected
    assert len(found) == 3


@pytest.mark.slow
def test_same_seed_same_model_on_any_number_of_threads(small_images, tmp_path):
    paths = []
    for name, seed, n_threads in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        paths.append(tmp_path / f"{name}.cfa")
        CFA(random_state=seed, n_centers=16, threads=n_threads).fit(small_images).save(paths[-1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


@pytest.mark.slow
def test_order_and_type_of_input_do_not_change_the_training_images(small_images):
    arrays = CFA(n_centers=16, threads=1).fit(small_images)
    pil = CFA(n_centers=16, threads=1).fit(Image.fromarray(p) for p in small_images)
    assert pil.threshold_ == arrays.threshold_
    for a, b in zip(arrays.levels_, pil.levels_):
        np.testing.assert_array_equal(a.centers, b.centers)


def test_fit_accepts_a_folder(cloth, model):
    assert len(list(model.inspect_many(cloth / "line"))) == 16
    assert list(model.inspect_many(cloth / "line"))[0].path.endswith("000.png")


def test_unreadable_images_are_skipped_and_named(small_images, tmp_path, caplog):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    with caplog.at_level(logging.WARNING, "cfa_lite"):
        model = CFA(n_centers=16, threads=1).fit([*small_images[:4], broken, np.zeros((8, 8), np.uint8)])
    assert [skipped.name for skipped in model.skipped_] == [str(broken), "image 5"]
    assert model.fitted_.training["n_images"] == 4
    assert model.fitted_.training["n_skipped"] == 2
    assert "broken.png cannot be read" in caplog.text


def test_unreadable_image_is_a_result_and_does_not_end_the_run(model, line, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    results = list(model.inspect_many([line[0], broken, tmp_path / "gone.png", line[1]]))
    assert [r.status for r in results] == ["ok", "error", "error", "ok"]
    assert [r.verdict for r in results][1:3] == ["ERROR", "ERROR"]
    assert "broken.png cannot be read" in results[1].message
    assert np.isnan(results[1].score)
    with pytest.raises(ValueError, match="has no anomaly map"):
        results[1].full_map()
    with pytest.raises(ImageError, match="broken.png"):
        model.inspect(broken)


def test_images_of_different_sizes_are_processed_at_one_scale(rng):
    sizes = [(96, 64), (128, 80), (70, 150), (100, 100)]
    images = [np.asarray(Image.fromarray(rng.integers(0, 255, (9, 9)).astype(np.uint8)).resize(s)) for s in sizes]
    model = CFA(n_centers=8, threads=1).fit(images)
    for image, result in zip(images, list(model.inspect_many(images))):
        assert result.full_map().shape == image.shape
        np.testing.assert_allclose(np.array(result.map.shape), np.array(image.shape) * model.scale_, atol=16)


@pytest.mark.parametrize("images", [[], [np.zeros((64, 64), np.uint8)]])
def test_too_few_images(images):
    with pytest.raises(ImageError, match=f"{len(images)} of {len(images)} images can be used. At least 2"):
        CFA().fit(images)


def test_two_images_are_enough(small_images):
    model = CFA(threads=1).fit(small_images[:2])
    assert model.inspect(small_images[2]).raw_score > 0


def test_equal_images_are_refused():
    with pytest.raises(ImageError, match="All good images are the same image"):
        CFA(threads=1).fit([np.full((64, 64), 90, np.uint8)] * 4)


@pytest.mark.parametrize(
    "params, words",
    [
        ({"recipe": "magic"}, "recipe='magic'"), ({"n_centers": 0}, "n_centers=0"),
        ({"n_centers": 2.5}, "n_centers=2.5"),
        ({"shrinkage": 0}, "shrinkage=0"), ({"shrinkage": float("nan")}, "shrinkage=nan"),
        ({"random_state": -1}, "random_state=-1"),
        ({"background_share": 1.5}, "background_share=1.5"), ({"threads": 0}, "threads=0"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(params, words, small_images):
    with pytest.raises(ValueError, match=words):
        CFA(**params).fit(small_images)


def test_wrong_backbone_and_wrong_objects(small_images):
    with pytest.raises(BackboneError, match="no backbone is called"):
        CFA(backbone="resnet").fit(small_images)
    with pytest.raises(TypeError, match="image 0 has type int"):
        CFA().fit([1, 2])
    with pytest.raises(TypeError, match="list of images"):
        CFA().fit(Image.new("L", (64, 64)))


@pytest.mark.parametrize("call", ["predict", "inspect", "inspect_many", "save", "info"])
def test_not_fitted(call, small_images):
    with pytest.raises(NotFittedError, match="Call fit"):
        getattr(CFA(), call)(*([] if call == "info" else ["p.cfa"] if call == "save" else [small_images]))


def test_copies_score_the_same(model, line):
    expected = model.inspect(line[0]).raw_score
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.inspect(line[0]).raw_score == expected


def test_info_describes_the_origin_of_the_model(model):
    facts = model.info()
    made = facts["training"]
    assert made["n_images"] == 16
    assert facts["statistics"]["smallest_px"] == [288, 384]
    assert made["working_px"] == [224, 288]
    assert len(facts["levels"]) == 12
    assert facts["params"]["n_centers"] == 64
    assert set(made["versions"]) >= {"cfa_lite", "numpy", "onnxruntime"}


def test_global_state_is_unchanged(small_images, recwarn):
    handlers, level = list(logging.getLogger().handlers), logging.getLogger("cfa_lite").level
    list(CFA(n_centers=8, threads=2).fit(small_images).inspect_many(small_images))
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger("cfa_lite").level == level
    assert [str(w.message) for w in recwarn] == []


def test_errors_share_a_base_class():
    assert SameImageError is ImageError


def test_info_tells_the_parameters_of_the_fit(small_images, tmp_path):
    """A parameter that was changed later is one of the next fit, unless it acts on inspections."""
    model = CFA("whitened", n_centers=8, value_range=(0, 250), threads=1).fit(small_images)
    model.set_params(recipe="adapted", n_centers=99, size=128, preset="fast", value_range=(0, 9), min_area=7.0)
    model.save(tmp_path / "p.cfa")
    for params in (model.info()["params"], load(tmp_path / "p.cfa").info()["params"]):
        assert (params["recipe"], params["n_centers"]) == ("whitened", 8)
        assert (params["size"], params["preset"]) == (256, "accurate")
        assert (params["min_area"], params["value_range"]) == (7.0, [0.0, 250.0])
    again = load(tmp_path / "p.cfa")
    assert again.value_range == (0.0, 250.0) and again.min_area == 7.0
    assert again.inspect(small_images[0]).raw_score == model.inspect(small_images[0]).raw_score
