"""What the commands with a port share: the address that they listen at, and their secrets, which are in no argument."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path

import click

from ..errors import CfaLiteError
from .options import PATH, Command, together

TOKEN = "CFA_LITE_TOKEN"


def address_options(port: int, token_use: str) -> Callable[[Command], Command]:
    """Add --host, --port, --allow-remote and --token-file to a command.

    Parameters
    ----------
    port : int
        Default.
    token_use : str
        What the token is for, such as "requests must have".
    """
    token_help = f"Read the token that {token_use} from FILE, not {TOKEN}."
    added = (
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at."),
        click.option(
            "--port", type=click.IntRange(0, 65535), default=port, show_default=True,
            help="Port to listen at; 0 for any.",
        ),
        click.option(
            "--allow-remote", is_flag=True,
            help=f"Allow a --host that other computers reach. Needs a token in {TOKEN} or --token-file.",
        ),
        click.option("--token-file", type=PATH, metavar="FILE", help=token_help),
    )  # fmt: skip
    return together(added)


def secret(file: Path | None, variable: str, what: str) -> str | None:
    """Return a secret from a file or, without one, from an environment variable; None if there is none.

    Raises
    ------
    CfaLiteError
        If the file cannot be read or is empty.
    """
    if file is None:
        return os.environ.get(variable) or None
    try:
        found = file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise CfaLiteError(f"{file} cannot be read ({error}). Write the {what} into it.") from error
    if not found:
        raise CfaLiteError(f"{file} is empty. Write the {what} into it.")
    return found


def check_remote(host: str, allow_remote: bool, token: str | None) -> None:
    """Refuse an address that other computers reach, unless it is allowed and there is a token."""
    if not _is_local(host) and not (allow_remote and token):
        raise click.UsageError(
            f"--host {host} can be reached by other computers. This needs --allow-remote, and a token in the"
            f" environment variable {TOKEN} or in --token-file."
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    CfaLiteError
        If the address cannot be listened at.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=256)
        # Connections inherit it. asyncio does not set it for such a socket, and each answer would take 40 ms more.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        # The text of the error repeats the address.
        reason = os.strerror(error.errno) if error.errno and not isinstance(error, socket.gaierror) else error.strerror
        raise CfaLiteError(
            f"{host}:{port} cannot be listened at ({reason or error}). Choose another --port or --host."
        ) from error


def address(host: str, listening: socket.socket) -> str:
    """Return the address of a socket as a URL."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
