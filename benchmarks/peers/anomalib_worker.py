"""anomalib in its own process: ``anomalib_worker.py METHOD THREADS``. run.py starts it.

It calls the public interface of anomalib and changes two things: the network of Cfa, and the weights of the network of
the other methods, which would be downloaded from a hub.
"""

from __future__ import annotations

import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _worker

STRIDES = {"PatchCore": (8, 16), "PatchCore-4": (4, 8, 16), "PaDiM": (4, 8, 16), "Cfa": (4, 8, 16)}
MEAN, STD = 127 / 255, 128 / 255  # values of the code that trained the weights, for pixels from 0 to 1
SIDE_PX = 256
CORESET_RATIO = 0.01
PADIM_FEATURES = 100
BATCH_SIZE = {"Cfa": 4}  # as published; 32, the default of anomalib, would take 7 GB of memory


def open_package() -> dict[str, Any]:
    warnings.filterwarnings("ignore")
    import torch

    if "+cpu" in version("torch") and "+" not in version("torchvision"):
        # With a CPU build of torch, PyPI's torchvision cannot load its CUDA operators, and fails when it registers a
        # shape function for these two. Nothing here calls them.
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou) -> Tensor")
    import anomalib.models  # noqa: F401  what a user imports; the caller measures its time
    from anomalib.data.utils import read_image

    method, n_threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(n_threads)
    loaded: list[torch.nn.Module] = []

    def fit(good: str, folder: str, epochs: int) -> dict[str, Any]:
        from anomalib.data import Folder
        from anomalib.engine import Engine
        from lightning import seed_everything

        seed_everything(0)
        start = time.perf_counter()
        model = make_model(method)
        images = Folder(
            name="good", root=Path(good).parent, normal_dir=Path(good).name, num_workers=0,
            train_batch_size=BATCH_SIZE.get(method, 32), test_split_mode="none", val_split_mode="none",
        )  # fmt: skip
        engine = Engine(
            default_root_dir=folder, accelerator="cpu", devices=1, max_epochs=epochs, limit_val_batches=0,
            enable_progress_bar=False,
        )  # fmt: skip
        engine.fit(model, datamodule=images)
        seconds = time.perf_counter() - start
        n_used, n_given = len(images.train_data), sum(1 for _ in Path(good).iterdir())
        if n_used != n_given:
            raise SystemExit(f"anomalib used {n_used} of {n_given} images")
        path = model.to_torch(folder)
        loaded[:] = [model]
        network = model.model.feature_extractor.state_dict().values()
        network_mb = sum(values.numel() * values.element_size() for values in network) / 1e6
        return {
            "seconds": seconds,
            "model": str(path),
            "model_mb": path.stat().st_size / 1e6,
            "network_mb": network_mb,
        }

    def export(folder: str) -> dict[str, Any]:
        # without dynamic shapes, onnxruntime can plan for one image at a time
        path = loaded[0].to_onnx(folder, input_size=(SIDE_PX, SIDE_PX), dynamic_shapes=None)
        files = [path, *path.parent.glob(f"{path.name}.data")]  # the exporter may put the weights in a second file
        return {"model": str(path), "model_mb": sum(file.stat().st_size for file in files) / 1e6}

    def open_model(model: str) -> dict[str, Any]:
        loaded[:] = [torch.load(model, weights_only=False)["model"].eval()]  # as anomalib's TorchInferencer does
        return {}

    @torch.inference_mode()
    def score(path: str, keep_map: str | None = None) -> dict[str, Any]:
        start = time.perf_counter()
        found = loaded[0](read_image(path, as_tensor=True)[None])
        value, score_map = float(found.pred_score), found.anomaly_map.numpy()
        seconds = time.perf_counter() - start
        if keep_map:
            import numpy as np

            np.save(keep_map, score_map.reshape(score_map.shape[-2:]))
        return {"seconds": seconds, "score": value}

    @torch.inference_mode()
    def features(path: str, keep: str) -> dict[str, Any]:
        import numpy as np
        from lite0_torch import LAYERS

        model = make_model("PaDiM")
        maps = model.model.feature_extractor(model.pre_processor(read_image(path, as_tensor=True)[None]))
        np.savez(keep, *(maps[layer][0].numpy() for layer in LAYERS.values()))
        return {}

    return {"fit": fit, "export": export, "open": open_model, "score": score, "features": features}


def make_model(method: str) -> Any:
    """Return the method with its default arguments, except for network, image reader and the options of run.py."""
    from anomalib.models import Cfa, Padim, Patchcore
    from anomalib.pre_processing import PreProcessor
    from lite0_torch import LAYERS, NETWORK, give_weights
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    size = Resize((SIDE_PX, SIDE_PX), antialias=True)
    parts: dict[str, Any] = {
        "pre_processor": PreProcessor(transform=Compose([size, Normalize(mean=[MEAN] * 3, std=[STD] * 3)])),
        "evaluator": False,
        "visualizer": False,
    }
    if method == "Cfa":
        return make_cfa(Cfa, parts)
    parts |= {"backbone": NETWORK, "layers": [LAYERS[stride] for stride in STRIDES[method]], "pre_trained": False}
    if method == "PaDiM":
        model = Padim(n_features=PADIM_FEATURES, **parts)
    else:
        model = Patchcore(coreset_sampling_ratio=CORESET_RATIO, **parts)
    give_weights(model.model.feature_extractor.feature_extractor)
    return model


def make_cfa(cfa: type, parts: dict[str, Any]) -> Any:
    """Return Cfa with our network in place of one of the four networks that it knows by name."""
    from anomalib.models.image.cfa import torch_model
    from lite0_torch import CHANNELS, NamedMaps

    torch_model.get_feature_extractor = lambda backbone, names: NamedMaps(names)
    model = cfa(backbone="resnet18", **parts)
    n_channels = sum(CHANNELS.values())
    model.model.descriptor.layer = torch_model.CoordConv2d(n_channels, n_channels, kernel_size=1)
    return model


if __name__ == "__main__":
    _worker.serve("anomalib", ("torch", "torchvision", "timm", "lightning", "numpy", "pillow"), open_package)
