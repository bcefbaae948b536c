"""Teaching in the background: a model learns from all decisions, is compared with the one in use, and waits.

Each time, the model that was fitted is taught from all decisions, so what was undone is not taught any more.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import CfaLiteError, ImageError, OutputError, one_line
from ..estimator import CFA
from ..features import images
from ..line.answering import RequestError
from ..report import text, text_taught
from ..results import Inspection
from ..teaching.teach import Change, Taught
from . import marks
from .database import Database
from .decisions import Decisions
from .kept_images import KeptImages
from .reviewing import ReviewedImage, Reviews
from .versions import InUse, Versions

MIN_GOOD = 20  # good images that the limits may come from, unless the model has fewer
_STOP_SECONDS = 30.0  # that the end of the station waits for teaching to stop
_N_NAMES = 20  # good images that are named

IDLE, RUNNING, READY, FAILED = "idle", "running", "ready", "failed"


@dataclass(frozen=True)
class Progress:
    """How far teaching is.

    Attributes
    ----------
    state : {"idle", "running", "ready", "failed"}
        "ready" if a taught model waits to be accepted or thrown away.
    phase : str
    done, total : int
    message : str
        Why it has failed.
    report : dict or None
        What the taught model changes.
    """

    state: str = IDLE
    phase: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    report: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Example:
    """A decided image whose file is there."""

    image: ReviewedImage
    path: Path


@dataclass(frozen=True)
class _Lesson:
    """What is taught: decided images, one for each content, and the good images of a folder."""

    good: list[_Example] = field(default_factory=list)
    defects: list[_Example] = field(default_factory=list)
    n_gone: int = 0

    def named(self, message: str) -> str:
        """Return a message about copies of images with the names that people know."""
        for one in (*self.good, *self.defects):
            message = message.replace(str(one.path), one.image.path.name).replace(one.path.name, one.image.path.name)
        return message


_FACT = "teaching"
_LEFT = {
    RUNNING: "The station ended while it was teaching. Nothing has changed: teach again.",
    READY: "The station ended before the taught model was accepted. Nothing has changed: teach again.",
}


class _ThrownAwayError(Exception):
    """Nobody waits for the taught model any more."""


class TeachingJob:
    """Teaches a model in a thread. The line goes on with the one in use.

    Parameters
    ----------
    versions : Versions
    reviews : Reviews
    decisions : Decisions
    kept_images : KeptImages
    good : sequence of Path
        Good images, in addition to those that were decided to be good.
    database : Database
        Remembers that a job was not ended, so that the next start of the station can say so.
    """

    def __init__(
        self, versions: Versions, reviews: Reviews, decisions: Decisions, kept_images: KeptImages, good: Sequence[Path],
        database: Database,
    ) -> None:  # fmt: skip
        self._versions, self._reviews, self._decisions = versions, reviews, decisions
        self._kept_images, self._good = kept_images, good
        self._lock = threading.Lock()
        self._number = 0  # of the job at hand
        self._taught: tuple[CFA, int] | None = None  # that is ready, and the version that it was taught from
        self._thread: threading.Thread | None = None
        self._database = database
        left = database.fact(_FACT)
        self.progress = Progress() if left is None else Progress(FAILED, message=_LEFT.get(left, _LEFT[RUNNING]))

    @property
    def n_given(self) -> int:
        """Number of good images that the station was started with."""
        return len(self._good)

    def start(self) -> None:
        """Begin to teach.

        Raises
        ------
        RequestError
            If there is nothing to teach, too few good images, or a taught model waits.
        """
        with self._lock:
            if self.progress.state in (RUNNING, READY):
                raise RequestError(409, "accept the taught model, or throw it away, first")
            lesson = self._lesson()
            n_good = len(lesson.good) + len(self._good)
            if not lesson.good and not lesson.defects:
                raise RequestError(
                    409, "no image was decided to be good or to have a defect: there is nothing to teach"
                )
            needed = min(MIN_GOOD, len(self._versions.in_use.model.good_scores_))
            if n_good < needed:
                raise RequestError(
                    409, f"teaching takes {needed} good images, and there are {n_good}: start the station with --good"
                    " DIR, the folder of good images that the model was fitted on",
                )  # fmt: skip
            self._number += 1
            self._set(Progress(RUNNING, "reading the model"))
            arguments = self._number, lesson, self._versions.in_use
            self._thread = threading.Thread(target=self._run, args=arguments, name="cfa-lite-teaching", daemon=True)
            self._thread.start()

    def accept(self, operator: str) -> int:
        """Take the taught model into use, and return its version."""
        with self._lock:
            if self._taught is None:
                raise RequestError(409, "no taught model waits")
            number = self._versions.accept(*self._taught, operator)
            self._taught = None
            self._set(Progress())
            return number

    def throw_away(self) -> None:
        """Forget the taught model, or stop teaching."""
        with self._lock:
            self._number += 1
            self._taught = None
            self._set(Progress())

    def close(self) -> None:
        """Stop teaching, and wait until it has stopped. The next start of the station says so."""
        with self._lock:
            self._number += 1
            self._taught, self.progress = None, Progress()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _set(self, progress: Progress) -> None:
        """Take a new state, and remember it if the end of the station would end it."""
        self.progress = progress
        with contextlib.suppress(OutputError):  # a full disk does not stop teaching
            self._database.remember(_FACT, progress.state if progress.state in _LEFT else None)

    def _lesson(self) -> _Lesson:
        by_content = {image.content.digest: image for image in self._reviews.taught()}  # the last decision counts
        lesson, n_gone = _Lesson(), 0
        for image in by_content.values():
            assert image.decided is not None
            path = self._kept_images.find(image.decided.kept) or image.found()
            if path is None:
                n_gone += 1
            else:
                (lesson.good if image.decided.action == "good" else lesson.defects).append(_Example(image, path))
        return replace(lesson, n_gone=n_gone)

    def _run(self, number: int, lesson: _Lesson, in_use: InUse) -> None:
        def show(phase: str, done: int, total: int) -> None:
            with self._lock:
                if number != self._number:
                    raise _ThrownAwayError
                self.progress = Progress(RUNNING, phase, done, total)

        try:
            model, base, report = self._teach(lesson, in_use, show)
            found = Progress(READY, report=report)
        except _ThrownAwayError:
            return
        except (CfaLiteError, ValueError, MemoryError) as error:
            found = Progress(FAILED, message=lesson.named(str(error)) or "The memory of this computer is too small.")
        except Exception as error:
            found = Progress(FAILED, message=f"{type(error).__name__}: {error}. Please report this.")
        with self._lock:
            if number == self._number:
                self._set(found)
                if found.state == READY:
                    self._taught = model, base

    def _teach(
        self, lesson: _Lesson, in_use: InUse, show: Callable[[str, int, int], None]
    ) -> tuple[CFA, int, dict[str, Any]]:
        base = self._versions.base(in_use.number)
        model = self._versions.opened(base)
        if not isinstance(model, CFA):
            raise ImageError("The model was fitted with --recipe paper, which cannot be taught. Fit another one.")
        kinds: dict[str, list[Path]] = {}
        masks: dict[str, list[Any]] = {}
        for one in lesson.defects:
            decided = one.image.decided
            assert decided is not None and decided.kind is not None
            kinds.setdefault(decided.kind, []).append(one.path)
            size_px = images.size_of(one.path, str(one.path), model.max_megapixels)
            masks.setdefault(decided.kind, []).append(marks.mask(self._decisions.marks(decided.id), size_px))
        good = [*(one.path for one in lesson.good), *self._good]
        taught = model.teach(good, kinds or None, masks=masks or None, good_only=not kinds, progress=show)
        return model, base, self._report(lesson, taught, in_use, model, show)

    def _report(
        self, lesson: _Lesson, taught: Taught, in_use: InUse, model: CFA, show: Callable[[str, int, int], None]
    ) -> dict[str, Any]:
        examples = [*lesson.defects, *lesson.good]
        left_out = {change.name: change.after for change in taught.defects}
        rows = []
        for i, one in enumerate(examples):
            show("comparing with the model in use", i, len(examples))
            before, after = (next(m.inspect_many([one.path])) for m in (in_use.model, model))
            decided = one.image.decided
            assert decided is not None
            rows.append(
                {
                    "image": one.image.id,
                    "name": one.image.path.name,
                    "action": decided.action,
                    "kind": decided.kind,
                    "before": _told(before),
                    "after": _told(after),
                    "left_out": _rounded(left_out.get(one.path.name)),
                }
            )
        info = model.info()
        return {
            "in_use": in_use.number,
            "n_gone": lesson.n_gone,
            "rows": rows,
            "good": _good_report(taught.good, {str(one.path): one.image.path.name for one in lesson.good}),
            "lines": text_taught.known_defect_lines(info) | text.limit_lines(info),
            "remarks": [
                *text.limit_remarks(info),
                *text_taught.remarks(info),
                *(one_line(lesson.named(f"Left out: {one.message}")) for one in taught.skipped),
            ],
        }


def _told(result: Inspection) -> dict[str, Any]:
    return {"verdict": result.verdict, "score": None if result.status == "error" else _rounded(result.score)}


def _rounded(score: float | None) -> float | None:
    """Return a score with two decimals, which are never rounded across the limit."""
    if score is None or score != score:
        return None
    return max(1.01, round(score, 2)) if score > 1 else round(score, 2)


def _good_report(changes: Sequence[Change], names: dict[str, str]) -> dict[str, Any]:
    """Tell how many good images are NG, each held out of what was learned, and which ones become so."""
    before = [change.name for change in changes if (change.before or 0) > 1]
    after = [change.name for change in changes if (change.after or 0) > 1]
    lost = [names.get(name, Path(name).name) for name in after if name not in before]
    return {"n": len(changes), "before": len(before), "after": len(after), "lost": lost[:_N_NAMES], "n_lost": len(lost)}
