"""Scores do not depend on processes, users, locales or switches of the interpreter."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import cfa_lite
from cfa_lite import load

PACKAGE = Path(cfa_lite.__file__).parent
SCORE = "import sys, cfa_lite; m = cfa_lite.load(sys.argv[1]); print(repr(m.inspect(sys.argv[2]).raw_score))"


def python(*arguments, switches=(), **options):
    return subprocess.Popen(
        [sys.executable, *switches, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def answer(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode(errors="replace")
    return out.decode().strip()


@pytest.fixture(scope="module")
def expected(part, line):
    return repr(load(part).inspect(line[0]).raw_score)


def test_four_processes_score_with_one_file(part, line, expected):
    processes = [python("-c", SCORE, part, line[0]) for _ in range(4)]
    assert [answer(process) for process in processes] == [expected] * 4


def test_onnxruntime_sends_no_telemetry_and_stores_no_identifier(part, line, expected, tmp_path):
    environment = {
        k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
    }
    environment |= {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    assert answer(python("-c", SCORE, part, line[0], env=environment)) == expected
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".nbi", ".nbc")]
    assert left == []


@pytest.mark.parametrize("switches", [("-W", "error"), ("-OO",), ("-X", "dev")])
def test_python_switches_do_not_change_scores(part, line, expected, switches):
    assert answer(python("-c", SCORE, part, line[0], switches=switches)) == expected


def test_read_only_install_without_a_home_folder(part, line, expected, tmp_path):
    """Permissions do not apply to root, so files take the places of the folders for compiled kernels."""
    shutil.copytree(PACKAGE, tmp_path / "cfa_lite", ignore=shutil.ignore_patterns("__pycache__", "models"))
    models = PACKAGE / "models" if (PACKAGE / "models").is_dir() else PACKAGE.parent / "models"
    shutil.copytree(models, tmp_path / "cfa_lite" / "models")
    for name in ("__pycache__", "home"):
        (tmp_path / ("cfa_lite" if name == "__pycache__" else ".") / name).write_text("")
    environment = {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    code = f"assert cfa_lite.__file__.startswith({str(tmp_path)!r}), cfa_lite.__file__"
    process = python("-c", f"{SCORE}; {code}", part, line[0], cwd=tmp_path, env=environment, switches=("-B",))
    assert answer(process) == expected


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "tr_TR.UTF-8"},
        {"PYTHONIOENCODING": "cp1252"},
    ],
)
def test_file_names_in_any_script_and_locale(part, line, tmp_path, environment):
    folder = tmp_path / "a line 图片"
    folder.mkdir()
    names = ["a b.png", "图片.png", "😀.PNG", "İı.png", "n" * 200 + ".png", "q'\"&<.png"]
    for name in names:
        Image.open(line[0]).save(folder / name, "PNG")
    done = python("-m", "cfa_lite", "score", part, folder, "--output", tmp_path / "r.jsonl",
                  "--maps", tmp_path / "maps",
                  env=os.environ | environment)  # fmt: skip
    answer(done)
    rows = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {Path(row["path"]).name for row in rows} == set(names)
    assert len({row["raw_score"] for row in rows}) == 1
    assert {path.stem for path in (tmp_path / "maps").iterdir()} == {Path(name).stem for name in names}
