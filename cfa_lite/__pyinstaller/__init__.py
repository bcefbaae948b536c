"""What PyInstaller has to know about this package. It asks for `hook_dirs` by an entry point of pyproject.toml."""

from __future__ import annotations

from pathlib import Path


def hook_dirs() -> list[str]:
    """Return the folders with hooks: this one."""
    return [str(Path(__file__).parent)]
