"""``cfa-lite station``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import CfaLiteError, OutputError
from . import listening, options
from .listening import TOKEN
from .options import PATH
from .waiting import current, tell
from .watched import refuse_missing

PIN = "CFA_LITE_PIN"
_MIN_PIN = 4  # characters


@click.command()
@click.argument("part", type=PATH)
@click.option(
    "--watch", "watched", type=PATH, required=True, metavar="FOLDER", help="Inspect each new image in FOLDER and below."
)
@click.option(
    "--good", type=PATH, metavar="DIR",
    help="Good images for teaching: those of the fit. Images that are marked as good are added to them.",
)  # fmt: skip
@click.option(
    "--folder", type=PATH, metavar="DIR",
    help="Keep decisions, models and results here, on a local disk. By default PART.station beside PART.",
)  # fmt: skip
@click.option(
    "--output", type=PATH, metavar="FILE", help="Write the results to this .csv or .jsonl. By default DIR/results.csv."
)
@options.arrivals("Time between two looks at the folder, as for `watch`.")
@click.option(
    "--max-gb", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, metavar="GB",
    help="Size of the copies of decided images. The oldest make room for new ones.",
)  # fmt: skip
@click.option(
    "--pin-file", type=PATH, metavar="FILE",
    help=f"Read the PIN of engineers, who teach, accept and roll back, from FILE, not from {PIN}.",
)  # fmt: skip
@listening.address_options(8766, "signing in needs")
@options.threads
def station(part: Path, watched: Path, good: Path | None, folder: Path | None, output: Path | None,
            move_to: Path | None, poll: float, patience: float, max_gb: float, pin_file: Path | None, host: str,
            port: int, allow_remote: bool, token_file: Path | None, threads: int | None) -> None:  # fmt: skip
    """Watch a folder and show a page for the line, on which people decide about images and teach the model PART.

    The page shows the newest image with its verdict, and the images that are NG or UNSURE until somebody decides: good,
    a defect of some kind, or skip. An engineer teaches the decisions, compares before and after, and accepts the new
    model or throws it away. PART is then the new model; every older one is kept, and one click brings it back.

    It needs: pip install 'cfa-lite[station]'. Ctrl-C, or the signal TERM, ends it after the image at hand. After a
    crash, start the same command again: no result and no decision is lost.

    \b
    Example:
      cfa-lite station part.cfa --watch line/ --good good/
    """
    token = listening.secret(token_file, TOKEN, "token")
    pin = listening.secret(pin_file, PIN, "PIN")
    listening.check_remote(host, allow_remote, token)
    if pin is not None and len(pin) < _MIN_PIN:
        raise click.UsageError(f"The PIN has fewer than {_MIN_PIN} characters. Choose a longer one.")
    if watched.is_file():
        raise click.UsageError(f"--watch {watched} is a file. Give the folder to which the images come.")
    refuse_missing(watched)
    if good is not None and not good.is_dir():
        raise click.UsageError(f"--good {good} is no folder.")
    folder = folder or part.with_suffix(".station")
    for place in (folder, move_to):
        if place is not None and place.resolve() in (watched.resolve(), *watched.resolve().parents):
            raise OutputError(f"{place} is the watched folder {watched}, or contains it. Choose another folder.")
    try:
        from ..station import running
        from ..station.sessions import Sessions
    except ImportError as error:
        raise CfaLiteError(
            f"`cfa-lite station` needs packages that are not installed ({error.name}). Run: pip install"
            " 'cfa-lite[station]'."
        ) from error
    from .. import threads as threads_

    setup = running.Setup(
        part, watched, folder, output or folder / "results.csv", good, move_to, poll,
        patience, int(max_gb * 1e9), threads_.resolve(threads),
    )  # fmt: skip
    with listening.listen(host, port) as socket:
        opened = running.RunningStation(setup, Sessions(token, pin), tell)
        try:
            tell(f"{listening.address(host, socket)} shows {watched}")
            if pin is None:
                tell(f"nobody can teach: there is no PIN in {PIN} or --pin-file")
            current().close()
            running.run(opened, socket)
        finally:
            opened.close()
    tell("ended")
