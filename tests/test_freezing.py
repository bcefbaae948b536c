"""A program that PyInstaller freezes works as it is: networks, worker processes, compiled kernels."""

import csv
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import cfa_lite
from cfa_lite import load

TOOL = """
import multiprocessing
import sys

from cfa_lite import load
from cfa_lite.commands.main import main

if __name__ == "__main__":
    multiprocessing.freeze_support()
    if sys.argv[1].endswith(".cfa"):
        for result in load(sys.argv[1]).inspect_many(sys.argv[2:]):
            print(repr(result.score))
    else:
        main()
"""


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    """The frozen program. Its hook is found by the entry point of the installed package."""
    pytest.importorskip("PyInstaller", reason="PyInstaller is not installed")
    if sys.platform == "linux" and not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        pytest.skip("PyInstaller needs a Python that was built with --enable-shared")
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "tool.py").write_text(TOOL)
    # An editable installation tells PyInstaller nothing of its folder.
    environment = os.environ | {"PYTHONPATH": str(Path(cfa_lite.__file__).parents[1])}
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", "tool.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "dist" / "tool" / "tool"


def run(tool, *arguments, cwd):
    done = subprocess.run([tool, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def test_scores_are_those_of_python(tool, part, line, tmp_path):
    assert run(tool, part, *line[:3], cwd=tmp_path).stdout.split() == [
        repr(load(part).inspect(path).score) for path in line[:3]
    ]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="each working folder has its own kernels there")
def test_kernels_are_compiled_once_whatever_the_working_folder(tool, part, line, tmp_path):
    run(tool, part, line[0], cwd=tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in (tool.parent / "__pycache__").glob("*.nbi")}
    run(tool, part, line[0], cwd=tool.parent)
    assert kept
    assert {path: path.stat().st_mtime_ns for path in tool.parents[1].rglob("*.nbi")} == kept


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_command_with_workers_and_the_report(tool, part, line, tmp_path, workers):
    expected = [load(part).inspect(path).score for path in line]
    run(tool, "score", part, line[0].parent, "--output", "r.csv", "--report", "r.html", *workers, cwd=tmp_path)
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8-sig") as file:
        assert [float(row["score"]) for row in csv.DictReader(file)] == pytest.approx(expected, abs=1e-4)
    assert "<style>" in (tmp_path / "r.html").read_text("utf-8")
