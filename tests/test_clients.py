"""The clients in examples/clients give the answer of the command, each in its own language and version."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_serve import Server

from cfa_lite import load
from cfa_lite.report import tables

CLIENTS = Path(__file__).resolve().parents[1] / "examples" / "clients"


def interpreter(version):
    """Return pyenv's newest interpreter of a version, or skip."""
    if shutil.which("pyenv"):
        names = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True).stdout.split()
        for name in reversed(names):
            if name.startswith(f"{version}."):
                prefix = subprocess.run(["pyenv", "prefix", name], capture_output=True, text=True).stdout.strip()
                return str(Path(prefix, "bin", "python"))
    return pytest.skip(f"pyenv has no Python {version}")


def tool(name):
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module")
def url(part):
    pytest.importorskip("uvicorn", reason="the extra station is not installed")
    server = Server(part)
    yield f"http://127.0.0.1:{server.port}/inspect"
    server.stop()


@pytest.fixture(scope="module")
def answers(part, line, tmp_path_factory):
    """An image that is NG, one that is not, and one that cannot be read, with score and exit code."""
    model = load(part)
    found = {path: model.inspect(path) for path in line}
    rows = {path: json.loads(tables.row(result, "jsonl")) for path, result in found.items()}
    by_verdict = {row["verdict"]: (path, row["score"]) for path, row in rows.items()}
    bad = tmp_path_factory.mktemp("bad") / "bad.png"
    bad.write_bytes(b"no image")
    return [(*by_verdict["NG"], "NG", 3), (*by_verdict["OK"], "OK", 0), (bad, None, "ERROR", 4)]


def ask(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)


def assert_answers(command, url, answers):
    for path, score, verdict, code in answers:
        done = ask(*command, url, path)
        assert done.returncode == code, done.stdout + done.stderr
        said = done.stdout.split()
        assert said[0] == verdict
        assert score is None or float(said[1]) == score


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.12"])
def test_python(version, url, answers):
    assert_answers([interpreter(version), CLIENTS / "client_http.py"], url, answers)


def test_node(url, answers):
    assert_answers([tool("node"), CLIENTS / "client.mjs"], url, answers)


def test_curl(url, answers):
    for path, score, verdict, code in answers:
        done = ask(tool("sh"), CLIENTS / "client.sh", url, path)
        assert done.returncode == (22 if code == 4 else 0), done.stderr
        found = json.loads(done.stdout)
        assert (found["verdict"], found["score"]) == (verdict, score)


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.12"])
def test_python_without_a_port(version, part, answers, tmp_path):
    command = tmp_path / "cfa-lite"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cfa_lite "$@"\n', "utf-8")
    command.chmod(0o755)
    paths = [path for path, *_ in answers]
    done = ask(interpreter(version), CLIENTS / "client_stdio.py", command, part, *paths)
    assert done.returncode == 0, done.stderr
    for said, (_, score, verdict, _) in zip(done.stdout.splitlines(), answers):
        assert said.split()[0] == verdict
        assert score is None or float(said.split()[1]) == score
    assert len(done.stdout.splitlines()) == 3
