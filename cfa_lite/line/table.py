"""The table of results, kept equal to the rows of the journal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import OutputError
from .journal import Journal


class Table:
    """The table of a watch. It holds the header and the rows of the journal, byte for byte.

    After a crash it may lack rows, or end in the middle of one. Both are mended from the journal.

    Parameters
    ----------
    path : Path
        If it does not exist, it is written with all rows of the journal.
    journal : Journal

    Raises
    ------
    OutputError
        If the file holds something other than rows of the journal. It is unchanged then.
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path = path
        self._journal = journal
        self._file: IO[bytes] | None = None
        self._n_rows = 0
        self._check()

    def _check(self) -> None:
        try:
            with self.path.open("rb") as file:
                is_ours = all(text.startswith(file.read(len(text))) for text in self._texts()) and not file.read(1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read ({error.strerror or error}). Check the file.") from error
        if not is_ours:
            raise OutputError(
                f"{self.path} does not hold the rows of the journal {self._journal.path}: another program has written"
                " it. Move it away, and it is written again from the journal, or give another --output."
            )

    def _texts(self) -> Iterator[bytes]:
        yield self._journal.header
        for _, row in self._journal.rows_after(0):
            yield row

    def catch_up(self) -> None:
        """Write what the journal holds and the table does not.

        Raises
        ------
        OutputError
            If it cannot be written. The next call tries again and leaves no half row behind.
        """
        try:
            if self._file is None or not self._is_there():
                self._open()
            assert self._file is not None
            for number, row in self._journal.rows_after(self._n_rows):
                _write_all(self._file, row)
                self._n_rows = number
        except OSError as error:
            self.close()
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror or error}). Check the folder and the free space. The"
                " rows are kept in the journal."
            ) from error

    def _is_there(self) -> bool:
        """Return whether the open file still has its name; a deleted one is written again."""
        return self.path.exists()

    def _open(self) -> None:
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab", buffering=0)
        n_bytes = os.fstat(self._file.fileno()).st_size
        number, end = self._journal.last_row_within(n_bytes)
        if n_bytes < len(self._journal.header):
            self._file.truncate(0)
            _write_all(self._file, self._journal.header)
        elif n_bytes > end:
            self._file.truncate(end)
        self._n_rows = number

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None


def _write_all(file: IO[bytes], content: bytes) -> None:
    """Write to a file without a buffer, which may take only a part at a time when the disk is nearly full."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
