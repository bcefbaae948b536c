"""``cfa-lite serve``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import CfaLiteError
from . import listening, options
from .listening import TOKEN
from .options import PATH
from .rules import RunRules, run_rules
from .waiting import current

if TYPE_CHECKING:
    from ..base.detector import Detector


@click.command()
@click.argument("parts", metavar="PART...", nargs=-1, required=True, type=PATH)
@click.option("--stdio", is_flag=True, help="Read requests from stdin and write answers to stdout; open no port.")
@listening.address_options(8765, "requests must have")
@click.option(
    "--root", "roots", multiple=True, type=PATH, metavar="DIR",
    help="Allow requests that name a file in DIR or below. May be given several times.",
)  # fmt: skip
@click.option(
    "--max-mb", type=click.FloatRange(0, min_open=True), default=64.0, show_default=True, metavar="MB",
    help="Largest image that is accepted.",
)  # fmt: skip
@click.option(
    "--queue", "n_waiting", type=click.IntRange(1), default=16, show_default=True, metavar="N",
    help="Images that may wait. One more gets the answer 429.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True, metavar="SECONDS",
    help="Time within which a request must arrive.",
)  # fmt: skip
@run_rules
@options.threads
def serve(parts: tuple[Path, ...], stdio: bool, host: str, port: int, allow_remote: bool, token_file: Path | None,
          roots: tuple[Path, ...], max_mb: float, n_waiting: int, timeout: float,
          rules: RunRules, threads: int | None) -> None:  # fmt: skip
    """Inspect images for other programs, with one or several models PART.

    POST an image to http://127.0.0.1:8765/inspect, or with several models to /inspect/NAME, where NAME is the file name
    of the model without .cfa. The answer is JSON with the fields of `cfa-lite score --format jsonl`. /health, /metrics
    and /openapi.json tell about the server. It needs: pip install 'cfa-lite[station]'

    With --stdio, each line on stdin is a JSON object with "path", or with "image" (base64), and perhaps "model" and
    "id". Each gives a line of JSON on stdout. Paths are then not restricted, unless --root is given.

    \b
    Example:
      cfa-lite serve part.cfa
      curl --data-binary @image.png http://127.0.0.1:8765/inspect
    """
    from ..line.answering import Answerer

    for root in roots:
        if not root.is_dir():
            raise click.UsageError(f"--root {root} is no folder.")
    max_bytes = int(max_mb * 1e6)
    if stdio:
        from ..line import stdio as stdio_

        answerer = Answerer(_load(parts, rules, threads), n_waiting)
        click.echo(f"ready: {', '.join(answerer.models)}", err=True)
        current().close()
        try:
            stdio_.serve(answerer, sys.stdin.buffer, sys.stdout.buffer, roots or None, max_bytes)
        finally:
            answerer.close()
        return
    token = listening.secret(token_file, TOKEN, "token")
    listening.check_remote(host, allow_remote, token)
    try:
        from ..line import metrics as metrics_
        from ..line import server
    except ImportError as error:
        raise CfaLiteError(
            f"`cfa-lite serve` needs packages that are not installed ({error.name}). Run: pip install"
            " 'cfa-lite[station]'. `cfa-lite serve --stdio` needs none."
        ) from error
    models = _load(parts, rules, threads)
    with listening.listen(host, port) as socket:
        metrics = metrics_.Metrics()
        answerer = Answerer(models, n_waiting, metrics.finished)
        site = server.Site(answerer, metrics, server.Rules(roots, max_bytes, timeout, token))
        click.echo(f"{listening.address(host, socket)} answers for {', '.join(models)}", err=True)
        current().close()
        try:
            server.run(site.app(), socket, timeout)
        finally:
            answerer.close()
    click.echo("ended", err=True)


def _load(parts: Sequence[Path], rules: RunRules, threads: int | None) -> dict[str, Detector]:
    names = [part.stem for part in parts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise click.UsageError(f"Two models have the name {twice[0]}. Rename one of the files.")
    return dict(zip(names, rules.load_all(parts, threads)))
