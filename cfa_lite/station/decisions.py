"""Decisions: what people say about images. Each is on the disk before it is answered, and none is ever deleted."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ..line.answering import RequestError
from .database import Database
from .marks import Mark, from_json, to_json

ACTIONS = ("good", "defect", "skip")
MAX_KIND = 40  # characters of the name of a kind of defect
_HIDDEN = ("unknown", "good")  # names that teaching does not allow


@dataclass(frozen=True)
class Decision:
    """What a person says about an image.

    Attributes
    ----------
    action : {"good", "defect", "skip"}
        "good" for an image that is NG or UNSURE without a defect.
    kind : str or None
        Of the defect; None unless the action is "defect".
    marks : tuple of Mark
        Where the defect is. May be empty.
    """

    action: str
    kind: str | None = None
    marks: tuple[Mark, ...] = ()


def decision_of(fields: dict[str, Any]) -> Decision:
    """Return the decision of a request with `action`, and for a defect `kind` and perhaps `marks`.

    Raises
    ------
    RequestError
        If the request is wrong.
    """
    action, kind = fields.get("action"), fields.get("kind")
    if action not in ACTIONS:
        raise RequestError(400, f"action is not one of {', '.join(ACTIONS)}")
    if action != "defect":
        return Decision(action)
    kind = " ".join(kind.split()) if isinstance(kind, str) else ""
    if not kind or len(kind) > MAX_KIND or not kind.isprintable() or kind.lower() in _HIDDEN:
        raise RequestError(
            400, f"kind is not the name of a kind of defect: 1 to {MAX_KIND} characters, and not {' or '.join(_HIDDEN)}"
        )
    return Decision(action, kind, from_json(fields.get("marks", [])))


class Decisions:
    """The decisions of a station.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, image: int, decision: Decision, kept: str | None, operator: str, version: int) -> int:
        """Keep a decision and return its number. An earlier one about the same image no longer counts.

        Parameters
        ----------
        image : int
            Number of the image.
        decision : Decision
        kept : str or None
            Name of the copy of the image.
        operator : str
        version : int
            Of the model in use.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with self._database.writing() as db:
            number = db.execute(
                "INSERT INTO decisions (image, action, kind, marks, kept, operator, time, version)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    image, decision.action, decision.kind, json.dumps(to_json(decision.marks)), kept, operator,
                    time.time(), version,
                ),
            ).lastrowid  # fmt: skip
            _settle(db, image)
        assert number is not None
        return number

    def undo(self, operator: str) -> int | None:
        """Undo the last decision of an operator; return the number of its image, None if there is none."""
        with self._database.writing() as db:
            found = db.execute(
                "SELECT id, image FROM decisions WHERE operator = ? AND undone_at IS NULL ORDER BY id DESC LIMIT 1",
                (operator,),
            ).fetchone()
            if found is None:
                return None
            db.execute(
                "UPDATE decisions SET undone_by = ?, undone_at = ? WHERE id = ?", (operator, time.time(), found[0])
            )
            _settle(db, found[1])
        image: int = found[1]
        return image

    def marks(self, number: int) -> tuple[Mark, ...]:
        """Return the marks of a decision."""
        with self._database.reading() as db:
            (text,) = db.execute("SELECT marks FROM decisions WHERE id = ?", (number,)).fetchone()
        return from_json(json.loads(text))

    def kinds(self) -> dict[str, int]:
        """Return the kinds of defects that were decided, with their numbers of images, the most frequent first."""
        with self._database.reading() as db:
            found = db.execute(
                "SELECT d.kind FROM images AS i JOIN decisions AS d ON d.id = i.decision WHERE i.decision > 0 AND"
                " d.action = 'defect'"
            ).fetchall()
        return dict(Counter(kind for (kind,) in found).most_common())

    def n_good(self) -> int:
        """Return the number of images that were decided to be good."""
        with self._database.reading() as db:
            n: int = db.execute(
                "SELECT COUNT(*) FROM images AS i JOIN decisions AS d ON d.id = i.decision WHERE i.decision > 0 AND"
                " d.action = 'good'"
            ).fetchone()[0]
        return n

    def newest(self) -> tuple[int, int]:
        """Return the number of the newest decision and the number of those that were undone."""
        with self._database.reading() as db:
            newest, n_undone = db.execute("SELECT COALESCE(MAX(id), 0), COUNT(undone_at) FROM decisions").fetchone()
        return newest, n_undone


def _settle(db: sqlite3.Connection, image: int) -> None:
    """Let the last decision about an image count that was not undone."""
    db.execute(
        "UPDATE images SET decision = (SELECT MAX(id) FROM decisions WHERE image = ?1 AND undone_at IS NULL)"
        " WHERE id = ?1",
        (image,),
    )
    db.execute("UPDATE images SET is_waiting = decision IS NULL AND verdict IN ('NG', 'UNSURE') WHERE id = ?", (image,))
