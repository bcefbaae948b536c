"""Sessions: who is at the page, and whether as an engineer. They are in memory: a restart ends them."""

from __future__ import annotations

import hmac
import math
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from ..line.answering import RequestError

MAX_NAME = 40  # characters
_MAX_SESSIONS = 1000  # the one that was used least recently ends
_ENGINEER_SECONDS = 900.0  # without a request that needs an engineer
_N_WRONG, _WAIT_SECONDS = 5, 30.0  # wrong PINs, and how long none is accepted then


@dataclass
class Session:
    """A person at a page.

    Attributes
    ----------
    operator : str
    engineer_until : float
        Of the monotonic clock.
    """

    operator: str
    engineer_until: float = 0.0

    @property
    def is_engineer(self) -> bool:
        """Whether the PIN was given, and used not too long ago."""
        return time.monotonic() < self.engineer_until

    def work_as_engineer(self) -> None:
        """Stay an engineer for some time from now on."""
        self.engineer_until = time.monotonic() + _ENGINEER_SECONDS


class Sessions:
    """All sessions of a station.

    Parameters
    ----------
    token : str or None
        That signing in needs; None if only this computer reaches the station.
    pin : str or None
        Of engineers. Without one, nobody is an engineer.
    """

    def __init__(self, token: str | None, pin: str | None) -> None:
        self._token, self._pin = token, pin
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()
        self._n_wrong, self._locked_until = 0, 0.0

    @property
    def needs_token(self) -> bool:
        """Whether signing in needs a token."""
        return self._token is not None

    @property
    def has_pin(self) -> bool:
        """Whether there can be engineers."""
        return self._pin is not None

    def get(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie."""
        with self._lock:
            if cookie is None or cookie not in self._sessions:
                return None
            self._sessions.move_to_end(cookie)
            return self._sessions[cookie]

    def sign_in(self, operator: object, token: object) -> str:
        """Begin a session and return its cookie.

        Raises
        ------
        RequestError
            If the name is none, or the token is wrong.
        """
        name = " ".join(operator.split()) if isinstance(operator, str) else ""
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise RequestError(400, f"give a name of 1 to {MAX_NAME} characters")
        if self._token is not None and not _is_equal(token, self._token):
            raise RequestError(401, "the token is wrong")
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[cookie] = Session(name)
            while len(self._sessions) > _MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return cookie

    def sign_out(self, cookie: str | None) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(cookie or "", None)

    def become_engineer(self, session: Session, pin: object) -> None:
        """Let a person work as an engineer.

        Raises
        ------
        RequestError
            If the PIN is wrong, or there is none.
        """
        if self._pin is None:
            raise RequestError(403, "this station has no PIN: start it with one in CFA_LITE_PIN or in --pin-file")
        with self._lock:
            rest = self._locked_until - time.monotonic()
            if rest > 0:
                raise RequestError(429, f"too many wrong PINs; try again in {math.ceil(rest)} s")
            if not _is_equal(pin, self._pin):
                self._n_wrong += 1
                if self._n_wrong >= _N_WRONG:  # trying all of them takes too long
                    self._n_wrong, self._locked_until = 0, time.monotonic() + _WAIT_SECONDS
                raise RequestError(403, "the PIN is wrong")
            self._n_wrong = 0
        session.work_as_engineer()


def _is_equal(given: object, secret: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
