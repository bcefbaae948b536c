import csv
import io
import json
import re
from pathlib import Path, PureWindowsPath
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from cfa_lite import OutputError
from cfa_lite.features.images import ImageFile
from cfa_lite.report import outputs, overlay, tables
from cfa_lite.report.overlay import RenderedImage
from cfa_lite.results import FIELDS, Inspection, Region


def result(**change):
    values = {
        "path": "line/a, b.png", "status": "ok", "verdict": "NG", "score": 1.5, "raw_score": 3.0, "raw_limit": 2.0,
        "seconds": 0.01, "percentile": 99.0, "image_size_px": (128, 200), "time": "2026-11-27 14:20:05",
        "brightness": 127.346, "sharpness": 4.0,
        "regions": (Region((1, 2, 10, 4), 40.0, None, 1.5, (3, 4), 1.2, [(1.0, 2.0)]),),
        "map": np.linspace(0, 3, 64 * 96, dtype=np.float32).reshape(64, 96),
    }  # fmt: skip
    return Inspection(**values | change)


def test_csv_has_the_documented_columns_and_quotes_commas():
    text = tables.header("csv") + tables.row(result(), "csv")
    assert text.startswith(
        "path,status,verdict,score,limit,percentile,raw_score,raw_limit,n_regions,largest_region_px,seconds,message,"
        "time,brightness,sharpness,shift_right_px,shift_down_px\n"
    )
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"path": "line/a, b.png", "status": "ok", "verdict": "NG", "score": "1.5", "limit": "1.0", "percentile": "99.0",
         "raw_score": "3.0", "raw_limit": "2.0", "n_regions": "1", "largest_region_px": "40.0", "seconds": "0.01",
         "message": "", "time": "2026-11-27 14:20:05", "brightness": "127.35", "sharpness": "4.0",
         "shift_right_px": "", "shift_down_px": ""}
    ]  # fmt: skip


def test_missing_numbers_are_empty_or_null():
    nan = float("nan")
    failed = result(
        status="error", verdict="ERROR", score=nan, percentile=nan, raw_score=nan, regions=(), message="why"
    )
    assert tables.row(failed, "csv").split(",")[3:14] == [
        "ERROR", "", "1.0", "", "", "2.0", "0", "0.0", "0.01", "why", "2026-11-27 14:20:05",
    ]  # fmt: skip
    assert json.loads(tables.row(failed, "jsonl"))["score"] is None
    assert tuple(json.loads(tables.row(failed, "jsonl"))) == (*FIELDS, "regions")


def test_numbers_have_few_digits_but_are_never_rounded_across_a_limit():
    near = result(score=1.0000001, raw_score=2.0000003, percentile=100 / 3, seconds=0.0123456)
    below = result(verdict="OK", score=0.99999, raw_score=1.9999999, raw_limit=1.9999999 + 1e-9, regions=())
    for fmt, sep in (("csv", ","), ("csv-semicolon", ";"), ("jsonl", "")):
        shown = []
        for one in (near, below):
            text = tables.row(one, fmt)
            values = json.loads(text) if not sep else dict(zip(FIELDS, next(csv.reader([text], delimiter=sep))))
            shown.append({name: float(str(values[name]).replace(",", ".")) for name in FIELDS[3:8]})
            assert max(map(len, map(str, list(values.values())[3:11]))) <= 8
        assert shown[0] == {"score": 1.0001, "limit": 1.0, "percentile": 33.33, "raw_score": 2.00001, "raw_limit": 2.0}
        assert shown[1] == {"score": 1.0, "limit": 1.0, "percentile": 99.0, "raw_score": 2.0, "raw_limit": 2.0}


def test_verdicts_can_be_told_from_the_rounded_numbers(rng):
    limits = 10.0 ** rng.integers(-4, 5, 300) * rng.uniform(1, 10, 300)
    for raw_limit, change in zip(limits.tolist(), rng.normal(0, 3e-6, 300).tolist()):
        one = result(score=1 + change, raw_score=raw_limit * (1 + change), raw_limit=raw_limit)
        values = json.loads(tables.row(one, "jsonl"))
        assert (values["score"] > values["limit"]) == (change > 0)
        assert (values["raw_score"] > values["raw_limit"]) == (one.raw_score > raw_limit)
        assert values["raw_score"] == pytest.approx(one.raw_score, rel=2e-5)


def test_excel_reads_both_kinds_of_file(tmp_path):
    """A byte order mark makes Excel read UTF-8. Where the decimal mark is a comma, it wants semicolons."""
    for fmt in ("csv", "csv-semicolon", "jsonl"):
        for append in (False, True):
            writer = tables.TableWriter(tmp_path / fmt, fmt, append)
            writer.write(result(path="T\u00fcr, links.png", score=1.25))
            writer.close()
    assert (tmp_path / "csv").read_bytes().startswith(b"\xef\xbb\xbfpath,status,")
    assert (tmp_path / "csv").read_text("utf-8-sig").splitlines()[1:] == [
        '"T\u00fcr, links.png",ok,NG,1.25,1.0,99.0,3.0,2.0,1,40.0,0.01,,2026-11-27 14:20:05,127.35,4.0,,'
    ] * 2
    assert (tmp_path / "csv-semicolon").read_text("utf-8-sig").splitlines()[1:] == [
        "T\u00fcr, links.png;ok;NG;1,25;1,0;99,0;3,0;2,0;1;40,0;0,01;;2026-11-27 14:20:05;127,35;4,0;;"
    ] * 2
    for fmt in ("csv", "csv-semicolon"):
        assert (tmp_path / fmt).read_bytes().count(b"\xef\xbb\xbf") == 1
    assert (tmp_path / "jsonl").read_bytes().startswith(b'{"path": ')


@pytest.mark.parametrize("fmt", ["csv", "csv-semicolon", "jsonl"])
def test_a_file_name_cannot_break_a_row(fmt):
    name = "a\nb\r\tc\x1b[31m\x85\u2028\u2029.png"
    text = tables.row(result(path=name, message=f"{name} is odd"), fmt)
    assert len(text.splitlines()) == 1 and text.endswith("\n")
    assert not any(c in text[:-1] for c in name if not c.isprintable())
    if fmt == "jsonl":
        assert json.loads(text)["path"] == name
    else:
        values = next(csv.reader([text], delimiter=tables.delimiter(fmt)))
        assert values[0] == "a\\nb\\r\\tc\\x1b[31m\\x85\\u2028\\u2029.png"
    assert tables.row(result(path="caf\u00e9\u00a0\u2066.png"), fmt).count("caf\u00e9\u00a0\u2066.png") == 1


@pytest.mark.parametrize("name, expected", [("a.csv", "csv"), ("a.JSONL", "jsonl")])
def test_format_is_chosen_by_the_extension(name, expected):
    assert tables.format_of(name) == expected


def test_unknown_extension_is_refused():
    with pytest.raises(OutputError, match=r"a\.xlsx: the format is not clear"):
        tables.format_of("a.xlsx")


@pytest.mark.parametrize(
    "relatives, expected",
    [
        (["a.png", "sub/a.png"], ["a", "sub/a"]),
        (["a.png", "a.jpg", "b.png"], ["a.png", "a.jpg", "b"]),
        (["a.png", "A.bmp"], ["a.png", "A.bmp"]),
        (["a.png", "a.png", "a.png"], ["in/a", "in/a_2", "in/a_3"]),
        (["a.b.png", "a.c.png"], ["a.b", "a.c"]),
        (["a.png.tif", "a.png", "a.jpg"], ["in/a.png", "in/a", "a.jpg"]),
    ],
)
def test_no_two_images_share_an_output(relatives, expected):
    names = outputs.output_names([ImageFile(Path("in", r), Path(r)) for r in relatives])
    assert [n.as_posix() for n in names] == expected


def test_two_folders_with_the_same_names_stay_apart():
    files = [ImageFile(Path(f, "sub", "1.png"), Path("sub", "1.png")) for f in ("line1", "line2")]
    names = outputs.output_names([*files, ImageFile(Path("line1", "2.png"), Path("2.png"))])
    assert [n.as_posix() for n in names] == ["line1/sub/1", "line2/sub/1", "2"]


WINDOWS = [r"\\server\share\line", "C:\\" + "\\".join(["long" * 10] * 8), "\\\\?\\C:\\line"]


@pytest.mark.parametrize("folder", WINDOWS)
def test_windows_paths_as_text(folder):
    paths = [PureWindowsPath(folder, *parts) for parts in (("a.png",), ("sub", "a.PNG"), ("sub", "a.bmp"))]
    files = [ImageFile(path, path.relative_to(folder)) for path in paths]
    names = outputs.output_names(files)
    assert [name.as_posix() for name in names] == ["a", "sub/a.PNG", "sub/a.bmp"]
    line = tables.row(result(path=str(paths[1])), "jsonl")
    assert json.loads(line)["path"] == str(paths[1])
    table = tables.header("csv") + tables.row(result(path=str(paths[1])), "csv")
    assert next(csv.DictReader(io.StringIO(table)))["path"] == str(paths[1])


def test_map_file_is_float_and_has_the_size_of_the_image(tmp_path):
    outputs.write_map(result(), tmp_path / "sub" / "a.tiff")
    image = Image.open(tmp_path / "sub" / "a.tiff")
    assert (image.mode, image.size) == ("F", (200, 128))
    np.testing.assert_array_equal(np.asarray(image), result().full_map())


def test_unwritable_outputs_raise_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    for call in (outputs.make_folder, lambda path: tables.TableWriter(path, "csv")):
        with pytest.raises(OutputError, match="cannot be written"):
            call(tmp_path / "file" / "below")
    with pytest.raises(OutputError, match="cannot be written"):
        outputs.write_image(Image.new("L", (2, 2)), tmp_path / "file" / "below" / "a.png")


@pytest.mark.parametrize("shape", [(128, 200), (40, 900), (900, 60), (33, 33)])
def test_overlay_shows_both_panels_at_any_proportions(rng, shape):
    pixels = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    image = overlay.draw_overlay(RenderedImage(pixels, result(image_size_px=shape)))
    assert image.mode == "RGB"
    assert max(image.size) < 2200
    assert min(image.size) >= 180


def test_overlay_colors_mean_the_same_for_every_image(rng):
    """The map's own maximum must not matter: equal values get equal colors."""
    values = np.array([[0.7, 1.3]])
    alone = overlay.colorize(values)
    among = overlay.colorize(np.array([[0.7, 1.3, 9.0]]))
    np.testing.assert_array_equal(among[:, :2], alone)
    np.testing.assert_array_equal(overlay.colorize(np.array([[2.0]])), overlay.colorize(np.array([[9.0]])))


def test_lightness_of_the_color_scale_increases():
    """The lightness increases along the whole scale."""
    steps = overlay.colorize(np.linspace(0, overlay.SCALE_TOP, 60)[None])[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(steps) > -1).all()
    assert steps[-1] - steps[0] > 200


def test_overlay_shows_the_image_unchanged_where_nothing_is_found():
    gray = np.full((128, 200), 77, np.uint8)
    nothing = result(map=np.zeros((64, 96), np.float32), verdict="OK", score=0.1)
    image = np.asarray(overlay.draw_overlay(RenderedImage(gray, nothing)))
    assert (image == 77).all(axis=2).sum() >= 2 * 320 * 205 * 0.98


def test_deleted_output_folder_is_not_recreated(tmp_path):
    gone = tmp_path / "gone"
    for path in (gone / "a.png", gone / "sub" / "a.png"):
        with pytest.raises(OutputError, match="cannot be written"):
            outputs.write_image(Image.new("L", (4, 4)), path, gone)
    assert not gone.exists()
    outputs.write_image(Image.new("L", (4, 4)), tmp_path / "b" / "c" / "a.png", tmp_path)
    assert (tmp_path / "b" / "c" / "a.png").is_file()


@pytest.mark.parametrize("name", ["two\nlines\r.png", "odd\udcff.png", "\u540d\u524d \u00fc\t.png", "a" * 500])
def test_any_name_can_be_drawn(name):
    pixels = np.full((64, 80, 3), 90, np.uint8)
    image = overlay.draw_overlay(RenderedImage(pixels, result(path=name, image_size_px=(64, 80))))
    assert image.width > 80


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outputs.atomic, "whole_file", mock.Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(OutputError, match=re.escape(f"{tmp_path} cannot be written (Permission denied)")):
        outputs.make_folder(Path("page.html").parent)


def test_image_is_read_once_for_overlay_and_page(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (200, 128)).save(path)
    rendered = RenderedImage(path, result())
    first = overlay.draw_overlay(rendered)
    path.unlink()
    image, heat_map = rendered.panels(1, 100)
    assert image.size == heat_map.size == (100, 64)
    np.testing.assert_array_equal(np.asarray(overlay.draw_overlay(rendered)), np.asarray(first))


def test_overlay_of_a_result_without_map_is_refused():
    with pytest.raises(ValueError, match=r"a, b\.png has no map: gone"):
        overlay.draw_overlay(RenderedImage(Image.new("L", (200, 128)), result(map=None, message="gone")))
