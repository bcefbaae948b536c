"""Options that change how a fitted model inspects: the same in every command that inspects new images."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_cli import run

from cfa_lite.commands.main import main
from cfa_lite.commands.rules import RunRules


@pytest.fixture
def images(line, tmp_path):
    """A folder with an image of the line, one that is INVALID without --no-checks, and a large file."""
    folder = tmp_path / "in"
    folder.mkdir()
    picture = Image.open(line[0])
    picture.save(folder / "a.png")
    Image.fromarray((np.asarray(picture) // 8).astype(np.uint8)).save(folder / "b.png")
    picture.resize((picture.width * 2, picture.height * 2)).save(folder / "c.png")
    return folder


def answers(command, part, folder, tmp_path, *options):
    """Return verdict and score of each image, by name."""
    rows = []
    if command == "serve":
        asked = "".join(json.dumps({"path": str(path)}) + "\n" for path in sorted(folder.iterdir()))
        done = CliRunner().invoke(main, ["serve", str(part), "--stdio", *map(str, options)], input=asked.encode())
        rows = [json.loads(answer) for answer in done.stdout.splitlines() if answer.startswith("{")]
    else:
        output = tmp_path / f"{command}.csv"
        end = ["--once", "--poll", 0.02, "--patience", 0.1] if command == "watch" else []
        run(command, part, folder, "--output", output, *options, *end)
        rows = list(csv.DictReader(output.read_text("utf-8-sig").splitlines()))
    return {row["path"][-5:]: (row["verdict"], str(row["score"] or ""), str(row["raw_limit"])) for row in rows}


@pytest.mark.parametrize(
    "options", [["--sensitivity", 3], ["--threshold", 0.7], ["--no-checks"], ["--max-megapixels", 0.2]]
)
def test_watch_and_serve_inspect_as_score_does(options, part, images, tmp_path):
    expected = answers("score", part, images, tmp_path, *options)
    assert len(expected) == 3
    assert expected != answers("score", part, images, tmp_path)
    for command in ("watch", "serve"):
        assert answers(command, part, images, tmp_path, *options) == expected


def test_models_of_a_line_are_warm(part):
    """After an installation, compiling takes longer than a client waits for its first answer."""
    (model,) = RunRules().load_all([part], 1)
    assert model.open_backbone().is_warm


def test_a_limit_by_hand_is_for_one_model(part, images, tmp_path):
    other = tmp_path / "other.cfa"
    other.write_bytes(part.read_bytes())
    (tmp_path / "in2").mkdir()
    refused = run("watch", part, images, other, tmp_path / "in2", "--output", tmp_path / "r.csv", "--threshold", 1)
    assert refused.exit_code == 2
    assert "the scale of one model" in refused.stderr
    assert not (tmp_path / "r.csv").exists()
    assert "the scale of one model" in run("serve", part, other, "--stdio", "--threshold", 1).stderr


def test_evaluate_scores_what_the_checks_refuse(part, cloth, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    dark = np.asarray(Image.open(cloth / "line" / "000.png")) // 8
    Image.fromarray(dark.astype(np.uint8)).save(bad / "dark.png")
    both = ["evaluate", part, "--good", cloth / "new-good", "--defects", bad]
    assert "0 defective, 1 invalid (0 good, 1 defective), which count in no figure" in run(*both).stdout
    assert "1 defective" in run(*both, "--no-checks").stdout


def test_calibration_names_an_unusable_image_once(part, images, tmp_path, caplog):
    Image.open(images / "a.png").save(images / "d.png")
    calibrate = ("calibrate", part, images, "--max-megapixels", 0.2, "-o", tmp_path / "new.cfa")
    assert run(*calibrate).exit_code == 0
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("skipped: ")]
    assert len(told) == 2
    for line, name, reason in zip(told, ("b.png", "c.png"), ("far darker", "set --max-megapixels")):
        assert line.count(name) == 1 and reason in line
