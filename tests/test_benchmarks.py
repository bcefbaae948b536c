"""The scripts in benchmarks/ and models/: they import and show their help, and their tables name existing functions."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHECKOUT = Path(__file__).resolve().parents[1]
BENCHMARKS = CHECKOUT / "benchmarks"
PEERS = BENCHMARKS / "peers"
SCRIPTS = sorted(
    path
    for path in (*BENCHMARKS.glob("*.py"), *(CHECKOUT / "models").glob("*.py"), PEERS / "run.py")
    if not path.name.startswith("_")
)
NEEDS = {  # packages that the tests do not install
    "int8.py": "onnx",
    "quantize_shipped.py": "onnx",
    "export_shipped.py": "efficientnet_lite_pytorch",
}

# All scripts run in one process, because most of the time goes into imports that they share.
SHOW_HELP = """
import contextlib, io, json, runpy, sys, traceback
from pathlib import Path

found = {}
for script in sys.argv[1:]:
    sys.argv, before, output = [script, "--help"], list(sys.path), io.StringIO()
    sys.path.insert(0, str(Path(script).parent))
    try:
        with contextlib.redirect_stdout(output):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        found[script] = [end.code, output.getvalue()]
    except BaseException:
        found[script] = [1, traceback.format_exc()]
    sys.path[:] = before
print(json.dumps(found))
"""

CHECK_TABLES = """
import _common, fit_phases, speed

_common.check_table(fit_phases.ALONE)
_common.check_table(speed.STAGES)
"""


def run(*command, **options):
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(BENCHMARKS), *filter(None, given)])}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, env=environment, timeout=120, **options
    )


def can_run(script):
    return script.name not in NEEDS or importlib.util.find_spec(NEEDS[script.name]) is not None


@pytest.fixture(scope="module")
def helps():
    """Exit code and output of each script for --help."""
    done = run("-c", SHOW_HELP, *filter(can_run, SCRIPTS))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_shows_its_help(script, helps):
    if not can_run(script):
        pytest.skip(f"{NEEDS[script.name]} is not installed")
    code, output = helps[str(script)]
    assert code == 0, output
    assert output.startswith("usage:")
    if script.parent != CHECKOUT / "models":
        assert f"python {script.relative_to(CHECKOUT).as_posix()}" in output


def test_the_tables_of_watched_functions_are_up_to_date():
    done = run("-c", CHECK_TABLES)
    assert done.returncode == 0, done.stderr


def test_peer_worker_computes_features(rng, tmp_path):
    image, kept = tmp_path / "image.png", tmp_path / "features.npz"
    Image.fromarray(rng.integers(0, 255, (64, 96, 3)).astype(np.uint8)).save(image)
    request = json.dumps({"do": "features", "path": str(image), "keep": str(kept)})
    done = run(PEERS / "cfa_lite_worker.py", "cfa-lite", "1", input=request + "\n")
    assert done.returncode == 0, done.stderr
    answers = [sorted(json.loads(line)) for line in done.stdout.splitlines()]
    assert answers == [["import_seconds", "versions"], ["peak_mb"]]
    with np.load(kept) as maps:
        assert [maps[name].shape for name in maps.files] == [(24, 16, 24), (40, 8, 12), (112, 4, 6)]


@pytest.mark.parametrize("script", sorted(PEERS.glob("*.py")), ids=lambda path: path.name)
def test_peer_script_compiles(script):
    compile(script.read_text(encoding="utf-8"), str(script), "exec")
