"""The commands of README.md work. .ci/run also runs the installation."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def readme(pytestconfig):
    return (pytestconfig.rootpath / "README.md").read_text("utf-8")


def test_there_is_one_command_for_the_main_job_and_one_for_the_tests(readme):
    commands = re.findall(r"^python -m pip install .*$", readme, re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("--overlays cloth-seen")
    assert commands[1].endswith("python -m pytest")


def test_main_job(readme, tmp_path):
    command = re.search(r"^python -m pip install \. && (.*)$", readme, re.MULTILINE)[1]
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(os.listdir(tmp_path / "cloth" / "line"))
    assert sorted(os.listdir(tmp_path / "cloth-seen")) == sorted(os.listdir(tmp_path / "cloth" / "line"))
    assert "overlays in cloth-seen" in done.stderr


def test_python_example(readme, cloth, tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    Path("good").symlink_to(cloth / "good")
    names = {"paths": sorted((cloth / "line").iterdir())[:2]}
    exec(code.replace("line/017.png", os.fspath(cloth / "line" / "007.png")), names)
    assert names["result"].path == os.fspath(names["paths"][1])
    assert Path("part.cfa").stat().st_size > 100_000


def test_every_command_shown_exists(readme):
    shown = set(re.findall(r"cfa-lite (\w+)", readme)) - {"finds"}
    told = subprocess.run([sys.executable, "-m", "cfa_lite", "-h"], capture_output=True, text=True).stdout
    assert shown >= {"fit", "score", "info", "demo"}
    for command in shown:
        assert re.search(rf"^  {command} ", told, re.MULTILINE), command
