"""Cross-fitting: which patches are in memory at once."""

import numpy as np
import pytest

from cfa_lite import CFA
from cfa_lite.features.feature_maps import LevelKey, MapKey
from cfa_lite.training import cross_fit
from cfa_lite.training.cross_fit import CrossFit


@pytest.mark.parametrize(
    "channels, expected", [((24, 40), [2]), ((256, 256), [2]), ((1024, 1024), [1, 1]), ((4096, 8), [1, 1])]
)
def test_levels_of_many_channels_are_sampled_one_by_one(channels, expected):
    """65,536 patches of 1,024 channels are the most that is in memory at once."""
    maps = {MapKey(1, o): np.broadcast_to(np.float32(0), (c, 128, 128)) for o, c in enumerate(channels)}
    cross = CrossFit([maps] * 8, np.zeros(8, int), None, 0, 1, lambda phase, done, total: None)
    parts = cross.parts([LevelKey(1, o, True) for o in range(2)])
    assert [len(part) for part in parts] == expected
    assert [key.output for part in parts for key in part] == [0, 1]


def test_model_does_not_depend_on_how_many_levels_are_sampled_at_once(small_images, monkeypatch):
    def fitted():
        seen = []
        model = CFA(n_centers=8, threads=1).fit(small_images, progress=lambda *step: seen.append(step))
        return model, [step for step in seen if step[0] in ("fitting levels", "training")]

    together, steps = fitted()
    monkeypatch.setattr(cross_fit, "MAX_PART_BYTES", 1)
    apart, steps_apart = fitted()
    assert steps_apart == steps
    assert any(phase == "training" for phase, _, _ in steps)
    for one, other in zip(together.levels_, apart.levels_):
        assert one.key == other.key
        for name in ("mean", "weight", "centers"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert apart.inspect(small_images[0]).raw_score == together.inspect(small_images[0]).raw_score
