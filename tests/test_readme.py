"""The commands of README.md work. .ci/run also runs the installation."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cfa_lite.commands.main import main


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


# Commands of the pages that need what the demo does not draw, by what they hold.
NOT_OF_THE_DEMO = {
    "cloth": "they make the demo; the main job does the same",
    "products/": "several products",
    "--dask": "a cluster",
    "--mask ": "an inspection mask of the user's product",
    "--backbone": "a network of the user",
    "--value-range": "images of more than 8 bit",
    "escapes/": "what the user collects on the line",
    "roll": "images of rolls",
    "cfa-lite watch": "it does not end by itself",
    "cfa-lite serve": "it does not end by itself",
    "cfa-lite drift": "it needs more images than the demo has",
}


def commands_of(page):
    """Return the commands of the code blocks of a page, without their comments."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("cfa-lite ")]


def test_commands_of_the_pages_run_in_the_folder_of_the_demo(pytestconfig, cloth, part, tmp_path, monkeypatch):
    """Each command starts with the same model, as if the others had not been run."""
    root = pytestconfig.rootpath
    pages = [root / "README.md", root / "docs" / "getting-started.md", *sorted((root / "docs" / "guide").glob("*.md"))]
    shown = [command for page in pages for command in commands_of(page)]
    commands = [c for c in dict.fromkeys(shown) if not any(word in c for word in NOT_OF_THE_DEMO)]
    assert {command.split()[1] for command in commands} >= {"fit", "score", "evaluate", "calibrate", "teach", "info"}
    for word in NOT_OF_THE_DEMO:
        assert any(word in command for command in shown), f"no page shows {word!r} any more"
    shutil.copytree(cloth, tmp_path / "cloth")
    monkeypatch.chdir(tmp_path / "cloth")
    for command in commands:
        shutil.copyfile(part, "part.cfa")
        done = CliRunner().invoke(main, shlex.split(command)[1:])
        allowed = {0, 3} if "--fail-on-anomaly" in command else {0}
        assert done.exit_code in allowed, f"{command}: {done.output}"


def test_the_demo_is_evaluated_with_its_own_truth(part, cloth, tmp_path):
    """Neither its masks nor the good images of the line count as defective."""
    figures = {}
    for folder in (cloth, cloth / "test", cloth / "line"):
        output = tmp_path / f"{folder.name}.json"
        done = CliRunner().invoke(main, ["evaluate", os.fspath(part), os.fspath(folder), "--output", os.fspath(output)])
        assert done.exit_code == 0, done.output
        figures[folder] = json.loads(output.read_text("utf-8"))
    assert figures[cloth] == figures[cloth / "test"] == figures[cloth / "line"]
    assert (figures[cloth]["n_good"], figures[cloth]["n_defective"]) == (6, 10)
    assert figures[cloth]["image_auroc"] > 0.9
    assert figures[cloth]["pixel_auroc"] > 0.9
