"""Compiled kernels are cached on disk. A damaged or unwritable cache does not stop a kernel."""

import os
import shutil
import subprocess
import sys

import pytest

CALL = """
import numpy as np
from cfa_lite.method import _kernels

maps = np.arange(48, dtype=np.float32).reshape(1, 6, 8)
out = np.empty_like(maps)
_kernels.pool3x3(maps, out)
assert abs(out[0, 1, 1] - maps[0, :3, :3].mean()) < 1e-5
print(sum(_kernels.pool3x3.stats.cache_hits.values()))
"""
FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"


def start(folder, code=CALL):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def n_found_on_disk(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return int(out)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder that holds the compiled kernel."""
    folder = tmp_path_factory.mktemp("kept")
    assert n_found_on_disk(start(folder)) == 0
    return folder


@pytest.mark.parametrize(("ending", "share"), [("nbi", 0), ("nbc", 0), ("nbc", 0.5)])
def test_damaged_cache_files_are_replaced(kept, tmp_path, ending, share):
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    (path,) = tmp_path.rglob(f"*.{ending}")
    os.truncate(path, int(share * path.stat().st_size))
    assert n_found_on_disk(start(tmp_path)) == 0
    assert n_found_on_disk(start(tmp_path)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
def test_a_full_disk(tmp_path):
    assert n_found_on_disk(start(tmp_path, FULL_DISK + CALL)) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size] == []


def test_four_processes_compile_at_once(tmp_path):
    processes = [start(tmp_path) for _ in range(4)]
    assert all(n_found_on_disk(process) <= 1 for process in processes)
    assert n_found_on_disk(start(tmp_path)) == 1
