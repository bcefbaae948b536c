import csv
import inspect
import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from PIL import Image

from cfa_lite import load
from cfa_lite.commands.main import main

_SEPARATE = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}  # before click 8.2


def run(*arguments):
    return CliRunner(**_SEPARATE).invoke(main, [str(a) for a in arguments])


def test_fit_score_info(cloth, tmp_path):
    fitted = run("fit", cloth / "good", "-o", tmp_path / "new" / "part.cfa", "--n-centers", 32)
    assert fitted.exit_code == 0, fitted.output
    assert "16 images worked at 288x224 px" in fitted.stderr
    assert fitted.stdout == ""
    scored = run("score", tmp_path / "new" / "part.cfa", cloth / "line", "--output", tmp_path / "r.csv",
                 "--maps", tmp_path / "maps", "--overlays", tmp_path / "seen")  # fmt: skip
    assert scored.exit_code == 0, scored.output
    assert len(scored.stdout.splitlines()) == 16
    rows = list(csv.DictReader(open(tmp_path / "r.csv", encoding="utf-8")))
    results = load(tmp_path / "new" / "part.cfa").score(cloth / "line")
    assert [float(row["score"]) for row in rows] == [r.score for r in results]
    assert [row["path"] for row in rows] == [r.path for r in results]
    assert sorted(os.listdir(tmp_path / "maps")) == [f"{i:03d}.tiff" for i in range(16)]
    assert sorted(os.listdir(tmp_path / "seen")) == [f"{i:03d}.png" for i in range(16)]
    told = run("info", tmp_path / "new" / "part.cfa")
    assert "good images: 16 used" in told.stdout
    facts = json.loads(run("info", "--json", tmp_path / "new" / "part.cfa").stdout)
    assert facts["training"]["n_images"] == 16


def test_line_on_stdout(part, line):
    scored = run("score", part, line[0])
    result = load(part).inspect(line[0])
    assert scored.stdout == f"{result.verdict:6s} {result.score:8.3f}  {line[0]}\n"


def test_formats(part, line, tmp_path):
    as_json = run("score", part, line[0], "--format", "jsonl")
    assert json.loads(as_json.stdout)["path"] == str(line[0])
    as_csv = run("score", part, line[0], "--format", "csv")
    assert as_csv.stdout.startswith("path,status,")
    run("score", part, line[0], "--output", tmp_path / "odd.txt", "--format", "jsonl")
    assert json.loads((tmp_path / "odd.txt").read_text())["status"] == "ok"
    run("score", part, line[0], "--output", tmp_path / "r.jsonl")
    assert json.loads((tmp_path / "r.jsonl").read_text())["status"] == "ok"


def test_exit_codes(part, cloth, line, tmp_path):
    results = load(part).score(line)
    bad = next(p for p, r in zip(line, results) if r.verdict == "NG")
    fine = next(p for p, r in zip(line, results) if r.verdict == "OK")
    (tmp_path / "broken.png").write_text("no image")
    assert run("score", part, bad).exit_code == 0
    assert run("score", part, bad, "--fail-on-anomaly").exit_code == 3
    assert run("score", part, fine, "--fail-on-anomaly").exit_code == 0
    assert run("score", part, bad, tmp_path / "broken.png", "--fail-on-anomaly").exit_code == 1
    assert run("score", part).exit_code == 2
    assert run("fit", cloth / "good", "-o", tmp_path / "p.cfa", "--shrinkage", "0").exit_code == 2


def test_one_bad_image_is_a_row(part, line, tmp_path):
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "0.png").write_text("no image")
    os.symlink(line[0], tmp_path / "line" / "1.png")
    scored = run("score", part, tmp_path / "line", "--output", tmp_path / "r.csv", "--overlays", tmp_path / "seen")
    assert scored.exit_code == 1
    rows = list(csv.DictReader(open(tmp_path / "r.csv", encoding="utf-8")))
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert "cannot be read as an image" in rows[0]["message"]
    assert os.listdir(tmp_path / "seen") == ["1.png"]


def test_same_folders_and_no_clash(part, line, tmp_path):
    for name in ("a/1.png", "a/deep/1.png", "a/1.bmp", "b/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(line[0]).save(tmp_path / "in" / name)
    run("score", part, tmp_path / "in", "--maps", tmp_path / "maps")
    found = sorted(p.relative_to(tmp_path / "maps").as_posix() for p in (tmp_path / "maps").rglob("*.tiff"))
    assert found == ["a/1.bmp.tiff", "a/1.png.tiff", "a/deep/1.tiff", "b/1.tiff"]
    run("score", part, tmp_path / "in" / "a", tmp_path / "in" / "b", "--maps", tmp_path / "flat")
    assert len(list((tmp_path / "flat").rglob("*.tiff"))) == 4


def test_outputs_below_the_input_are_not_scored_again(part, line, tmp_path):
    Image.open(line[0]).save(tmp_path / "1.png")
    for _ in range(2):
        scored = run("score", part, tmp_path, "--overlays", tmp_path / "seen")
        assert len(scored.stdout.splitlines()) == 1


def test_a_image_is_never_overwritten(part, line, tmp_path):
    Image.open(line[0]).save(tmp_path / "1.png")
    before = (tmp_path / "1.png").read_bytes()
    for option, place in (("--overlays", tmp_path), ("--output", tmp_path / "1.png")):
        scored = run("score", part, tmp_path, option, place, "--format", "csv")
        assert scored.exit_code == 1
        assert "would overwrite the image" in scored.stderr
        assert (tmp_path / "1.png").read_bytes() == before


def broken_calls(part, good, tmp_path):
    """What goes wrong -> the call, and what its message says."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "one").mkdir()
    os.symlink(good[0], tmp_path / "one" / "1.png")
    damaged = tmp_path / "damaged.cfa"
    damaged.write_bytes(part.read_bytes()[:5000])
    out = tmp_path / "out.cfa"
    return [
        (("fit", tmp_path / "empty", "-o", out), "empty holds no image"),
        (("fit", tmp_path / "gone", "-o", out), "gone does not exist"),
        (("fit", tmp_path / "one", "-o", out), "1 of 1 images can be used; at least 2"),
        (("fit", tmp_path / "file", tmp_path / "one", "-o", out), "file cannot be read as an image"),
        (("fit", good[0], good[1], "-o", tmp_path / "empty"), "empty is a folder"),
        (("fit", good[0], good[1], "-o", tmp_path / "file" / "p.cfa"), "file cannot be written"),
        (("fit", good[0], good[1], "-o", out, "--backbone", "big"), "no backbone is called 'big'"),
        (("score", tmp_path / "gone.cfa", good[0]), "gone.cfa does not exist"),
        (("score", damaged, good[0]), "damaged.cfa is not a cfa-lite model, or is damaged"),
        (("score", tmp_path / "file", good[0]), "file is not a cfa-lite model"),
        (("score", part, tmp_path / "empty"), "empty holds no image"),
        (("score", part, good[0], "--maps", tmp_path / "file"), "file cannot be written"),
        (("score", part, good[0], "--output", tmp_path / "r.xlsx"), "format is not clear"),
        (("score", part, good[0], "--output", tmp_path / "file" / "r.csv"), "cannot be written"),
        (("info", damaged), "damaged"),
        (("demo", tmp_path), "not empty"),
    ]


def test_bad_input_gets_one_message_and_leaves_nothing(part, good, tmp_path):
    calls = broken_calls(part, good, tmp_path)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    for arguments, words in calls:
        result = run(*arguments)
        assert result.exit_code == 1, (arguments, result.output)
        assert words in result.stderr, (arguments, result.stderr)
        assert result.stderr.startswith("Error: ")
        assert "Traceback" not in result.output
        assert isinstance(result.exception, SystemExit)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", [[], ["fit"], ["score"], ["info"], ["demo"]])
def test_every_command_has_help_and_an_example(command):
    for flag in ("-h", "--help"):
        result = run(*command, flag)
        assert result.exit_code == 0
        assert "Example:\n    cfa-lite " in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['cfa-lite', '--help']\n"
        "from cfa_lite.commands.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'numba', 'onnxruntime', 'PIL', 'scipy'} & set(sys.modules)))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - start < 2  # 0.1 s here; far more means that it waits for something


def test_run_from_a_checkout(pytestconfig):
    done = subprocess.run(
        [sys.executable, pytestconfig.rootpath / "cli.py", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("cfa-lite, version ")
