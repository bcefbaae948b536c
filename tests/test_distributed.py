"""Local processes and a real Dask cluster give the rows of one process, even if processes are killed."""

import csv
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import psutil
import pytest
from distributed import Client, LocalCluster
from test_cli import run
from test_resume import copies, rows_of, rows_of_one_run, stopped_midway, wait_for

from cfa_lite import WorkerError
from cfa_lite.distributed import executor, frozen, jobs

N_COPIES = 12  # copies of 16 images: two workers run for some seconds


@pytest.fixture(scope="module")
def many(line, tmp_path_factory):
    return copies(line, tmp_path_factory.mktemp("many"), N_COPIES)


@pytest.fixture(scope="module")
def whole(part, many, tmp_path_factory):
    """Rows of one process."""
    return rows_of_one_run(part, many, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process. A nanny restarts a killed one."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:
        yield cluster


@pytest.fixture(params=["processes", "cluster"])
def place(request):
    """Options for two local processes and for two workers of a cluster."""
    if request.param == "processes":
        return ["--workers", "2"]
    return ["--dask", request.getfixturevalue("cluster").scheduler_address]


def start(*arguments, **options):
    command = [sys.executable, "-m", "cfa_lite", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def files_in(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OUTPUTS = ("maps", "overlays", "masks", "core-masks")


def all_of_it(part, *more):
    """Return a command that writes rows and every kind of file to the working folder."""
    folders = [text for kind in OUTPUTS for text in (f"--{kind}", f"out/{kind}")]
    return "score", part, "line", "--output", "out/rows.csv", *folders, "--sensitivity", "1.1", *more


@pytest.fixture(scope="module")
def alone(part, line, tmp_path_factory):
    """stdout, stderr and files of one process; one image is broken."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(line[0].parent, folder / "line")
    (folder / "line" / "0.png").write_text("no image")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = run(*all_of_it(part))
    assert done.exit_code == 1 and "line/0.png  cannot be read as an image" in done.stdout
    return folder, done


def without_waits(stderr):
    """Return the lines of stderr, without those that tell what takes long."""
    return [line for line in stderr.splitlines() if not line.startswith(("starting (", "inspecting images: "))]


def without_times(rows):
    rows = list(csv.DictReader(rows.decode("utf-8-sig").splitlines()))
    assert all(float(row.pop("seconds")) > 0 for row in rows)
    return rows


def test_outputs_equal_those_of_one_process(part, line, alone, tmp_path, place):
    """Paths are relative to a working folder that the workers of a cluster do not know."""
    folder, done = alone
    (tmp_path / "line").symlink_to(folder / "line")
    process = start(*all_of_it(part, *place), cwd=tmp_path)
    stdout, stderr = (text.decode() for text in process.communicate(timeout=60))
    assert process.returncode == 1 and stdout == done.stdout
    told, expected = (without_waits(re.sub(r"\d+ ms", "", text)) for text in (stderr, done.stderr))
    assert told == expected
    one, other = files_in(folder / "out"), files_in(tmp_path / "out")
    assert without_times(other.pop(Path("rows.csv"))) == without_times(one.pop(Path("rows.csv")))
    assert len(one) == len(OUTPUTS) * len(line) and other == one


def test_one_worker_gives_the_rows_of_one_process(part, line):
    alone, one = run("score", part, *line[:3]), run("score", part, *line[:3], "--workers", 1)
    assert one.exit_code == 0 and one.stdout == alone.stdout and len(one.stdout.splitlines()) == 3


def test_killed_worker_loses_and_repeats_no_row(part, many, whole, tmp_path):
    output = tmp_path / "rows.csv"
    process = start("score", part, many, "--output", output, "--workers", "2")
    wait_for(output, 20)
    before = workers_of(process)
    before[0].kill()
    assert len(rows_of(output)) < len(whole) - 30
    while process.poll() is None and not set(workers_of(process)) - set(before):
        time.sleep(0.01)
    assert process.poll() is None, "the run ended without a new worker"
    stdout, stderr = (text.decode() for text in process.communicate(timeout=60))
    assert process.returncode == 0 and len(without_waits(stderr)) == 1, stderr
    check(output, stdout, whole)


def test_killed_cluster_worker_loses_and_repeats_no_row(part, many, whole, cluster, tmp_path):
    output = tmp_path / "rows.csv"
    with Client(cluster, set_as_default=False) as client:
        pids = client.run(os.getpid)
        process = start("score", part, many, "--output", output, "--dask", cluster.scheduler_address)
        wait_for(output, 20)
        busy = next(worker for worker, tasks in client.processing().items() if tasks)
        os.kill(pids[busy], signal.SIGKILL)
        assert len(rows_of(output)) < len(whole) - 30
        stdout, stderr = (text.decode() for text in process.communicate(timeout=60))
        assert process.returncode == 0 and len(without_waits(stderr)) == 1, stderr
        client.wait_for_workers(2, timeout=30)
        assert pids[busy] not in client.run(os.getpid).values()
    check(output, stdout, whole)


def check(output, stdout, whole):
    assert rows_of(output) == whole and list(rows_of(output)) == list(whole)
    assert len(output.read_text().splitlines()) == len(whole) + 1 and len(stdout.splitlines()) == len(whole)


def workers_of(process):
    """Return the living loky processes of a process."""
    return [child for child in psutil.Process(process.pid).children() if "popen_loky" in command_of(child)]


def command_of(process):
    """Return the command line of a process, or an empty one if it has ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


@pytest.mark.parametrize("kill, n_lines", [(signal.SIGINT, 20), (signal.SIGINT, 1), (signal.SIGKILL, 20)])
def test_stopped_run_leaves_no_process(part, many, whole, tmp_path, kill, n_lines):
    """A terminal sends Ctrl-C to all processes, also while the workers start. A kill reaches only one process."""
    output = tmp_path / "rows.csv"
    left = []

    def stop(process):
        while len(workers_of(process)) < 2 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)  # the workers are importing
        if process.poll() is None:
            left.extend(psutil.Process(process.pid).children(recursive=True))
            (os.killpg if kill == signal.SIGINT else os.kill)(process.pid, kill)

    process, said = stopped_midway(  # one line is the header only
        lambda: start("score", part, many, "--output", output, "--workers", "2", start_new_session=True),
        stop, output, n_lines, len(whole),
    )  # fmt: skip
    if kill == signal.SIGINT:
        assert process.returncode == 130 and without_waits(said) == ["", "stopped"], said
    psutil.wait_procs(left, timeout=10)
    assert not [command_of(child) for child in left if command_of(child)]
    assert n_lines <= output.read_bytes().count(b"\n") < len(whole)


def test_stopped_run_on_a_cluster_can_be_resumed(part, many, whole, cluster, tmp_path):
    output = tmp_path / "rows.csv"
    process, said = stopped_midway(
        lambda: start("score", part, many, "--output", output, "--dask", cluster.scheduler_address),
        lambda p: p.send_signal(signal.SIGINT), output, 20, len(whole),
    )  # fmt: skip
    assert process.returncode == 130 and without_waits(said) == ["", "stopped"], said
    assert 15 < len(rows_of(output)) < len(whole)
    with Client(cluster, set_as_default=False) as client:
        end = time.monotonic() + 10
        while any(client.processing().values()):
            assert time.monotonic() < end, "the cluster works on"
            time.sleep(0.05)
    done = run("score", part, many, "--output", output, "--resume", "--dask", cluster.scheduler_address)
    assert done.exit_code == 0 and rows_of(output) == whole
    assert len(output.read_text().splitlines()) == len(whole) + 1


def test_lost_cluster_ends_the_run(part, many, whole, tmp_path):
    output = tmp_path / "rows.csv"
    with LocalCluster(1, processes=False, protocol="tcp", dashboard_address=":0", silence_logs=50) as other:
        process = start("score", part, many, "--output", output, "--dask", other.scheduler_address)
        wait_for(output, 20)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1 and len(without_waits(said)) == 1, said
    assert f"the cluster of {other.scheduler_address} failed at " in said and "--resume continues" in said
    assert 15 < len(rows_of(output)) < len(whole)


def die_at_two(task):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_task_that_kills_its_workers_is_named(monkeypatch):
    monkeypatch.setattr(executor, "_N_TRIES", 2)
    seen = []
    message = r"^workers were killed 2 times in a row, at task 2 or soon after it \("
    with pytest.raises(WorkerError, match=message), executor.Executor(2) as two:
        for result in two.map(die_at_two, range(3), n_ahead=1, name="task {}".format):
            seen.append(result)
    assert seen == [0, 1]


def test_file_that_a_cluster_worker_cannot_find_is_named(model, line, tmp_path):
    """On one computer all workers see the same files, so the test calls the function of a worker."""
    paths = [line[0], tmp_path / "gone.png"]
    fine, unseen = jobs._inspect(pickle.dumps(model), False, True, paths)
    assert fine.status == "ok" and fine.map is None
    assert (
        unseen.status == "error"
        and f"{paths[1]}: the worker on {jobs.socket.gethostname()} cannot find this file" in unseen.message
    )


def test_unusable_cluster_is_reported_before_anything_is_written(part, line, cluster, tmp_path, monkeypatch):
    output = tmp_path / "rows.csv"
    output.write_text("earlier")

    def said(address, exit_code=1):
        done = run("score", part, line[0], "--output", output, *address)
        assert done.exit_code == exit_code and output.read_text() == "earlier" and "Traceback" not in done.output
        return done.stderr

    start = time.monotonic()
    assert "no Dask scheduler answers at 127.0.0.1:1 (" in said(["--dask", "127.0.0.1:1"])
    assert time.monotonic() - start < 10
    assert "no Dask scheduler answers at nowhere:port (" in said(["--dask", "nowhere:port"])
    assert "Give only one of them" in said(["--dask", "127.0.0.1:1", "--workers", 2], exit_code=2)
    with monkeypatch.context() as patch:
        patch.setattr(executor, "__version__", "0.0.1")
        assert "does not have cfa-lite 0.0.1 but " in said(["--dask", cluster.scheduler_address])
    with monkeypatch.context() as patch, LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as empty:
        patch.setattr(executor, "_SECONDS_TO_JOIN", 0.5)
        assert "has no worker. Start some: dask worker " in said(["--dask", empty.scheduler_address])
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "distributed", None)
        assert "pip install 'cfa-lite[dask]'" in said(["--dask", "127.0.0.1:1"])


def test_processes_of_frozen_programs_give_results_in_order_and_end():
    """The frozen program itself is in test_freezing.py."""

    def started():
        return {p.pid for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())}

    before = started()  # by other tests
    results = frozen.started(math.sqrt, [1.0, 4.0, 9.0, 16.0], 2)
    assert next(results) == 1
    assert started() - before
    results.close()
    assert started() <= before
    assert list(frozen.started(math.sqrt, [4.0, 9.0], 4)) == [2, 3]


def test_a_killed_process_of_a_frozen_program_is_noticed():
    with pytest.raises(BrokenExecutor):
        list(frozen.started(os._exit, [3, 3], 2))
