"""Options of the commands. Those that set parameters of an estimator are made from the table of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..parameter_types import Parameter
from ..parameters import SHARED

if TYPE_CHECKING:
    from ..base.detector import Detector
    from ..distributed.executor import Executor

Command = Callable[..., Any]

PATH = click.Path(path_type=Path)
EXIT_FAILED, EXIT_ANOMALY, EXIT_NOT_INSPECTED, EXIT_DRIFT, EXIT_STOPPED = 1, 3, 4, 5, 130
_ALSO = {"value_range": ("--range",)}  # other spellings of an option, by the name of its parameter


def size(value: str) -> int | str:
    """Convert the text of an option to a whole number, or "full"."""
    try:
        return "full" if value == "full" else int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a whole number nor 'full'.") from None


def value_range(value: str) -> tuple[float, float] | str:
    """Convert the text of an option to two numbers with a comma between them, or "auto"."""
    if value == "auto":
        return "auto"
    try:
        low, high = (float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither LOW,HIGH, such as 0,4095, nor 'auto'.") from None
    return low, high


class ParameterOption(click.Option):
    """An option that names the section of the help in which it is shown; "" is the section of all other options."""

    def __init__(self, *names: Any, section: str = "", **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


class ManyOption(click.Option):
    """An option that takes all values up to the next option: ``--defects a b`` is ``--defects a --defects b``."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        super().__init__(*names, **{**settings, "multiple": True})


class SectionedCommand(click.Command):
    """A command whose help shows `ParameterOption` options by section, and that may have `ManyOption` options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with the name of a `ManyOption` before each of its values."""
        many = {name for p in self.params if isinstance(p, ManyOption) for name in p.opts}
        parsed: list[str] = []
        name, n_values = "", 0
        for i, arg in enumerate(args):
            if arg == "--":
                parsed += args[i:]
                break
            if arg.startswith("-") and arg != "-":
                name, n_values = (arg if arg in many else ""), 0
                parsed.append(arg)
            else:
                parsed += [name, arg] if name and n_values else [arg]
                n_values += 1
        return super().parse_args(ctx, parsed)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a section first."""
        sections: dict[str, list[tuple[str, str]]] = {"": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(param, "section", ""), []).append(record)
        for title, records in sections.items():
            with formatter.section(title or "Options"):
                formatter.write_dl(records)


def flag_of(parameter: Parameter) -> str:
    """Return the option that sets a parameter, such as "--n-centers"."""
    return f"--{parameter.option or parameter.name.replace('_', '-')}"


def together(added: Iterable[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Return a decorator that adds several options to a command, in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(list(added)):
            command = option(command)
        return command

    return decorate


def of_table(table: Iterable[Parameter], *, section: str = "", kept: str = "") -> Callable[[Command], Command]:
    """Decorate a command with the options of parameters, in the order of the table.

    Parameters
    ----------
    table : iterable of Parameter
    section : str
        Section of the help; by default the one of all other options.
    kept : str
        Where a value comes from if the option is not given, such as "as in the model". The option is then None. By
        default it has the default of the table.

    Returns
    -------
    callable
        Decorates a command. The command takes each value under the name of the parameter.
    """
    return together([_option(parameter, section, kept) for parameter in table])


def named(*names: str) -> list[Parameter]:
    """Return the parameters of both estimators that have these names."""
    return [parameter for parameter in SHARED if parameter.name in names]


def _option(parameter: Parameter, section: str, kept: str) -> Callable[[Command], Command]:
    flag = flag_of(parameter)
    if parameter.kind == "flag":
        flag += f"/--no-{flag[2:]}"
    settings: dict[str, Any] = {"help": parameter.help, "default": parameter.default, "show_default": True}
    if kept:
        settings |= {"help": f"{parameter.help} By default {kept}.", "default": None, "show_default": False}
    if parameter.kind != "flag":
        settings |= {"type": _type_of(parameter), "metavar": _METAVARS.get(parameter.kind)}
    names = (flag, *_ALSO.get(parameter.name, ()), parameter.name)
    return click.option(*names, cls=ParameterOption, section=section, **settings)


_METAVARS = {
    "text": "REGEX", "path": "NAME|FILE.ONNX", "mask": "FILE", "size": "SIDE|full", "range": "LOW,HIGH|auto",
}  # fmt: skip


def _type_of(parameter: Parameter) -> Any:
    high = None if math.isinf(parameter.high) else parameter.high
    makers: dict[str, Callable[[], Any]] = {
        "integer": lambda: click.IntRange(int(parameter.low), None if high is None else int(high)),
        "number": lambda: click.FloatRange(parameter.low, high, min_open=parameter.is_open),
        "rate": lambda: click.FloatRange(0, 1, min_open=True, max_open=True),
        "choice": lambda: click.Choice(parameter.choices),
        "text": lambda: click.STRING,
        "path": lambda: click.STRING,
        "mask": lambda: PATH,
        "size": lambda: size,
        "range": lambda: value_range,
    }
    return makers[parameter.kind]()


defects = click.option(
    "--defects", cls=ManyOption, type=PATH, metavar="BAD...",
    help="Folders or files of defective images to learn from. Sub-folders of BAD name the kinds of defects.",
)  # fmt: skip
defect_masks = click.option(
    "--defect-masks", type=PATH, metavar="DIR",
    help="Masks of these defects, which may be rough: DIR/KIND/STEM_mask.png for BAD/KIND/STEM.png. Without a mask, the"
    " most anomalous places of an image are taken.",
)  # fmt: skip
table_format = click.option(
    "--format",
    "fmt",
    type=click.Choice(["csv", "csv-semicolon", "jsonl"]),
    help="Format of the results; by default that of the ending of FILE. csv-semicolon opens in Excel where the decimal"
    " mark is a comma.",
)
threads = of_table(named("threads"))
max_megapixels = of_table(named("max_megapixels"), kept="as in the model")
workers = click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Number of local processes. They share the --threads."
)
dask = click.option(
    "--dask",
    "scheduler",
    metavar="HOST:PORT",
    help="Use the Dask cluster of this scheduler. Its computers must have the images under the same paths."
    " --threads is then the number of threads of one task, 1 by default.",
)
moved_backbone = click.option(
    "--backbone", type=PATH, metavar="FILE.ONNX", help="Path of your own backbone, if it has moved."
)
sensitivity = click.option(
    "--sensitivity", type=click.FloatRange(0, min_open=True), metavar="X", help="Multiply all scores by X."
)
threshold = click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    metavar="RAW",
    help="Set the limit of the raw score by hand.",
)


def override(model: Detector, **given: Any) -> None:
    """Set parameters of a loaded model that the command line gives; None keeps that of the model."""
    model.set_params(**{name: value for name, value in given.items() if value is not None})


def adjust(model: Detector, sensitivity: float | None, threshold: float | None) -> None:
    """Move the limits of a loaded model if the command line asks for it.

    Raises
    ------
    click.UsageError
        If both are given, or one is not allowed.
    """
    if sensitivity is None and threshold is None:
        return
    try:
        model.adjust(sensitivity=sensitivity, threshold=threshold)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def executor(n_workers: int | None, scheduler: str | None, n_threads: int | None) -> Executor | None:
    """Return the process pool that the command line asks for, or None. It is closed when the command ends.

    Raises
    ------
    click.UsageError
        If both kinds are asked for.
    """
    if n_workers is None and scheduler is None:
        return None
    if n_workers is not None and scheduler is not None:
        raise click.UsageError("--workers uses local processes and --dask uses a cluster. Give only one of them.")
    from ..distributed.executor import Executor

    return click.get_current_context().with_resource(Executor(n_workers, scheduler, n_threads))


_IMAGE_FOLDERS = (
    click.option(
        "--maps", type=PATH, metavar="DIR",
        help="Write anomaly maps: 32-bit TIFF of the image's size. 1.0 is the limit.",
    ),
    click.option(
        "--overlays", type=PATH, metavar="DIR", help="Write PNG files that show the image and its anomaly map."
    ),
    click.option(
        "--masks", type=PATH, metavar="DIR", help="Write the regions above the limit: 8-bit PNG, 255 inside."
    ),
    click.option(
        "--core-masks", type=PATH, metavar="DIR",
        help="Write the cores of the regions, where the map is above two thirds of the region's peak: 8-bit PNG, 255"
        " inside.",
    ),
)  # fmt: skip


image_folders = together(_IMAGE_FOLDERS)


def arrivals(poll_help: str) -> Callable[[Command], Command]:
    """Add --move-to, --poll and --patience to a command that watches folders."""
    return together(
        (
            click.option(
                "--move-to", type=PATH, metavar="DIR",
                help="Move each inspected image to DIR/OK, DIR/UNSURE, DIR/NG, ...",
            ),
            click.option(
                "--poll", type=click.FloatRange(0.01), default=0.5, show_default=True, metavar="SECONDS",
                help=poll_help,
            ),
            click.option(
                "--patience", type=click.FloatRange(0), default=10.0, show_default=True, metavar="SECONDS",
                help="A file that cannot be read as an image becomes an ERROR when it has not changed for this time.",
            ),
        )
    )  # fmt: skip
