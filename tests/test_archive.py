import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cfa_lite import ArchiveError, load, parameters
from cfa_lite.storage import archive


def members(path):
    with zipfile.ZipFile(path) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def rewrite(path, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in contents.items():
            file.writestr(name, data)
    return path


def npy(array, **kwargs):
    buffer = io.BytesIO()
    np.save(buffer, array, **kwargs)
    return buffer.getvalue()


def test_saved_model_gives_bit_equal_scores(model, part, line):
    read = load(part, threads=2)
    for a, b in zip(list(model.inspect_many(line[:4])), list(read.inspect_many(line[:4]))):
        assert a.raw_score == b.raw_score
        assert a.score == b.score
        np.testing.assert_array_equal(a.map, b.map)
    assert read.get_params() == parameters.resolved(model.get_params())
    assert read.info() == model.info()


def test_file_is_a_plain_npz_of_the_documented_size(model, part):
    with np.load(part, allow_pickle=False) as file:
        arrays = [file[name] for name in file.files if name != "model.json"]
    assert {a.dtype for a in arrays} == {np.dtype("float32"), np.dtype("uint8")}
    # Of 12 levels 3 each, good scores, groups, fingerprints, their scores, two of the reference; maybe position means.
    assert len(arrays) == 42 + (model.fitted_.scorer.position_mean is not None)
    assert part.stat().st_size < 1.5e6


def test_saving_twice_gives_the_same_bytes(model, part, tmp_path):
    model.save(tmp_path / "again.cfa")
    assert (tmp_path / "again.cfa").read_bytes() == part.read_bytes()
    assert os.listdir(tmp_path) == ["again.cfa"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(model, tmp_path, monkeypatch):
    (tmp_path / "part.cfa").write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ArchiveError, match="part.cfa cannot be written .No space left"):
        model.save(tmp_path / "part.cfa")
    assert os.listdir(tmp_path) == ["part.cfa"]
    assert (tmp_path / "part.cfa").read_bytes() == b"old"
    with pytest.raises(ArchiveError, match="cannot be written"):
        model.save(tmp_path / "no" / "folder" / "part.cfa")


def test_missing_foreign_and_newer_files_are_refused(part, tmp_path):
    with pytest.raises(ArchiveError, match="gone.cfa does not exist"):
        load(tmp_path / "gone.cfa")
    with pytest.raises(ArchiveError, match="is a folder, not a model file"):
        load(tmp_path)
    (tmp_path / "text.cfa").write_text("not a model")
    with pytest.raises(ArchiveError, match="text.cfa is not a cfa-lite model"):
        load(tmp_path / "text.cfa")
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    with pytest.raises(ArchiveError, match="foreign.npz is not a cfa-lite model .it holds no model.json"):
        load(tmp_path / "foreign.npz")
    contents = members(part)
    later = json.loads(contents["model.json"]) | {"format": 99}
    with pytest.raises(ArchiveError, match="format 99; this version reads format 5. Update"):
        load(rewrite(tmp_path / "later.cfa", contents | {"model.json": json.dumps(later)}))


def damage(contents):
    """Return the contents of damaged files by name."""
    meta = json.loads(contents["model.json"])

    def with_meta(change):
        changed = json.loads(json.dumps(meta))
        change(changed)
        return contents | {"model.json": json.dumps(archive.signed(changed))}

    def without(name):
        return {k: v for k, v in contents.items() if k != name}

    big = {"shape": [1 << 20, 1 << 20], "sha256": ""}
    return {
        "swapped": contents | {"0_centers.npy": contents["1_centers.npy"]},
        "missing": without("3_mean.npy"),
        "added": contents | {"extra.npy": npy(np.zeros(3))},
        "objects": contents | {"0_mean.npy": npy(np.array([{}], object), allow_pickle=True)},
        "float64": contents | {"0_mean.npy": npy(np.zeros(24))},
        "no level": with_meta(lambda m: m["levels"].pop()),
        "level twice": with_meta(lambda m: m["levels"].__setitem__(1, m["levels"][0])),
        "huge shape": with_meta(lambda m: m["arrays"].__setitem__("0_mean", big)),
        "no threshold": with_meta(lambda m: m["limits"].pop("threshold")),
        "limits in the wrong order": with_meta(lambda m: m["limits"].update(unsure_threshold=1e3)),
        "foreign limits": with_meta(lambda m: m["limits"].update(more=1)),
        "no map unit": with_meta(lambda m: m.update(map_unit=None)),
        "one offset": with_meta(lambda m: m.update(offsets_px=[[0.5, 0.5]])),
        "endless offset": with_meta(lambda m: m.update(offsets_px=[[0.5, 1e9]] * 3)),
        "offset text": with_meta(lambda m: m.update(offsets_px="far")),
        "foreign kind": with_meta(lambda m: m.update(kind="other")),
        "no statistics": with_meta(lambda m: m["statistics"].pop("darkest")),
        "statistics text": with_meta(lambda m: m["statistics"].update(height_px=["a", 3])),
        "background 2": with_meta(lambda m: m.update(background_share=2)),
        "no history": with_meta(lambda m: m.pop("history")),
        "threshold 0": with_meta(lambda m: m["limits"].update(threshold=0)),
        "threshold text": with_meta(lambda m: m["limits"].update(threshold="high")),
        "no params": with_meta(lambda m: m.pop("params")),
        "unknown param": with_meta(lambda m: m["params"].update(speed=3)),
        "wrong param": with_meta(lambda m: m["params"].update(n_centers=-3)),
        "changed by hand": contents | {"model.json": json.dumps(meta | {"scale": meta["scale"] * 2})},
        "no json": contents | {"model.json": b"{"},
        "json list": contents | {"model.json": b"[]"},
        "odd output": with_meta(lambda m: [lv.update(output=lv["output"] + 1) for lv in m["levels"]]),
    }


def test_every_damage_raises_one_clear_error(part, tmp_path):
    for name, contents in damage(members(part)).items():
        path = rewrite(tmp_path / f"{name}.cfa", contents)
        with pytest.raises(ArchiveError) as raised:
            load(path)
        assert str(path) in str(raised.value), name


def test_compressed_members_are_refused(part, tmp_path):
    path = rewrite(tmp_path / "bomb.cfa", members(part), zipfile.ZIP_DEFLATED)
    with pytest.raises(ArchiveError, match="is compressed"):
        load(path)


def test_flipped_bits_and_truncated_files(part, tmp_path, rng):
    """Each raises ArchiveError or gives a model equal to the original, if the bit is in an unused field."""
    whole, original = part.read_bytes(), archive.read(part)
    path = tmp_path / "damaged.cfa"
    n_refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        n_refused += refused_or_equal(path, original)
    for at in [*rng.integers(0, len(whole), 20), 0, 1, len(whole) - 1]:
        path.write_bytes(whole[:at])
        assert refused_or_equal(path, original)
    assert n_refused > 140


def refused_or_equal(path, original):
    try:
        meta, arrays = archive.read(path)
    except ArchiveError:
        return True
    assert meta == original[0]
    for name, array in original[1].items():
        np.testing.assert_array_equal(arrays[name], array)
    return False
