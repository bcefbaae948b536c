"""`cfa-lite fit --budget-ms` chooses the most accurate preset that is fast enough."""

import numpy as np
import pytest
from PIL import Image
from test_cli import run

from cfa_lite import CFA, load
from cfa_lite.errors import CfaLiteError
from cfa_lite.evaluation import budget
from cfa_lite.evaluation.timing import Timing

TAKES_MS = {"thorough": 50.0, "accurate": 16.0, "balanced": 12.0, "fast": 7.0}


@pytest.fixture
def timed(monkeypatch):
    """Times are proportional to the area; the list holds (preset, working scale, channels of the first level)."""
    asked = []

    def instead(model, preset, images, n_threads, share):
        asked.append((preset, model.scale_, len(model.levels_)))
        slow = TAKES_MS[preset] * share * (model.get_params()["size"] or budget.PRESETS[preset].size) ** 2
        return Timing(preset, False, n_threads, False, 1.0, slow / budget.PRESETS[preset].size ** 2)

    monkeypatch.setattr(budget, "_timed", instead)
    return asked


@pytest.fixture
def large(rng, tmp_path):
    coarse = rng.integers(40, 200, (3, 8, 12, 3)).astype(np.uint8)
    for i, values in enumerate(coarse):
        Image.fromarray(values).resize((480, 320), Image.Resampling.BICUBIC).save(tmp_path / f"{i}.png")
    return sorted(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("budget_ms", "expected"),
    [
        (60, {"preset": "thorough"}),
        (49, {"preset": "accurate"}),
        (13, {"preset": "balanced"}),
        (8, {"preset": "fast"}),
        (6, {"preset": "fast", "size": 160}),
        (3.2, {"preset": "fast", "size": 128}),
    ],
)
def test_the_most_accurate_within_the_time_is_chosen(timed, large, budget_ms, expected):
    changed, timing = budget.choose(CFA(threads=1), large, budget_ms)
    assert changed == expected
    assert timing.slow <= budget_ms and timing.n_threads == 1
    sizes = np.array([448, 256, 256, 192, 160, 128][: len(timed)])
    np.testing.assert_allclose([scale for _, scale, _ in timed], np.minimum(1, sizes / (480 * 320) ** 0.5))


def test_what_is_given_stays(timed, large):
    changed, _ = budget.choose(CFA(size=96, threads=1), large, 2.0)
    assert changed == {"preset": "balanced"}  # 12 ms at 256
    assert len({scale for _, scale, _ in timed}) == 1
    with pytest.raises(CfaLiteError, match=r"Nothing is within 1 ms on 1 thread: .*\(--preset fast\) takes up to 1.8"):
        budget.choose(CFA(size=96, threads=1), large, 1.0)


def test_known_defects_need_a_share_of_the_time(timed, large):
    assert budget.choose(CFA(threads=1), large, 17.0)[0] == {"preset": "accurate"}
    assert budget.choose(CFA(threads=1), large, 17.0, learns_defects=True)[0] == {"preset": "balanced"}


def test_small_images_are_not_timed_at_three_scales(timed, large):
    for path in large:
        Image.open(path).resize((240, 160)).save(path)
    assert budget.choose(CFA(threads=1), large, 1000)[0] == {"preset": "accurate"}


def test_command(timed, large, tmp_path):
    done = run("fit", tmp_path, "-o", tmp_path / "part.cfa", "--budget-ms", 14, "--threads", 1)
    assert done.exit_code == 0, done.output
    assert "--preset balanced: 95% of the images take at most 12.0 ms on 1 thread, within 14 ms" in done.stderr
    assert load(tmp_path / "part.cfa").preset == "balanced"
    none = run("fit", tmp_path, "-o", tmp_path / "none.cfa", "--budget-ms", 1)
    assert none.exit_code == 1 and "Nothing is within 1 ms" in none.stderr
    assert not (tmp_path / "none.cfa").exists()
    for more, words in (
        (("--preset", "fast"), "Leave out --preset"),
        (("--each",), "for one product"),
        (("--recipe", "paper"), "has no presets"),
    ):
        refused = run("fit", tmp_path, "-o", tmp_path / "none.cfa", "--budget-ms", 14, *more)
        assert refused.exit_code == 2 and words in refused.stderr


def test_real_times(large):
    changed, timing = budget.choose(CFA(threads=1, n_centers=16), large, 1e6)
    assert changed == {"preset": "thorough"}
    assert 0 < timing.median <= timing.slow < 1e6
