"""The table of parameters: constructor documentation, checks, command-line options and ``info`` read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .parameter_types import Parameter


@dataclass(frozen=True)
class Preset:
    """What a preset stands for: values of parameters that are None."""

    backbone: str
    size: int
    n_centers: int
    n_scales: int


PRESETS = {  # the most accurate first
    "thorough": Preset("lite0", 448, 1024, 3),
    "accurate": Preset("lite0", 256, 1024, 2),
    "balanced": Preset("lite0-int8", 256, 1024, 2),
    "fast": Preset("lite0-int8", 192, 512, 2),
}
DEFAULT_SIZE_PX = PRESETS["accurate"].size
MAX_SCALES = 3

_BACKBONE = Parameter(
    "backbone", "path", None,
    "Name of a shipped CNN (lite0, lite0-int8, lite2), or path of an ONNX file with its manifest entry "
    "(.json) beside it.",
    optional=True,
)  # fmt: skip

NO_GROUPS = "none"  # value of group_by
MAX_MEGAPIXELS = 200  # of an image file

SHARED = (
    Parameter("false_alarm_rate", "rate", 0.01, "Highest probability that a good image is NG.", when="limits"),
    Parameter(
        "unsure_rate", "rate", None,
        "Highest probability that a good image is NG or UNSURE. By default 0.05; with 20 to 58 good images 3 / (n + 1),"
        " so that UNSURE starts at their third highest score.",
        optional=True, when="limits",
    ),
    Parameter("limit_margin", "number", 0.0, "Share by which both limits are raised.", when="limits"),
    Parameter(
        "group_by", "text", None,
        "Regular expression. Images whose file names have the same match (the same groups, if the expression has any)"
        " were taken together and count as one. Without it, fit looks for such an expression in the file names;"
        " none turns this off.",
        optional=True, when="limits",
    ),
    Parameter(
        "min_area", "number", 0.0,
        "Smallest area of a region, in pixels of the image. Smaller regions do not make an image NG.",
        when="inspection",
    ),
    Parameter(
        "mm_per_pixel", "number", None,
        "Size of an image pixel. Regions then have an area in square millimeters.",
        is_open=True, optional=True, when="inspection",
    ),
    Parameter(
        "mask", "mask", None,
        "Inspection mask of the images' size: white is inspected, black is ignored.",
        optional=True,
    ),
    Parameter(
        "value_range", "range", None,
        'Values that are black and white in images of more than 8 bits. "auto" takes the lowest and the highest '
        "value of the good images. By default 16-bit images have the range 0 to 65535.",
        optional=True,
    ),
    Parameter(
        "align", "flag", False,
        "Whether images are moved to where the good images lie, by whole pixels of the working size. For parts that are"
        " placed alike but not exactly.",
    ),
    Parameter(
        "checks", "flag", True,
        "Whether an image that cannot show the product (blank, far darker, brighter or more blurred than every "
        "good image, gray where all are in color, or of another size) is INVALID. Such images among the good ones are "
        "left out of the fit.",
        when="inspection",
    ),
    Parameter(
        "max_megapixels", "number", MAX_MEGAPIXELS,
        "Largest image file that is read, in millions of pixels. Reading takes 1 byte of memory per pixel if it is"
        " gray, 4 to 8 in color, 12 to 24 for 16 bits and with a value range. A larger file is an ERROR.",
        is_open=True, when="inspection",
    ),
    Parameter("random_state", "integer", 0, "Seed. The same seed and images give the same model.", option="seed"),
    Parameter(
        "threads", "integer", None,
        "Number of threads. By default all cores that the process may use, less one if there are four or more.",
        low=1, optional=True, when="machine",
    ),
    Parameter(
        "max_memory", "number", 500,
        "Megabytes of features that fit keeps in memory. It writes the rest to a temporary file.",
        when="machine",
    ),
)  # fmt: skip

CFA_PARAMETERS = (
    Parameter(
        "recipe", "choice", "adapted",
        'How the descriptor is made: "whitened" is a shrunk whitening; "adapted" also trains it a little where '
        "synthetic defects show that it helps.",
        choices=("adapted", "whitened"),
    ),
    Parameter(
        "preset", "choice", "accurate",
        'Sets backbone, n_centers, size and n_scales where they are not given. "balanced" takes three quarters of '
        'the time and is hardly less accurate. "fast" takes half of the time and suits larger defects. "thorough" is '
        "for images larger than 256x256 pixels: it sees smaller defects, and takes three times the time.",
        choices=tuple(PRESETS),
    ),
    _BACKBONE,
    Parameter(
        "n_centers", "integer", None,
        "Centers in the memory bank of each level. By default the preset decides.",
        low=1, optional=True,
    ),
    Parameter(
        "shrinkage", "number", 0.1,
        "Share of the mean eigenvalue that is added to each eigenvalue before whitening.",
        is_open=True,
    ),
    Parameter(
        "background_share", "number", 0.25,
        "Share of an image's own median distance that is subtracted from its map and score.",
        high=1,
    ),
    Parameter(
        "outliers", "choice", "auto",
        'Use of outliers among the good images. "auto": neither for the memory bank nor for the limits, but the '
        'promised rate covers them. "count": for the limits, but not for the memory bank. "drop": for neither, nor is '
        'the rate promised for them. "keep": for both.',
        choices=("auto", "count", "drop", "keep"),
    ),
    Parameter(
        "size", "size", None,
        "Working size: images keep their proportions, and the median image gets the area of a square with this "
        "side. \"full\" keeps the images' own size. By default the preset decides.",
        optional=True,
    ),
    Parameter(
        "n_scales", "integer", None,
        "Number of scales at which images are seen: the working size, half of it, a quarter of it. By default the"
        " preset decides.",
        low=1, high=MAX_SCALES, optional=True,
    ),
    Parameter(
        "smallest_defect", "number", None,
        "Diameter of the smallest defect in image pixels. The working size grows until such a defect is visible.",
        is_open=True, optional=True,
    ),
    *SHARED,
)  # fmt: skip

PUBLISHED_PARAMETERS = (
    _BACKBONE,
    Parameter("n_neighbors", "integer", 3, "K, the number of nearest centers that attract.", low=1),
    Parameter("n_hard_negatives", "integer", 3, "J, the number of next centers that repel."),
    Parameter("radius", "number", 1e-05, "Initial radius r. It is trained.", is_open=True),
    Parameter("repulsion_margin", "number", 0.1, "Margin alpha of the repulsion."),
    Parameter("nu", "number", 0.001, "Divides the loss.", is_open=True),
    Parameter("learning_rate", "number", 0.001, "Learning rate of AdamW.", is_open=True),
    Parameter("weight_decay", "number", 0.0005, "Weight decay of AdamW."),
    Parameter("epochs", "integer", 30, "Number of epochs. The model of the last epoch is used."),
    Parameter("batch_size", "integer", 4, "Images per step.", low=1),
    Parameter("gamma_c", "integer", 1, "Grid positions per center.", low=1),
    Parameter("gamma_d", "integer", 1, "Feature channels per descriptor channel.", low=1),
    Parameter(
        "bank", "choice", "position_mean",
        "Memory bank: the position means of the authors' code, or K-means with Algorithm 1 of the paper.",
        choices=("position_mean", "kmeans_ema"),
    ),
    Parameter("ema_rate", "number", 0.05, "Weight of the new value in the moving average of bank kmeans_ema.", high=1),
    Parameter("bank_follows", "flag", False, "Whether bank kmeans_ema continues while the descriptor trains."),
    Parameter("certainty", "flag", True, "Whether the nearest distance is weighted by softmin, as published."),
    *SHARED,
)  # fmt: skip


def documentation(table: tuple[Parameter, ...]) -> str:
    """Return the Parameters section of a constructor's docstring."""
    lines = []
    for p in table:
        lines += [f"    {p.name} : {p.type_text()}, default: {p.default!r}", f"        {p.help}"]
    return "\n".join(lines).strip()


def resolved(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with those that are None taken from the preset.

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    next(p for p in CFA_PARAMETERS if p.name == "preset").check(params["preset"])
    preset = PRESETS[params["preset"]]
    given = {name: getattr(preset, name) if params[name] is None else params[name] for name in vars(preset)}
    return {**params, **given}


def check(table: tuple[Parameter, ...], params: Mapping[str, Any]) -> None:
    """Check the values of all parameters.

    Raises
    ------
    ValueError
        If a value is out of its range or two of them contradict each other.
    """
    for parameter in table:
        parameter.check(params[parameter.name])
    if params["unsure_rate"] is not None and params["unsure_rate"] < params["false_alarm_rate"]:
        raise ValueError(
            f"unsure_rate={params['unsure_rate']!r} is below false_alarm_rate={params['false_alarm_rate']!r}. UNSURE"
            " includes NG here, so its rate must be at least as high."
        )
    if params.get("bank_follows") and params["bank"] != "kmeans_ema":
        raise ValueError("bank_follows=True needs bank='kmeans_ema'. The position means never move.")


def with_other_limits(
    table: tuple[Parameter, ...], params: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters with those of the limits replaced that are given and not None, and check them.

    Raises
    ------
    TypeError
        If one of them does not belong to the limits.
    ValueError
        If a value is out of its range.
    """
    if unknown := sorted(set(given) - {p.name for p in table if p.when == "limits"}):
        raise TypeError(f"{', '.join(unknown)} cannot be changed after fit.")
    changed = {**params, **{name: value for name, value in given.items() if value is not None}}
    check(table, changed)
    return changed
