"""A watch tells a real broker what it finds: nothing is lost while the broker is away, and the line never waits."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_cli import run
from test_watch import fill, rows_of

from cfa_lite.errors import OutputError
from cfa_lite.line.journal import Journal

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
SECONDS = 120  # until an event that has to come; waiting ends at the event

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
from cfa_lite.line.mqtt import Broker as Address  # noqa: E402
from cfa_lite.line.mqtt import Publisher  # noqa: E402


class Broker:
    """A mosquitto on a free port. Its users need a password, and its connections are encrypted, if one is given."""

    def __init__(self, folder, password=None, certificate=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address, self.config, self.process = f"127.0.0.1:{self.port}", folder / "mosquitto.conf", None
        access = "allow_anonymous true"
        if password is not None:
            known = folder / "passwords"
            subprocess.run(["mosquitto_passwd", "-b", "-c", known, "line", password], check=True, capture_output=True)
            known.chmod(0o644)
            access = f"allow_anonymous false\npassword_file {known}"
        if certificate is not None:
            access += f"\ncertfile {certificate}\nkeyfile {certificate}"
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\n{access}\nuser root\nlog_dest stderr\npersistence true\n"
            f"persistence_location {folder}/\n"
        )

    def start(self):
        self.process = subprocess.Popen([MOSQUITTO, "-c", self.config], stderr=subprocess.PIPE, text=True)
        assert any("running" in line for line in self.process.stderr), "mosquitto does not start"
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def stop(self):
        """End it. It remembers who has subscribed to what, so that a listener misses nothing after the next start."""
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path)
    made.start()
    yield made
    made.stop()


class Listener:
    """Hears everything that the broker tells."""

    def __init__(self, broker):
        self.heard, self._news = [], threading.Condition()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: self._hear(("subscribed", None))
        self._client.on_message = lambda _c, _d, message: self._hear((message.topic, json.loads(message.payload)))
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self.wait_for(lambda: "subscribed" in dict(self.heard))

    def _hear(self, event):
        with self._news:
            self.heard.append(event)
            self._news.notify_all()

    def wait_for(self, is_so):
        with self._news:
            assert self._news.wait_for(is_so, SECONDS), self.heard

    def at(self, topic):
        return [message for heard_at, message in self.heard if heard_at == topic]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def listener(broker):
    made = Listener(broker)
    yield made
    made.close()


@contextmanager
def watching(part, tmp_path, *arguments, **environment):
    command = [sys.executable, "-m", "cfa_lite", "watch", part, tmp_path / "in", "--output", tmp_path / "r.jsonl"]
    command += ["--poll", "0.02", *arguments]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def names(messages):
    return [Path(message["path"]).name for message in messages]


def statuses(listener):
    return [message["status"] for message in listener.at("cfa-lite/part/health")]


def test_each_image_gives_a_message_with_the_fields_of_its_row(part, line, tmp_path, broker, listener):
    folder = fill(tmp_path / "in", line)
    done = run("watch", part, folder, "--output", tmp_path / "r.jsonl", "--once", "--mqtt", broker.address)
    assert done.exit_code == 0, done.stderr
    listener.wait_for(lambda: statuses(listener)[-1:] == ["offline"] and len(statuses(listener)) == 2)
    found = listener.at("cfa-lite/part/result")
    assert len({message.pop("id") for message in found}) == len(line)
    assert {message.pop("model") for message in found} == {"part"}
    assert found == rows_of(tmp_path / "r.jsonl")
    assert statuses(listener) == ["online", "offline"]


def test_a_killed_watch_is_told_to_be_offline(part, line, tmp_path, broker, listener):
    fill(tmp_path / "in", line[:2])
    with watching(part, tmp_path, "--mqtt", broker.address, "--mqtt-topic", "hall/3") as process:
        listener.wait_for(lambda: len(listener.at("hall/3/result")) == 2)
        os.kill(process.pid, signal.SIGKILL)
        listener.wait_for(lambda: [m["status"] for m in listener.at("hall/3/health")] == ["online", "offline"])


def test_a_broker_that_goes_away_loses_nothing_and_stops_no_image(part, line, tmp_path, broker, listener):
    broker.stop()
    folder = fill(tmp_path / "in", line[:2])

    def has(images):
        return lambda: {path.name for path in images} <= set(names(listener.at("cfa-lite/part/result")))

    with watching(part, tmp_path, "--mqtt", broker.address) as process:
        assert any("it does not answer" in text for text in process.stderr)  # it starts without a broker
        assert len([next(process.stdout) for _ in range(2)]) == 2
        broker.start()
        listener.wait_for(has(line[:2]))
        for images in (line[2:4], line[4:6]):
            broker.stop()
            assert any("the connection was lost" in text for text in process.stderr)
            for path in images:
                shutil.copy(path, folder)
            assert len([next(process.stdout) for _ in images]) == 2  # it goes on without a broker
            if images == line[2:4]:
                broker.start()
                listener.wait_for(has(images))
        os.kill(process.pid, signal.SIGKILL)
    for path in line[6:]:
        shutil.copy(path, folder)
    broker.start()
    done = run("watch", part, folder, "--output", tmp_path / "r.jsonl", "--once", "--mqtt", broker.address)
    assert done.exit_code == 0 and "wait" not in done.stderr, done.stderr
    listener.wait_for(has(line))
    heard = listener.at("cfa-lite/part/result")
    assert {message["path"] for message in heard} == {row["path"] for row in rows_of(tmp_path / "r.jsonl")}
    assert len({message["id"] for message in heard}) == len(line)


def test_a_password_is_taken_from_the_environment_and_a_wrong_one_is_told(part, line, tmp_path, monkeypatch):
    broker = Broker(tmp_path, password="secret")
    broker.start()
    arguments = "watch", part, fill(tmp_path / "in", line[:1]), "--output", tmp_path / "r.csv", "--mqtt", broker.address
    try:
        monkeypatch.setenv("CFA_LITE_MQTT_USER", "line")
        monkeypatch.setenv("CFA_LITE_MQTT_PASSWORD", "wrong")
        with watching(part, tmp_path, "--mqtt", broker.address) as process:
            told = next(text for text in process.stderr if "MQTT" in text)
            assert "it refuses the connection: Not authorized. Check CFA_LITE_MQTT_USER" in told and "wrong" not in told
            assert line[0].name in next(process.stdout)
        monkeypatch.setenv("CFA_LITE_MQTT_PASSWORD", "secret")
        done = run(*arguments, "--once")
        assert done.exit_code == 0 and "MQTT" not in done.stderr
    finally:
        broker.stop()


def test_an_encrypted_connection_checks_the_certificate_of_the_broker(part, line, tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for name in ("own", "other"):
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=line -addext subjectAltName=IP:127.0.0.1"
        files = ["-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"]
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text((tmp_path / "own.key").read_text() + (tmp_path / "own.pem").read_text())
    broker = Broker(tmp_path, certificate=both)
    broker.start()
    arguments = "watch", part, fill(tmp_path / "in", line[:1]), "--output", tmp_path / "r.csv", "--mqtt", broker.address
    try:
        monkeypatch.setenv("CFA_LITE_MQTT_CA", str(tmp_path / "other.pem"))
        assert "1 message for the MQTT broker waits" in run(*arguments, "--once").stderr
        monkeypatch.setenv("CFA_LITE_MQTT_CA", str(tmp_path / "own.pem"))
        assert "MQTT" not in run(*arguments, "--once").stderr
    finally:
        broker.stop()


def test_a_lasting_refusal_is_told_once(tmp_path):
    """After each refusal the connection is closed, which is no second problem."""
    broker = Broker(tmp_path, password="secret")
    broker.start()
    publisher, told, refusals = None, [], threading.Semaphore(0)
    journal = Journal(tmp_path / "j", "csv", "")
    try:
        publisher = Publisher(Address.of(broker.address, {}), "t", told.append)
        lost = publisher._client.on_disconnect
        publisher._client.on_disconnect = lambda *given: (lost(*given), refusals.release())
        publisher.start()
        for _ in range(2):
            assert refusals.acquire(timeout=SECONDS)
        publisher.exchange(journal)
        assert len(told) == 1 and "it refuses the connection: Not authorized" in told[0]
        broker.stop()
        end = time.monotonic() + SECONDS
        while len(told) < 2 and time.monotonic() < end:
            publisher.exchange(journal)
            time.sleep(0.02)
        assert "it does not answer" in told[1] or "the connection was lost" in told[1]
    finally:
        if publisher is not None:
            publisher.close(journal)
        journal.close()
        broker.stop()


@pytest.mark.parametrize(("alone", "needed"), [("PASSWORD", "USER"), ("CERT", "CA"), ("KEY", "CERT")])
def test_variables_that_have_no_effect_alone_are_refused(tmp_path, alone, needed):
    """A certificate without an authority, for example, would not make the connection encrypted."""
    file = tmp_path / "a.pem"
    file.touch()
    with pytest.raises(OutputError, match=f"CFA_LITE_MQTT_{alone} is set, but CFA_LITE_MQTT_{needed} is not"):
        Address.of("localhost", {f"CFA_LITE_MQTT_{alone}": str(file)})


def test_addresses(tmp_path):
    assert str(Address.of("Broker", {})) == "broker:1883" and str(Address.of("[::1]:99", {})) == "[::1]:99"
    (tmp_path / "ca.pem").touch()
    assert Address.of("b", {"CFA_LITE_MQTT_CA": str(tmp_path / "ca.pem")}).port == 8883
    for address in ("line:secret@broker", ":secret@broker"):
        with pytest.raises(ValueError, match="Set CFA_LITE_MQTT_USER") as found:
            Address.of(address, {})
        assert "secret" not in str(found.value)


def test_messages_that_no_broker_takes_wait_in_the_journal(part, line, tmp_path):
    broker = Broker(tmp_path)  # not started
    folder = fill(tmp_path / "in", line[:2])
    done = run("watch", part, folder, "--output", tmp_path / "r.csv", "--once", "--mqtt", broker.address)
    assert done.exit_code == 0
    assert f"2 messages for the MQTT broker wait in {tmp_path / 'r.csv.journal'}" in done.stderr


@pytest.mark.parametrize(
    ("address", "topic", "variable", "code", "message"),
    [
        ("a:b", "t", None, 2, "Invalid value for --mqtt"),
        ("/x", "t", None, 2, "/x is not HOST or HOST:PORT"),
        ("localhost:0", "t", None, 2, "localhost:0 is not HOST or HOST:PORT"),
        ("localhost#1", "t", None, 2, "localhost#1 is not HOST or HOST:PORT"),
        (" localhost", "t", None, 2, "is not HOST or HOST:PORT"),
        ("broker..local", "t", None, 2, "broker..local has no valid name of a host"),
        ("localhost", "a/#", None, 1, "--mqtt-topic 'a/#' is no topic"),
        ("localhost", "a\udc80", None, 1, "is no topic"),
        ("localhost", "a" * 65_535, None, 1, "is no topic"),
        ("localhost", "t", "CFA_LITE_MQTT_CA", 1, "Correct the environment variable CFA_LITE_MQTT_CA"),
        ("localhost", "t", "CFA_LITE_MQTT_KEY", 1, "Correct the environment variable CFA_LITE_MQTT_KEY"),
    ],
)
def test_wrong_use_is_told(part, tmp_path, monkeypatch, address, topic, variable, code, message):
    (tmp_path / "in").mkdir()
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "none.pem"))
    done = run("watch", part, tmp_path / "in", "--output", tmp_path / "r.csv", "--mqtt", address, "--mqtt-topic", topic)
    assert done.exit_code == code and message in done.stderr, done.stderr
    assert not (tmp_path / "r.csv.journal").exists()
