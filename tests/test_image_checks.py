"""Images that cannot show the product are INVALID, never OK."""

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
        ("black", "The image shows nothing: every pixel has a value of about 0"),
        ("saturated", "every pixel has a value of about 255"),
        ("dark", "far darker than any good image"), ("bright", "far brighter than any good image"),
        ("blurred", "far more blurred than any good image"), ("wide", "768x288 px, but the good images are 384x288 px"),
        ("turned", "288x384 px, but the good images"), ("large", "1152x864 px, but"),
    ],
)  # fmt: skip
def test_image_that_cannot_show_the_product_is_invalid(part, line, how, words):
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


def test_no_image_of_the_demo_is_invalid(model, good, line):
    assert "INVALID" not in {result.verdict for result in list(model.inspect_many([*good, *line]))}


def test_gray_and_color_images_are_distinguished(part, line, good):
    result = load(part).inspect(Image.open(line[1]).convert("L"))
    assert result.status == "invalid" and result.message == "The image is gray, but the good images are in color."
    unchecked = load(part).set_params(checks=False).inspect(Image.open(line[1]).convert("L"))
    assert unchecked.status == "ok" and unchecked.message == result.message
    tinted = np.array(Image.open(line[1]).convert("L").convert("RGB"))
    tinted[:1, :, 0] ^= 8  # a color camera is never gray in every pixel
    assert load(part).inspect(tinted).status == "ok"
    gray = CFA(recipe="whitened", n_centers=8).fit([Image.open(p).convert("L") for p in good[:6]])
    assert gray.inspect(Image.open(line[1])).message == "The image is in color, but the good images are gray."
    assert gray.inspect(Image.open(line[1])).status == "ok"  # it shows the product, and more than the model knows
    assert gray.inspect(Image.open(line[1]).convert("L")).message == ""


def test_pages_are_noted(part, line, tmp_path):
    first = Image.open(line[1])
    first.save(tmp_path / "pages.tiff", save_all=True, append_images=[first])
    result = load(part).inspect(tmp_path / "pages.tiff")
    assert result.message == "Only the first of 2 pages was inspected." and result.status == "ok"


def test_colors_of_16_bit_are_noted(part, line, tmp_path):
    """Pillow cannot write such a file, so the test writes a minimal PNG file."""

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
    assert result.message == "Only the upper 8 bits of the 16-bit colors were read."
    assert result.raw_score == model.inspect(line[1]).raw_score


def test_command_reports_invalid_images_and_continues(part, line, tmp_path):
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
