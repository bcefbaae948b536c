"""Interrupted runs: finished rows are on disk, and --resume continues after them."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import run

from cfa_lite import OutputError, load
from cfa_lite.report.resume import keep_finished_rows, path_key
from cfa_lite.report.tables import TableWriter, beginning, header, row
from cfa_lite.results import OLDER_FIELDS, Inspection, not_scored

N_COPIES = 12  # copies of 16 images: a run of a few seconds


def copies(line, folder, n):
    """Fill a folder with `n` links to each image of a line."""
    for i in range(n):
        for path in line:
            os.link(path, folder / f"{i:02d}_{path.name}")
    return folder


@pytest.fixture(scope="module")
def many(line, tmp_path_factory):
    return copies(line, tmp_path_factory.mktemp("many"), N_COPIES)


@pytest.fixture(scope="module")
def whole(part, many, tmp_path_factory):
    """Rows of a run without an interruption."""
    return rows_of_one_run(part, many, tmp_path_factory.mktemp("whole"))


def rows_of_one_run(part, images, folder):
    """Inspect images in one process and return the rows."""
    assert run("score", part, images, "--output", folder / "rows.csv").exit_code == 0
    return rows_of(folder / "rows.csv")


def rows_of(path):
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    return {
        row["path"]: {k: "" if v is None else str(v) for k, v in row.items() if k not in ("seconds", "regions")}
        for row in rows
    }


def start(part, many, output, *more, **options):
    command = [sys.executable, "-m", "cfa_lite", "score", part, many, "--output", output, "--threads", "2", *more]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)


def wait_for(path, n_lines):
    end = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < n_lines:
        assert time.monotonic() < end, "the run did not get so far"
        time.sleep(0.02)


def stopped_midway(begin, stop, output, n_lines, n_rows):
    """Start a run and stop it when its table has some lines; return the process and what it has said.

    A run that had all rows before it was stopped is started again: a slow machine may run this test too late.
    """
    for _ in range(5):
        process = begin()
        wait_for(output, n_lines)
        stop(process)
        said = process.communicate(timeout=60)[1].decode()
        if output.read_bytes().count(b"\n") < n_rows:
            return process, said
        output.unlink()
    raise AssertionError("each run had ended before it was stopped")


@pytest.mark.parametrize("kill, fmt", [(signal.SIGINT, "csv"), (signal.SIGKILL, "csv"), (signal.SIGKILL, "jsonl")])
def test_stopped_run_can_be_resumed(part, many, whole, tmp_path, kill, fmt):
    output, maps = tmp_path / f"rows.{fmt}", tmp_path / "maps"
    process, said = stopped_midway(
        lambda: start(part, many, output, "--maps", maps), lambda p: p.send_signal(kill), output, 20, len(whole)
    )
    if kill == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in said and "stopped" in said
    else:
        assert process.returncode == -signal.SIGKILL
    before = output.read_bytes()
    n_before = len(rows_of(output)) if before.endswith(b"\n") else before.count(b"\n") - (fmt == "csv")
    assert 15 < n_before < len(whole)
    done = run("score", part, many, "--output", output, "--maps", maps, "--resume")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == len(whole) - n_before  # no image was scored twice
    assert f"192 images ({n_before} from an earlier run): " in done.stderr
    assert output.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    lines = output.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(whole) + (fmt == "csv")
    assert rows_of(output) == whole
    assert {f.stem for f in maps.glob("*.tiff")} == {Path(name).stem for name in whole}  # kill -9 may leave a .part
    again = run("score", part, many, "--output", output, "--resume")
    assert again.exit_code == 0 and again.stdout == "" and output.read_text(encoding="utf-8").splitlines() == lines


def test_full_disk_is_reported_and_written_rows_stay(part, many, whole, tmp_path):
    """A limit on the file size has the same effect as a full disk."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    output = tmp_path / "rows.csv"
    process = start(part, many, output, preexec_fn=limit)
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 1, said
    assert "rows.csv cannot be written (File too large). Check the folder and the free space." in said
    assert "Traceback" not in said
    assert output.stat().st_size == 4096
    assert run("score", part, many, "--output", output, "--resume").exit_code == 0
    assert rows_of(output).keys() == whole.keys()


def test_deleted_images_are_error_rows_and_are_inspected_again_on_resume(part, line, tmp_path):
    folder, output = tmp_path / "line", tmp_path / "rows.csv"
    folder.mkdir()
    for path in line[:4]:
        shutil.copy(path, folder)
    model = load(part, threads=1)  # no image is read ahead
    rows = TableWriter(output, "csv")
    paths = sorted(folder.iterdir())
    for i, result in enumerate(model.inspect_many(paths)):
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


@pytest.mark.parametrize("fmt", ["csv", "csv-semicolon", "jsonl"])
def test_incomplete_last_row_is_removed_wherever_it_ends(part, line, tmp_path, fmt):
    model = load(part)
    path = tmp_path / f"rows.{fmt}"
    rows = TableWriter(path, fmt)
    for result in model.inspect_many(line[:3]):
        rows.write(result)
    rows.close()
    data = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")][fmt != "jsonl" :]
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        n_whole = sum(end <= cut for end in ends)
        earlier = keep_finished_rows(path, fmt, model.threshold_)
        assert len(earlier) == n_whole
        assert path.read_bytes() == (data[: ends[n_whole - 1]] if n_whole else b"")


def test_resume_refuses_rows_of_another_model_or_format(part, line, tmp_path):
    output = tmp_path / "rows.csv"
    assert run("score", part, line[0], "--output", output).exit_code == 0
    before = output.read_bytes()
    other = run("score", part, *line[:2], "--output", output, "--resume", "--sensitivity", 2)
    assert other.exit_code == 1 and "was written with another model or limit" in other.stderr
    assert output.read_bytes() == before
    assert run("score", part, line[0], "--resume").exit_code == 2


def scored(path, verdict="OK"):
    return Inspection(path, "ok", verdict, 0.5, 1.0, 2.0, 0.01)


ROW, JSON_ROW = row(scored("a.png"), "csv"), row(scored("a.png"), "jsonl")


@pytest.mark.parametrize(
    "fmt, text",
    [
        ("csv", "path,score\na.png,1\n"),
        ("csv", header("csv") + "a.png,ok\n"),
        ("csv", "\xff\n"),
        ("csv", "notes"),
        ("csv", header("csv") + ROW.replace(",2.0,", ",two,")),
        ("csv", header("csv") + ROW.replace(",2.0,", ",,")),
        ("csv", header("csv") + '"' + ROW + ROW),  # an open quote must not include the following rows
        ("csv", header("csv") + ROW + ROW.replace("a.png", '"a"b.png')),
        ("csv", header("csv") + '"' + "x" * 200_000 + "\n" + ROW),
        ("jsonl", "{}\n"),
        ("jsonl", '[{"notes": 1}]'),
        ("jsonl", JSON_ROW.replace("2.0", "null")),
        ("jsonl", JSON_ROW.replace('"a.png"', "3")),
        ("jsonl", "[" * 100_000 + "\n"),
    ],
)
def test_resume_refuses_other_files_and_leaves_them_unchanged(tmp_path, fmt, text):
    output = tmp_path / f"rows.{fmt}"
    output.write_bytes(text.encode("latin-1"))
    with pytest.raises(OutputError, match="does not hold rows of this version"):
        keep_finished_rows(output, fmt, 2.0)
    assert output.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize("fmt", ["csv", "jsonl"])
def test_resume_recognizes_any_file_name_and_any_incomplete_row(tmp_path, fmt):
    names = [
        "a,b.png",
        'say "x".png',
        "two\nlines\nor three.png",
        "cr\rlf\r\n.png",
        "\u00fc\u2028.png",
        "odd\udcff.png",
    ]
    path = tmp_path / f"rows.{fmt}"
    lines = [row(scored(name), fmt).encode("utf-8", "surrogateescape") for name in names]
    start = header(fmt).encode()
    for n, cut_line in enumerate(lines):
        for cut in range(len(cut_line)):
            path.write_bytes(start + b"".join(lines[:n]) + cut_line[:cut])
            assert list(keep_finished_rows(path, fmt, 2.0)) == [path_key(name) for name in names[:n]]
            assert path.read_bytes() == (start + b"".join(lines[:n]) if n else b"")


def test_resume_gives_an_older_file_the_new_columns(tmp_path):
    path, kept = tmp_path / "r.csv", scored("a,b.png")
    path.write_text(beginning("csv", OLDER_FIELDS) + row(kept, "csv", OLDER_FIELDS) + "c.p", "utf-8")
    assert keep_finished_rows(path, "csv", 2.0) == {path_key(kept.path): "OK"}
    assert path.read_text("utf-8") == beginning("csv") + row(kept, "csv")


def test_images_whose_rows_look_alike_are_inspected_again(part, line, tmp_path):
    """A row does not tell a line end in a file name from a backslash and an n."""
    folder, output = tmp_path / "line", tmp_path / "rows.csv"
    folder.mkdir()
    for name in ("a\nb.png", "other.png"):
        shutil.copy(line[0], folder / name)
    assert run("score", part, folder, "--output", output).exit_code == 0
    assert "2 images (2 from an earlier run)" in run("score", part, folder, "--output", output, "--resume").stderr
    shutil.copy(line[1], folder / "a\\nb.png")
    done = run("score", part, folder, "--output", output, "--resume")
    assert done.exit_code == 0 and "3 images (1 from an earlier run)" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_two_runs_do_not_write_one_file(part, many, line, whole, tmp_path):
    output = tmp_path / "rows.csv"
    first = start(part, many, output)
    wait_for(output, 5)
    for more in ([], ["--resume"]):
        second = run("score", part, line[0], "--output", output, *more)
        assert second.exit_code == 1
        assert f"rows.csv is being written by another run (process {first.pid} on " in second.stderr
    assert run("score", part, line[0], "--output", tmp_path / "other.csv").exit_code == 0
    assert first.communicate(timeout=60) and first.returncode == 0
    assert rows_of(output) == whole
    assert sorted(os.listdir(tmp_path)) == ["other.csv", "rows.csv"]


def test_a_killed_run_locks_nothing(part, many, line, tmp_path):
    output = tmp_path / "rows.csv"
    first = start(part, many, output)
    wait_for(output, 5)
    first.kill()
    first.communicate(timeout=60)
    assert run("score", part, line[0], "--output", output).exit_code == 0
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_files_that_cannot_be_locked_are_written(part, line):
    done = run("score", part, line[0], "--output", os.devnull, "--format", "csv")
    assert done.exit_code == 0, done.stderr
    assert not Path(os.devnull).with_name(".null.lock").exists()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("with_error", [False, True])
def test_kept_rows_are_unchanged(tmp_path, end, with_error):
    """Their bytes, the mode of the file and a symbolic link to it stay as they are."""
    target, link = tmp_path / "target.csv", tmp_path / "rows.csv"
    kept = (header("csv") + ROW.replace("a.png", '"a.png"') + row(scored("c.png", "NG"), "csv")).replace("\n", end)
    bad = row(not_scored("b.png", "error", "gone", 2.0, 0.01), "csv") if with_error else ""
    first, others = kept.split(end, 1)
    target.write_bytes(f"{first}{end}{bad}{others}half a row".encode())
    target.chmod(0o640)
    link.symlink_to(target)
    assert keep_finished_rows(link, "csv", 2.0) == {b"a.png": "OK", b"c.png": "NG"}
    assert target.read_bytes() == kept.encode()
    assert link.is_symlink() and target.stat().st_mode & 0o777 == 0o640


def test_removing_an_incomplete_row_needs_no_free_space(tmp_path):
    path = tmp_path / "rows.csv"
    kept = header("csv") + ROW * 50
    path.write_text(kept + "half")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from cfa_lite.report.resume import keep_finished_rows\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "keep_finished_rows(Path(sys.argv[1]), 'csv', 2.0)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)
    assert path.read_text() == kept


@pytest.mark.parametrize("gone", ["rows", "maps"])
def test_output_deleted_during_a_run_ends_it(part, many, tmp_path, gone):
    output, maps = tmp_path / "rows" / "rows.csv", tmp_path / "maps"
    process = start(part, many, output, "--maps", maps)
    wait_for(output, 10)
    (tmp_path / gone).rename(tmp_path / "aside")  # a rename is atomic, so no file is written during the deletion
    shutil.rmtree(tmp_path / "aside")
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1 and "cannot be written" in said and "Traceback" not in said
    assert str(tmp_path / gone) in said
    assert not (tmp_path / gone).exists()


def test_full_stdout_is_reported(part, line):
    command = [sys.executable, "-m", "cfa_lite", "score", part, line[0]]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and "stdout cannot be written" in done.stderr and "Traceback" not in done.stderr


def test_counts_and_exit_code_cover_only_the_given_images(part, line, whole, tmp_path):
    """Rows of other images are kept but not counted."""
    verdicts = {Path(name).name.split("_")[1]: r["verdict"] for name, r in whole.items()}
    bad = next(p for p in line if verdicts[p.name] == "NG")
    fine = [p for p in line if verdicts[p.name] == "OK"][:2]
    output = tmp_path / "rows.csv"
    assert run("score", part, bad, fine[0], "--output", output).exit_code == 0
    done = run("score", part, *fine, "--output", output, "--resume", "--fail-on-anomaly")
    assert done.exit_code == 0 and "2 images (1 from an earlier run): 2 OK" in done.stderr
    assert rows_of(output).keys() == {str(p) for p in (bad, *fine)}
    done = run("score", part, bad, "--output", output, "--resume", "--fail-on-anomaly")
    assert done.exit_code == 3 and "1 image (1 from an earlier run): 1 NG" in done.stderr


def test_report_of_a_resumed_run_states_what_it_lacks(part, line, tmp_path):
    output = tmp_path / "rows.csv"
    assert run("score", part, line[0], "--output", output).exit_code == 0
    assert run("score", part, *line[:3], "--output", output, "--resume", "--report", tmp_path / "r.html").exit_code == 0
    assert "1 images of an earlier run are in" in (tmp_path / "r.html").read_text(encoding="utf-8")
