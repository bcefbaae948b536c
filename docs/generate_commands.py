"""Write docs/reference/commands.md from the commands' own help.

    python docs/generate_commands.py            # writes the page
    python docs/generate_commands.py --check    # exits with 1 if the page is not up to date

A test compares the page with what `render` gives, so it cannot fall behind.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

PAGE = Path(__file__).resolve().parent / "reference" / "commands.md"
PROGRAM = "cfa-lite"
_HEAD = """# Commands

This page is generated from `cfa-lite --help` by `docs/generate_commands.py`. Do not edit it.
"""


def render(group: click.Group, program: str = PROGRAM) -> str:
    """Return the page for a group and all its commands.

    Parameters
    ----------
    group : click.Group
        The whole command line.
    program : str
        What the usage lines call it.

    Returns
    -------
    str
        Markdown, ending with a line feed.
    """
    context = click.Context(group, info_name=program, **group.context_settings)
    parts = [_HEAD, *_described(group, context, heading=None)]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context, **command.context_settings)
        parts += _described(command, inner, heading=f"## {program} {name}\n")
    return "\n".join(parts)


def _described(command: click.Command, context: click.Context, heading: str | None) -> Iterator[str]:
    if heading:
        yield heading
    yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
    for block in _blocks(command.help or ""):
        yield f"{block}\n"
    options = [p for p in command.get_params(context) if isinstance(p, click.Option) and not p.hidden]
    yield "| Option | Meaning | Default |\n|---|---|---|"
    for option in options:
        yield f"| {_spelled(option, context)} | {_meaning(option)} | {_default(option, context)} |"
    yield ""


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs of a help text; one that starts with a backspace keeps its lines, as click does."""
    text = inspect.cleandoc(text).split("\f")[0]
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip("\n").splitlines()
        if not lines:
            continue
        if lines[0].strip() == "\b":
            yield _verbatim(lines[1:])
        else:
            yield _escaped(" ".join(line.strip() for line in lines))


def _verbatim(lines: list[str]) -> str:
    """Lines as they are; of an example, its head as text and the rest as code."""
    if lines and not lines[0].startswith(" ") and lines[0].endswith(":") and len(lines) > 1:
        return f"{_escaped(lines[0])}\n\n```sh\n{inspect.cleandoc(chr(10).join(lines[1:]))}\n```"
    return "```text\n" + "\n".join(lines) + "\n```"


def _spelled(option: click.Option, context: click.Context) -> str:
    """Names and value of an option, as code."""
    # Some versions of click take the names of --help from a set, whose order changes from run to run.
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: name.startswith("--"))
    if option.is_flag or option.count:
        return ", ".join(f"`{name}`" for name in names)
    value = _metavar(option, context).removesuffix(" RANGE").replace("|", "&#124;")
    return ", ".join(f"<code>{name} {value}</code>" for name in names)


def _metavar(option: click.Option, context: click.Context) -> str:
    try:
        return option.make_metavar(context)
    except TypeError:  # click before 8.2 takes no context
        make_metavar: Any = option.make_metavar
        return str(make_metavar())


def _meaning(option: click.Option) -> str:
    """Help of an option with the range of its values."""
    text = _escaped(" ".join((option.help or "").split()))
    if isinstance(option.type, (click.IntRange, click.FloatRange)):
        text += f" {_range(option.type)}"
    if option.required:
        text += " Required."
    if option.multiple:
        text += " May be given several times."
    return text


def _range(kind: Any) -> str:
    """Range of a number in words."""
    low = None if kind.min is None else f"{'above' if kind.min_open else 'at least'} {kind.min:g}"
    high = None if kind.max is None else f"{'below' if kind.max_open else 'at most'} {kind.max:g}"
    words = " and ".join(part for part in (low, high) if part)
    return f"{words.capitalize()}." if words else ""


def _default(option: click.Option, context: click.Context) -> str:
    """Default of an option if help shows it."""
    shown = option.show_default if option.show_default is not None else context.show_default
    if isinstance(shown, str):
        return f"({_escaped(shown)})"
    value = option.default
    if not shown or value is None or callable(value) or not isinstance(value, (str, int, float, tuple, list)):
        return ""
    if isinstance(value, bool):
        names = option.opts if value else option.secondary_opts
        return f"`{names[0]}`" if names and option.secondary_opts else ""
    return f"`{value}`"


def _escaped(text: str) -> str:
    """Text whose special characters Markdown and tables leave alone; code in backticks stays."""
    parts = re.split(r"(`[^`]*`)", text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([\\*_\[\]<>|#])", r"\\\1", parts[i])
    return "".join(parts)


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page would change")
    check = parser.parse_args().check
    from cfa_lite.commands.main import main as group

    assert isinstance(group, click.Group), group
    text = render(group)
    if not check:
        PAGE.write_bytes(text.encode())  # line feeds on every system
        return
    if not PAGE.is_file() or PAGE.read_text("utf-8") != text:
        raise SystemExit(f"{PAGE} is not up to date. Run: python docs/generate_commands.py")


if __name__ == "__main__":
    main()
