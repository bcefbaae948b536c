"""The wheel works in a new environment, from another folder. The tests need a package index for setuptools."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image

from cfa_lite import __version__

SOURCES = ("cfa_lite", "models", "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
COMPILED = ("__pycache__", "*.pyc", "*.nbi", "*.nbc")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, pytestconfig):
    """Built from a copy, because files of an earlier build in build/ would become part of the wheel."""
    folder, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        source = pytestconfig.rootpath / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns(*COMPILED))
        else:
            shutil.copy(source, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, copy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_contains_only_the_package_and_the_models(wheel, pytestconfig):
    with zipfile.ZipFile(wheel) as file:
        names = {n for n in file.namelist() if ".dist-info/" not in n}
        licenses = {Path(n).name for n in file.namelist() if "LICENSE" in n or "NOTICE" in n}
    package = pytestconfig.rootpath / "cfa_lite"
    in_checkout = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and not any(path.match(pattern) or pattern in path.parts for pattern in COMPILED)
    }
    models = {
        "cfa_lite/models/manifest.json", "cfa_lite/models/README.md", "cfa_lite/models/lite0_v1/backbone.onnx",
        "cfa_lite/models/lite0_int8_v1/backbone.onnx", "cfa_lite/models/lite2_v1/backbone.onnx",
    }  # fmt: skip
    assert names == in_checkout | models
    assert licenses == {"LICENSE", "NOTICE"}
    assert wheel.stat().st_size < 8.5e6


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = (n for n in file.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(file.read(name).decode())


def test_metadata(metadata):
    assert (metadata["Name"], metadata["Version"]) == ("cfa-lite", __version__)
    assert (metadata["Requires-Python"], metadata["License-Expression"]) == (">=3.9", "Apache-2.0")
    assert metadata.get_all("Provides-Extra") == ["dask", "station", "test", "export", "docs", "lint"]


def test_oldest_versions_are_the_lower_bounds(metadata, pytestconfig):
    """The bounds are those of the package and of the extra "test"."""
    lines = (pytestconfig.rootpath / "tests" / "oldest.txt").read_text("utf-8").splitlines()
    oldest = {name: Version(version) for name, version in (line.split("==") for line in lines if "==" in line)}
    bounds = {}
    for required in map(Requirement, metadata.get_all("Requires-Dist")):
        if not re.search("docs|lint|export", str(required.marker)) and required.name != "cfa-lite":
            (bound,) = (one for one in required.specifier if one.operator != "!=")  # some versions are left out
            assert bound.operator == ">=", required
            bounds[required.name] = Version(bound.version)
    assert bounds == oldest


def test_installed_command_works_from_another_folder(wheel, tmp_path, small_images):
    """Dependencies come from the running environment, and the package from the wheel."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False, symlinks=os.name == "posix")
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    subprocess.run([sys.executable, "-m", "pip", "-q", "--python", python, "install", "--no-deps", wheel], check=True)

    def run(*command):
        outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=outside)
        assert done.returncode == 0, done.stderr
        return done.stdout

    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "dependencies.pth").write_text(str(Path(sys.modules["numpy"].__file__).parents[1]))
    assert run(python, "-c", "import cfa_lite; print(cfa_lite.__file__)").startswith(str(packages))
    (tmp_path / "good").mkdir()
    for i, image in enumerate(small_images):
        Image.fromarray(image).save(tmp_path / "good" / f"{i}.png")
    run(scripts / "cfa-lite", "fit", "good", "-o", "part.cfa", "--n-centers", "8")
    assert run(scripts / "cfa-lite", "score", "part.cfa", "good").count("good") == len(small_images)
