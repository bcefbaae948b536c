"""Watching folders: each image gets exactly one row, whatever happens to the process, the disk and the share."""

import csv
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from test_cli import run

from cfa_lite import OutputError, load
from cfa_lite.commands import waiting
from cfa_lite.line.arrivals import Arrivals, digest
from cfa_lite.line.journal import Journal
from cfa_lite.line.moving import finish_moves
from cfa_lite.line.records import Content
from cfa_lite.line.table import Table
from cfa_lite.line.waking import Waker, woken_by_changes
from cfa_lite.line.watching import Station, Watch
from cfa_lite.report import tables
from cfa_lite.results import OLDER_FIELDS, Inspection


def rows_of(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))


def fill(folder, images, start=1_000_000_000):
    """Copy images into a folder, one second apart in their times of change."""
    folder.mkdir(exist_ok=True)
    for i, path in enumerate(images):
        os.utime(shutil.copy(path, folder), (start + i, start + i))
    return folder


def without_seconds(row):
    return {name: value for name, value in row.items() if name != "seconds"}


def watch(*arguments):
    return run("watch", *arguments, "--once", "--poll", 0.02, "--patience", 0.2)


# The command


def test_rows_and_files_are_those_of_score(part, line, tmp_path):
    folder = fill(tmp_path / "in", line)
    files = ["--overlays", "--masks", "--maps"]
    made = [value for name in files for value in (name, tmp_path / "watched" / name)]
    done = watch(part, folder, "--output", tmp_path / "watched.csv", *made)
    assert done.exit_code == 0, done.output
    assert f"{len(line)} images in this run: " in done.stderr
    made = [value for name in files for value in (name, tmp_path / "scored" / name)]
    assert run("score", part, folder, "--output", tmp_path / "scored.csv", *made).exit_code == 0
    watched, scored = rows_of(tmp_path / "watched.csv"), rows_of(tmp_path / "scored.csv")
    assert list(map(without_seconds, watched)) == list(map(without_seconds, scored))
    written = sorted(path.relative_to(tmp_path / "scored") for path in (tmp_path / "scored").rglob("*.*"))
    assert len(written) == 3 * len(line)
    for path in written:
        assert (tmp_path / "watched" / path).read_bytes() == (tmp_path / "scored" / path).read_bytes()
    again = watch(part, folder, "--output", tmp_path / "watched.csv")
    assert again.exit_code == 0 and again.stdout == "" and "0 images in this run" in again.stderr
    assert rows_of(tmp_path / "watched.csv") == watched


@pytest.mark.slow
def test_worker_processes_give_the_same_rows(part, line, tmp_path):
    folder = fill(tmp_path / "in", line[:5])
    assert watch(part, folder, "--output", tmp_path / "one.jsonl").exit_code == 0
    assert watch(part, folder, "--output", tmp_path / "two.jsonl", "--workers", 2).exit_code == 0
    one, two = (list(map(without_seconds, rows_of(tmp_path / f"{name}.jsonl"))) for name in ("one", "two"))
    assert len(one) == 5 and one == two


def test_two_products_have_a_model_and_a_folder_each(part, line, tmp_path):
    for name in ("a", "b"):
        fill(tmp_path / name, line[:2])
    output, moved = tmp_path / "rows.csv", tmp_path / "done"
    done = watch(part, tmp_path / "a", part, tmp_path / "b", "--output", output, "--move-to", moved)
    assert done.exit_code == 0, done.output
    assert len(rows_of(output)) == 4
    names = sorted(path.relative_to(moved).parts[1:] for path in moved.rglob("*.png"))
    assert names == sorted((folder, path.name) for folder in "ab" for path in line[:2])
    assert list(tmp_path.glob("[ab]/*")) == []


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["{part}"], 2, "Give a folder for each model"),
        (["{part}", "{part}"], 2, "is a file. Give a model, and then the folder"),
        (["{part}", "{in}", "{part}", "{in}"], 2, "is, or contains, another watched folder"),
        (["{part}", "{in}", "--move-to", "{in}"], 1, "is the watched folder"),
        (["{part}", "{gone}"], 1, "does not exist"),
    ],
)
def test_wrong_arguments_are_refused(part, tmp_path, arguments, code, words):
    (tmp_path / "in").mkdir()
    places = {"part": part, "in": tmp_path / "in", "gone": tmp_path / "gone"}
    done = watch(*(a.format(**places) for a in arguments), "--output", tmp_path / "rows.csv")
    assert done.exit_code == code and words in done.stderr, done.output


def test_folder_that_is_missing_at_the_start_is_no_folder_that_went_away(part, tmp_path):
    done = run("watch", part, tmp_path / "gone", "--output", tmp_path / "rows.csv")
    assert done.exit_code == 1 and "gone does not exist. Check the path." in done.stderr
    done = run("station", part, "--watch", tmp_path / "gone")
    assert done.exit_code == 1 and "gone does not exist. Check the path." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == []


def test_table_that_goes_on_with_another_limit_is_told(part, line, tmp_path):
    folder, output = fill(tmp_path / "in", line[:1]), tmp_path / "rows.csv"
    told = "goes on with another model or limit: its earlier rows have raw limits of "
    assert told not in watch(part, folder, "--output", output).stderr
    assert told not in watch(part, folder, "--output", output, "--threshold", load(part).threshold_).stderr
    shutil.copy(line[1], folder)
    done = watch(part, folder, "--output", output, "--threshold", 123.456)
    assert done.exit_code == 0 and told in done.stderr and "and new ones have 123.456." in done.stderr
    assert [row["raw_limit"] for row in rows_of(output)][1] == "123.456"
    assert told not in watch(part, folder, "--output", output, "--threshold", 123.456).stderr


def test_watch_that_waits_for_images_does_not_say_that_it_starts(part, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(Watch, "run", lambda self, **_: ran.append(time.sleep(4 * waiting._LOOK_SECONDS)))
    (tmp_path / "in").mkdir()
    done = run("watch", part, tmp_path / "in", "--output", tmp_path / "rows.csv")
    assert ran and done.exit_code == 0, done.output
    assert "starting" not in done.stderr.partition("watching ")[2]


# The loop, with an inspector that only reads the image


class Line:
    """A watch in a thread of this process."""

    def __init__(self, folder, move_to=None, **change):
        self.root = folder
        self.folder, self.said, self.waker = folder / "in", [], Waker()
        self.folder.mkdir(exist_ok=True)
        self.journal = Journal(
            folder / "rows.csv.journal", "csv", tables.header("csv"), tables.header("csv", OLDER_FIELDS)
        )
        self.table = Table(folder / "rows.csv", self.journal)
        self.arrivals = Arrivals([self.folder], [move_to] if move_to else [], self.journal, 0.3, self.said.append)
        values = {
            "folders": [self.folder], "inspect": self.inspect, "write": lambda path, name, result: None,
            "show": lambda result: None, "tell": self.said.append, "move_to": move_to, "poll": 0.01, "n_at_once": 4,
        }  # fmt: skip
        self.watch = Watch(Station(**values | change), self.journal, self.table, self.arrivals, self.waker, "csv")

    def inspect(self, arrivals):
        for arrival in arrivals:
            try:
                Image.open(arrival.path).load()
            except OSError as error:
                yield Inspection(str(arrival.path), "error", "ERROR", 0.0, 0.0, 1.0, 0.0, str(error))
            else:
                yield Inspection(str(arrival.path), "ok", "OK", 0.5, 0.5, 1.0, 0.0)

    def once(self):
        self.watch.run(only_present=True)
        return self.names()

    def names(self):
        return [Path(row["path"]).name for row in rows_of(self.root / "rows.csv")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.table.close()
        self.journal.close()


class Running(Line):
    """The same, which runs beside the test."""

    def __init__(self, folder, **change):
        self.thread = None
        self._given = folder, change
        started = threading.Event()

        def work():
            Line.__init__(self, folder, **change)
            with self:
                started.set()
                self.watch.run()

        self.thread = threading.Thread(target=work)
        self.thread.start()
        assert started.wait(10)

    def stop(self):
        self.waker.stop()
        self.thread.join(10)
        return self.names()

    def wait_for(self, n_rows):
        end = time.monotonic() + 20
        while not (self.root / "rows.csv").exists() or len(self.names()) < n_rows:
            assert time.monotonic() < end, self.said
            time.sleep(0.01)


def save(path, value=100, **options):
    Image.new("L", (40, 40), value).save(path, **options)
    return path


def test_images_are_inspected_in_the_order_of_their_times(tmp_path):
    with Line(tmp_path) as one:
        for i, name in enumerate(("c", "a", "b")):
            os.utime(save(one.folder / f"{name}.png", i), (i + 1, i + 1))
        (one.folder / "sub").mkdir()
        os.utime(save(one.folder / "sub" / "d.png"), (0, 0))
        (one.folder / "notes.txt").write_text("no image")
        save(one.folder / ".hidden.png")
        assert one.once() == ["d.png", "c.png", "a.png", "b.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_half_written_file_is_waited_for(tmp_path, suffix):
    content = save(tmp_path / f"whole{suffix}").read_bytes()
    one = Running(tmp_path)
    for n_bytes in (0, len(content) // 3, len(content) - 3):
        (one.folder / f"a{suffix}").write_bytes(content[:n_bytes])
        time.sleep(0.1)
    assert not (tmp_path / "rows.csv").exists() or one.names() == []
    (one.folder / f"a{suffix}").write_bytes(content)
    one.wait_for(1)
    assert one.stop() == [f"a{suffix}"]
    assert rows_of(tmp_path / "rows.csv")[0]["verdict"] == "OK"


def test_damaged_file_becomes_an_error_once_and_is_inspected_when_it_is_replaced(tmp_path):
    with Line(tmp_path) as one:
        content = save(tmp_path / "whole.png").read_bytes()
        (one.folder / "a.png").write_bytes(content[:50])
        assert one.once() == one.once() == ["a.png"]
        assert rows_of(tmp_path / "rows.csv")[0]["verdict"] == "ERROR"
        (one.folder / "a.png").write_bytes(content)
        assert one.once() == ["a.png"] * 2
        assert rows_of(tmp_path / "rows.csv")[1]["verdict"] == "OK"


def test_same_name_with_other_content_is_a_new_image_but_another_time_is_not(tmp_path):
    with Line(tmp_path) as one:
        save(one.folder / "last.png", 1)
        assert one.once() == ["last.png"]
        os.utime(one.folder / "last.png", (5, 5))
        assert one.once() == ["last.png"]
        save(one.folder / "last.png", 2)
        assert one.once() == ["last.png"] * 2
    with Line(tmp_path) as again:
        assert again.once() == ["last.png"] * 2


def test_folder_that_goes_away_and_comes_back_loses_nothing(tmp_path):
    one = Running(tmp_path)
    save(one.folder / "a.png")
    one.wait_for(1)
    one.folder.rename(tmp_path / "elsewhere")
    save(tmp_path / "elsewhere" / "b.png")
    time.sleep(0.2)
    (tmp_path / "elsewhere").rename(one.folder)
    one.wait_for(2)
    assert one.stop() == ["a.png", "b.png"]
    assert sum("is watched again when it is back" in said for said in one.said) == 1
    assert one.said.count(f"{one.folder} is back.") == 1


def test_images_wait_while_their_files_cannot_be_written(tmp_path):
    is_full = [True]

    def write(path, name, result):
        if is_full[0]:
            raise OutputError("seen/a.png cannot be written (No space left on device).")

    one = Running(tmp_path, write=write)
    for name in "abc":
        save(one.folder / f"{name}.png")
    time.sleep(0.3)
    assert not (tmp_path / "rows.csv").exists() or one.names() == []
    is_full[0] = False
    one.wait_for(3)
    assert sorted(one.stop()) == ["a.png", "b.png", "c.png"]
    assert len([said for said in one.said if "images wait" in said]) == 1, one.said


def test_moved_images_are_sorted_and_never_overwrite(tmp_path):
    done = tmp_path / "in" / "done"
    with Line(tmp_path, move_to=done) as one:
        for i in range(3):
            save(one.folder / "a.png", i)
            one.once()
        (one.folder / "b.png").write_bytes(b"damaged")
        save(done / "OK" / "c.png", 7)
        (one.folder / "c.png").write_bytes((done / "OK" / "c.png").read_bytes())
        assert one.once() == ["a.png"] * 3 + ["c.png", "b.png"]
        places = sorted(path.relative_to(done).as_posix() for path in done.rglob("*.png"))
        assert places == ["ERROR/b.png", "OK/a.png", "OK/a_2.png", "OK/a_3.png", "OK/c.png", "OK/c_2.png"]
        assert [path.name for path in one.folder.iterdir()] == ["done"]
        assert [Image.open(done / "OK" / f"{name}.png").getpixel((0, 0)) for name in ("a", "a_2", "a_3")] == [0, 1, 2]


@pytest.mark.parametrize("state", ["not moved", "moved", "copied", "replaced"])
def test_interrupted_move_is_finished(tmp_path, state):
    journal = Journal(tmp_path / "journal", "csv", "")
    source, destination = tmp_path / "a.png", tmp_path / "OK" / "a.png"
    content = save(source).read_bytes()
    journal.add(source, Content((len(content), 1), digest(content)), "a", "OK", b"row\n", destination)
    journal.commit()
    if state != "not moved":
        destination.parent.mkdir()
        destination.write_bytes(content)
    if state == "moved":
        source.unlink()
    if state == "replaced":
        source.write_bytes(b"new")
    finish_moves(journal)
    assert destination.read_bytes() == content
    assert source.exists() == (state == "replaced")
    assert journal.to_move() == []
    journal.close()


def test_table_is_mended_from_the_journal_wherever_it_ends(tmp_path):
    journal = Journal(tmp_path / "journal", "csv", "header\n")
    for i in range(3):
        journal.add(Path(f"{i}.png"), Content((i, i), b"x"), str(i), "OK", b"row %d\n" % i, None)
    journal.commit()
    whole, path = b"header\nrow 0\nrow 1\nrow 2\n", tmp_path / "rows.csv"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        table = Table(path, journal)
        table.catch_up()
        assert path.read_bytes() == whole
        path.unlink()  # also while the watch runs
        table.catch_up()
        table.close()
        assert path.read_bytes() == whole
    for foreign in (b"heading\nrow 0\n", whole + b"row 3\n", whole.replace(b"1", b"4"), whole[:-1] + b"\r\n"):
        path.write_bytes(foreign)
        with pytest.raises(OutputError, match="does not hold the rows of the journal"):
            Table(path, journal)
        assert path.read_bytes() == foreign
    journal.close()


def test_a_watch_keeps_the_columns_of_an_older_table(tmp_path, line):
    older = Journal(tmp_path / "rows.csv.journal", "csv", tables.header("csv", OLDER_FIELDS))
    row = tables.row(Inspection("gone.png", "ok", "OK", 0.5, 0.5, 1.0, 0.0), "csv", OLDER_FIELDS).encode()
    older.add(tmp_path / "gone.png", Content((1, 1), b"x"), "gone", "OK", row, None)
    older.commit()
    older.close()
    with closing(sqlite3.connect(tmp_path / "rows.csv.journal")) as db, db:
        db.execute("DELETE FROM facts WHERE name = 'header'")
    with Line(tmp_path) as watch:
        fill(watch.folder, line[:1])
        assert watch.once() == ["gone.png", line[0].name]
        assert [tuple(row) for row in rows_of(tmp_path / "rows.csv")] == [OLDER_FIELDS] * 2


def test_journal_is_for_one_process_and_one_format(tmp_path):
    journal = Journal(tmp_path / "journal", "csv", "header\n")
    with pytest.raises(OutputError, match="is in use by another cfa-lite watch"):
        Journal(tmp_path / "journal", "csv", "header\n")
    journal.close()
    with pytest.raises(OutputError, match="journal of format csv, and this run needs format jsonl"):
        Journal(tmp_path / "journal", "jsonl", "")
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(OutputError, match="is not a journal"):
        Journal(tmp_path / "text", "csv", "")


def test_change_of_a_file_wakes_the_loop(tmp_path):
    pytest.importorskip("watchdog", reason="watchdog is not installed")
    waker = Waker()
    with woken_by_changes(waker, [tmp_path]) as is_watched:
        assert is_watched
        save(tmp_path / "a.png")
        start = time.monotonic()
        assert waker.wait(20) == [str(tmp_path / "a.png")]
        assert time.monotonic() - start < 10


# Real processes and real signals


def start(part, folder, *more, **options):
    command = [sys.executable, "-m", "cfa_lite", "watch", part, folder / "in", "--output", folder / "rows.csv"]
    command += ["--move-to", folder / "done", "--poll", "0.05", *more]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def read_until(stream, words):
    """The line that holds the words: what a slow machine says of its waits may come before it."""
    for line in stream:
        if words in line:
            return line
    raise AssertionError(f"the process ended without saying: {words}")


def assert_exactly_one_row_each(folder, names):
    assert sorted(Path(row["path"]).name for row in rows_of(folder / "rows.csv")) == sorted(names)
    verdicts = {Path(row["path"]).name: row["verdict"] for row in rows_of(folder / "rows.csv")}
    places = {path.name: path.parent.name for path in (folder / "done").rglob("*.png")}
    assert places == verdicts
    assert list((folder / "in").rglob("*.png")) == []


@pytest.mark.slow
def test_killed_at_any_moment_every_image_gets_exactly_one_row(part, line, tmp_path):
    moments, names = random.Random(3), []
    (tmp_path / "in").mkdir()
    for round_ in range(6):
        for path in line[:8]:
            names.append(f"{round_}_{path.name}")
            shutil.copy(path, tmp_path / "in" / names[-1])
        process = start(part, tmp_path)
        n_before = len(names) - 8
        while (tmp_path / "rows.csv").exists() and len(rows_of(tmp_path / "rows.csv")) <= n_before - 8:
            time.sleep(0.01)
        read_until(process.stderr, "watching")
        time.sleep(moments.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    process = start(part, tmp_path, "--once")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    assert_exactly_one_row_each(tmp_path, names)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_watch_cleanly(part, line, tmp_path, number):
    fill(tmp_path / "in", line[:2])
    process = start(part, tmp_path)
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0 and "Traceback" not in said
    assert "2 images in this run" in said
    assert_exactly_one_row_each(tmp_path, [path.name for path in line[:2]])


@pytest.mark.slow
def test_full_disk_is_told_and_nothing_is_lost(part, line, tmp_path):
    """A limit on the file size has the same effect as a full disk."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (56_000, resource.RLIM_INFINITY))

    names = []
    (tmp_path / "in").mkdir()
    for round_ in range(4):
        for path in line:
            names.append(f"{round_}_{path.name}")
            shutil.copy(path, tmp_path / "in" / names[-1])
    process = start(part, tmp_path, preexec_fn=limit)
    assert "images wait" in read_until(process.stderr, "cannot be written")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for _ in names:
        process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert "Traceback" not in process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert_exactly_one_row_each(tmp_path, names)
