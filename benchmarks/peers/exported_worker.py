"""A model that anomalib exported to ONNX, run by onnxruntime: ``exported_worker.py METHOD THREADS``. run.py starts it.

This is how a model would run on a production line without a GPU, because it needs neither anomalib nor PyTorch. The
graph holds the model with its pre- and post-processing. This script reads the image.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import _worker


def open_package() -> dict[str, Any]:
    import numpy as np
    import onnxruntime
    from PIL import Image

    opened: list[onnxruntime.InferenceSession] = []

    def open_model(model: str) -> dict[str, Any]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(sys.argv[2])
        options.inter_op_num_threads = 1
        opened[:] = [onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])]
        return {}

    def score(path: str, keep_map: str | None = None) -> dict[str, Any]:
        start = time.perf_counter()
        session = opened[0]
        h, w = session.get_inputs()[0].shape[2:]
        image = Image.open(path).convert("RGB").resize((w, h), Image.Resampling.BILINEAR)  # a copy if the size is equal
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / np.float32(255)
        value, score_map = session.run(["pred_score", "anomaly_map"], {"input": pixels})
        seconds = time.perf_counter() - start
        if keep_map:
            np.save(keep_map, score_map.reshape(score_map.shape[-2:]))
        return {"seconds": seconds, "score": float(value[0])}

    return {"open": open_model, "score": score}


if __name__ == "__main__":
    _worker.serve("onnxruntime", ("numpy", "pillow"), open_package)
