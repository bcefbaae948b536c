"""The estimators are outlier detectors in the sense of scikit-learn."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
from PIL import Image

from cfa_lite import CFA, ImageError, NotFittedError, PublishedCFA, load, parameters

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils import estimator_html_repr  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402


@pytest.fixture(scope="module")
def labeled(cloth, line):
    """Paths of the inspected images, and labels for scorers such as roc_auc: +1 for good, -1 for defective."""
    masks = {path.name for path in (cloth / "masks").iterdir()}
    return line, np.array([-1 if path.name in masks else 1 for path in line])


def test_predictions_agree_with_inspections(model, line):
    results = list(model.inspect_many(line))
    assert model.predict(line).tolist() == [-1 if r.verdict == "NG" else 1 for r in results]
    samples, decision = model.score_samples(line), model.decision_function(line)
    np.testing.assert_allclose(samples, [-r.raw_score for r in results], rtol=1e-6)
    np.testing.assert_array_equal(decision, samples - model.offset_)
    np.testing.assert_array_equal(model.predict(line), np.where(decision < 0, -1, 1))
    assert model.offset_ == -model.threshold_
    assert samples.dtype == decision.dtype == np.float64
    assert set(model.predict(line).tolist()) == {1, -1}


def test_regions_below_min_area_do_not_change_the_prediction(part, line):
    model = load(part, threads=2)
    n_before = int((model.predict(line) == -1).sum())
    model.set_params(min_area=1e6)
    assert n_before > 0
    assert (model.predict(line) == 1).all() and (model.decision_function(line) >= 0).all()


def test_invalid_image_is_an_outlier_and_unreadable_image_raises(model, line, tmp_path):
    blank = np.full((288, 384, 3), 120, np.uint8)
    assert model.inspect(blank).verdict == "INVALID"
    huge = np.zeros((2000, 3000), np.uint8)  # not scored at all
    assert np.isnan(model.inspect(huge).score)
    assert model.predict([line[0], blank, huge])[1:].tolist() == [-1, -1]
    assert (model.decision_function([blank, huge]) < 0).all()
    with pytest.raises(ImageError, match="gone.png does not exist"):
        model.predict([line[0], tmp_path / "gone.png"])


def test_fit_predict(small_images):
    model = CFA(n_centers=8, threads=1)
    predicted = model.fit_predict(small_images)
    np.testing.assert_array_equal(predicted, model.predict(small_images))
    assert predicted.shape == (8,)


def test_check_is_fitted(model, small_images):
    check_is_fitted(model)
    with pytest.raises((NotFittedError, sklearn.exceptions.NotFittedError)):
        check_is_fitted(CFA())
    for call in ("predict", "decision_function", "score_samples"):
        with pytest.raises(NotFittedError, match="Call fit"):
            getattr(CFA(), call)(small_images)
    with pytest.raises(NotFittedError, match="Call fit"):
        CFA().offset_  # noqa: B018


def test_clone_pickle_and_copies(model, line):
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert repr(twin.set_params(random_state=5)) == "CFA(n_centers=64, random_state=5, threads=2)"
    assert not hasattr(twin, "levels_") and not hasattr(twin, "threshold_")
    assert not hasattr(twin, "fitted_")
    expected = model.decision_function(line[:2])
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.decision_function(line[:2]), expected)


def test_clone_of_a_model_with_a_mask_and_its_pickle(small_images):
    mask = np.zeros((64, 96), bool)
    mask[:, 20:80] = True
    model = CFA(n_centers=8, threads=1, mask=mask).fit(small_images)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.score_samples(small_images), model.score_samples(small_images))
    np.testing.assert_array_equal(clone(model).mask, mask)


def test_cross_val_score(labeled):
    paths, y = labeled
    model = CFA(recipe="whitened", n_centers=8, size=96, threads=2)
    scores = cross_val_score(model, paths, y, scoring="roc_auc", cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()
    assert scores.mean() > 0.5


@pytest.mark.slow
def test_arrays_of_paths_and_parallel_jobs(labeled):
    """scikit-learn's users index paths in arrays, and split in other processes."""
    paths, y = labeled
    names = np.array([str(path) for path in paths])
    model = CFA(recipe="whitened", n_centers=8, size=96, threads=1)
    of_list = cross_val_score(model, paths, y, scoring="roc_auc", cv=2)
    for given in (names, np.array(paths, dtype=object)):
        np.testing.assert_array_equal(cross_val_score(model, given, y, scoring="roc_auc", cv=2, n_jobs=2), of_list)
    assert [r.path for r in model.fit(names[:4]).inspect_many(names[:2])] == names[:2].tolist()


def test_grid_search_in_a_pipeline(labeled):
    paths, y = labeled
    pipeline = make_pipeline(CFA(recipe="whitened", size=96, threads=2))
    search = GridSearchCV(pipeline, {"cfa__n_centers": [4, 8]}, scoring="roc_auc", cv=2).fit(paths, y)
    assert search.best_params_["cfa__n_centers"] in (4, 8)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(paths[:3]).shape == (3,)


def test_html_repr(model):
    assert "CFA" in estimator_html_repr(model)
    assert "CFA" in estimator_html_repr(make_pipeline(CFA()))
    assert "n_centers" in model._repr_html_()


def test_tags(model):
    is_outlier_detector = sklearn.base.is_outlier_detector
    assert is_outlier_detector(model)
    if hasattr(sklearn.utils, "get_tags"):
        tags = sklearn.utils.get_tags(model)
        assert tags.estimator_type == "outlier_detector"
        assert not tags.target_tags.required and not tags.input_tags.two_d_array


@pytest.mark.parametrize("cls", [CFA, PublishedCFA])
def test_check_estimator(cls):
    """It can make two-dimensional arrays only, so it runs the checks that need none and says that it skips the rest."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_estimator(cls(threads=1))
    assert any("Can't test estimator" in str(warning.message) for warning in caught)


class Tuned(CFA):
    """A subclass with a constructor of its own."""

    def __init__(self, n_centers=8, threads=1):
        super().__init__(recipe="whitened", n_centers=n_centers, threads=threads)


def test_a_subclass_has_its_own_parameters(small_images):
    model = clone(Tuned(n_centers=4)).fit(small_images)
    assert model.get_params() == {"n_centers": 4, "threads": 1}
    assert repr(model) == "Tuned(n_centers=4)"
    assert {len(level.centers) for level in model.levels_} == {4}


@pytest.mark.parametrize("cls", [CFA, PublishedCFA])
def test_the_constructor_has_the_parameters_and_defaults_of_the_table(cls):
    signature = inspect.signature(cls.__init__).parameters
    assert {p.name: p.default for p in cls.parameter_table} == {
        name: p.default for name, p in list(signature.items())[1:]
    }
    for parameter in cls.parameter_table:
        assert f"{parameter.name} : {parameter.type_text()}, default: {parameter.default!r}" in cls.__doc__
        parameter.check(parameter.default)
    parameters.check(cls.parameter_table, cls().get_params())


def test_parameters_that_change_after_a_fit_do_not_move_the_scores(small_images):
    """A fitted model does not depend on the parameters of the fit."""
    model = CFA(n_centers=8, threads=1).fit(small_images)
    before = model.score_samples(small_images)
    model.set_params(
        background_share=0.0, recipe="whitened", preset="fast", backbone="lite2", size=96, value_range=(10, 200),
        mask=np.zeros((4, 4), bool), shrinkage=5.0, random_state=9,
    )  # fmt: skip
    np.testing.assert_array_equal(model.score_samples(small_images), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_samples(small_images), before)


def test_one_image_is_not_a_list_of_images(model, line):
    array = np.asarray(Image.open(line[0]))
    for one in (array, array[:, :, 0], Image.open(line[0]), line[0].read_bytes()):
        with pytest.raises(TypeError, match="One image was passed where a list of images is expected"):
            model.inspect_many(one)
        with pytest.raises(TypeError, match="One image was passed"):
            CFA().fit(one)
    stack = np.stack([array, array])
    assert [r.path for r in model.inspect_many(stack)] == ["image 0", "image 1"]


def test_bytes_and_file_objects_score_as_their_file(model, line):
    expected = model.inspect(line[0]).raw_score
    with line[0].open("rb") as file:
        assert model.inspect(file).raw_score == expected
        assert [r.raw_score for r in model.inspect_many([file, line[0].read_bytes()])] == [expected] * 2
    frame = np.asarray(Image.open(line[0]))[:, :, ::-1]  # as OpenCV reads it
    assert model.inspect(frame[:, :, ::-1]).raw_score == expected


def test_a_parameter_out_of_its_range_is_named_only_in_fit(small_images):
    model = CFA(n_centers=0, shrinkage=-1)  # scikit-learn: the constructor keeps what it is given
    with pytest.raises(ValueError, match="n_centers=0 is not allowed. Use an integer of at least 1, or None"):
        model.fit(small_images)
    with pytest.raises(ValueError, match="'sead' is not a parameter of CFA"):
        model.set_params(sead=5)
