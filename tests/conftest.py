from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfa_lite import CFA
from cfa_lite.demo import make_demo

# Tests that not every interpreter runs. pyproject.toml explains the markers, and .ci/run selects by them.
MARKED_FILES = {
    "test_freezing.py": "slow once",
    "test_mqtt.py": "slow once",
    "test_packaging.py": "once",
    "test_readme.py": "once",
    "test_outliers.py": "slow",
    "test_kernel_cache.py": "slow",
    "test_resume.py": "slow",
    "test_timing.py": "slow",
    "test_serve.py": "slow",
    "test_clients.py": "slow",
    "test_distributed.py": "slow",
    "test_environments.py": "slow",
    "test_products.py": "slow",
    "test_benchmarks.py": "slow",
}
MARKED_FIXTURES = {"cluster": "slow"}


def pytest_collection_modifyitems(items):
    """Mark tests by file and by fixture. A marked file that does not exist is an error."""
    here = Path(__file__).parent
    if gone := sorted(name for name in MARKED_FILES if not (here / name).is_file()):
        raise pytest.UsageError(f"tests/conftest.py marks files that do not exist: {', '.join(gone)}")
    for item in items:
        names = {MARKED_FILES.get(item.path.name), *map(MARKED_FIXTURES.get, getattr(item, "fixturenames", ()))}
        for name in sorted(set(" ".join(names - {None}).split())):
            item.add_marker(name)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def cloth(tmp_path_factory):
    """The demo: good/, line/, masks/, defects.csv, test/, ground_truth/, new-good/, defects/, defect-masks/."""
    folder = tmp_path_factory.mktemp("demo") / "cloth"
    make_demo(folder, seed=1, n_good=16, n_line_good=6, n_per_defect=2, n_new_good=8, n_known=1)
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
    """The file of the fitted model."""
    path = tmp_path_factory.mktemp("model") / "part.cfa"
    model.save(path)
    return path


@pytest.fixture
def small_images(rng):
    """Eight 96x64 arrays of soft noise, quick to fit."""
    coarse = rng.integers(40, 200, (8, 8, 12, 3)).astype(np.uint8)
    return [np.asarray(Image.fromarray(c).resize((96, 64), Image.Resampling.BICUBIC)) for c in coarse]
