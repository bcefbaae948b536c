"""Each example runs as a user would run it and prints the expected text."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SAYS = {
    "fit_and_inspect.py": ("limit ", "NG ", "OK ", "peak"),
    "mask.py": ("with the ignored part painted black",),
    "own_network.py": ("NG ", "OK "),
    "grid_search.py": ("image AUROC", "best: {"),
    "opencv_loop.py": ("frame 0: ", " ms", "NG"),
}


def test_every_example_is_listed():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in SAYS)


QUICK = ("fit_and_inspect.py",)  # the others take long, and hardly depend on the interpreter


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SAYS]
)
def test_example(name, tmp_path):
    done = subprocess.run([sys.executable, EXAMPLES / name], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in SAYS[name]:
        assert words in done.stdout, done.stdout
