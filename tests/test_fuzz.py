"""A damaged file raises one clear error or is read unchanged. benchmarks/fuzz.py tests this 10,000 times."""

import struct
import time
import tracemalloc
import warnings
import zlib

import damage
import numpy as np
import pytest
import tiny_backbone

from cfa_lite import CFA, ArchiveError, BackboneError, ImageError, load
from cfa_lite.features import images


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small model's bytes, an image, its score, and the folder that holds its backbone."""
    folder = tmp_path_factory.mktemp("tiny")
    network = tiny_backbone.write(folder / "tiny.onnx")
    rng = np.random.default_rng(4)
    images = [rng.integers(0, 255, (60, 72, 3)).astype(np.uint8) for _ in range(5)]
    mask = np.ones((60, 72), bool)
    mask[:, :20] = False
    model = CFA(recipe="whitened", backbone=network, n_centers=6, size=64, mask=mask, threads=1).fit(images)
    model.save(folder / "whole.cfa")
    return folder, (folder / "whole.cfa").read_bytes(), images[0], model.inspect(images[0]).raw_score


def check_archive(data, path, image, score):
    """Check that a model is refused or scores as the original does. Return whether it was refused."""
    path.write_bytes(data)
    try:
        model = load(path, threads=1)
    except ArchiveError as error:
        assert str(path) in str(error)
        return True
    assert model.inspect(image).raw_score == score
    return False


def test_300_damaged_models(tiny):
    folder, whole, image, score = tiny
    refused = [
        check_archive(damage.of_archive(whole, np.random.default_rng(seed))[1], folder / "damaged.cfa", image, score)
        for seed in range(300)
    ]
    assert sum(refused) >= 280  # a flipped bit of an unused field changes nothing
    assert not check_archive(whole, folder / "damaged.cfa", image, score)


def check_forged(data, path, image):
    """Check that a model is refused or gives a result. A checksum does not protect against valid but wrong values."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # from NumPy, about values that no fit gives
        try:
            load(path, threads=1).inspect(image)
        except (ArchiveError, BackboneError):
            return True
    return False


def test_300_forged_models(tiny):
    folder, whole, image, _ = tiny
    refused = []
    for seed in range(300):
        what, data = damage.forged(whole, np.random.default_rng(seed))
        try:
            refused.append(check_forged(data, folder / "forged.cfa", image))
        except Exception as error:
            pytest.fail(f"seed {seed}, {what}: {type(error).__name__}: {error}")
    assert 150 < sum(refused) < 300


@pytest.mark.parametrize("member", ["model.json", "0_mean.npy"])
def test_decompression_bomb_is_refused_in_little_memory(tiny, member):
    folder, whole, *_ = tiny
    (folder / "bomb.cfa").write_bytes(damage.bomb(whole, np.random.default_rng(0), member))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=f"{member}' is compressed"):
            load(folder / "bomb.cfa")
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def check_image(data, path):
    """Check that an image is refused by ImageError or read fast and without a warning. Return whether it is refused."""
    path.write_bytes(data)
    start = time.perf_counter()
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in (images.read, images.size_of):
            try:
                found[call] = call(path, path.name)
            except ImageError as error:
                assert path.name in str(error)
    assert time.perf_counter() - start < 2
    if images.read not in found:
        return True
    bands = found[images.read].bands
    w, h = bands[0].size
    assert len(bands) in (1, 3) and 0 < max(w, h) < 70_000
    assert found[images.size_of] == (h, w)
    return False


def test_300_damaged_images(tmp_path):
    whole = damage.images(np.random.default_rng(1))
    refused = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        name = sorted(whole)[rng.integers(len(whole))]
        refused.append(check_image(damage.of_bytes(whole[name], rng)[1], tmp_path / name))
    assert 100 < sum(refused) < 300
    assert not any(check_image(data, tmp_path / name) for name, data in whole.items())


def test_decompression_bombs_are_refused(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rows + chunk(b"IEND", b""))
    for call in (images.read, images.size_of):
        with pytest.raises(ImageError, match="bomb.png has 900 megapixels .*--max-megapixels 900"):
            call(tmp_path / "bomb.png", "bomb.png")
