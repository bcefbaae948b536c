"""Are raw scores, maps and limits of two states of the code equal, bit by bit?

    python benchmarks/equal_scores.py dump before.npz      # in the one checkout
    python benchmarks/equal_scores.py dump after.npz       # in the other
    python benchmarks/equal_scores.py compare before.npz after.npz

`dump` fits and scores every recipe, preset, mask and tile setting on the project's own cloth, and the most common
settings on data sets with the MVTec AD layout that are found below ``--data``.
It runs on states before and after the names of the first release: `make_model` knows both.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

SETS = ("hk_star", "piped_brg02_rl", "aitex_strips_f03")


def _old_names() -> bool:
    from cfa_lite import CFA

    return not hasattr(CFA, "inspect")


def make_model(**params):
    """A model by the new names, whatever the checkout calls them."""
    import cfa_lite

    published = params.pop("published", False)
    if not _old_names():
        return cfa_lite.PublishedCFA(**params) if published else cfa_lite.CFA(**params)
    renamed = {"random_state": "seed", "outliers": "atypical", "preset": "speed", "repulsion_margin": "margin"}
    values = {"whitened": "none", "accurate": "exact"}
    old = {renamed.get(name, name): values.get(v, v) if isinstance(v, str) else v for name, v in params.items()}
    if published:
        old["recipe"] = "paper"
    return cfa_lite.CFA(**old)


def inspect_all(model, images):
    many = model.inspect_many if hasattr(model, "inspect_many") else model.iter_score
    return list(many(images))


def record(arrays: dict[str, np.ndarray], name: str, model, images) -> None:
    results = inspect_all(model, images)
    arrays[f"{name}/raw_scores"] = np.array([r.raw_score for r in results])
    arrays[f"{name}/scores"] = np.array([r.score for r in results])
    arrays[f"{name}/limits"] = np.array([model.limits_.threshold, model.limits_.unsure_threshold])
    arrays[f"{name}/good_scores"] = np.asarray(model.good_scores_)
    for i, result in enumerate(results):
        if result.map is not None:
            arrays[f"{name}/map{i}"] = result.map


def cloth_arrays() -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    try:
        from cfa_lite.demo.cloth import DEFECTS, weave, weave_with_defect
    except ImportError:
        from cfa_lite.demo.cloth import DEFECTS, weave, weave_with_defect
    good = [weave(np.random.default_rng([5, i]), (160, 224)) for i in range(24)]
    line = [weave(np.random.default_rng([6, i]), (160, 224)) for i in range(3)]
    line += [weave_with_defect(np.random.default_rng([7, i]), d, (160, 224))[0] for i, d in enumerate(DEFECTS)]
    y, x = np.mgrid[:160, :224]
    return good, line, ((y - 80) / 70) ** 2 + ((x - 112) / 100) ** 2 < 1


def cloth_cases(mask: np.ndarray) -> dict[str, dict]:
    """Arguments by name; each is fitted on the cloth."""
    small = {"n_centers": 64}
    return {
        "adapted": {},
        "adapted_state7": {"random_state": 7, **small},
        "whitened": {"recipe": "whitened"},
        "balanced": {"preset": "balanced"},
        "fast": {"preset": "fast"},
        "mask": {"mask": mask, **small},
        "size128": {"size": 128, **small},
        "full": {"size": "full", **small},
        "smallest_defect": {"smallest_defect": 3.0, **small},
        "keep": {"outliers": "keep", **small},
        "drop": {"outliers": "drop", **small},
        "background": {"background_share": 0.0, "shrinkage": 0.3, **small},
        "range": {"value_range": (10.0, 240.0), **small},
        "auto_range": {"value_range": "auto", **small},
        "lite2": {"backbone": "lite2", **small},
        "min_area": {"min_area": 60.0, "mm_per_pixel": 0.1, **small},
        "rates": {"false_alarm_rate": 0.1, "unsure_rate": 0.3, "limit_margin": 0.05, **small},
        "published": {"published": True, "epochs": 2},
        "published_mask": {"published": True, "epochs": 1, "mask": mask},
        "published_em": {
            "published": True, "epochs": 2, "bank": "kmeans_ema", "bank_follows": True, "gamma_c": 4, "gamma_d": 2,
            "certainty": False, "repulsion_margin": 0.2,
        },
    }  # fmt: skip


def dump(path: Path, data: Path, n_threads: int) -> None:
    arrays: dict[str, np.ndarray] = {}
    good, line, mask = cloth_arrays()
    for name, params in cloth_cases(mask).items():
        start = time.perf_counter()
        record(arrays, f"cloth/{name}", make_model(threads=n_threads, **params).fit(good), line)
        print(f"cloth {name}: {time.perf_counter() - start:.1f} s", flush=True)
    tall = [np.concatenate([np.concatenate([g] * 7, 1)] * 9, 0) for g in good[:4]]  # 1440x1568: worked in tiles
    tall = [t + np.uint8(i) for i, t in enumerate(tall)]
    model = make_model(threads=n_threads, size="full", n_centers=32, max_memory=100).fit(tall[:3])
    record(arrays, "tiles", model, tall[3:])
    print("tiles", flush=True)
    for folder in [data / name for name in SETS if (data / name).is_dir()]:
        train = sorted((folder / "train" / "good").iterdir())[:40]
        test = [p for d in sorted((folder / "test").iterdir()) for p in sorted(d.iterdir())[:5]]
        for name, params in {"adapted": {}, "whitened": {"recipe": "whitened"}, "fast": {"preset": "fast"}}.items():
            record(arrays, f"{folder.name}/{name}", make_model(threads=n_threads, **params).fit(train), test)
        print(folder.name, flush=True)
    np.savez(path, **arrays)


def compare(first: Path, second: Path) -> int:
    a, b = np.load(first), np.load(second)
    if set(a.files) != set(b.files):
        print("different arrays:", sorted(set(a.files) ^ set(b.files)))
        return 1
    wrong = [name for name in a.files if not np.array_equal(a[name], b[name], equal_nan=True)]
    for name in wrong:
        same = a[name].shape == b[name].shape
        print(name, f"differs by up to {np.nanmax(np.abs(a[name] - b[name])):.3g}" if same else "has another shape")
    print(f"{len(a.files)} arrays, {len(wrong)} differ")
    return bool(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("dump", "compare"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.what == "compare":
        sys.exit(compare(*args.files))
    dump(args.files[0], args.data, args.threads)


if __name__ == "__main__":
    main()
