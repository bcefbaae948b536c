"""cfa-lite in its own process: ``cfa_lite_worker.py METHOD THREADS``. run.py starts it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import _worker

OPTIONS: dict[str, dict[str, Any]] = {"cfa-lite": {}}  # arguments of CFA by method


def open_package() -> dict[str, Any]:
    from cfa_lite import CFA, load

    options, n_threads = OPTIONS[sys.argv[1]], int(sys.argv[2])
    loaded: list[Any] = []

    def fit(good: str, folder: str) -> dict[str, Any]:
        start = time.perf_counter()
        model = CFA(random_state=0, threads=n_threads, **options).fit(good)
        seconds = time.perf_counter() - start
        path = Path(folder) / "part.cfa"
        model.save(path)
        return {"seconds": seconds, "model": str(path), "model_mb": path.stat().st_size / 1e6, "network_mb": 0.0}

    def open_model(model: str) -> dict[str, Any]:
        loaded[:] = [load(model, threads=n_threads)]
        return {}

    def score(path: str, keep_map: str | None = None) -> dict[str, Any]:
        start = time.perf_counter()
        result = loaded[0].inspect(path)
        seconds = time.perf_counter() - start
        if result.map is None:
            raise SystemExit(f"{path} was not scored: {result.message}")
        if keep_map:
            import numpy as np

            np.save(keep_map, result.full_map())
        return {"seconds": seconds, "score": result.score}

    def features(path: str, keep: str) -> dict[str, Any]:
        import numpy as np

        from cfa_lite.features import images
        from cfa_lite.features.backbone import Backbone
        from cfa_lite.features.manifest import find_spec

        image = images.read(path)
        np.savez(keep, *Backbone(find_spec("lite0")).maps(images.to_pixels(image, image.size_px)))
        return {}

    return {"fit": fit, "open": open_model, "score": score, "features": features}


if __name__ == "__main__":
    _worker.serve("cfa-lite", ("numpy", "numba", "onnxruntime", "pillow"), open_package)
