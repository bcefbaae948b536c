"""libtiff, Pillow's decoder of compressed TIFF files: it writes what it finds wrong to stderr, which is kept quiet."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import _imaging

_lock = threading.Lock()
_n_quiet = 0
_before: int | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep libtiff from writing to stderr in a block.

    What makes a file unreadable is raised as an error as well. The handler of messages is one variable for the whole
    program, so it is set for as short as possible. Where Pillow does not export libtiff, as on Windows, nothing is
    changed.
    """
    global _n_quiet, _before
    set_handler = _set_error_handler()
    if set_handler is None:
        yield
        return
    with _lock:
        if not _n_quiet:
            _before = set_handler(None)
        _n_quiet += 1
    try:
        yield
    finally:
        with _lock:
            _n_quiet -= 1
            if not _n_quiet:
                set_handler(_before)


@functools.cache
def _set_error_handler() -> Callable[[int | None], int | None] | None:
    """Return libtiff's function that sets the handler of error messages and returns the former one, or None."""
    try:
        found = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler  # found in the libraries that Pillow loads, too
    except (OSError, AttributeError):
        return None
    found.restype, found.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    return found
