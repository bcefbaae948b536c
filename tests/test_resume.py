"""A run that ends in the middle: what is known is on disk, and --resume goes on."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from test_cli import run

from cfa_lite import OutputError, load
from cfa_lite.results import FIELDS
from cfa_lite.rows import Rows, take_up

N_COPIES = 12  # of 16 pictures: a run of some seconds


@pytest.fixture(scope="module")
def many(line, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for i in range(N_COPIES):
        for path in line:
            os.link(path, folder / f"{i:02d}_{path.name}")
    return folder


@pytest.fixture(scope="module")
def whole(part, many, tmp_path_factory):
    """Rows of a run that nothing disturbs."""
    path = tmp_path_factory.mktemp("whole") / "rows.csv"
    assert run("score", part, many, "--output", path).exit_code == 0
    return rows_of(path)


def rows_of(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    return {row["path"]: {k: str(v) for k, v in row.items() if k not in ("seconds", "regions")} for row in rows}


def start(part, many, output, *more, **options):
    command = [sys.executable, "-m", "cfa_lite.cli", "score", part, many, "--output", output, "--threads", "2", *more]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)


def wait_for(path, n_lines):
    end = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < n_lines:
        assert time.monotonic() < end, "the run did not get so far"
        time.sleep(0.02)


@pytest.mark.parametrize("kill, fmt", [(signal.SIGINT, "csv"), (signal.SIGKILL, "csv"), (signal.SIGKILL, "jsonl")])
def test_a_run_that_is_stopped_goes_on(part, many, whole, tmp_path, kill, fmt):
    output, maps = tmp_path / f"rows.{fmt}", tmp_path / "maps"
    process = start(part, many, output, "--maps", maps)
    wait_for(output, 20)
    process.send_signal(kill)
    said = process.communicate(timeout=60)[1].decode()
    if kill == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in said and "stopped" in said
    else:
        assert process.returncode == -signal.SIGKILL
    before = output.read_bytes()
    n_before = len(rows_of(output)) if before.endswith(b"\n") else before.count(b"\n") - (fmt == "csv")
    assert 15 < n_before < len(whole)
    done = run("score", part, many, "--output", output, "--maps", maps, "--resume")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == len(whole) - n_before  # no picture was scored twice
    assert "192 pictures: " in done.stderr and f"of these {n_before} from before" in done.stderr
    assert output.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    lines = output.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(whole) + (fmt == "csv")
    assert rows_of(output).keys() == whole.keys()
    for path, row in rows_of(output).items():
        found = {**row, "score": float(row["score"]), "verdict": row["verdict"]}
        assert found["score"] == float(whole[path]["score"]) and found["verdict"] == whole[path]["verdict"]
    assert len(list(maps.iterdir())) == len(whole)
    again = run("score", part, many, "--output", output, "--resume")
    assert again.exit_code == 0 and again.stdout == "" and output.read_text(encoding="utf-8").splitlines() == lines


def test_a_full_disk_is_said_and_rows_so_far_stay(part, many, whole, tmp_path):
    """A limit on the size of files is what a full disk is to the program."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    output = tmp_path / "rows.csv"
    process = start(part, many, output, preexec_fn=limit)
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 1, said
    assert "rows.csv cannot be written (File too large). Choose another place, or free it." in said
    assert "Traceback" not in said
    assert output.stat().st_size == 4096
    assert run("score", part, many, "--output", output, "--resume").exit_code == 0
    assert rows_of(output).keys() == whole.keys()


def test_pictures_that_vanish_are_rows_and_are_tried_again(part, line, tmp_path):
    folder, output = tmp_path / "line", tmp_path / "rows.csv"
    folder.mkdir()
    for path in line[:4]:
        shutil.copy(path, folder)
    model = load(part, threads=1)  # no picture is read ahead
    rows = Rows(output, "csv")
    paths = sorted(folder.iterdir())
    for i, result in enumerate(model.iter_score(paths)):
        if i == 0:
            shutil.rmtree(folder)
        rows.write(result)
    rows.close()
    statuses = [row["status"] for row in rows_of(output).values()]
    assert statuses[0] == "ok" and statuses[-1] == "error" and len(statuses) == 4
    folder.mkdir()
    for path in line[:4]:
        shutil.copy(path, folder)
    done = run("score", part, folder, "--output", output, "--resume")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == statuses.count("error")
    assert [row["status"] for row in rows_of(output).values()] == ["ok"] * 4


@pytest.mark.parametrize("fmt", ["csv", "jsonl"])
def test_an_unfinished_line_is_cut_at_any_byte(part, line, tmp_path, fmt):
    model = load(part)
    path = tmp_path / f"rows.{fmt}"
    rows = Rows(path, fmt)
    for result in model.score(line[:3]):
        rows.write(result)
    rows.close()
    data = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")][fmt == "csv" :]
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        n_whole = sum(end <= cut for end in ends)
        earlier = take_up(path, fmt, model.threshold_)
        assert len(earlier.paths) == earlier.verdicts.total() == n_whole
        assert path.read_bytes() == (data[: ends[n_whole - 1]] if n_whole else b"")


def test_what_cannot_be_gone_on_with_is_refused(part, line, tmp_path):
    output = tmp_path / "rows.csv"
    assert run("score", part, line[0], "--output", output).exit_code == 0
    before = output.read_bytes()
    other = run("score", part, *line[:2], "--output", output, "--resume", "--sensitivity", 2)
    assert other.exit_code == 1 and "was written with another model or limit" in other.stderr
    assert output.read_bytes() == before
    assert run("score", part, line[0], "--resume").exit_code == 2
    for text in ("path,score\na.png,1\n", ",".join(FIELDS) + "\na.png,ok\n", "\xff\n"):
        output.write_bytes(text.encode("latin-1"))
        with pytest.raises(OutputError, match="does not hold rows of this version"):
            take_up(output, "csv", 1.0)
        assert output.read_bytes() == text.encode("latin-1")
    output.write_text("{}\n")
    with pytest.raises(OutputError, match="does not hold rows of this version"):
        take_up(output, "jsonl", 1.0)


def test_a_report_says_what_it_does_not_show(part, line, tmp_path):
    output = tmp_path / "rows.csv"
    assert run("score", part, line[0], "--output", output).exit_code == 0
    assert run("score", part, *line[:3], "--output", output, "--resume", "--report", tmp_path / "r.html").exit_code == 0
    assert "1 pictures of an earlier run are in" in (tmp_path / "r.html").read_text(encoding="utf-8")
