"""Near-duplicates among the good images."""

import numpy as np
import pytest

from cfa_lite import CFA
from cfa_lite.training import near_duplicates


def test_bursts_are_grouped_and_other_images_are_not(rng):
    scenes = rng.normal(size=(12, 6, 8, 8)).astype(np.float32)
    order = np.array([0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    frames = [scenes[i] + 0.05 * rng.normal(size=(6, 8, 8)).astype(np.float32) for i in order]
    groups = near_duplicates.groups(frames)
    for i in range(len(order)):
        np.testing.assert_array_equal(groups == groups[i], order == order[i])


def test_channels_have_equal_weight_and_different_sizes_are_never_grouped(rng):
    maps = list(rng.normal(size=(6, 4, 5, 5)).astype(np.float32))
    maps += [m[:, :4] for m in maps]
    assert len(set(near_duplicates.groups(maps))) == 12
    strong = [m * np.float32([[[1000]], [[1]], [[1]], [[1]]]) + 7 for m in maps]
    assert len(set(near_duplicates.groups(strong))) == 12
    assert list(near_duplicates.groups(maps[:2])) == [0, 1]  # two images do not show which distance is typical


def test_groups_by_name():
    names = ["c_/a_01.png", "c_/a_02.png", "b_01.png", "odd.png", "odd2.png"]
    assert list(near_duplicates.groups_by_name(names, r"([abc])_")) == [0, 0, 1, 2, 3]
    assert list(near_duplicates.groups_by_name(names, r"[ab]_")) == [0, 0, 1, 2, 3]
    assert list(near_duplicates.groups_by_name(names, r"_(\d+)")) == [0, 1, 0, 2, 3]
    with pytest.raises(ValueError, match=r"group_by='\(' is not a regular expression"):
        near_duplicates.groups_by_name(names, "(")


def test_groups_by_name_are_kept(rng):
    maps = list(rng.normal(size=(4, 3, 6, 6)).astype(np.float32))
    groups = near_duplicates.groups(maps, np.array([0, 0, 1, 2]))
    assert groups[0] == groups[1] and len(set(groups)) == 3


def test_fit_counts_a_burst_once(small_images, rng):
    burst = [np.clip(small_images[0] + rng.normal(0, 2, (64, 96, 3)), 0, 255).astype(np.uint8) for _ in range(5)]
    model = CFA(recipe="whitened", n_centers=8, threads=1).fit([*small_images, *burst])
    assert (model.limits_.n_images, model.limits_.n_groups) == (13, 8)
    assert model.limits_.promised_rate == pytest.approx(1 / 9)
    apart = CFA(recipe="whitened", n_centers=8, threads=1).fit(small_images)
    assert apart.limits_.n_groups == 8
