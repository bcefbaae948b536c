"""Choosing the outputs of a network: at which of its modules it is cut.

This needs no torch: it works on the names and the shapes that were seen when the network ran once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

PROBE_PX = (448, 224)  # height and width: multiples of 14 and of 32; not square, so that layouts cannot be mixed up
STRIDES = (4, 8, 16)
_SHOWN = "--list shows the modules that can be an output."


class ExportError(Exception):
    """The network cannot be exported. The message says why and what to do."""


class Seen(NamedTuple):
    """What a module gave for an image of `PROBE_PX`: the name of the module in the network, and the shape."""

    module: str
    shape: tuple[int, ...]


class Output(NamedTuple):
    """An output of the cut network: the module, its channels, its stride in pixels, and whether it gives tokens."""

    module: str
    channels: int
    stride: int
    is_tokens: bool = False


def as_output(seen: Seen, n_prefix: int = 0) -> Output | None:
    """Return the output that a module would make, or None if it gives no feature map.

    Parameters
    ----------
    seen : Seen
        A feature map has the shape (1, channels, height, width). Tokens of a transformer have the shape
        (1, n_tokens, channels).
    n_prefix : int
        Number of tokens before those of the patches: class token and registers.
    """
    h, w = PROBE_PX
    if len(seen.shape) == 4:
        _, channels, rows, columns = seen.shape
        if rows and columns and h % rows == 0 and h // rows * columns == w:
            return Output(seen.module, channels, h // rows)
    if len(seen.shape) == 3 and seen.shape[1] > n_prefix:
        _, n_tokens, channels = seen.shape
        stride = math.isqrt(h * w // (n_tokens - n_prefix))
        if stride and h % stride == w % stride == 0 and (h // stride) * (w // stride) == n_tokens - n_prefix:
            return Output(seen.module, channels, stride, is_tokens=True)
    return None


def default_outputs(seen: Sequence[Seen], n_prefix: int = 0) -> list[Output]:
    """Choose the outputs: of a CNN, the last module at each of the strides 4, 8 and 16; of a ViT, its last tokens.

    The modules of a CNN are those of one depth of the tree of modules: the smallest depth that has most of the
    strides. So the stages are chosen, and not the layers in them. These are layer1 to layer3 of a ResNet.

    Parameters
    ----------
    seen : sequence of Seen
        In the order in which the modules finished.
    n_prefix : int
        See `as_output`.

    Raises
    ------
    ExportError
        If there is neither.
    """
    found = [output for one in seen if one.module and (output := as_output(one, n_prefix))]
    of_depth: dict[int, dict[int, Output]] = {}
    for output in found:
        if not output.is_tokens and output.stride in STRIDES:
            of_depth.setdefault(output.module.count("."), {})[output.stride] = output
    if of_depth:
        best = max(of_depth, key=lambda depth: (len(of_depth[depth]), -depth))
        if len(of_depth[best]) > 1:
            return [of_depth[best][stride] for stride in STRIDES if stride in of_depth[best]]
    tokens = [output for output in found if output.is_tokens]
    if tokens:
        depth = min(output.module.count(".") for output in tokens)
        return [[output for output in tokens if output.module.count(".") == depth][-1]]
    raise ExportError(
        "no outputs could be chosen: no modules give feature maps at two of the strides 4, 8 and 16, and none gives the"
        f" tokens of a transformer. Name the modules with --outputs. {_SHOWN}"
    )


def named_outputs(seen: Sequence[Seen], names: Sequence[str], n_prefix: int = 0) -> list[Output]:
    """Return the outputs that a user named, in the order in which the network computes them.

    Raises
    ------
    ExportError
        If a module does not exist, runs more than once, or gives no feature map.
    """
    shapes: dict[str, list[Seen]] = {}
    for one in seen:
        shapes.setdefault(one.module, []).append(one)
    if len(set(names)) < len(names):
        raise ExportError(f"--outputs {','.join(names)} names a module twice.")
    outputs = {}
    for name in names:
        if name not in shapes:
            raise ExportError(f"no module called {name!r} runs in this network. {_SHOWN}")
        if len(shapes[name]) > 1:
            raise ExportError(f"module {name!r} runs {len(shapes[name])} times, so it cannot be an output.")
        output = as_output(shapes[name][0], n_prefix)
        if output is None:
            h, w = PROBE_PX
            raise ExportError(
                f"module {name!r} gives no feature map: for an image of {w}x{h} px its shape is"
                f" {shapes[name][0].shape}, not (1, channels, height / stride, width / stride). {_SHOWN}"
            )
        outputs[name] = output
    return [outputs[name] for name in shapes if name in outputs]
