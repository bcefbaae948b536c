"""Every status that an image can have, in every command and in Python."""

import csv
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tiny_backbone
from PIL import Image
from test_cli import run

from cfa_lite import CFA, ImageError, load
from cfa_lite.evaluation import timing

SIZE_PX = (96, 64)  # width, height
VERDICTS = {"ok": ("OK", "UNSURE", "NG"), "invalid": ("INVALID",), "error": ("ERROR",)}


@dataclass(frozen=True)
class Case:
    """An image of a status, and part of the message that must be shown; "" if there is none."""

    file: str
    status: str
    message: str
    scored: bool = True


CASES = [
    Case("plain.png", "ok", ""),
    Case("pages.tif", "ok", "Only the first of 2 pages was inspected."),
    Case("color.png", "ok", "The image is in color, but the good images are gray."),
    Case("blank.png", "invalid", "The image shows nothing"),
    Case("huge.png", "invalid", "The image is 384x256 px", scored=False),
    Case("text.png", "error", "cannot be read as an image", scored=False),
]


@dataclass(frozen=True)
class Place:
    """Folders of a test: the images, and the outputs."""

    home: Path
    case: Case
    out: Path

    @property
    def image(self):
        return self.home / "images" / self.case.file

    @property
    def model(self):
        """A copy of the model, which may be overwritten."""
        copy = self.out / "part.cfa"
        if not copy.exists():
            copy.write_bytes((self.home / "part.cfa").read_bytes())
        return copy

    def folder(self, name, n_good, with_image=True):
        """Make a folder of good images, and the image."""
        folder = self.out / name
        folder.mkdir(parents=True)
        for path in sorted((self.home / "good").iterdir())[:n_good]:
            (folder / path.name).write_bytes(path.read_bytes())
        if with_image:
            (folder / self.case.file).write_bytes(self.image.read_bytes())
        return folder

    def check_line(self, line, path):
        """Check a line of text about the image."""
        verdict, number, *rest = line.split(maxsplit=2)
        assert verdict in VERDICTS[self.case.status], line
        assert (number != "-") == self.case.scored, line
        assert rest[0].startswith(str(path)), line
        message = rest[0][len(str(path)) :].strip()
        assert self.case.message in message, line
        assert not message.startswith(str(path)), line

    def check_message(self, stderr, path):
        """Check that the image is named with its message if it has one, and is not named otherwise."""
        lines = [line for line in stderr.splitlines() if str(path) in line]
        assert len(lines) == bool(self.case.message), stderr
        for line in lines:
            self.check_line(line, path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("statuses")
    tiny_backbone.write(home / "own.onnx")
    (home / "good").mkdir()
    (home / "images").mkdir()
    for i in range(8):
        Image.effect_noise(SIZE_PX, 40 + i).save(home / "good" / f"{i}.png")
    plain = Image.effect_noise(SIZE_PX, 43)
    plain.save(home / "images" / "plain.png")
    plain.save(home / "images" / "pages.tif", save_all=True, append_images=[plain])
    color = np.stack([np.asarray(plain), np.asarray(plain), 255 - np.asarray(plain)], axis=2)
    Image.fromarray(color).save(home / "images" / "color.png")
    Image.new("L", SIZE_PX, 9).save(home / "images" / "blank.png")
    plain.resize((384, 256)).save(home / "images" / "huge.png")
    (home / "images" / "text.png").write_text("no image")
    model = CFA("whitened", backbone=home / "own.onnx", n_centers=4, threads=1)
    model.fit(home / "good").save(home / "part.cfa")
    return home


def score_lines(place):
    done = run("score", place.model, place.image)
    place.check_line(done.stdout, place.image)
    assert done.stdout.count("\n") == 1
    assert done.exit_code == (place.case.status == "error")


def score_csv(place):
    done = run("score", place.model, place.image, "--output", place.out / "r.csv")
    place.check_line(done.stdout, place.image)
    check_row(place, next(csv.DictReader((place.out / "r.csv").open(encoding="utf-8-sig"))), "")


def score_jsonl(place):
    run("score", place.model, place.image, "--output", place.out / "r.jsonl")
    check_row(place, json.loads((place.out / "r.jsonl").read_text(encoding="utf-8")), None)


def check_row(place, row, missing):
    assert row["path"] == str(place.image)
    assert row["status"] == place.case.status
    assert row["verdict"] in VERDICTS[place.case.status]
    assert place.case.message in row["message"]
    assert bool(row["message"]) == bool(place.case.message)
    assert (row["score"] != missing) == place.case.scored


def score_report(place):
    places = [argument for kind in ("maps", "overlays", "masks") for argument in (f"--{kind}", place.out / kind)]
    done = run("score", place.model, place.image, "--report", place.out / "r.html", *places)
    assert done.exit_code == (place.case.status == "error")
    page = (place.out / "r.html").read_text(encoding="utf-8")
    assert place.case.file in page
    assert place.case.message in page
    for kind in ("maps", "overlays", "masks"):
        assert len(list((place.out / kind).iterdir())) == place.case.scored


def evaluate_folders(place):
    good, bad = place.folder("good", 3), place.folder("bad", 2, with_image=False)
    done = run("evaluate", place.model, "--good", good, "--defects", bad, "--output", place.out / "r.json")
    assert done.exit_code == 0, done.output
    place.check_message(done.stderr, good / place.case.file)
    summary = json.loads((place.out / "r.json").read_text(encoding="utf-8"))
    assert summary["n_good"] == 3 + (place.case.status == "ok")
    assert summary["n_failed"] == (place.case.status == "error")
    assert summary["n_invalid"] == (place.case.status == "invalid")


def calibrate_good(place):
    good = place.folder("good", 3)
    before = place.model.read_bytes()
    done = run("calibrate", place.model, good)
    if place.case.status == "ok":
        assert done.exit_code == 0, done.output
        assert "4 good images" in done.stdout
    else:
        assert done.exit_code == 0, done.output
        assert "3 good images that fit has not seen, 1 left out" in done.stdout
        assert place.model.read_bytes() != before


def calibrate_defects(place):
    bad = place.folder("bad", 2)
    done = run("calibrate", place.model, "--sensitivity", 1, "--defects", bad)
    assert done.exit_code == 0, done.output
    place.check_message(done.stderr, bad / place.case.file)
    is_ok = place.case.status == "ok"
    assert f"of {2 + is_ok} found" in done.stdout
    assert ("1 not inspected" in done.stdout) != is_ok


def benchmark_images(place):
    timed = []

    def compared(model, images, n_threads):
        timed.extend(images)
        return [timing.Timing("accurate", True, 1, False, 1.0, 2.0)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "compared", compared)
        patch.setattr(timing, "cold_start", lambda part, image, backbone: 0.5)
        images = place.folder("images", 2)
        done = run("benchmark", place.model, images)
        assert done.exit_code == 0, done.output
        place.check_message(done.stderr, images / place.case.file)
        assert (images / place.case.file in timed) == (place.case.status == "ok")
        alone = run("benchmark", place.model, place.image)
        assert alone.exit_code == (place.case.status != "ok")
        assert ("No image can be inspected" in alone.stderr) == (place.case.status != "ok")


SETTINGS = ("--recipe", "whitened", "--n-centers", 4, "--threads", 1)


def fit_folder(place):
    good = place.folder("good", 4)
    done = run("fit", good, "-o", place.out / "new.cfa", "--backbone", place.home / "own.onnx", *SETTINGS)
    assert done.exit_code == 0, done.output
    check_training(place, place.out / "new.cfa", done.stderr)


def fit_each(place):
    place.folder("products/nut", 4)
    done = run("fit", place.out / "products", "--each", "-o", place.out / "models", "--report", place.out / "pages",
               "--backbone", place.home / "own.onnx", *SETTINGS)  # fmt: skip
    assert done.exit_code == 0, done.output
    check_training(place, place.out / "models" / "nut.cfa", done.stderr)


def check_training(place, model, stderr):
    n_skipped = place.case.status == "error" or place.case.file == "blank.png"  # so few show no usual size or color
    training = load(model).info()["training"]
    assert (training["n_images"], training["n_skipped"]) == (5 - n_skipped, n_skipped)
    assert ("(1 skipped)" in stderr) == n_skipped


def python_inspect(place):
    model = load(place.model)
    if place.case.status == "error":
        with pytest.raises(ImageError, match=place.case.file):
            model.inspect(place.image)
        return
    check_result(place, model.inspect(place.image))


def python_inspect_many(place):
    before, result, after, _ = load(place.model).inspect_many([place.home / "good" / "0.png", place.image] * 2)
    assert before.status == after.status == "ok"
    check_result(place, result)


def check_result(place, result):
    assert (result.path, result.status) == (str(place.image), place.case.status)
    assert result.verdict in VERDICTS[place.case.status]
    assert place.case.message in result.message
    assert np.isfinite(result.score) == place.case.scored


def python_predict(place):
    model = load(place.model)
    if place.case.status == "error":
        with pytest.raises(ImageError, match=place.case.file):
            model.predict([place.image])
        return
    (predicted,) = model.predict([place.image])
    expected = -1 if model.inspect(place.image).verdict in ("NG", "INVALID") else 1
    assert predicted == expected


def python_calibrate(place):
    model, before = load(place.model), load(place.model)
    images = [*sorted((place.home / "good").iterdir())[:3], place.image]
    if place.case.status == "ok":
        assert model.calibrate(images).limits_.n_images == 4
        return
    assert model.calibrate(images).limits_ == replace(before.calibrate(images[:3]).limits_, n_left_out=1)
    (skipped,) = model.skipped_
    assert skipped.name == str(place.image) and place.case.message in skipped.message


ROUTES = (
    score_lines, score_csv, score_jsonl, score_report, evaluate_folders, calibrate_good, calibrate_defects,
    benchmark_images, fit_folder, fit_each, python_inspect, python_inspect_many, python_predict, python_calibrate,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
def test_every_status_on_every_route(route, case, home, tmp_path):
    route(Place(home, case, tmp_path))


def test_invalid_images_count_in_no_metric(part, good, line, tmp_path):
    """`evaluate` and `calibrate --defects` agree."""
    bad = tmp_path / "bad"
    bad.mkdir()
    for i in range(3):
        Image.new("RGB", (384, 288), (90, 90, 90)).save(bad / f"blank{i}.png")
    masks = {path.name for path in (line[0].parent.parent / "masks").iterdir()}
    defect = next(path for path in line if path.name in masks and load(part).inspect(path).verdict == "NG")
    (bad / "defect.png").write_bytes(defect.read_bytes())
    done = run("evaluate", part, "--good", good[0].parent, "--defects", bad, "--output", tmp_path / "r.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["n_defective"], found["n_invalid"], found["n_failed"]) == (1, 3, 0)
    assert (found["found"]["n"], found["found"]["of"], found["recall"]) == (1, 1, 1.0)
    told = run("calibrate", part, good[0].parent, "--defects", bad, "--dry-run").stdout
    assert "of 1 found" in told and "3 not inspected" in told


def test_an_object_that_is_no_image_does_not_end_a_batch(model, line):
    odd = [np.zeros((300, 300), np.int64), np.zeros((2, 3, 4, 5), np.uint8), None, np.zeros((288, 384), np.float64)]
    results = list(model.inspect_many([*odd, line[0]]))
    assert [r.status for r in results] == ["error"] * 4 + ["ok"]
    assert "int64" in results[0].message and "value_range" in results[3].message


def test_calibrate_says_that_no_defect_was_inspected(part, tmp_path):
    Image.new("L", (64, 64)).save(tmp_path / "blank.png")
    file = shutil.copy(part, tmp_path / "copy.cfa")
    done = run("calibrate", file, "--sensitivity", 1.1, "--defects", tmp_path / "blank.png")
    assert done.exit_code == 0, done.output
    assert "none of 1 was inspected" in done.stdout and "interval" not in done.stdout
