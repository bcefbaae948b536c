"""Fits of many products: each model file is equal, byte for byte, to that of a separate fit."""

import os
from pathlib import Path

import pytest
import tiny_backbone
from PIL import Image
from test_cli import run
from test_distributed import cluster, files_in, place, start  # noqa: F401  # fixtures

from cfa_lite import ImageError, load
from cfa_lite.commands.fit_each import find_products
from cfa_lite.distributed import executor

PLACES = {"bolt": "train/good", "nut": "good", "washer": ""}


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Three products in the three layouts, one of them with an unreadable image, and two that cannot be fitted."""
    home = tmp_path_factory.mktemp("home")
    tiny_backbone.write(home / "own.onnx")
    for i, (name, below) in enumerate(PLACES.items()):
        folder = home / "products" / name / below
        folder.mkdir(parents=True)
        for k in range(6):
            noise = Image.effect_noise((96, 64), 40 + 10 * i + k)
            noise.save(folder / f"{k}.png")
    (home / "products" / "nut" / "test" / "bad").mkdir(parents=True)  # not learned from
    noise.save(home / "products" / "nut" / "test" / "bad" / "0.png")
    (home / "products" / "washer" / "broken.png").write_text("no image")
    (home / "products" / "empty").mkdir()
    (home / "products" / "single").mkdir()
    noise.save(home / "products" / "single" / "0.png")
    (home / "products" / ".hidden").mkdir()
    (home / "products" / "list.txt").write_text("no folder")
    return home


SETTINGS = ["--backbone", "own.onnx", "--n-centers", "4", "--recipe", "whitened"]


@pytest.fixture(scope="module")
def singly(products):
    """Models of separate fits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(products)
        for name, below in PLACES.items():
            assert run("fit", f"products/{name}/{below}", "-o", f"singly/{name}.cfa", *SETTINGS).exit_code == 0
    return files_in(products / "singly")


def test_each_product_gets_the_model_of_a_separate_fit(products, singly, monkeypatch):
    monkeypatch.chdir(products)
    for _ in range(2):  # the second run overwrites the files
        done = run("fit", "products", "--each", "-o", "here", *SETTINGS)
        check(done.exit_code, done.stderr, products / "here", singly)
        (products / "here" / "bolt.cfa").write_text("old")


def test_worker_processes_give_the_same_models(products, singly, tmp_path, place):  # noqa: F811
    arguments = ["fit", "products", "--each", "-o", tmp_path / "models", "--report", tmp_path / "pages", *SETTINGS]
    process = start(*arguments, *place, cwd=products)
    said = process.communicate(timeout=60)[1].decode()
    check(process.returncode, said, tmp_path / "models", singly)
    assert said.count("skipped: ") == 1
    assert "broken.png cannot be read as an image" in said
    assert sorted(os.listdir(tmp_path / "pages")) == sorted(PLACES)
    assert "96x64" in (tmp_path / "pages" / "bolt" / "report.html").read_text(encoding="utf-8")


def check(exit_code, said, folder, singly):
    assert exit_code == 1 and "Traceback" not in said, said
    assert files_in(folder) == singly and len(singly) == len(PLACES)
    assert "empty: products/empty contains no image" in said
    assert "single: 1 of 1 images can be used. At least 2" in said
    assert said.splitlines()[-1] == "5 products: 3 fitted, 2 failed"
    assert f"{folder.name}/washer.cfa: 6 good images (1 skipped), working size " in said


def test_workers_use_a_network_beside_the_model(products, singly, cluster, tmp_path, monkeypatch):  # noqa: F811
    """The network is found from another working folder, and the workers get its absolute path."""
    for name in ("own.onnx", "own.json", "singly/bolt.cfa"):
        (tmp_path / Path(name).name).write_bytes((products / name).read_bytes())
    monkeypatch.chdir(products / "products")
    images = sorted((products / "products" / "bolt" / "train" / "good").iterdir())
    expected = [result.score for result in list(load(tmp_path / "bolt.cfa").inspect_many(images))]
    done = run("score", tmp_path / "bolt.cfa", *images, "--dask", cluster.scheduler_address)
    assert [float(line.split()[1]) for line in done.stdout.splitlines()] == pytest.approx(expected, abs=6e-4)


def test_wrong_usage_is_reported_before_anything_is_fitted(products, tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "_SECONDS", 0.5)
    for arguments, exit_code, words in (
        (["--each", "--n-centers", "4", "--false-alarm-rate", "2"], 2, "'--false-alarm-rate'"),
        (["--workers", "2"], 2, "Use them with --each"),
        (["--each", "--workers", "2", "--dask", "127.0.0.1:1"], 2, "Give only one of them"),
        (["--each", "--dask", "127.0.0.1:1"], 1, "no Dask scheduler answers"),
    ):
        done = run("fit", products / "products", "-o", tmp_path / "models", *arguments)
        assert done.exit_code == exit_code and words in done.stderr, (arguments, done.output)
    assert os.listdir(tmp_path) == []


def test_folder_without_products_is_refused(tmp_path):
    for name in ("a/x", "b/X", "c/.hidden"):
        (tmp_path / name).mkdir(parents=True)
    assert find_products([tmp_path / "a"]) == {"x": tmp_path / "a" / "x"}
    with pytest.raises(ImageError, match="two products with the same name"):
        find_products([tmp_path / "a", tmp_path / "b"])
    for folder in (tmp_path / "c", tmp_path / "gone"):
        with pytest.raises(ImageError, match="contains no folder of a product"):
            find_products([folder])
