"""Groups of images that are found from their file names."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cfa_lite import CFA, PublishedCFA, load
from cfa_lite.commands.main import main
from cfa_lite.report import text
from cfa_lite.training import grouping, name_patterns, near_duplicates

ROLLS = [f"part_roll{roll:02}_{i:03}.png" for roll in range(8) for i in range(5)]
ROLL = r"^[A-Za-z]+_[A-Za-z]+(\d+)"


def features(rng, between, n_groups=8, n_images=5):
    """Maps of images in groups, whose distances within groups are 1 and between groups are larger by `between`."""
    centers = between * rng.normal(size=(n_groups, 1, 6, 4, 4))
    maps = centers + rng.normal(size=(n_groups, n_images, 6, 4, 4))
    return list(maps.reshape(-1, 6, 4, 4).astype(np.float32))


def rolls(rng, n_rolls=6, n_images=4, folder=None):
    """Write images whose brightness and texture are those of their roll; return their paths."""
    paths = []
    for roll in range(n_rolls):
        coarse = rng.integers(0, 90, (8, 12, 3))
        for i in range(n_images):
            pixels = (coarse + rng.integers(0, 60, (8, 12, 3)) + 15 * roll).clip(0, 255).astype(np.uint8)
            paths.append(folder / f"roll{roll}_{i}.png")
            Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def small(**given):
    return CFA(**{"recipe": "whitened", "n_centers": 8, "threads": 1, **given})


def test_strong_evidence_groups(rng):
    found = grouping.find(features(rng, 1), ROLLS, None)
    assert (found.found.pattern, found.found.n_groups, found.found.is_strong) == (ROLL, 8, True)
    assert found.found.p_value < 1e-9 and found.found.rise > 1.2
    np.testing.assert_array_equal(found.groups, np.repeat(np.arange(8), 5))


def test_weak_evidence_is_told_and_does_not_group(rng):
    found = grouping.find(features(rng, 0.55), ROLLS, None)
    assert found.found.pattern == ROLL and not found.found.is_strong
    assert grouping.WEAK_RISE <= found.found.rise < grouping.STRONG_RISE
    assert len(set(found.groups)) == 40


def test_neighbors_that_other_groups_can_replace_are_no_evidence(rng):
    """All nearest neighbors share a group, but without it others are as near, so no limit would be too low."""
    same = np.equal.outer(*2 * [np.repeat(np.arange(8), 5)])
    noise = np.triu(rng.uniform(0, 0.01, (40, 40)), 1)
    for outside, is_strong in ((1.02, None), (1.2, True)):
        found = grouping.find_pattern(np.where(same, 1, outside) + noise + noise.T, ROLLS)
        assert (found and found.is_strong) == is_strong


def test_few_images_are_weak_evidence_and_every_pattern_that_is_tried_costs():
    """Three mutual pairs share a group by chance with a probability of 0.2 cubed."""
    pairs = [(roll, i) for roll in range(3) for i in range(2)]
    distances = np.where(np.equal.outer(*2 * [np.repeat(np.arange(3), 2)]), 1.0, 2.0)
    one = grouping.find_pattern(distances, [f"roll{roll}_{i}.png" for roll, i in pairs])
    assert (one.p_value, one.rise, one.is_strong) == (pytest.approx(0.008), 2, False)
    two = [f"roll{roll}_cam{(roll + i) % 3}_{i}.png" for roll, i in pairs]
    assert grouping.find_pattern(distances, two) is None


def test_no_groups_and_shuffled_names_are_not_grouped(rng):
    assert grouping.find(features(rng, 0), ROLLS, None).found is None
    distances = np.sqrt(near_duplicates.distances_sq(features(rng, 1)))
    for seed in range(50):
        shuffled = [ROLLS[i] for i in np.random.default_rng(seed).permutation(len(ROLLS))]
        assert grouping.find_pattern(distances, shuffled) is None


def test_the_finest_pattern_that_explains_the_neighbors_is_taken(rng):
    """Places are seen from two angles; the angle explains hardly more than the place."""
    names = [f"{time:05}_{place}00_{place % 2 * 90:03}.png" for time, place in enumerate(np.repeat(np.arange(1, 9), 5))]
    maps = features(rng, 2)
    assert grouping.find(maps, names, None).found.pattern == r"^\d+_(\d+)"
    both = [f"{time}_cam{place % 3}_roll{place}.png" for time, place in enumerate(np.repeat(np.arange(1, 9), 5))]
    assert grouping.find(maps, both, None).found.n_groups == 8


def test_a_pair_of_parts(rng):
    """Neither camera nor day alone tells the group."""
    pairs = [(camera, day) for camera in range(4) for day in range(4)]
    names = [f"cam{camera}-day{day} {i:03}.bmp" for camera, day in pairs for i in range(4)]
    found = grouping.find(features(rng, 1.5, 16, 4), names, None).found
    assert found.n_groups == 16 and found.is_strong
    assert found.pattern == r"^[A-Za-z]+(\d+)\-[A-Za-z]+(\d+)"


def test_images_of_different_sizes_and_equal_images(rng):
    maps = features(rng, 1)
    cut = [m[:, :3] if i % 5 > 2 else m for i, m in enumerate(maps)]
    assert grouping.find(cut, ROLLS, None).found.pattern == ROLL
    assert grouping.find([maps[0]] * 40, ROLLS, None).found is None


@pytest.mark.parametrize("names", [
    [f"{i:03}.png" for i in range(200)],
    [f"IMG_{i:08}.png" for i in range(1000, 1200)],
    [f"normal-{i}.jpg" for i in range(60)],
    [f"{i * 2654435761 % 2**32:08x}.png" for i in range(40)],
    ["same.png"] * 10,
    ["a.png"],
])  # fmt: skip
def test_names_without_parts_have_no_candidates(names):
    assert list(name_patterns.candidates(names)) == []


def test_candidates():
    assert list(name_patterns.candidates(ROLLS)) == [
        ROLL,
        r"^[A-Za-z]+_[A-Za-z]+\d+_(\d+)",
        r"^[A-Za-z]+_[A-Za-z]+(\d+)_(\d+)",
    ]
    times = [
        f"{day}{minute:02}{second:02}.png"
        for day in ("2024050107", "2024050208")
        for minute in (0, 1)
        for second in (3, 4)
    ]
    assert list(name_patterns.candidates(times)) == [r"^(\d{8})\d+", r"^(\d{10})\d+", r"^(\d{12})\d+"]
    odd = [*ROLLS, "odd.png"]  # a name that is built otherwise is a group of its own
    assert next(name_patterns.candidates(odd)) == ROLL
    assert near_duplicates.groups_by_name(odd, ROLL).max() == 8


@pytest.mark.parametrize("kind", [CFA, PublishedCFA])
def test_fit_groups_rolls_and_the_model_file_tells_it(rng, tmp_path, kind):
    paths = rolls(rng, folder=tmp_path)
    new = small() if kind is CFA else PublishedCFA(epochs=1, threads=1)
    model = new.fit(paths)
    assert (model.limits_.n_images, model.limits_.n_groups) == (24, 6)
    assert model.limits_.promised_rate == pytest.approx(1 / 7)
    model.save(tmp_path / "rolls.cfa")
    again = load(tmp_path / "rolls.cfa")
    assert again.info()["training"]["name_pattern"]["pattern"] == r"^[A-Za-z]+(\d+)"
    expected = r"6 groups by ^[A-Za-z]+(\d+): the smallest rate that can be promised is 14.3%"
    assert text.info_lines(again.info())["groups"] == expected
    assert (
        sum(remark.startswith(expected) and "--group-by none" in remark for remark in text.remarks(again.info())) == 1
    )
    assert again.group_by is None  # the parameter of the next fit


def test_group_by_none_counts_every_image_but_near_duplicates_once(rng, tmp_path):
    paths = rolls(rng, folder=tmp_path)
    model = small(group_by="none").fit(paths)
    assert model.limits_.n_groups == 24 and model.info()["training"]["name_pattern"] is None
    assert not any("group" in remark for remark in text.remarks(model.info()))
    frame = np.asarray(Image.open(paths[0])).astype(int)
    burst = [np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8) for _ in range(3)]
    assert small(group_by="none").fit([*paths, *burst]).limits_.n_groups == 24


def test_calibrate_and_teach_use_the_pattern_again(rng, tmp_path):
    (tmp_path / "new").mkdir()
    paths, new = rolls(rng, folder=tmp_path), rolls(rng, 3, 3, folder=tmp_path / "new")
    model = small().fit(paths)
    assert model.calibrate(new).limits_.n_groups == 3
    assert "3 groups by" in text.info_lines(model.info())["groups"]
    assert model.calibrate(new, group_by="none").limits_.n_groups == 9
    assert "groups" not in text.info_lines(model.info())
    assert model.calibrate(new, group_by=r"_(\d)").limits_.n_groups == 3
    defect = np.asarray(Image.open(paths[0])).copy()
    defect[20:40, 30:60] = 255
    model.teach(paths, [defect])
    assert (model.limits_.n_images, model.limits_.n_groups) == (24, 6)
    model.teach(paths, [defect], group_by="none")
    assert model.limits_.n_groups == 24


def test_the_messages_of_weak_evidence(rng, tmp_path):
    info = small(group_by="none").fit(rolls(rng, folder=tmp_path)).info()
    info["training"]["name_pattern"] = grouping.NamePattern(ROLL, 6, 0.004, 1.07, False).to_dict()
    (told,) = [remark for remark in text.remarks(info) if "--group-by" in remark]
    assert "the file names tell 6 groups" in told and "7% farther away" in told
    assert told.endswith(f'fit with --group-by "{ROLL}".')
    assert "groups" not in text.info_lines(info)


@pytest.mark.slow
def test_the_command_line(rng, tmp_path):
    folder = tmp_path / "good"
    folder.mkdir()
    rolls(rng, folder=folder)
    fit = ["fit", str(folder), "-o", str(tmp_path / "a.cfa"), "--recipe", "whitened"]
    told = CliRunner().invoke(main, fit)
    assert told.exit_code == 0 and "6 groups by ^[A-Za-z]+(\\d+): the smallest rate" in told.output
    shown = CliRunner().invoke(main, ["info", str(tmp_path / "a.cfa")])
    assert "6 groups by ^[A-Za-z]+(\\d+): the smallest rate" in " ".join(shown.output.split())
    told = CliRunner().invoke(main, [*fit, "--group-by", "none"])
    assert told.exit_code == 0 and "groups" not in told.output
