"""The ``cfa-lite`` command: words only. What is heavy is imported inside the commands."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from .._version import __version__
from ..errors import CfaLiteError
from .benchmark import benchmark
from .check_commands import calibrate, evaluate
from .fit import demo, fit, info
from .options import EXIT_STOPPED
from .score import score


class _Commands(click.Group):
    """Turns this package's errors into a message and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):  # a console or pipe of another encoding shows what it can of a name
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except CfaLiteError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
            sys.exit(EXIT_STOPPED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of use


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cfa-lite")
def main() -> None:
    """Learn a product from images of good parts; find and show what is wrong with new ones.

    \b
    Example:
      cfa-lite fit good/ -o part.cfa
      cfa-lite score part.cfa line/ --report line.html
    """


for command in (fit, score, evaluate, calibrate, info, benchmark, demo):
    main.add_command(command)
