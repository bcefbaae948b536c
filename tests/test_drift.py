"""Changes over time are found in results files, with when and how much, and steady lines give no alarm."""

import json
import re
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from test_cli import run

from cfa_lite.drift import chart, rows
from cfa_lite.report import tables
from cfa_lite.results import FIELDS, OLDER_FIELDS, Inspection

N = 700
CHANGED = 500


@pytest.fixture
def scores(rng):
    return 0.8 + 0.05 * rng.standard_normal(N)


def write(path, scores, brightness=None, fields=None, fmt=None):
    fmt = fmt or tables.format_of(path)
    made = [tables.beginning(fmt, fields or tables.FIELDS)]
    for i, score in enumerate(scores):
        light = float("nan") if brightness is None else brightness[i]
        time = f"2026-11-27 {8 + i // 60:02d}:{i % 60:02d}:00"
        result = Inspection(
            f"{i}.png", "ok", "OK" if score < 1 else "NG", score, score, 1.0, 0.01, time=time, brightness=light
        )
        made.append(tables.row(result, fmt, fields or tables.FIELDS))
    path.write_text("".join(made), "utf-8")
    return path


@pytest.mark.parametrize("fmt", ["csv", "csv-semicolon", "jsonl"])
def test_a_change_is_told_with_its_time_and_its_size(tmp_path, rng, scores, fmt):
    """Two images of three standard deviations mark the change, so that its place is certain."""
    scores[CHANGED:] += 0.1
    light = 120 + rng.standard_normal(N)
    light[CHANGED:] *= 0.92
    path = write(tmp_path / f"r.{fmt[:5].strip('-s')}", scores, light, fmt=fmt)
    done = run("drift", path, "--fail-on-drift")
    assert done.exit_code == 5, done.stderr
    first, *_ = done.stdout.splitlines()
    when = [f"16:{20 + i:02d} (image {CHANGED + 1 + i})" for i in range(-2, 3)]
    assert any(first.startswith(f"Since {at}: ") for at in when), first
    assert float(re.search(r"the light fell by ([\d.]+)%", first)[1]) == pytest.approx(8, abs=0.5)
    assert "scores are higher (0.90, before 0.80)" in first


def test_a_change_that_ends_is_told_with_its_end(tmp_path, scores):
    scores[400:500] -= 0.15
    first, second, *_ = run("drift", write(tmp_path / "r.csv", scores)).stdout.splitlines()
    assert "scores are lower" in first and " until 16:" in first
    assert second.startswith("No values of light")


@pytest.mark.parametrize("kind", ["steady", "single defects", "six defects in a row"])
def test_a_steady_line_is_no_change(tmp_path, rng, scores, kind):
    if kind == "single defects":
        scores[rng.choice(N, N // 20, replace=False)] += 2
    if kind == "six defects in a row":
        scores[450:456] += 2
    done = run("drift", write(tmp_path / "r.csv", scores), "--fail-on-drift")
    assert done.exit_code == 0, done.stdout
    assert "No change of scores." in done.stdout
    assert "400 images compared with a reference of 300. At most one false alarm in 100,000 images" in done.stdout


def test_an_older_file_and_another_file_as_reference(tmp_path, scores):
    reference = write(tmp_path / "good.csv", scores, fields=OLDER_FIELDS)
    higher = write(tmp_path / "r.csv", scores + 0.1, fields=OLDER_FIELDS)
    assert "Since image 1: scores are higher" in run("drift", higher, "--reference-file", reference).stdout
    assert "No change of scores." in run("drift", higher).stdout


def test_images_are_sorted_by_time_if_asked_to(tmp_path, rng, scores):
    scores[CHANGED:] += 0.1
    lines = write(tmp_path / "r.csv", scores).read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "r.csv").write_text("".join([lines[0], *rng.permutation(lines[1:])]), "utf-8")
    mixed = run("drift", tmp_path / "r.csv")
    assert "--by-time sorts them" in mixed.stderr and "No change of scores" in mixed.stdout
    assert run("drift", tmp_path / "r.csv", "--by-time").stdout.startswith("Since 16:")


def test_a_line_whose_images_resemble_each_other_is_not_judged_by_too_few(tmp_path, rng):
    noise = np.zeros(N)
    for i in range(1, N):
        noise[i] = 0.95 * noise[i - 1] + rng.standard_normal()
    done = run("drift", write(tmp_path / "r.csv", noise))
    assert "Not judged: scores: images in a row resemble each other so much" in done.stdout


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "cannot be read"),
        ("", "row 1 cannot be read (there is no column path)"),
        ("a,b\n1,2\n", "row 1 cannot be read (there is no column path)"),
        ('{"path": "a"}\n', "row 1 cannot be read (there is no field status)"),
        ("\x89PNG\n\x1a\n", "does not hold results of cfa-lite"),
        ("header", "has 0 inspected images"),
        ("cut", "row 3 cannot be read"),
        ("words", "row 1 cannot be read (could not convert string to float"),
        ("twice", "row 1 cannot be read (there is more than one column score)"),
        ("huge", "row 2 cannot be read (int too large"),
    ],
)
def test_unusable_files_are_named(tmp_path, text, message):
    path = tmp_path / "r.csv"
    if text is not None:
        lines = write(path, [0.5] * 5).read_text("utf-8-sig").splitlines(keepends=True)
        made = {
            "header": lines[0], "cut": "".join(lines[:3]) + "a.png,ok\n",
            "words": lines[0] + lines[1].replace("0.5", "half"),
            "twice": lines[0].replace("\n", ",score\n") + lines[1].replace("\n", ",9\n"),
            "huge": "".join(
                json.dumps(dict.fromkeys(FIELDS, 1) | {"status": "ok", "score": 10**n}) + "\n" for n in (0, 400)
            ),
        }  # fmt: skip
        path.write_text(made.get(text, text), "utf-8")
    done = run("drift", path)
    assert done.exit_code == 1 and message in done.stderr and str(path) in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_rows_of_images_that_could_not_be_inspected_do_not_count(tmp_path, scores):
    path = write(tmp_path / "r.jsonl", scores[:400])
    error = json.loads(path.read_text("utf-8").splitlines()[0]) | {"status": "error", "score": None}
    path.write_text(path.read_text("utf-8") + f"{json.dumps(error)}\n" * 100, "utf-8")
    assert "100 images compared" in run("drift", path).stdout


def edited(path, edit):
    """Change each row of JSON lines by its number, as another program that writes them again."""
    rows = [edit(i, json.loads(line)) for i, line in enumerate(path.read_text("utf-8").splitlines())]
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize("what", ["INVALID images", "no light"])
def test_quantities_whose_values_have_ended_are_not_judged(tmp_path, rng, scores, what):
    """From the 310th image on, the quantity is not measured: this is no sign that it is steady."""
    gone = {"status": "invalid", "verdict": "INVALID"} if what == "INVALID images" else {"brightness": None}
    path = write(tmp_path / "r.jsonl", scores, 120 + rng.standard_normal(N))
    told = run("drift", edited(path, lambda i, row: row | gone if i >= 310 else row)).stdout.splitlines()
    judged, not_judged = ("light", "scores") if what == "INVALID images" else ("scores", "light")
    assert f"No change of {judged}." in told
    assert f"Not judged: {not_judged}: only 10 of the compared images have a value, and 20 are needed." in told


def test_times_with_zones_are_compared_with_times_without(tmp_path, scores):
    """Times without a zone are those of this computer. Every second row names one: its own, UTC, or three hours off."""
    path = write(tmp_path / "r.jsonl", scores)
    times = rows.read(path).times

    def with_zone(i, row):
        utc = datetime.fromisoformat(row["time"]).astimezone(timezone.utc)
        told = utc.astimezone().isoformat(), f"{utc:%Y-%m-%dT%H:%M:%SZ}", utc.astimezone(timezone(timedelta(hours=3)))
        return row | ({"time": str(told[i % 3])} if i % 2 else {})

    assert None not in times and rows.read(edited(path, with_zone)).times == times
    assert run("drift", path, "--by-time").exit_code == 0


@pytest.mark.parametrize("fmt", ["csv", "jsonl"])
def test_paths_may_hold_line_separators_of_unicode(tmp_path, scores, fmt):
    path = write(tmp_path / f"r.{fmt}", scores)
    path.write_text(path.read_text("utf-8").replace("5.png", "\u2028\x855.png"), "utf-8")
    assert "400 images compared" in run("drift", path).stdout
    assert rows.read(path).paths[5] == "\u2028\x855.png"


def test_too_few_images_name_their_file_and_a_remedy(tmp_path, rng, scores):
    many, few = (
        write(tmp_path / "many.csv", scores, 120 + rng.standard_normal(N)),
        write(tmp_path / "few.csv", scores[:1]),
    )
    assert f"{few} has 1 inspected image. A reference of 100 and at least 20 after" in run("drift", few).stderr
    reference = run("drift", many, "--reference-file", few).stderr
    assert f"{few} has 1 inspected image, and a reference needs at least 100." in reference
    compared = run("drift", few, "--reference-file", many).stderr
    assert f"{few} has 1 inspected image, and a comparison needs at least 20." in compared
    middle = write(tmp_path / "middle.csv", scores[:310])
    assert "or --reference 290." in run("drift", middle).stderr
    assert run("drift", middle, "--reference", "290").exit_code == 0
    assert "more images." in run("drift", write(tmp_path / "short.csv", scores[:119])).stderr


def test_a_quantity_that_only_the_reference_lacks_is_told_as_that(tmp_path, rng, scores):
    reference = write(tmp_path / "good.csv", scores)
    told = run("drift", write(tmp_path / "r.csv", scores, 120 + rng.standard_normal(N)), "--reference-file", reference)
    assert "Not judged: light: only 0 images of the reference have a value, and 100 are needed." in told.stdout


def test_run_length_agrees_with_a_simulation(rng):
    """The standard error of 2,000 runs is about 2.2% of their mean."""
    limit, mean, n = 0.4, 0.2, 2000
    average, alive, length = np.zeros(n), np.ones(n, bool), np.ones(n)
    while alive.any():
        average += chart.WEIGHT * (mean + rng.standard_normal(n) - average)
        alive &= np.abs(average) <= limit
        length += alive
    assert length.mean() == pytest.approx(chart.run_length(limit, np.array([mean]))[0], rel=0.08)


def test_the_limit_grows_with_fewer_alarms_and_a_shorter_reference():
    limits = [chart.limit_of(1e4, 0.05), chart.limit_of(1e5, 0.05), chart.limit_of(1e5, 0.1)]
    assert limits == sorted(limits) and limits[0] < 0.9 * limits[-1]
    assert 1 / chart.run_length(chart.limit_of(1e4, 0.0), np.zeros(1))[0] == pytest.approx(1e-4, rel=0.05)


def test_long_run_lengths_are_exact_enough():
    """The logarithm of the run length is nearly a parabola of the limit."""
    lengths = np.log([chart.run_length(limit, np.zeros(1))[0] for limit in (0.5, 0.6, 0.7, 0.8)])
    assert np.diff(lengths, 3) == pytest.approx(0, abs=0.1) and (np.diff(lengths) > 2).all()
