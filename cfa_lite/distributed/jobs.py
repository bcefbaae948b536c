"""Images scored and products fitted by a crew: what is handed to it, and what its workers do."""

from __future__ import annotations

import copy
import functools
import math
import os
import pickle
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import parameters
from ..errors import BackboneError, CfaLiteError, WorkerError
from ..estimator import CFA
from ..results import Inspection
from ..training.training_set import Progress
from .executor import Executor

_CHUNK = 8  # images of the default size that a thread takes at once
_CHUNKS = 4  # a worker, at least, while there are images enough: all end at about the same time
_MAP_BYTES = 1 << 28  # of maps that may wait to be written


def inspect_many(crew: Executor, model: CFA, paths: Sequence[Path], with_maps: bool) -> Iterator[Inspection]:
    """``model.inspect_many(paths)`` by a crew; maps, most of what comes back, only if they are wanted.

    Raises like `Executor.map`, and BackboneError if a worker has not the model's network.
    """
    shipped = copy.copy(model)
    shipped.threads = crew.n_threads
    network = model._backbone().spec.path
    if model.backbone is not None and _is_onnx(model.backbone):  # it may have been found beside the .cfa file
        shipped.backbone = crew.path(network)
    h, w = model.training_["largest_px"]
    area_px = h * w * model.scale_**2
    chunk = max(1, round(_CHUNK * parameters.SIZE**2 / area_px)) * crew.n_threads
    chunk = max(1, min(chunk, math.ceil(len(paths) / (_CHUNKS * crew.n_tasks))))
    n_ahead = max(crew.n_tasks, int(_MAP_BYTES / (4 * area_px * chunk))) if with_maps else len(paths)
    chunks = [list(map(crew.path, paths[i : i + chunk])) for i in range(0, len(paths), chunk)]
    task = functools.partial(_score, pickle.dumps(shipped), with_maps, crew.scheduler is not None)
    given = iter(paths)
    try:
        for results in crew.map(task, chunks, n_ahead, lambda chunk: str(chunk[0])):
            for result in results:
                path, sent = os.fspath(next(given)), result.path
                yield result if path == sent else replace(result, path=path, message=result.message.replace(sent, path))
    except WorkerError as error:
        raise WorkerError(f"{error} What is in --output stays, and --resume goes on after it.") from error


def fit(crew: Executor, settings: Mapping[str, Any], products: Sequence[Sequence[Path]]) -> Iterator[CFA | str]:
    """`fit_one` of each product's images by a crew, in order; raises like `Executor.map`."""
    given = {name: settings[name] for name in ("backbone", "mask") if settings[name] is not None}
    theirs = {name: crew.path(Path(value)) for name, value in given.items() if name == "mask" or _is_onnx(value)}
    task = functools.partial(_fit, {**settings, **theirs, "threads": crew.n_threads}, crew.scheduler is not None)
    images = [list(map(crew.path, paths)) for paths in products]
    for made in crew.map(task, images, len(images), lambda paths: str(paths[0])):
        yield made if isinstance(made, str) else made.set_params(**given)


def fit_one(settings: Mapping[str, Any], paths: Sequence[Path], progress: Progress | None = None) -> CFA | str:
    """``CFA(**settings).fit(paths)``, or the message of what is wrong with these images."""
    try:
        return CFA(**settings).fit(paths, progress=progress)
    except (CfaLiteError, ValueError) as error:
        return str(error)


def _is_onnx(backbone: str | os.PathLike) -> bool:
    return Path(backbone).suffix.lower() == ".onnx"


def _score(shipped: bytes, with_maps: bool, elsewhere: bool, paths: list[Path]) -> list[Inspection]:
    try:
        model = _opened(shipped)
    except BackboneError as error:
        raise BackboneError(f"the worker on {socket.gethostname()}: {error}") from error
    results = []
    for path, result in zip(paths, model.inspect_many(paths)):
        if elsewhere and result.status == "error" and not path.exists():
            result = replace(result, message=_unseen(path))
        results.append(result if with_maps else replace(result, map=None))
    return results


@functools.lru_cache(maxsize=2)
def _opened(shipped: bytes) -> CFA:
    model = pickle.loads(shipped)
    model._backbone()
    return model


def _fit(settings: Mapping[str, Any], elsewhere: bool, paths: list[Path]) -> CFA | str:
    unseen = [path for path in paths if elsewhere and not path.exists()]
    return _unseen(unseen[0]) if unseen else fit_one(settings, paths)


def _unseen(path: Path) -> str:
    return (
        f"{path}: the worker on {socket.gethostname()} sees no such file. Put images where all PCs see them under the"
        " same path."
    )
