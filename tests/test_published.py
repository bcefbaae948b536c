"""The public interface of `PublishedCFA`."""

import json

import numpy as np
import pytest
import tiny_backbone
from click.testing import CliRunner

from cfa_lite import ArchiveError, PublishedCFA, load
from cfa_lite.commands.main import main
from cfa_lite.published.settings import PublishedSettings
from cfa_lite.storage import archive


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_backbone.write(tmp_path_factory.mktemp("tiny") / "tiny.onnx")


def published(tiny, **params):
    return PublishedCFA(**({"backbone": tiny, "epochs": 2, "threads": 1} | params))


def test_report_describes_every_epoch(tiny, small_images):
    model = published(tiny, epochs=3, radius=5.0).fit(small_images)
    assert [row["epoch"] for row in model.report_] == [1, 2, 3]
    for row in model.report_:
        assert row["loss"] == pytest.approx(row["attraction"] + row["repulsion"])
        assert 0 <= row["active_attraction"] <= 1
        assert 0 <= row["active_repulsion"] <= 1
    assert 0 < model.report_[0]["drift"] < model.report_[2]["drift"]
    saved = model.info()["training"]["epochs"]
    assert saved == [{k: v for k, v in row.items() if k != "seconds"} for row in model.report_]
    assert model.fitted_.scorer.radius == model.report_[-1]["radius"]


def test_training_lowers_the_published_loss(tiny, small_images):
    report = published(tiny, epochs=6).fit(small_images).report_
    losses = [row["loss"] for row in report]
    assert losses[-1] < 0.9 * losses[0]
    assert report[0]["active_attraction"] == pytest.approx(1, abs=1e-3)
    assert report[0]["active_repulsion"] == 0  # not possible at the published radius of 1e-5


@pytest.mark.parametrize(
    "params",
    [{}, {"bank": "kmeans_ema"}, {"bank": "kmeans_ema", "bank_follows": True}, {"gamma_c": 4, "gamma_d": 2},
     {"certainty": False}, {"epochs": 0}, {"n_hard_negatives": 0}],
)  # fmt: skip
def test_saved_model_and_any_number_of_threads_give_the_same_scores(tiny, small_images, tmp_path, params):
    one, two = published(tiny, **params).fit(small_images), published(tiny, threads=2, **params).fit(small_images)
    one.save(tmp_path / "1.cfa")
    two.save(tmp_path / "2.cfa")
    assert (tmp_path / "1.cfa").read_bytes() == (tmp_path / "2.cfa").read_bytes()
    read = load(tmp_path / "1.cfa")
    for a, b in zip(list(one.inspect_many(small_images)), list(read.inspect_many(small_images))):
        assert a.raw_score == b.raw_score
        assert a.map.max() == pytest.approx(a.score)
        np.testing.assert_array_equal(a.map, b.map)


def test_compression_reduces_centers_and_channels_as_given(tiny, small_images):
    grid = np.prod(np.array(published(tiny).fit(small_images).fitted_.training["working_px"]) // 4)
    model = published(tiny, gamma_c=4, gamma_d=3).fit(small_images)
    assert model.fitted_.scorer.centers.shape == (grid // 4, 12 // 3)
    assert model.fitted_.scorer.weight.shape == (4, 14)


def test_constant_images_and_copies_give_no_nan(tiny):
    images = [np.full((64, 64), gray, np.uint8) for gray in (90, 90, 100, 110)]
    model = published(tiny).fit(images)
    assert all(np.isfinite(result.score) for result in list(model.inspect_many(images)))
    assert all(np.isfinite(list(row.values())).all() for row in model.report_)


@pytest.mark.parametrize(
    "params, words",
    [
        ({"gamma_d": 13}, "gamma_d=13 leaves none of the 12 channels. Use 1 to 12"),
        ({"gamma_c": 10_000}, "n_neighbors . n_hard_negatives = 6, but gamma_c=10000 leaves 0 centers"),
        ({"repulsion_margin": -0.1}, "repulsion_margin=-0.1 is not allowed. Use a number of at least 0"),
        ({"nu": 0}, "nu=0 is not allowed. Use a number above 0"),
        ({"radius": float("inf")}, "radius=inf"),
        ({"n_neighbors": 0}, "n_neighbors=0 is not allowed. Use an integer of at least 1"),
        ({"epochs": -1}, "epochs=-1"), ({"batch_size": 0}, "batch_size=0"),
        ({"ema_rate": 2}, "ema_rate=2 is not allowed. Use a number of at least 0 and at most 1"),
        ({"bank": "mean"}, "bank='mean' is not allowed. Use one of 'position_mean', 'kmeans_ema'"),
        ({"certainty": 1}, "certainty=1"),
        ({"bank_follows": True}, "bank_follows=True needs bank='kmeans_ema'"),
        ({"learning_rate": "fast"}, "learning_rate='fast'"),
        ({"learning_rate": 1e30}, "learning_rate=1e.30: training diverged"),
    ],
)  # fmt: skip
def test_wrong_values_are_named_with_their_range(tiny, small_images, params, words):
    with pytest.raises(ValueError, match=words):
        published(tiny, **params).fit(small_images)


def test_damaged_descriptor_is_refused(tiny, small_images, tmp_path):
    model = published(tiny).fit(small_images)
    model.save(tmp_path / "part.cfa")
    meta, arrays = archive.read(tmp_path / "part.cfa")
    del meta["format"]
    for name, change in (("short", {"bias": arrays["bias"][1:]}), ("narrow", {"weight": arrays["weight"][:, 1:]})):
        archive.write(tmp_path / f"{name}.cfa", meta, arrays | change)
        with pytest.raises(ArchiveError, match=f"{name}.cfa"):
            load(tmp_path / f"{name}.cfa", backbone=tiny)


def test_command_fits_and_reports_the_published_recipe(good, tmp_path):
    runner = CliRunner()
    fitted = runner.invoke(
        main, ["fit", *map(str, good[:4]), "-o", str(tmp_path / "p.cfa"), "--recipe", "paper", "--epochs", "1",
               "--gamma-c", "8", "--report", str(tmp_path / "report")],
    )  # fmt: skip
    assert fitted.exit_code == 0, fitted.output
    report = json.loads((tmp_path / "report" / "training.json").read_text())
    assert report[0]["epoch"] == 1
    assert report[0]["seconds"] > 0
    told = runner.invoke(main, ["info", str(tmp_path / "p.cfa")])
    assert "epoch 1          loss" in told.stdout
    wrong = runner.invoke(
        main, ["fit", *map(str, good[:4]), "-o", str(tmp_path / "q.cfa"), "--recipe", "paper", "--gamma-d", "999"]
    )
    assert wrong.exit_code == 2
    assert "gamma_d=999 leaves none of the" in wrong.output
    assert not (tmp_path / "q.cfa").exists()


def test_options_have_the_published_defaults():
    """The defaults are defined in several places, which must agree."""
    assert PublishedSettings.of(PublishedCFA().get_params()) == PublishedSettings()
