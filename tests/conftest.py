from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfa_lite import CFA
from cfa_lite.demo.cloth import make_demo

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def cloth(tmp_path_factory):
    """The demo's images: good/, line/, masks/, defects.csv."""
    folder = tmp_path_factory.mktemp("demo") / "cloth"
    make_demo(folder, seed=1, n_good=16, n_line_good=6, n_per_defect=2)
    return folder


@pytest.fixture(scope="session")
def good(cloth):
    return sorted((cloth / "good").iterdir())


@pytest.fixture(scope="session")
def line(cloth):
    return sorted((cloth / "line").iterdir())


@pytest.fixture(scope="session")
def model(good):
    """A fitted model; tests must not change it."""
    return CFA(n_centers=64, threads=2).fit(good)


@pytest.fixture(scope="session")
def part(model, tmp_path_factory):
    """That model's file."""
    path = tmp_path_factory.mktemp("model") / "part.cfa"
    model.save(path)
    return path


@pytest.fixture
def small_images(rng):
    """Eight 96x64 arrays of soft noise, quick to fit."""
    coarse = rng.integers(40, 200, (8, 8, 12, 3)).astype(np.uint8)
    return [np.asarray(Image.fromarray(c).resize((96, 64), Image.Resampling.BICUBIC)) for c in coarse]
