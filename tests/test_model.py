import copy
import logging
import pickle
import threading

import numpy as np
import pytest
from PIL import Image

from cfa_lite import CFA, BackboneError, ImageError, NotFittedError, load
from cfa_lite.features.images import ImageError as SameImageError


def test_defects_score_higher_and_where_they_are(model, cloth, line):
    """What the whole line is for: most defects of the demo score above every good image of its line, and
    the map is higher in their masks than elsewhere."""
    results = model.score(line)
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
    for result in model.score(line):
        assert result.score == pytest.approx(result.raw_score / model.threshold_, rel=1e-6)
        assert result.verdict == ("NG" if result.score > 1 else "UNSURE" if result.score > result.unsure_from else "OK")
        assert result.score == result.map.max()
        assert result.map.dtype == np.float32


def test_threshold_is_the_highest_held_back_score(model):
    assert model.threshold_ == model.training_["held_out_scores"]["highest"] == max(model.good_scores_)


def test_good_images_score_lower_by_banks_that_saw_them(model, good):
    """Else the limit would not be cross-fitted."""
    seen = np.array([r.raw_score for r in model.score(good)])
    assert np.median(seen) < model.training_["held_out_scores"]["median"]


def test_same_score_by_every_route(part, line):
    """Bit-equal: an image is always worked alone, and BLAS always multiplies on one thread."""
    one, two = load(part, threads=1), load(part, threads=2)
    batch = one.score(line)
    for position in (0, 5):
        alone = one.inspect(line[position])
        image = Image.open(line[position])
        others = [
            two.inspect(line[position]), two.score(line)[position], one.score(line[::-1])[::-1][position],
            one.inspect(image), one.inspect(np.asarray(image)), one.inspect(str(line[position])),
        ]  # fmt: skip
        for other in (batch[position], *others):
            assert other.raw_score == alone.raw_score
            np.testing.assert_array_equal(other.map, alone.map)


def test_two_threads_score_at_once_with_one_model(model, line):
    expected = [r.raw_score for r in model.score(line)]
    found = {}
    workers = [threading.Thread(target=lambda i=i: found.update({i: model.score(line)})) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for results in found.values():
        assert [r.raw_score for r in results] == expected
    assert len(found) == 3


def test_same_seed_same_model_on_any_number_of_threads(small_images, tmp_path):
    paths = []
    for name, seed, n_threads in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        paths.append(tmp_path / f"{name}.cfa")
        CFA(seed=seed, n_centers=16, threads=n_threads).fit(small_images).save(paths[-1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


def test_order_and_kind_of_input_do_not_change_what_is_learnt_from(small_images):
    arrays = CFA(n_centers=16, threads=1).fit(small_images)
    pil = CFA(n_centers=16, threads=1).fit(Image.fromarray(p) for p in small_images)
    assert pil.threshold_ == arrays.threshold_
    for a, b in zip(arrays.levels_, pil.levels_):
        np.testing.assert_array_equal(a.centers, b.centers)


def test_a_folder_is_enough(cloth, model):
    assert len(model.score(cloth / "line")) == 16
    assert model.score(cloth / "line")[0].path.endswith("000.png")


def test_images_that_cannot_be_read_are_left_out_and_named(small_images, tmp_path, caplog):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    with caplog.at_level(logging.WARNING, "cfa_lite"):
        model = CFA(n_centers=16, threads=1).fit([*small_images[:4], broken, np.zeros((8, 8), np.uint8)])
    assert [name for name, _ in model.skipped_] == [str(broken), "image 5"]
    assert model.training_["n_images"] == 4
    assert model.training_["n_skipped"] == 2
    assert "broken.png cannot be read" in caplog.text


def test_one_bad_image_is_a_result_not_the_end(model, line, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    results = model.score([line[0], broken, tmp_path / "gone.png", line[1]])
    assert [r.status for r in results] == ["ok", "error", "error", "ok"]
    assert [r.verdict for r in results][1:3] == ["ERROR", "ERROR"]
    assert "broken.png cannot be read" in results[1].message
    assert np.isnan(results[1].score)
    with pytest.raises(ValueError, match="has no map"):
        results[1].full_map()
    with pytest.raises(ImageError, match="broken.png"):
        model.inspect(broken)


def test_images_of_many_sizes_are_worked_at_one_scale(rng):
    sizes = [(96, 64), (128, 80), (70, 150), (100, 100)]
    pictures = [np.asarray(Image.fromarray(rng.integers(0, 255, (9, 9)).astype(np.uint8)).resize(s)) for s in sizes]
    model = CFA(n_centers=8, threads=1).fit(pictures)
    for image, result in zip(pictures, model.score(pictures)):
        assert result.full_map().shape == image.shape
        np.testing.assert_allclose(np.array(result.map.shape), np.array(image.shape) * model.scale_, atol=16)


@pytest.mark.parametrize("images", [[], [np.zeros((64, 64), np.uint8)]])
def test_too_few_images(pictures):
    with pytest.raises(ImageError, match=f"{len(pictures)} of {len(pictures)} images can be used; at least 2"):
        CFA().fit(pictures)


def test_two_images_are_enough(small_images):
    model = CFA(threads=1).fit(small_images[:2])
    assert model.inspect(small_images[2]).raw_score > 0


def test_images_without_any_difference_are_refused():
    with pytest.raises(ImageError, match="all the same image"):
        CFA(threads=1).fit([np.full((64, 64), 90, np.uint8)] * 4)


@pytest.mark.parametrize(
    "params, words",
    [
        ({"recipe": "magic"}, "recipe='magic'"), ({"n_centers": 0}, "n_centers=0"), ({"n_centers": 2.5}, "n_centers=2.5"),
        ({"shrinkage": 0}, "shrinkage=0"), ({"shrinkage": float("nan")}, "shrinkage=nan"), ({"seed": -1}, "seed=-1"),
        ({"background_share": 1.5}, "background_share=1.5"), ({"threads": 0}, "threads=0"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(params, words, small_images):
    with pytest.raises(ValueError, match=words):
        CFA(**params).fit(small_images)


def test_wrong_backbone_and_wrong_objects(small_images):
    with pytest.raises(BackboneError, match="no backbone is called"):
        CFA(backbone="resnet").fit(small_images)
    with pytest.raises(TypeError, match="image 0 is a int"):
        CFA().fit([1, 2])
    with pytest.raises(TypeError, match="list of images"):
        CFA().fit(Image.new("L", (64, 64)))


@pytest.mark.parametrize("call", ["score", "inspect", "save", "info"])
def test_not_fitted(call, small_images):
    with pytest.raises(NotFittedError, match="Call fit"):
        getattr(CFA(), call)(*([] if call == "info" else [small_images[0]]))


def test_scikit_learns_contract(model):
    base = pytest.importorskip("sklearn.base")
    clone = base.clone(model)
    assert clone.get_params() == model.get_params()
    assert not hasattr(clone, "levels_")
    assert clone.set_params(seed=5).seed == 5
    assert repr(clone) == "CFA(n_centers=64, seed=5, threads=2)"
    with pytest.raises(ValueError, match="no argument 'sead'; it has recipe"):
        clone.set_params(sead=5)


def test_copies_score_the_same(model, line):
    expected = model.inspect(line[0]).raw_score
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.inspect(line[0]).raw_score == expected


def test_info_tells_where_the_model_comes_from(model):
    facts = model.info()
    made = facts["training"]
    assert made["n_images"] == 16
    assert made["smallest_px"] == [288, 384]
    assert made["working_px"] == [224, 288]
    assert len(facts["levels"]) == 12
    assert facts["params"]["n_centers"] == 64
    assert set(made["versions"]) >= {"cfa_lite", "numpy", "onnxruntime"}


def test_nothing_global_is_touched(small_images, recwarn):
    handlers, level = list(logging.getLogger().handlers), logging.getLogger("cfa_lite").level
    CFA(n_centers=8, threads=2).fit(small_images).score(small_images)
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger("cfa_lite").level == level
    assert [str(w.message) for w in recwarn] == []


def test_errors_have_one_name():
    assert SameImageError is ImageError
