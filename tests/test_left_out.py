"""What is left out of a folder is counted and named, by the library and by every command that searches folders."""

import os

import numpy as np
import pytest
import tiny_backbone
from PIL import Image, features
from test_cli import run

from cfa_lite import CFA, ImageError, find_images
from cfa_lite.evaluation.ground_truth import find_in_folders, find_test_set
from cfa_lite.features import image_files, images
from cfa_lite.features.image_files import LeftOut, summary

SIZE_PX = (96, 64)


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def refuse_to_read(monkeypatch, name):
    """Make a folder that cannot be read, even by root."""
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith(name):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def told(found):
    return {one.path.name: one.reason for one in found.left_out}


def test_everything_that_is_not_taken_is_told_with_its_reason(tmp_path):
    folder = files(
        tmp_path / "in", "1.png", "a.txt", "sub/B.TXT", "notes", ".hidden.png", ".DS_Store", ".cache/2.png",
        ".cache/deep/3.png", "x.png.part", "sub/4.tif",
    )  # fmt: skip
    files(tmp_path / "other", "5.png")
    (folder / "cam2").symlink_to(tmp_path / "other")
    (folder / "6.png").symlink_to(tmp_path / "other" / "5.png")
    found = find_images([folder])
    assert sorted(file.path.name for file in found) == ["1.png", "4.tif", "6.png"]
    assert told(found) == {
        "a.txt": "of .txt", "B.TXT": "of .txt", "notes": "of no ending", "x.png.part": "of .part",
        "cam2": "linked folder", ".cache": "hidden folder", ".hidden.png": "hidden",
    }  # fmt: skip
    assert told(find_images([folder, folder / "sub"])) == told(found)  # each once
    assert "a.txt" not in told(find_images([folder, folder / "a.txt"]))  # it is inspected, because it was named
    assert told(find_images([folder / "cam2"])) == {}  # a link that is named is followed
    assert len(find_images([folder / "cam2"])) == 1


@pytest.mark.skipif(os.name == "nt" or not os.getuid(), reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_told_where_permissions_apply(tmp_path):
    folder = files(tmp_path / "in", "1.png", "closed/2.png")
    (folder / "closed").chmod(0)
    try:
        assert told(find_images([folder])) == {"closed": "unreadable folder"}
        with pytest.raises(ImageError, match="closed cannot be read .* permissions"):
            find_images([folder / "closed"])
    finally:
        (folder / "closed").chmod(0o700)


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    folder = files(tmp_path / "in", "1.png", "closed/2.png")
    refuse_to_read(monkeypatch, "closed")
    assert told(find_images([folder])) == {"closed": "unreadable folder"}
    with pytest.raises(ImageError, match=r"closed cannot be read \(Permission denied\). Check its permissions."):
        find_images([folder / "closed"])


def test_summary_is_one_line_that_names_a_few(tmp_path):
    def left_out(*names):
        return [LeftOut(tmp_path / name, reason) for name, reason in names]

    assert summary([]) == ""
    assert summary(left_out(("a.txt", "of .txt"))) == "1 file was left out: 1 of .txt (a.txt)."
    three = left_out(("a.txt", "of .txt"), ("b", "of no ending"), ("c.txt", "of .txt"))
    assert summary(three) == "3 files were left out: 2 of .txt, 1 of no ending (a.txt, b, c.txt)."
    folders = left_out(("a.txt", "of .txt"), ("b.txt", "of .txt"), ("c", "linked folder"), ("d", "linked folder"))
    expected = "2 files and 2 folders were left out: 2 linked folders, 2 of .txt (c, d, a.txt, ...)."
    assert summary(folders) == expected
    many = summary(left_out(*((f"{i}.{i}", f"of .{i}") for i in range(5000))))
    assert many.endswith("4996 others (0.0, 1.1, 2.2, ...).") and len(many) < 120
    assert summary(left_out(("a\nb.t\rx", "of .t\rx"))) == "1 file was left out: 1 of .t?x (a?b.t?x)."


def test_a_folder_without_images_tells_what_it_holds(tmp_path):
    with pytest.raises(
        ImageError, match=r"contains no image .* 2 files were left out: 2 of .txt \(a.txt, b.txt\)\. Give"
    ):
        find_images([files(tmp_path / "in", "a.txt", "b.txt")])


def test_test_sets_tell_what_they_leave_out(tmp_path):
    root = files(
        tmp_path / "set" / "test", "good/1.png", "good/a.txt", "hole/2.png", "hole/b.md", "loose.png", "readme"
    )
    expected = {"a.txt": "of .txt", "b.md": "of .md", "loose.png": "of .png", "readme": "of no ending"}
    assert told(find_test_set(root)) == expected
    assert told(find_in_folders(root / "good", root / "hole", None)) == {"a.txt": "of .txt", "b.md": "of .md"}


@pytest.mark.parametrize("suffix", sorted(image_files.SUFFIXES))
def test_every_ending_that_is_taken_is_read(tmp_path, rng, suffix):
    if suffix == ".pfm" and not (tmp_path / "a.pfm").write_bytes(b"Pf\n64 64\n-1.0\n" + bytes(4 * 64 * 64)):
        pytest.fail("nothing was written")
    if suffix == ".pfm":
        try:
            Image.open(tmp_path / "a.pfm").close()
        except OSError:
            pytest.skip("this Pillow does not read PFM")
        assert images.read(tmp_path / "a.pfm", value_range=(0, 1)).size_px == (64, 64)
        return
    soft = rng.integers(0, 256, (8, 12), np.uint8)
    image = Image.fromarray(soft).resize(SIZE_PX, Image.Resampling.BICUBIC)
    image = image.convert("1") if suffix == ".pbm" else image
    known = {"apng": "PNG", "jpe": "JPEG", "jfif": "JPEG", "mpo": "JPEG", "dib": "DIB", "pnm": "PPM"}
    path = tmp_path / f"a{suffix}"
    image.save(path, known.get(suffix[1:]) or Image.registered_extensions()[suffix])
    found = images.to_pixels(images.read(path), SIZE_PX[::-1])
    np.testing.assert_allclose(found[0], np.asarray(image.convert("L"), np.float32), atol=12)
    assert images.size_of(path) == SIZE_PX[::-1]
    assert [file.path for file in find_images([tmp_path])] == [path]


def test_jpeg_2000_is_taken_if_pillow_reads_it():
    assert (".jp2" in image_files.SUFFIXES) == features.check("jpg_2000")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, a folder of good images with other files in it, and a folder of images to inspect."""
    home = tmp_path_factory.mktemp("left-out")
    tiny_backbone.write(home / "own.onnx")
    for folder in ("good", "line", "products/nut"):
        files(home / folder, "a.txt", "b.txt", "notes")
        for i in range(4):
            Image.effect_noise(SIZE_PX, 40 + i).save(home / folder / f"{i}.png")
    model = CFA("whitened", backbone=home / "own.onnx", n_centers=4, threads=1)
    model.fit(home / "good").save(home / "part.cfa")
    assert [one.path.name for one in model.left_out_] == ["a.txt", "b.txt", "notes"]
    return home


LINE = "3 files were left out: 2 of .txt, 1 of no ending (a.txt, b.txt, notes)."
SETTINGS = ("--recipe", "whitened", "--n-centers", 4, "--threads", 1)


def test_commands_tell_it_in_one_line(place, tmp_path):
    part, own = place / "part.cfa", ("--backbone", place / "own.onnx")
    both = "6 files were left out: 4 of .txt, 2 of no ending (a.txt, b.txt, notes, ...)."
    scored = run("score", part, place / "line", "--report", tmp_path / "r.html", "--output", tmp_path / "r.csv")
    pages = [tmp_path / "r.html", tmp_path / "e.html"]
    evaluated = run("evaluate", part, "--good", place / "good", "--defects", place / "line", "--report", pages[1])
    for done, line in (
        (run("fit", place / "good", "-o", tmp_path / "p.cfa", *own, *SETTINGS), LINE),
        (run("fit", place / "products", "--each", "-o", tmp_path / "models", *own, *SETTINGS), f"nut: {LINE}"),
        (scored, LINE),
        (run("score", part, place / "line", "--output", tmp_path / "r.csv", "--resume"), LINE),
        (run("calibrate", part, place / "good", "--defects", place / "line", "--dry-run"), both),
        (evaluated, both),
    ):
        assert done.exit_code == 0, done.output
        assert [said for said in done.stderr.splitlines() if "left out" in said] == [line]
        assert "left out" not in done.stdout
    assert LINE in pages[0].read_text(encoding="utf-8") and both in pages[1].read_text(encoding="utf-8")
    assert "left out" not in run("score", part, place / "line" / "0.png").stderr


def test_a_folder_that_cannot_be_read_does_not_pass(place, tmp_path, monkeypatch):
    """Its images were not inspected; files of other endings are no images."""
    files(tmp_path / "line", "a.txt", "closed/2.png")
    Image.effect_noise(SIZE_PX, 41).save(tmp_path / "line" / "1.png")
    command = ("score", place / "part.cfa", tmp_path / "line", "--threshold", 1e9)  # nothing is NG
    (tmp_path / "line" / "closed" / "2.png").unlink()
    assert run(*command, "--fail-on-anomaly").exit_code == 0
    refuse_to_read(monkeypatch, "closed")
    assert run(*command, "--fail-on-anomaly").exit_code == 4
    plain = run(*command)
    assert plain.exit_code == 0 and "1 unreadable folder, 1 of .txt (closed, a.txt)." in plain.stderr


def test_loose_files_beside_products_are_told(place, tmp_path):
    files(tmp_path / "products", "loose.png", "list.csv")
    (tmp_path / "products" / "nut").symlink_to(place / "line")
    done = run(
        "fit", tmp_path / "products", "--each", "-o", tmp_path / "m", "--backbone", place / "own.onnx", *SETTINGS
    )
    assert done.exit_code == 0, done.output
    assert "2 files were left out: 1 of .csv, 1 of .png (list.csv, loose.png)." in done.stderr


def test_images_in_a_folder_of_outputs_are_told(place, tmp_path):
    (tmp_path / "line").mkdir()
    Image.effect_noise(SIZE_PX, 40).save(tmp_path / "line" / "1.png")
    seen = tmp_path / "line" / "seen"
    assert "left out" not in run("score", place / "part.cfa", tmp_path / "line", "--overlays", seen).stderr
    again = run("score", place / "part.cfa", tmp_path / "line", "--overlays", seen)
    assert "1 file was left out: 1 in folders of outputs (1.png)." in again.stderr
    (tmp_path / "line" / "1.png").unlink()
    nothing = run("score", place / "part.cfa", tmp_path / "line", "--overlays", seen, "--fail-on-anomaly")
    assert nothing.exit_code == 1 and "All images are in a folder of outputs" in nothing.stderr


def test_the_library_logs_it_and_prints_nothing(place, caplog, capfd):
    with caplog.at_level("INFO", "cfa_lite"):
        model = CFA("whitened", backbone=place / "own.onnx", n_centers=4, threads=1).fit(place / "good")
        assert f"{place / 'good'}: {LINE}" in caplog.messages
        assert len(list(model.inspect_many(place / "line"))) == 4
        assert f"{place / 'line'}: {LINE}" in caplog.messages
    assert "".join(capfd.readouterr()) == ""


def test_what_was_found_can_be_inspected(place):
    found = find_images([place / "line"])
    model = CFA("whitened", backbone=place / "own.onnx", n_centers=4, threads=1).fit(find_images([place / "good"]))
    assert [result.path for result in model.inspect_many(found)] == [str(place / "line" / f"{i}.png") for i in range(4)]
    assert {result.status for result in model.inspect_many(found)} == {"ok"}
