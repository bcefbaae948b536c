"""Measured time per image."""

import json

import pytest
from test_cli import run

from cfa_lite import CFA
from cfa_lite.evaluation import timing
from cfa_lite.evaluation.timing import Timing


@pytest.fixture
def short(monkeypatch):
    for name, value in (("MIN_ROUNDS", 2), ("MAX_ROUNDS", 2), ("STARTS", 1), ("N_IMAGES", 2)):
        monkeypatch.setattr(timing, name, value)


def test_stand_in_has_the_shape_of_a_fitted_model(small_images):
    model = CFA("whitened", n_centers=32, threads=1).fit(small_images)
    stand_in = timing.stand_in(model, "fast")
    fitted = CFA("whitened", n_centers=32, preset="fast", threads=1).fit(small_images)
    assert stand_in.scale_ == pytest.approx(fitted.scale_)
    assert stand_in.open_backbone().spec.name == "lite0-int8"
    found, expected = ({lv.key: (lv.weight.shape, lv.centers.shape) for lv in m.levels_} for m in (stand_in, fitted))
    assert found == expected
    result = stand_in.inspect(small_images[0])
    assert result.map.shape == fitted.inspect(small_images[0]).map.shape
    assert result.regions == ()


def test_stand_in_keeps_explicit_parameters(small_images):
    model = CFA("whitened", n_centers=16, size=128, backbone="lite2", threads=1).fit(small_images[:6])
    stand_in = timing.stand_in(model, "fast")
    assert stand_in.scale_ == model.scale_
    assert stand_in.open_backbone().spec.name == "lite2"
    assert {len(level.centers) for level in stand_in.levels_} == {16}


def test_advice_is_the_most_accurate_preset_on_the_fewest_threads():
    timings = [
        Timing("accurate", True, 1, False, 18, 20), Timing("balanced", False, 1, False, 13, 14),
        Timing("fast", False, 1, False, 9, 10), Timing("accurate", True, 2, False, 9, 11),
        Timing("fast", False, 2, True, 3, 4),
    ]  # fmt: skip
    picks = {budget: timing.within(timings, budget) for budget in (25, 15, 10, 12, 5)}
    assert [(p.preset, p.n_threads) if p else None for p in picks.values()] == [
        ("accurate", 1), ("balanced", 1), ("fast", 1), ("fast", 1), None,
    ]  # fmt: skip


def test_advice_agrees_with_the_table(part, monkeypatch):
    """The preset of the advice has a star, a more accurate one on as many threads has none."""
    timings = [
        Timing("accurate", True, 1, False, 19, 21.9), Timing("balanced", False, 1, False, 13, 20.04),
        Timing("fast", False, 1, False, 9, 10), Timing("accurate", True, 2, False, 15, 17),
        Timing("balanced", False, 2, False, 9, 11), Timing("fast", False, 2, False, 4, 5),
        Timing("accurate", True, 2, True, 3, 4), Timing("balanced", False, 2, True, 3, 4),
        Timing("fast", False, 2, True, 3, 4),
    ]  # fmt: skip
    monkeypatch.setattr(timing, "compared", lambda model, images, n_threads: timings)
    monkeypatch.setattr(timing, "cold_start", lambda part, image, backbone: 0.5)
    told = run("benchmark", part, "--budget-ms", 20).stdout
    cells = {line.split("  ")[0]: line.count(")*") for line in told.splitlines() if "(95%: " in line}
    assert cells == {f"{part.name} (accurate)": 1, "--preset balanced": 2, "--preset fast": 2}
    assert (
        "fitted again with --preset balanced, is within 20 ms on 1 thread: 95% of the images take at most 20.0" in told
    )
    assert f"\n{part.name} is within 20 ms on 2 threads: 95% of the images take at most 17.0 ms." in told
    none = run("benchmark", part, "--budget-ms", 3.9)
    assert none.exit_code == 1 and ")*" not in none.stdout and "Nothing is within 3.9 ms" in none.stdout


def test_benchmark_shows_times_and_advice(part, short):
    fine = run("benchmark", part, "--budget-ms", 60000, "--threads", 2)
    assert fine.exit_code == 0, fine.output
    lines = fine.stdout.splitlines()
    assert lines[0].startswith("2 images of 384x288 px")
    assert lines[1].split("  ")[-1].strip() == "2 at once" and "1 thread" in lines[1]
    assert [line.split("  ")[0] for line in lines[2:6]] == [
        "--preset thorough",
        f"{part.name} (accurate)",
        "--preset balanced",
        "--preset fast",
    ]
    assert all(line.count("95%") == 3 for line in lines[2:6])
    assert "`cfa-lite score`" in lines[6]
    assert f"{part.name}, fitted again with --preset thorough, is within 60000 ms on 1 thread" in lines[7]


def test_benchmark_as_json_with_images_and_a_budget_that_nothing_meets(part, line, short):
    done = run("benchmark", part, *line[:3], "--budget-ms", 0.001, "--json", "--threads", 1)
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["within_budget"] is None and told["image_px"] == [384, 288]
    assert {(t["preset"], t["fitted"]) for t in told["timings"]} == {
        ("thorough", False), ("accurate", True), ("balanced", False), ("fast", False),
    }  # fmt: skip
    assert all(0 < t["median"] <= t["slow"] for t in told["timings"])
    assert 0 < told["cold_start_seconds"] < 60


def test_benchmark_names_an_unreadable_image(part, tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    done = run("benchmark", part, tmp_path / "broken.png")
    assert done.exit_code == 1 and "broken.png  cannot be read as an image" in done.stderr
    assert "No image can be inspected" in done.stderr


def test_timing_leaves_the_model_as_it_was(model, short, tmp_path):
    before = model.threads
    timing.compared(model, timing.draw(model, tmp_path), [1])
    assert model.threads == before
