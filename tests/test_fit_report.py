"""The report of a fit: what an inspector needs comes first, the details are folded away."""

import html
import re

import numpy as np
import pytest
from test_cli import run

from cfa_lite import CFA
from cfa_lite.report import text, text_fit


@pytest.fixture(scope="module")
def report(cloth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "good").mkdir()
    for image in (cloth / "good").iterdir():
        (folder / "good" / image.name).symlink_to(image)
    (folder / "good" / "broken.png").write_text("no image")
    (folder / "good" / "notes.txt").write_text("")
    done = run("fit", folder / "good", "-o", folder / "p.cfa", "--recipe", "whitened", "--n-centers", 8, "--size", 96,
               "--report", folder, "--mm-per-pixel", 0.1)  # fmt: skip
    assert done.exit_code == 0, done.output
    return (folder / "report.html").read_text("utf-8"), done.stderr


def rows_of(table):
    found = re.findall(r"<tr><th scope=row>(.*?)</th><td>(.*?)</td></tr>", table, re.DOTALL)
    return {html.unescape(name): html.unescape(line) for name, line in found}


def test_an_inspector_reads_first_what_counts(report):
    page, told = report
    head, details = page.split("<details>", 1)
    facts = rows_of(head)
    assert list(facts) == [
        "limit", "promise", "UNSURE", "smallest defect", "images to look at", "left out", "images below",
    ]  # fmt: skip
    assert "at most 5.9% of good images are NG, if they are taken as these 16 were" in facts["promise"]
    assert re.fullmatch(r"about \d+ px \([\d.]+ mm\) of the image in diameter", facts["smallest defect"])
    assert f"smallest visible defect {facts['smallest defect']}" in told
    assert "broken.png cannot be read" in facts["left out"]
    assert "1 file was left out: 1 of .txt (notes.txt)" in facts["left out"]
    folded = rows_of(details.split("</details>")[0])
    assert set(folded) >= {"recipe", "backbone", "working size", "memory bank", "parameters", "versions"}
    assert not set(folded) & set(facts)


def test_the_histogram_is_of_all_good_images(report):
    page, _ = report
    plot = re.search(r"<svg.*?</svg>", page, re.DOTALL)[0]
    assert set(re.findall(r"<rect class=(\w+)", plot)) == {"held"}
    assert sum(map(int, re.findall(r"data-n=(\d+)", plot))) == 16
    assert "16 good images held out during the fit</span>" in page
    assert "<ul class=tiles></ul>" in page and "Table of the images above" in page


def test_a_narrow_zone_of_unsure_is_explained(small_images):
    limits = {"threshold": 1.0, "unsure_threshold": 0.99, "unsure_rate": 0.05, "n_groups": 40, "n_images": 40,
              "source": "fit"}  # fmt: skip
    assert text_fit.why_no_unsure(limits) == (
        "Hardly an image will be UNSURE: with 40 good images, UNSURE starts 1.0% below the limit. A higher"
        " --unsure-rate, such as 0.13, or more good images would start it lower."
    )
    assert text_fit.why_no_unsure(limits | {"unsure_threshold": 0.95}) == ""
    assert "3 groups of good images, UNSURE" in text_fit.why_no_unsure(limits | {"n_groups": 3})
    assert "More good images" in text_fit.why_no_unsure(limits | {"n_groups": 3})
    model = CFA("whitened", n_centers=4).fit(small_images)  # of eight images, both limits are the highest score
    info = model.info()
    assert (
        "No image can be UNSURE: with 8 good images, UNSURE and NG start at the same score. A"
        in text.limit_lines(info)["UNSURE above"]
    )
    assert any(remark.startswith("No image can be UNSURE") for remark in text.remarks(info))


def test_the_named_rate_gives_a_zone(rng):
    from cfa_lite.method.limits import make_limits

    scores = np.sort(rng.gamma(20, 0.05, 40)).astype(np.float32)
    scores[-2:] = scores[-1], scores[-1]
    narrow = make_limits(scores, np.arange(40), 0.01, 0.05, 0.0, source="fit")
    rate = float(re.search(r"such as ([\d.]+),", text_fit.why_no_unsure(narrow.to_dict()))[1])
    wide = make_limits(scores, np.arange(40), 0.01, rate, 0.0, source="fit")
    assert wide.unsure_threshold < narrow.unsure_threshold
    assert wide.unsure_threshold == pytest.approx(scores[-5])


def test_a_smallest_defect_that_cannot_be_met_is_told(small_images):
    for asked, told in ((1, True), (8, False)):
        info = CFA("whitened", n_centers=4, smallest_defect=asked, size=64).fit(small_images).info()
        lines = [remark for remark in text.remarks(info) if "cannot be met" in remark]
        assert bool(lines) == told, lines
        if told:
            assert lines == [
                "--smallest-defect 1 cannot be met: even at the full size of the images, a defect of less than about"
                " 4 px may not be seen. Take images with more pixels per millimeter."
            ]
