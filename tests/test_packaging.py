"""The wheel, in an environment of its own, from another folder. Needs a package index for setuptools."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, pytestconfig):
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, pytestconfig.rootpath],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_package_the_models_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = {n for n in file.namelist() if ".dist-info/" not in n}
        licences = {os.path.basename(n) for n in file.namelist() if "LICENSE" in n or "NOTICE" in n}
    assert {n.split("/")[0] for n in names} == {"cfa_lite"}
    assert {n for n in names if n.startswith("cfa_lite/models/")} == {
        "cfa_lite/models/manifest.json", "cfa_lite/models/README.md", "cfa_lite/models/lite0_v1/backbone.onnx",
        "cfa_lite/models/lite0_int8_v1/backbone.onnx", "cfa_lite/models/lite2_v1/backbone.onnx",
    }  # fmt: skip
    assert licences == {"LICENSE", "NOTICE"}
    assert wheel.stat().st_size < 8e6


def test_installed_command_works_from_another_folder(wheel, tmp_path, small_images):
    """Dependencies come from the running environment, the package from the wheel alone."""
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
    (packages / "dependencies.pth").write_text(os.path.dirname(os.path.dirname(sys.modules["numpy"].__file__)))
    assert run(python, "-c", "import cfa_lite; print(cfa_lite.__file__)").startswith(str(packages))
    (tmp_path / "good").mkdir()
    for i, image in enumerate(small_images):
        Image.fromarray(image).save(tmp_path / "good" / f"{i}.png")
    run(scripts / "cfa-lite", "fit", "good", "-o", "part.cfa", "--n-centers", "8")
    assert run(scripts / "cfa-lite", "score", "part.cfa", "good").count("good") == len(small_images)
