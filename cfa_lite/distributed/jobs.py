"""Jobs of an executor: inspect many images, or fit many products."""

from __future__ import annotations

import copy
import functools
import math
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from .. import parameters
from ..base.detector import Detector
from ..errors import BackboneError, CfaLiteError, WorkerError
from ..results import Inspection
from ..training.training_set import Progress
from .executor import Executor

_CHUNK = 8  # images of the default size in one task, per thread
_MIN_CHUNKS = 4  # per worker if there are enough images, so that all workers finish at about the same time
_MAP_BYTES = 1 << 28  # of maps that may wait to be written


def inspect_many(executor: Executor, model: Detector, paths: Sequence[Path], with_maps: bool) -> Iterator[Inspection]:
    """Inspect images with an executor, as ``model.inspect_many(paths)`` does in this process.

    Parameters
    ----------
    executor : Executor
    model : CFA or PublishedCFA
        Fitted.
    paths : sequence of Path
    with_maps : bool
        Whether results have their anomaly maps. Maps are most of the data that workers send back.

    Yields
    ------
    Inspection
        In the order of `paths`.

    Raises
    ------
    WorkerError
        As for `Executor.map`.
    BackboneError
        If a worker does not have the backbone of the model.
    """
    shipped = copy.copy(model)
    shipped.threads = executor.n_threads
    backbone = model.open_backbone()
    if _is_onnx(model.fitted_.backbone):  # the file may have been found beside the .cfa file
        shipped.fitted_ = replace(model.fitted_, backbone=os.fspath(executor.worker_path(backbone.spec.path)))
    h, w = model.fitted_.statistics.largest_px
    area_px = h * w * model.scale_**2
    chunk = max(1, round(_CHUNK * parameters.DEFAULT_SIZE_PX**2 / area_px)) * executor.n_threads
    chunk = max(1, min(chunk, math.ceil(len(paths) / (_MIN_CHUNKS * executor.n_tasks))))
    n_ahead = max(executor.n_tasks, int(_MAP_BYTES / (4 * area_px * chunk))) if with_maps else len(paths)
    chunks = [list(map(executor.worker_path, paths[i : i + chunk])) for i in range(0, len(paths), chunk)]
    task = functools.partial(_inspect, pickle.dumps(shipped), with_maps, executor.scheduler is not None)
    given = iter(paths)
    try:
        for results in executor.map(task, chunks, n_ahead, lambda chunk: str(chunk[0])):
            for result in results:
                path, sent = os.fspath(next(given)), result.path
                yield result if path == sent else replace(result, path=path, message=result.message.replace(sent, path))
    except WorkerError as error:
        raise WorkerError(f"{error} The rows in --output are kept. --resume continues after them.") from error


def fit(executor: Executor, model: Detector, products: Sequence[Sequence[Path]]) -> Iterator[Detector | str]:
    """Fit a model to each of many products with an executor.

    Parameters
    ----------
    executor : Executor
    model : CFA or PublishedCFA
        Not fitted; its parameters apply to every product. `backbone` and `mask` are names or paths.
    products : sequence of sequence of Path
        The good images of each product.

    Yields
    ------
    CFA, PublishedCFA or str
        As `fit_one`, in the order of `products`.

    Raises
    ------
    WorkerError
        As for `Executor.map`.
    """
    names = {name: value for name, value in model.get_params().items() if name in ("backbone", "mask") and value}
    files = {
        name: executor.worker_path(Path(value)) for name, value in names.items() if name == "mask" or _is_onnx(value)
    }
    shipped = copy.copy(model).set_params(**files, threads=executor.n_threads)
    task = functools.partial(_fit, shipped, executor.scheduler is not None)
    images = [list(map(executor.worker_path, paths)) for paths in products]
    for made in executor.map(task, images, len(images), lambda paths: str(paths[0])):
        if not isinstance(made, str):  # a model holds the paths that the user gave
            made.set_params(**names)
            given = {name: os.fspath(value) for name, value in names.items()}
            product = replace(made.fitted_, params={**made.fitted_.params, **given})
            made.fitted_ = replace(product, backbone=given.get("backbone", product.backbone))
        yield made


def fit_one(model: Detector, paths: Sequence[Path], progress: Progress | None = None) -> Detector | str:
    """Fit a copy of a model to the good images of one product.

    Parameters
    ----------
    model : CFA or PublishedCFA
        Not fitted. It is not changed.
    paths : sequence of Path
    progress : callable, optional

    Returns
    -------
    CFA, PublishedCFA or str
        The fitted model, or a message that says why the images cannot be used.
    """
    try:
        return copy.copy(model).fit(paths, progress=progress)
    except (CfaLiteError, ValueError) as error:
        return str(error)


def _is_onnx(backbone: str | os.PathLike[str]) -> bool:
    return Path(backbone).suffix.lower() == ".onnx"


def _inspect(shipped: bytes, with_maps: bool, on_cluster: bool, paths: list[Path]) -> list[Inspection]:
    try:
        model = _open(shipped)
    except BackboneError as error:
        raise BackboneError(f"the worker on {socket.gethostname()}: {error}") from error
    results = []
    for path, result in zip(paths, model.inspect_many(paths)):
        if on_cluster and result.status == "error" and not path.exists():
            result = replace(result, message=_not_visible(path))
        results.append(result if with_maps else replace(result, map=None))
    return results


@functools.lru_cache(maxsize=2)
def _open(shipped: bytes) -> Detector:
    model: Detector = pickle.loads(shipped)
    model.open_backbone()
    return model


def _fit(model: Detector, on_cluster: bool, paths: list[Path]) -> Detector | str:
    missing = [path for path in paths if on_cluster and not path.exists()]
    return _not_visible(missing[0]) if missing else fit_one(model, paths)


def _not_visible(path: Path) -> str:
    return (
        f"{path}: the worker on {socket.gethostname()} cannot find this file. Put the images where all computers"
        " find them under the same path."
    )
