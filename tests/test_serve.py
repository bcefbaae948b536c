"""Answers to other programs: over HTTP and over stdin and stdout, with the scores of the command."""

import base64
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_cli import run

from cfa_lite import load
from cfa_lite.commands.listening import listen
from cfa_lite.line.answering import Answerer, RequestError, allowed_path, request_of

TOKEN = "secret of the line"


def rows(part, images, folder):
    """Rows of `score`, by the name of the file."""
    assert run("score", part, *images, "--output", folder / "rows.jsonl").exit_code == 0
    found = map(json.loads, (folder / "rows.jsonl").read_text("utf-8").splitlines())
    return {Path(row["path"]).name: comparable(row) for row in found}


def comparable(row):
    """Leave out what differs between a file, its content and its copy."""
    return {name: value for name, value in row.items() if name not in ("path", "seconds", "id", "time")}


@pytest.fixture(scope="module")
def expected(part, line, tmp_path_factory):
    return rows(part, line, tmp_path_factory.mktemp("rows"))


# stdin and stdout


def talk(part, lines, *more):
    given = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    command = [sys.executable, "-m", "cfa_lite", "serve", part, "--stdio", *more]
    done = subprocess.run(list(map(str, command)), input=given, capture_output=True, timeout=120)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_lines_on_stdin_are_answered_in_order_with_the_scores_of_the_command(part, line, expected, tmp_path):
    content = base64.b64encode(line[1].read_bytes()).decode()
    (tmp_path / "bad.png").write_bytes(b"no image")
    answers = talk(
        part,
        [
            {"id": 1, "path": str(line[0])},
            {"id": "two", "image": content, "model": part.stem, "name": "b.png"},
            b"no JSON\n",
            b"[1]\n",
            b"\xff\xfe\n",
            b"\n",
            {"id": 3, "path": str(line[0]), "model": "other"},
            {"id": 4},
            {"id": 5, "image": "!"},
            {"id": 6, "path": 7},
            {"id": 7, "path": str(tmp_path / "bad.png")},
            b'{"id": 8, "path": "' + b"x" * 900_000 + b'"}\n',
            {"id": 9, "path": str(line[2])},
        ],
        "--max-mb", "0.3",
    )  # fmt: skip
    assert [answer["id"] for answer in answers] == [1, "two", None, None, None, 3, 4, 5, 6, 7, None, 9]
    assert [comparable(answers[i]) for i in (0, 1, 11)] == [expected[line[k].name] for k in (0, 1, 2)]
    assert (answers[0]["path"], answers[1]["path"]) == (str(line[0]), "b.png")
    assert all("\n" not in answer["error"] for answer in answers[2:11])
    assert answers[9]["verdict"] == "ERROR"


def test_paths_outside_the_roots_are_refused(line, tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "in2"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.png").write_bytes(line[0].read_bytes())
    (inside / "link.png").symlink_to(outside / "a.png")
    (inside / "linked").symlink_to(outside)
    (inside / "good.png").symlink_to(inside / "a.png")
    for good in ("a.png", "./x/../a.png", str(inside / "a.png"), "good.png"):
        assert allowed_path(good, [inside]) == inside / "a.png"
    tricks = ["../in2/a.png", str(outside / "a.png"), "link.png", "linked/a.png", "", ".", "a\0.png", "/etc/passwd",
              "\\\\host\\share\\a.png/../../../in2/a.png", "x" * 10_000 + "/../../in2/a.png"]  # fmt: skip
    for trick in tricks:
        with pytest.raises(RequestError) as refused:
            allowed_path(trick, [inside])
        assert refused.value.code == 403 and "\n" not in str(refused.value)
    with pytest.raises(RequestError, match="paths are not allowed"):
        allowed_path("a.png", [])


def test_more_images_than_the_queue_holds_are_refused(part, line):
    answerer = Answerer({"part": load(part)}, 1)
    request = request_of({"path": str(line[0])}, None)
    waiting = [answerer.submit(request), answerer.submit(request)]
    with pytest.raises(RequestError) as refused:
        answerer.submit(request)
    assert refused.value.code == 429
    assert {one.result().verdict for one in waiting} <= {"OK", "NG", "UNSURE"}
    assert answerer.submit(request).result().status == "ok"
    answerer.close()


def test_missing_extra_is_told(part):
    hide = "import sys; sys.modules['uvicorn'] = None; from cfa_lite.commands.main import main; main()"
    done = subprocess.run([sys.executable, "-c", hide, "serve", part], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'cfa-lite[station]'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "more, words",
    [
        (["--host", "0.0.0.0"], "can be reached by other computers"),
        (["--host", "0.0.0.0", "--allow-remote"], "CFA_LITE_TOKEN"),
        (["--root", "nowhere"], "is no folder"),
    ],
)
def test_unsafe_options_are_refused(part, more, words):
    done = run("serve", part, *more)
    assert done.exit_code == 2 and words in done.stderr


def test_answers_are_sent_at_once():
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted = listening.accept()[0]
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        accepted.close()


# HTTP


class Server:
    """The command in its own process."""

    def __init__(self, *arguments, token=None):
        environment = {name: value for name, value in os.environ.items() if name != "CFA_LITE_TOKEN"}
        if token:
            environment["CFA_LITE_TOKEN"] = token
        command = [sys.executable, "-m", "cfa_lite", "serve", *arguments, "--port", "0"]
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)
        said, found = [], None
        while found is None:  # warnings of libraries may come first
            said.append(self.process.stderr.readline())
            assert said[-1], "".join(said)  # the command has ended
            found = re.search(r":(\d+) answers", said[-1])
        self.port = int(found[1])

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(self, body, path="/inspect", **headers):
        code, content = self.ask("POST", path, body, **headers)
        assert content.count(b"\n") == 1 and content.endswith(b"\n")
        return code, json.loads(content)

    def raw(self, content):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sent:
            sent.settimeout(30)
            try:
                sent.sendall(content)
                return b"".join(iter(lambda: sent.recv(65536), b""))
            except (ConnectionResetError, BrokenPipeError):
                return b""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate(timeout=60)[1]
        assert self.process.returncode == 0 and "Traceback" not in said and "Error" not in said, said
        return said


@pytest.fixture(scope="module")
def server(part, line):
    pytest.importorskip("uvicorn", reason="the extra station is not installed")
    one = Server(part, "--root", line[0].parent, "--timeout", "3", "--max-mb", "1")
    yield one
    one.stop()


def form(name, content):
    head = f'--x\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--x--\r\n"


def test_every_way_to_send_an_image_gives_the_answer_of_the_command(server, line, expected):
    content = line[0].read_bytes()
    ways = [
        (content, {"Content_Type": "image/png"}),
        (content, {}),
        (form("a.png", content), {"Content_Type": "multipart/form-data; boundary=x"}),
        (json.dumps({"path": line[0].name}), {"Content_Type": "application/json"}),
        (json.dumps({"image": base64.b64encode(content).decode()}), {"Content_Type": "application/json"}),
    ]
    for body, headers in ways:
        code, found = server.post(body, **headers)
        assert (code, comparable(found)) == (200, expected[line[0].name])


def test_eight_clients_at_once_get_the_scores_of_the_command(server, line, expected):
    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda path: server.post(path.read_bytes()), line * 3))
    assert [(code, comparable(row)) for code, row in found] == [(200, expected[path.name]) for path in line * 3]


def test_pages(server, part, line):
    assert server.post(line[0].read_bytes(), f"/inspect/{part.stem}")[0] == 200
    assert json.loads(server.ask("GET", "/health")[1])["models"] == [part.stem]
    metrics = server.ask("GET", "/metrics")[1].decode()
    total = sum(int(line.split()[1]) for line in metrics.splitlines() if line.startswith("cfa_lite_images_total"))
    assert total > 0 and f"cfa_lite_latency_seconds_count {total}" in metrics and "\ncfa_lite_queue 0\n" in metrics
    described = json.loads(server.ask("GET", "/openapi.json")[1])
    assert set(described["paths"]) == {"/inspect", "/inspect/{name}", "/health", "/metrics", "/openapi.json"}


def test_wrong_requests_get_a_code_and_one_line(server, line):
    content = line[0].read_bytes()
    json_type = {"Content_Type": "application/json"}
    wrong = [
        (422, b"no image", {}),
        (422, content[:500], {}),
        (400, b"", {}),
        (415, b"<p>", {"Content_Type": "text/html"}),
        (400, b"{", json_type),
        (403, b'{"path": "/etc/passwd"}', json_type),
        (403, json.dumps({"path": "../good/000.png"}), json_type),
        (400, b"--y", {"Content_Type": "multipart/form-data; boundary=x"}),
        (400, b"", {"Content_Type": "multipart/form-data"}),
        (403, content, {"Host": "evil.example"}),
    ]
    for code, body, headers in wrong:
        found, fields = server.post(body, **headers)
        assert found == code and fields["error"] and "Traceback" not in fields["error"], (code, body[:50], fields)
    assert server.post(content, "/inspect/other")[0] == 404
    assert server.post(content, "/elsewhere")[0] == 404
    assert server.ask("GET", "/inspect")[0] == 405


def test_slow_and_endless_requests_end(server):
    start = time.monotonic()
    head = b"POST /inspect HTTP/1.1\r\nHost: localhost\r\n"
    assert b" 408 " in server.raw(head + b"Content-Length: 100\r\n\r\nabc")
    assert server.raw(head) == b""
    assert time.monotonic() - start < 25
    # announced and not sent, so that no buffer is full when the server answers and closes
    too_large = server.raw(head + b"Content-Length: 1000001\r\n\r\n")
    assert b" 413 " in too_large and b"the image is larger than 1000000 bytes" in too_large
    assert b" 413 " in server.raw(head + b"Content-Length: 99999999999999999999\r\n\r\n")
    # no end of the chunk, so that the server has read all that was sent when it answers
    assert b" 413 " in server.raw(head + b"Transfer-Encoding: chunked\r\n\r\nf4241\r\n" + b"x" * 1_000_001)


def malformed(rng, content):
    """Return a request that is cut, huge, of a wrong type, or tricks with paths."""
    kind = rng.randrange(5)
    if kind == 0:
        body = content[: rng.randrange(len(content) - 8)]
        return b"POST /inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    if kind == 1:
        return b"POST /inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % rng.randrange(10**7, 10**20)
    if kind == 2:
        kinds = [
            b"text/html",
            b"application/json",
            b"multipart/form-data",
            b"multipart/form-data; boundary=\xff",
            b"\xff",
        ]
        body = rng.randbytes(rng.randrange(200))
        return b"POST /inspect HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (
            rng.choice(kinds), len(body)) + body  # fmt: skip
    if kind == 3:
        trick = (
            rng.choice(["../", "..\\", "%2e%2e/", "/", "\0", "//", "C:\\", "\\\\h\\s\\"]) * rng.randint(1, 9)
            + "etc/passwd"
        )
        body = json.dumps({"path": trick}).encode()
        head = b"POST /inspect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    line = rng.choice(
        [
            b"GET /inspect/../../etc/passwd HTTP/1.1",
            b"POST /inspect HTTP/9.9",
            b"\x16\x03\x01\x02",
            b"POST",
            b"DELETE /inspect HTTP/1.1",
            b"POST /inspect/%00 HTTP/1.1",
            b"POST /inspect/" + b"a" * 9000 + b" HTTP/1.1",
        ]
    )
    return line + b"\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


def test_malformed_requests_end_in_4xx(server, line):
    rng, content = random.Random(5), line[0].read_bytes()
    for _ in range(1000):
        request = malformed(rng, content)
        found = ask_and_close(server, request)
        assert re.match(rb"HTTP/1\.[01] 4\d\d ", found), (request[:120], found[:200])
        assert b"Traceback" not in found
    assert server.post(content)[0] == 200


def ask_and_close(server, request):
    head, _, body = request.partition(b"\r\n")
    return server.raw(head + b"\r\nConnection: close\r\n" + body if b"HTTP/" in head else request)


def test_token_is_needed_where_others_reach_the_server(part, line):
    pytest.importorskip("uvicorn", reason="the extra station is not installed")
    one = Server(part, "--host", "0.0.0.0", "--allow-remote", token=TOKEN)
    content = line[0].read_bytes()
    assert one.post(content)[0] == 401
    assert one.post(content, Authorization="Bearer wrong")[0] == 401
    assert one.post(content, Authorization=f"Bearer {TOKEN}")[0] == 200
    assert one.ask("GET", "/metrics")[0] == 401 and one.ask("GET", "/health")[0] == 200
    one.stop()


def test_port_in_use_is_told_once(part):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", part, "--port", port)
    assert done.exit_code == 1
    assert f"127.0.0.1:{port} cannot be listened at (Address already in use). Choose another --port" in done.stderr
