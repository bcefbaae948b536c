"""The wheel, in an environment of its own, from another folder. Needs a package index for setuptools."""

import os
import subprocess
import sys
import venv
import zipfile

import pytest

from cfa_lite import CFA, load


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
    }  # fmt: skip
    assert licences == {"LICENSE", "NOTICE"}
    assert wheel.stat().st_size < 4e6


def test_installed_command_works_from_another_folder(wheel, tmp_path, small_pictures):
    """Dependencies come from the running environment, the package from the wheel alone."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False, symlinks=os.name == "posix")
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    paths = subprocess.run(
        [scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", paths, wheel], check=True)
    outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    dependencies = os.path.dirname(os.path.dirname(sys.modules["numpy"].__file__))
    CFA(n_centers=8, threads=1).fit(small_pictures).save(tmp_path / "part.cfa")
    code = (
        f"import sys; sys.path.append({dependencies!r})\n"
        "import cfa_lite; from cfa_lite.cli import main\n"
        f"assert cfa_lite.__file__.startswith({paths!r}), cfa_lite.__file__\n"
        f"main(['info', '--json', {str(tmp_path / 'part.cfa')!r}])"
    )
    done = subprocess.run([scripts / "python", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=outside)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "part.cfa").info()["backbone_sha256"] in done.stdout
