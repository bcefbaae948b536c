"""The ``cfa-lite`` command. The commands import NumPy and everything else that is heavy when they run."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from .._version import __version__
from ..errors import CfaLiteError, hide_messages_of_pillow, one_line
from .benchmark import benchmark
from .calibrate import calibrate
from .demo import demo
from .drift import drift
from .evaluate import evaluate
from .fit import fit
from .info import info
from .options import EXIT_STOPPED
from .score import score
from .serve import serve
from .station import station
from .teach import teach
from .waiting import current
from .watch import watch


class _Commands(click.Group):
    """Turns the errors of this package into a message and exit code 1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line. A worker of a frozen program runs its tasks here, and ends."""
        if getattr(sys, "frozen", False):
            import multiprocessing

            multiprocessing.freeze_support()
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        for stream in (sys.stdout, sys.stderr):  # file names may have characters that the console cannot show
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        current()  # tells what takes long, from here on
        hide_messages_of_pillow()
        try:
            return super().invoke(ctx)
        except CfaLiteError as error:
            message = "\n  ".join(map(one_line, str(error).split("\n  ")))  # a line break of a file name is escaped
            raise click.ClickException(message) from error
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
            sys.exit(EXIT_STOPPED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order in which they are used."""
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cfa-lite")
def main() -> None:
    """Learn a product from images of good parts, and find defects in new images.

    Results go to stdout, messages to stderr. `cfa-lite COMMAND --help` explains a command.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped with Ctrl-C. With --fail-on-anomaly also 3: an image is NG,
    and 4: none is NG, but an image was not inspected. With --fail-on-drift also 5: something has changed.

    \b
    Example:
      cfa-lite fit good/ -o part.cfa
      cfa-lite score part.cfa line/ --report line.html
    """


for command in (
    fit, score, evaluate, calibrate, teach, watch, serve, station, drift, info, benchmark, demo,
):  # fmt: skip
    main.add_command(command)
