"""Images that cannot be of the product: INVALID, never a wrong OK."""

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFilter
from test_cli import run

from cfa_lite import CFA, load


def changed(image, how):
    values = np.asarray(image)
    return {
        "black": lambda: np.zeros_like(values),
        "saturated": lambda: np.full_like(values, 255),
        "dark": lambda: values // 4,
        "bright": lambda: 255 - (255 - values) // 8,
        "blurred": lambda: np.asarray(image.filter(ImageFilter.GaussianBlur(6))),
        "wide": lambda: np.asarray(image.resize((image.width * 2, image.height))),
        "turned": lambda: np.rot90(values),
        "large": lambda: np.asarray(image.resize((image.width * 3, image.height * 3))),
    }[how]()


@pytest.mark.parametrize(
    "how, words",
    [
        ("black", "no image: every pixel has a value of about 0"), ("saturated", "every pixel has a value of about 255"),
        ("dark", "far darker than any good image"), ("bright", "far brighter than any good image"),
        ("blurred", "far more blurred than any good image"), ("wide", "768x288 px, but the good images have 384x288 px"),
        ("turned", "288x384 px, but the good images"), ("large", "1152x864 px, but"),
    ],
)  # fmt: skip
def test_what_cannot_be_of_the_product_is_invalid(part, line, how, words):
    model = load(part)
    image = changed(Image.open(line[1]).convert("RGB"), how)
    result = model.inspect(image)
    assert (result.verdict, result.status) == ("INVALID", "invalid")
    assert words in result.message
    assert np.isnan(result.score) == (how == "large")
    if how != "large":
        assert result.full_map().shape == image.shape[:2]
    model.checks = False
    assert model.inspect(image).verdict in ("OK", "UNSURE", "NG")


def test_no_good_image_and_no_defect_of_the_demo_is_invalid(model, good, line):
    assert "INVALID" not in {result.verdict for result in model.score([*good, *line])}


def test_grey_and_colour_are_told_apart(part, line, good):
    result = load(part).inspect(Image.open(line[1]).convert("L"))
    assert result.status == "ok" and result.message == "grey, but the good images are in colour"
    grey = CFA(recipe="none", n_centers=8).fit([Image.open(p).convert("L") for p in good[:6]])
    assert grey.inspect(Image.open(line[1])).message == "in colour, but the good images are grey"
    assert grey.inspect(Image.open(line[1]).convert("L")).message == ""


def test_pages_are_noted(part, line, tmp_path):
    first = Image.open(line[1])
    first.save(tmp_path / "pages.tiff", save_all=True, append_images=[first])
    result = load(part).inspect(tmp_path / "pages.tiff")
    assert result.message == "the first of 2 pages was taken" and result.status == "ok"


def test_colours_of_16_bit_are_noted(part, line, tmp_path):
    """Pillow cannot write such a file: here is the least PNG that is one."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    values = np.asarray(Image.open(line[1]).convert("RGB")).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    model = load(part)
    result = model.inspect(path)
    assert result.message == "of its 16-bit colours the upper 8 bits were read"
    assert result.raw_score == model.inspect(line[1]).raw_score


def test_command_tells_invalid_and_goes_on(part, line, tmp_path):
    folder = tmp_path / "line"
    folder.mkdir()
    for how in ("black", "large"):
        Image.fromarray(changed(Image.open(line[1]), how)).save(folder / f"{how}.png")
    Image.open(line[1]).save(folder / "z.png")
    done = run(
        "score",
        part,
        folder,
        "--output",
        tmp_path / "r.jsonl",
        "--maps",
        tmp_path / "maps",
        "--report",
        tmp_path / "r.html",
    )
    assert done.exit_code == 0, done.output
    rows = {row["path"][-9:]: row for row in map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())}
    assert [row["verdict"] for row in rows.values()] == ["INVALID", "INVALID", rows["line/z.png"[-9:]]["verdict"]]
    assert rows["large.png"]["score"] is None
    assert "2 INVALID" in done.stderr
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["black.tiff", "z.tiff"]
    assert "every pixel has a value of about 0" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "INVALID" not in run("score", part, folder / "black.png", "--no-checks").stdout
