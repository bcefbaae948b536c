"""``cfa-lite watch``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import CfaLiteError, OutputError
from . import options
from .inspecting import ImageWriter, Lines, Task
from .options import PATH
from .rules import RunRules, run_rules
from .waiting import current, tell
from .watched import refuse_missing, tell_other_limits

if TYPE_CHECKING:
    from ..base.detector import Detector
    from ..distributed.executor import Executor
    from ..line.arrivals import Arrival
    from ..line.mqtt import Publisher
    from ..results import Inspection

_N_AT_ONCE = 32  # images between two looks at the folders
_N_PER_WORKER = 32


@click.command()
@click.argument("pairs", metavar="PART FOLDER...", nargs=-1, required=True, type=PATH)
@click.option(
    "--output", type=PATH, metavar="FILE", required=True, help="Write the results to this file: .csv or .jsonl."
)
@options.table_format
@click.option(
    "--journal", type=PATH, metavar="FILE",
    help="Remember here which images are done, on a local disk. By default FILE.journal beside --output.",
)  # fmt: skip
@options.image_folders
@options.arrivals(
    "Time between two looks at the folders. If watchdog is installed, changes of local files are noticed earlier."
)
@click.option("--once", is_flag=True, help="Inspect the images that are there, wait for those being written, and end.")
@click.option(
    "--mqtt", "address", metavar="HOST[:PORT]",
    help="Send a message for each image to this MQTT broker. Environment variables set TLS and the password.",
)  # fmt: skip
@click.option(
    "--mqtt-topic", metavar="TOPIC",
    help="Send to TOPIC/result and TOPIC/health. By default cfa-lite/ and the name of the model, or, with several"
    " models, of the table.",
)  # fmt: skip
@run_rules
@options.threads
@options.workers
@options.dask
def watch(pairs: tuple[Path, ...], output: Path, fmt: str | None, journal: Path | None, maps: Path | None,
          overlays: Path | None, masks: Path | None, core_masks: Path | None, move_to: Path | None, poll: float,
          patience: float, once: bool, address: str | None, mqtt_topic: str | None, rules: RunRules,
          threads: int | None, workers: int | None, scheduler: str | None) -> None:  # fmt: skip
    """Inspect each new image in FOLDER and below with the model PART, once, in the order of arrival.

    Several products have a model and a folder each: PART FOLDER PART FOLDER. Images that are there at the start are
    inspected first, unless an earlier watch with the same --output has done it. A file that is still being written is
    waited for.

    After a crash, a power cut or a stop, start the same command again: each image gets exactly one row. While a disk is
    full or a share is away, images wait.

    Ctrl-C, or the signal TERM, ends the watch after the image at hand. Exit codes: 0 ended, 1 failed, 2 wrong usage.

    \b
    Example:
      cfa-lite watch part.cfa line/ --output results.csv --move-to done/
    """
    from ..line.arrivals import Arrivals
    from ..line.journal import Journal
    from ..line.table import Table
    from ..line.waking import Waker, ended_by_signals, woken_by_changes
    from ..line.watching import Station, Watch
    from ..report import outputs, tables
    from ..report.overlay import RenderedImage
    from ..results import OLDER_FIELDS

    parts, folders = _parts_and_folders(pairs)
    table_format = fmt or tables.format_of(output)
    writer = ImageWriter(maps, overlays, masks, core_masks)
    moved = [move_to] if move_to else []
    _refuse_inputs_as_outputs(folders, [*writer.folders.values(), *moved])
    for folder in folders:
        refuse_missing(folder)
    named = (parts[0] if len(parts) == 1 else output).stem.translate(str.maketrans("+#", "__"))
    publisher = _publisher(address, f"cfa-lite/{named}" if mqtt_topic is None else mqtt_topic)
    models = rules.load_all(parts, threads=1)  # several images at once, each on one thread
    pool = options.executor(workers, scheduler, threads)
    lines, counts = Lines(None), Counter[str]()
    with_maps = bool(writer.folders)

    def write(path: Path, name: Path, result: Inspection) -> None:
        writer.take(Task(path, name), RenderedImage(path, result))

    def show(result: Inspection) -> None:
        counts[result.verdict] += 1
        lines.take(Task(Path(result.path)), RenderedImage(result.path, result))

    def message(identifier: str, arrival: Arrival, result: Inspection) -> bytes:
        from ..line import mqtt

        return mqtt.payload(identifier, parts[arrival.folder].stem, tables.row(result, "jsonl"))

    def exchange() -> None:
        if publisher is not None:
            publisher.exchange(kept)

    def inspect(arrivals: Sequence[Arrival]) -> Iterator[Inspection]:
        return _inspect(models, arrivals, threads) if pool is None else _in_pool(pool, models, arrivals, with_maps)

    beginnings = tables.beginning(table_format), tables.beginning(table_format, OLDER_FIELDS)
    kept = Journal(journal or output.with_name(f"{output.name}.journal"), table_format, *beginnings)
    n_at_once = _N_AT_ONCE if pool is None else _N_PER_WORKER * pool.n_tasks
    told = (message, exchange) if publisher else ()
    station = Station(folders, inspect, write, show, tell, move_to, poll, n_at_once, *told)
    waker = Waker()
    try:
        table = Table(output, kept)
        for folder in (*writer.folders.values(), *moved):
            outputs.make_folder(folder)
    except CfaLiteError:
        kept.discard()
        raise
    tell_other_limits(output, kept, [model.threshold_ for model in models])
    arrivals = Arrivals(folders, [*writer.folders.values(), *moved], kept, patience, tell)
    try:
        with ended_by_signals(waker), woken_by_changes(waker, folders):
            if publisher is not None:
                publisher.start()
            tell(f"watching {', '.join(map(str, folders))}")
            current().close()
            Watch(station, kept, table, arrivals, waker, table_format).run(only_present=once)
    finally:
        if publisher is not None:
            publisher.close(kept)
        table.close()
        kept.close()
    tell(_summary(counts))


def _publisher(address: str | None, topic: str) -> Publisher | None:
    if address is None:
        return None
    try:
        from ..line import mqtt
    except ImportError as error:
        raise CfaLiteError("--mqtt needs paho-mqtt. Install it: pip install 'cfa-lite[station]'") from error
    try:
        return mqtt.Publisher(mqtt.Broker.of(address), topic, tell)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--mqtt") from error


def _summary(counts: Counter[str]) -> str:
    from ..results import VERDICTS

    n = sum(counts.values())
    counted = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    return f"{n} image{'s' * (n != 1)} in this run" + (f": {counted}" if n else "")


def _parts_and_folders(pairs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    if len(pairs) % 2:
        raise click.UsageError("Give a folder for each model: PART FOLDER, or PART FOLDER PART FOLDER.")
    parts, folders = list(pairs[::2]), list(pairs[1::2])
    for folder in folders:
        if folder.is_file():
            raise click.UsageError(f"{folder} is a file. Give a model, and then the folder that it watches.")
    places = [folder.resolve() for folder in folders]
    for i, place in enumerate(places):
        if any(place == other or place in other.parents for other in places[:i] + places[i + 1 :]):
            raise click.UsageError(f"{folders[i]} is, or contains, another watched folder. Watch separate folders.")
    return parts, folders


def _refuse_inputs_as_outputs(folders: Sequence[Path], outputs: Sequence[Path]) -> None:
    watched = {folder.resolve(): folder for folder in folders}
    for output in outputs:
        place = output.resolve()
        for folder, given in watched.items():
            if place == folder or place in folder.parents:
                raise OutputError(
                    f"{output} is the watched folder {given}, or contains it. Choose another folder, which may be"
                    " inside it."
                )


def _inspect(models: Sequence[Detector], arrivals: Sequence[Arrival], n_threads: int | None) -> Iterator[Inspection]:
    from .. import threads

    def one(arrival: Arrival) -> Inspection:
        return next(models[arrival.folder].inspect_many([arrival.path]))

    return threads.ordered_map(one, arrivals, threads.resolve(n_threads))


def _in_pool(
    pool: Executor, models: Sequence[Detector], arrivals: Sequence[Arrival], with_maps: bool
) -> Iterator[Inspection]:
    from ..distributed import jobs

    for folder, images in groupby(arrivals, key=lambda arrival: arrival.folder):
        yield from jobs.inspect_many(pool, models[folder], [image.path for image in images], with_maps)
