"""The parts of a station, which its pages show and change."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .decisions import Decisions
from .history import History
from .kept_images import KeptImages
from .pictures import Pictures
from .reviewing import Reviews
from .sessions import Sessions
from .teaching_job import TeachingJob
from .versions import Versions


@dataclass
class Notice:
    """The last message of the watch for people, with its time in seconds since 1970."""

    message: str = ""
    time: float = 0.0

    def tell(self, message: str) -> None:
        """Take a message."""
        self.message, self.time = message, time.time()


@dataclass(frozen=True)
class Parts:
    """What a station consists of.

    Attributes
    ----------
    name : str
        Of the product.
    reviews, history, decisions, kept_images, versions, pictures, job, sessions
        What the pages show and change.
    notice : Notice
    """

    name: str
    reviews: Reviews
    history: History
    decisions: Decisions
    kept_images: KeptImages
    versions: Versions
    pictures: Pictures
    job: TeachingJob
    sessions: Sessions
    notice: Notice = field(default_factory=Notice)
