"""Messages to an MQTT broker: one for each image, and whether the watch runs. The broker never stops the line.

The journal holds each message until the broker has acknowledged it. paho-mqtt, in the extra ``station``, talks with the
broker in a thread of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from .._version import __version__
from ..errors import OutputError
from .journal import Journal, NotKeptError

_PORT, _TLS_PORT = 1883, 8883
_N_ON_THE_WAY = 500  # messages that the broker has not acknowledged; all others wait in the journal
_KEEP_ALIVE = 30  # seconds after which the broker tells that a silent watch is offline
_LONGEST_DELAY = 30  # seconds between two attempts to connect
_SECONDS_TO_END = 5.0
_QOS = 1  # at least once
_LONGEST_TOPIC = 60_000  # bytes; MQTT allows 65,535, with /result
_VARIABLES = ("USER", "PASSWORD", "CA", "CERT", "KEY")
_NEEDED = {"PASSWORD": "USER", "CERT": "CA", "KEY": "CERT"}


@dataclass(frozen=True)
class Broker:
    """Where the broker is, and how it knows the watch.

    Attributes
    ----------
    host : str
    port : int
    user, password : str or None
    ca, cert, key : str or None
        Files of certificates. With `ca` the connection is encrypted, and the certificate of the broker is checked.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @classmethod
    def of(cls, address: str, environment: Mapping[str, str] = os.environ) -> Broker:
        """Read the address HOST[:PORT], and the environment variables CFA_LITE_MQTT_USER, ...

        Raises
        ------
        ValueError
            If the address has no host, or no valid port.
        OutputError
            If a file of a certificate does not exist, or a variable is set without the one that it needs.
        """
        values = {name.lower(): environment.get(f"CFA_LITE_MQTT_{name}") or None for name in _VARIABLES}
        for name in ("CA", "CERT", "KEY"):
            path = values[name.lower()]
            if path is not None and not Path(path).is_file():
                raise OutputError(f"{path} is no file. Correct the environment variable CFA_LITE_MQTT_{name}.")
        for name, needed in _NEEDED.items():
            if values[name.lower()] is not None and values[needed.lower()] is None:
                raise OutputError(
                    f"the environment variable CFA_LITE_MQTT_{name} is set, but CFA_LITE_MQTT_{needed} is not, and it"
                    " has no effect alone. Set both, or none."
                )
        if "@" in address:  # the address is not repeated: it may hold a password
            raise ValueError("HOST[:PORT] has no user. Set CFA_LITE_MQTT_USER and CFA_LITE_MQTT_PASSWORD instead")
        parts = urlsplit(f"//{address}")
        if not parts.hostname or parts.netloc != address or address.split() != [address] or parts.port == 0:
            raise ValueError(f"{address} is not HOST or HOST:PORT")
        try:
            parts.hostname.encode("idna")  # a connection would do so, in a thread that would end by the error
        except UnicodeError as error:
            raise ValueError(f"{address} has no valid name of a host") from error
        return cls(parts.hostname, parts.port or (_TLS_PORT if values["ca"] else _PORT), **values)

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Publisher:
    """Publishes the messages of a journal.

    Parameters
    ----------
    broker : Broker
    topic : str
        Images are told at ``topic/result``, and "online" or "offline" at ``topic/health``.
    tell : callable (message)
        Takes messages for people. It is called by `exchange` and `close` only.

    Raises
    ------
    OutputError
        If a certificate cannot be used, or the topic is none.
    """

    def __init__(self, broker: Broker, topic: str, tell: Callable[[str], None]) -> None:
        self._broker, self._topic, self._tell = broker, topic, tell
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._numbers: dict[int, int] = {}  # of images, by the identifier of a message on the way
        self._known: list[int] = []  # identifiers that the broker has acknowledged
        self._last = 0  # image whose message was given to paho
        self._told = ""
        self._is_refused = False  # only paho's thread uses it
        if not 0 < _n_bytes(topic) <= _LONGEST_TOPIC or set("+#\0") & set(topic):
            raise OutputError(
                f"--mqtt-topic {topic[:80]!r} is no topic: it is empty, too long or no Unicode, or holds + or #. Choose"
                " another one."
            )
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        try:
            if broker.user is not None:
                self._client.username_pw_set(broker.user, broker.password)
            if broker.ca is not None:
                self._client.tls_set(broker.ca, broker.cert, broker.key)
        except (ValueError, OSError) as error:  # ssl.SSLError is an OSError
            raise OutputError(
                f"the certificates for the MQTT broker {broker} cannot be used ({error}). Check the files that the"
                " environment variables CFA_LITE_MQTT_CA, _CERT and _KEY name."
            ) from error
        self._client.will_set(f"{topic}/health", _health("offline"), _QOS, retain=True)
        self._client.reconnect_delay_set(1, _LONGEST_DELAY)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = lambda *_: self._events.put(("away", "it does not answer"))
        self._client.on_disconnect = self._disconnected
        self._client.on_publish = lambda _client, _data, mid, *_: self._events.put(("known", mid))

    def start(self) -> None:
        """Connect, in a thread. It tries again until it succeeds, and after each loss of the connection."""
        self._client.connect_async(self._broker.host, self._broker.port, _KEEP_ALIVE)
        self._client.loop_start()

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._is_refused = reason.is_failure
        if reason.is_failure:
            self._events.put(("away", f"it refuses the connection: {reason}"))
            return
        client.publish(f"{self._topic}/health", _health("online"), _QOS, retain=True)
        self._events.put(("there", None))

    def _disconnected(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure and not self._is_refused:  # the end of a refused connection is nothing new
            self._events.put(("away", f"the connection was lost: {reason}"))
        self._is_refused = False

    def exchange(self, journal: Journal) -> None:
        """Let the journal forget what the broker has acknowledged, and send what it holds.

        It never waits for the broker.

        Raises
        ------
        NotKeptError
            If the journal cannot be written. Acknowledged messages are then sent again after the next start.
        """
        while True:
            try:
                event, value = self._events.get_nowait()
            except queue.Empty:
                break
            if event == "known":
                self._known.append(value)
            else:
                self._tell_once("" if event == "there" else value)
        journal.remove_messages([self._numbers[mid] for mid in self._known if mid in self._numbers])
        for mid in self._known:
            self._numbers.pop(mid, None)
        self._known.clear()
        for number, payload in journal.messages_after(self._last, _N_ON_THE_WAY - len(self._numbers)):
            sent = self._client.publish(f"{self._topic}/result", payload, _QOS)
            self._numbers[sent.mid], self._last = number, number

    def _tell_once(self, problem: str) -> None:
        """Tell a problem that lasts only once, and when it is over."""
        if problem == self._told:
            return
        if problem:
            about = " Check CFA_LITE_MQTT_USER and CFA_LITE_MQTT_PASSWORD." if "refuses" in problem else ""
            self._tell(f"MQTT broker {self._broker}: {problem}.{about} Images are inspected, and their messages wait.")
        else:
            self._tell(f"MQTT broker {self._broker}: connected again.")
        self._told = problem

    def close(self, journal: Journal) -> None:
        """Say goodbye. Messages that the broker does not acknowledge within some seconds stay in the journal."""
        end = time.monotonic() + _SECONDS_TO_END
        with contextlib.suppress(NotKeptError):
            self.exchange(journal)
            while (n := journal.n_messages()) and not self._told and time.monotonic() < end:
                time.sleep(0.02)
                self.exchange(journal)
            if n:
                said = f"{n} message{'s' * (n != 1)} for the MQTT broker {'wait' if n != 1 else 'waits'}"
                self._tell(f"{said} in {journal.path} for the next start.")
        if self._client.is_connected():
            goodbye = self._client.publish(f"{self._topic}/health", _health("offline"), _QOS, retain=True)
            with contextlib.suppress(ValueError, RuntimeError):  # the connection was lost meanwhile
                goodbye.wait_for_publish(max(0.5, end - time.monotonic()))
        self._client.disconnect()
        self._client.loop_stop()


def payload(identifier: str, model: str, row: str) -> bytes:
    """Return the message of an image: its row as JSON, with an identifier and the name of the model before it."""
    return json.dumps({"id": identifier, "model": model} | json.loads(row), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )


def _n_bytes(text: str) -> int:
    """Return the length in UTF-8; 0 if the text is no Unicode, as names of files may be."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def _health(status: str) -> str:
    return json.dumps({"status": status, "version": __version__})
