"""The station: its files, what its requests must have, and a process that is killed."""

import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from test_cli import run

from cfa_lite import ArchiveError, OutputError, load
from cfa_lite.commands.listening import listen
from cfa_lite.line.answering import RequestError
from cfa_lite.line.arrivals import digest
from cfa_lite.line.journal import Journal
from cfa_lite.line.records import Content
from cfa_lite.report import tables
from cfa_lite.results import not_scored
from cfa_lite.station import marks
from cfa_lite.station.database import Database
from cfa_lite.station.decisions import Decision, Decisions, decision_of
from cfa_lite.station.kept_images import KeptImages
from cfa_lite.station.reviewing import Reviews
from cfa_lite.station.running import RunningStation, Setup
from cfa_lite.station.running import run as run_station
from cfa_lite.station.sessions import Sessions
from cfa_lite.station.versions import Versions

PIN, TOKEN = "4711", "secret of the line"


@dataclass
class Process:
    """A station in a process of its own, and a browser that has its cookie."""

    address: str
    watched: Path
    process: subprocess.Popen
    cookie: str = ""

    def ask(self, path, fields=None, method=None, **headers):
        """Send a request as the page does; return code, headers and content."""
        host = urlsplit(self.address).netloc
        connection = http.client.HTTPConnection(host, timeout=60)
        given = {"Cookie": self.cookie, "Host": host}
        if fields is not None:
            given |= {"Origin": f"http://{host}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = fields if isinstance(fields, (bytes, type(None))) else json.dumps(fields).encode()
        connection.request(method or ("GET" if fields is None else "POST"), path, body, given)
        response = connection.getresponse()
        content = response.read()
        self.cookie = (response.headers.get("Set-Cookie") or self.cookie).split(";")[0]
        return response.status, response.headers, content

    def get(self, path):
        code, _, content = self.ask(path)
        assert code == 200, content
        return json.loads(content)

    def post(self, path, **fields):
        code, _, content = self.ask(path, fields)
        assert code == 200, content
        return json.loads(content)

    def wait(self, is_true):
        """Wait until something is true of the news, and return them."""
        end = time.monotonic() + 120
        while not is_true(news := self.get("/news")):
            assert time.monotonic() < end, news
            time.sleep(0.05)
        return news


def copy_in(images, folder):
    """Copy images so that none is ever half written."""
    for i, path in enumerate(images):
        half = Path(folder) / f"{path.name}.tmp"
        shutil.copy(path, half)
        os.utime(half, (1_000_000_000 + i, 1_000_000_000 + i))
        half.rename(Path(folder) / path.name)


@contextmanager
def running(part, folder, *more, **environment):
    """A station in a process of its own, with a copy of the model."""
    watched = folder / "line"
    watched.mkdir(exist_ok=True)
    if not (folder / "part.cfa").exists():
        shutil.copy(part, folder / "part.cfa")
    command = [sys.executable, "-m", "cfa_lite", "station", folder / "part.cfa", "--watch", watched, "--port", 0, *more]
    environment = {**os.environ, "CFA_LITE_PIN": PIN, **environment}
    process = subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True)
    try:
        told = ""
        while "http://" not in told:
            told = process.stderr.readline()
            assert told, "the station has ended"
        yield Process(re.search(r"http://\S+", told)[0] + "/", watched, process)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
        assert "Traceback" not in errors, errors


# A station in a process


@pytest.mark.slow
def test_no_decision_and_no_result_is_lost_when_the_process_is_killed(part, line, tmp_path):
    with running(part, tmp_path, "--move-to", tmp_path / "done") as station:
        copy_in(line, station.watched)
        station.wait(lambda news: news["newest"] == len(line))
        station.post("/sign-in", operator="Ada")
        first, second, third = station.get("/images")["images"][:3]
        station.post(f"/images/{first['id']}/decision", action="good")
        blob = {"points": [[9, 9], [60, 9], [60, 60]], "width": 3}
        station.post(f"/images/{second['id']}/decision", action="defect", kind="hole", marks=[blob])
        station.post(f"/images/{third['id']}/decision", action="skip")
        assert station.post("/undo")["image"] == third["id"]
        before = station.get("/news")
        station.process.kill()
    for path in (tmp_path / "done").rglob("*.png"):  # the copies are what teaching takes
        path.unlink()
    with running(part, tmp_path, "--move-to", tmp_path / "done") as station:
        after = station.get("/news")
        for name in ("newest", "waiting", "counts", "decided"):
            assert after[name] == before[name]
        decided = station.get("/images?show=decided")["images"]
        assert [one["decision"]["action"] for one in decided] == ["defect", "good"]
        assert {one["decision"]["operator"] for one in decided} == {"Ada"}
        assert station.get(f"/images/{second['id']}")["marks"] == [blob]
        assert station.get(f"/images/{second['id']}")["is_there"]
        gone = station.get(f"/images/{third['id']}")
        assert not gone["is_there"] and "now" not in gone
        assert station.ask(f"/images/{third['id']}/picture")[0] == 404
        station.post("/sign-in", operator="Ada")
        code, _, content = station.ask(f"/images/{third['id']}/decision", {"action": "good"})
        assert code == 404 and b"is gone" in content
        station.post(f"/images/{third['id']}/decision", action="skip")
    rows = (tmp_path / "part.station" / "results.csv").read_text("utf-8-sig").splitlines()
    assert len(rows) == 1 + len(line)


def test_a_teaching_that_the_end_of_the_station_has_ended_is_told(part, cloth, line, tmp_path):
    def left(*more):
        return running(part, tmp_path, "--good", cloth / "good", *more)

    def sign_in(station):
        station.post("/sign-in", operator="Ada")
        station.post("/engineer", pin=PIN)

    with left() as station:
        copy_in(line, station.watched)
        station.wait(lambda news: news["newest"] == len(line))
        sign_in(station)
        first = station.get("/images")["images"][0]
        station.post(f"/images/{first['id']}/decision", action="defect", kind="hole")
        station.post("/teaching/start")
        station.process.kill()
    with left() as station:
        found = station.get("/teaching")
        assert (found["state"], found["message"][:40]) == ("failed", "The station ended while it was teaching.")
        sign_in(station)
        station.post("/teaching/start")
        station.wait(lambda news: news["job"]["state"] == "ready")
    with left() as station:
        assert "ended before the taught model was accepted" in station.get("/teaching")["message"]
        sign_in(station)
        station.post("/teaching/throw-away")
    with left() as station:
        assert station.get("/teaching")["state"] == "idle"


@pytest.mark.slow
def test_a_taught_model_is_in_use_once_it_is_accepted_and_stays_so(part, cloth, line, tmp_path):
    with running(part, tmp_path, "--good", cloth / "good") as station:
        copy_in(line[:-1], station.watched)
        station.wait(lambda news: news["newest"] == len(line) - 1)
        station.post("/sign-in", operator="Eve")
        station.post("/engineer", pin=PIN)
        found = station.get("/images")["images"]
        alarm, defect = (pick(found, key=lambda one: one["score"]) for pick in (min, max))
        station.post(f"/images/{alarm['id']}/decision", action="good")
        station.post(f"/images/{defect['id']}/decision", action="defect", kind="hole")
        station.post("/teaching/start")
        assert station.ask("/teaching/start", {})[0] == 409
        copy_in(line[-1:], station.watched)  # the line goes on
        station.wait(lambda news: news["newest"] == len(line))
        station.wait(lambda news: news["job"]["state"] != "running")
        told = station.get("/teaching")
        assert told["state"] == "ready", told["message"]
        rows = {row["image"]: row for row in told["report"]["rows"]}
        assert rows[alarm["id"]]["before"]["verdict"] == "NG" and rows[alarm["id"]]["after"]["verdict"] != "NG"
        assert rows[defect["id"]]["after"]["verdict"] == "NG"
        assert told["report"]["good"]["n"] == len(list((cloth / "good").iterdir())) + 1
        assert station.get(f"/images/{len(line)}")["version"] == 1 == station.get("/news")["version"]
        station.post("/teaching/throw-away")
        assert station.ask("/teaching/accept", {})[0] == 409
        Image.open(line[0]).point(lambda value: value // 8).save(tmp_path / "dark.png")
        copy_in([tmp_path / "dark.png"], station.watched)
        station.wait(lambda news: news["newest"] == len(line) + 1)
        station.post(f"/images/{len(line) + 1}/decision", action="good")
        station.post("/teaching/start")
        station.wait(lambda news: news["job"]["state"] == "ready")
        remarks = station.get("/teaching")["report"]["remarks"]
        assert [one for one in remarks if "dark.png: The image is far darker" in one], remarks
        assert station.post("/teaching/accept")["version"] == 2
        assert station.get(f"/images/{alarm['id']}")["now"]["verdict"] != "NG"
        assert (tmp_path / "part.cfa").read_bytes() != part.read_bytes()
        station.process.kill()
    with running(part, tmp_path) as station:
        assert station.get("/news")["version"] == 2
        station.post("/sign-in", operator="Eve")
        station.post("/engineer", pin=PIN)
        station.post("/versions/1/use")
        assert (tmp_path / "part.cfa").read_bytes() == part.read_bytes()
        assert station.get(f"/images/{alarm['id']}")["now"]["verdict"] == "NG"


@pytest.mark.slow
def test_what_a_request_must_have(part, line, tmp_path):
    with running(part, tmp_path) as station:
        copy_in(line[:3], station.watched)
        station.wait(lambda news: news["newest"] == 3)
        for path in ("/", "/assets/station.js", "/news", "/images/1", "/images/1/map", "/nothing"):
            _, headers, _ = station.ask(path)
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
        code, _, content = station.ask("/images/1/picture?box=10,20,40,30&side=2000")
        assert code == 200 and Image.open(io.BytesIO(content)).size == (40, 30)
        refused = [
            ("/images/1/decision", {"action": "good"}, {}, 401),  # nobody has signed in
            ("/sign-in", {"operator": "Ada"}, {"Origin": "http://other.example"}, 403),
            ("/sign-in", {"operator": "Ada"}, {"Origin": "null"}, 403),
            ("/sign-in", {"operator": "Ada"}, {"Sec_Fetch_Site": "cross-site"}, 403),
            ("/sign-in", {"operator": "Ada"}, {"Content_Type": "text/plain"}, 415),
            ("/sign-in", {"operator": "Ada"}, {"Host": "rebound.example"}, 403),
            ("/sign-in", {"operator": " "}, {}, 400),
            ("/sign-in", b"{", {}, 400),
            ("/sign-in", b"[" * 100_000, {}, 400),
            ("/sign-in", b"{", {"Content_Length": "2000000"}, 413),
            ("/news", None, {"Sec_Fetch_Site": "cross-site"}, 403),
            ("/news", None, {"Host": "rebound.example"}, 403),
            ("/images/1/picture?box=1,2", None, {}, 400),
            ("/images/1/picture?box=9999,9999,5,5", None, {}, 400),
            ("/images/1/picture?side=x", None, {}, 400),
            ("/images/99", None, {}, 404),
            ("/images/99999999999999999999999", None, {}, 404),
            ("/assets/../app.py", None, {}, 404),
            ("/images?show=secret", None, {}, 400),
        ]
        for path, fields, headers, expected in refused:
            code, _, content = station.ask(path, fields, **headers)
            assert code == expected, (path, headers, content)
            assert set(json.loads(content)) == {"error"} and b"Traceback" not in content
        code, headers, _ = station.ask("/sign-in", {"operator": "Ada"})
        assert code == 200
        assert "HttpOnly" in headers["Set-Cookie"] and "samesite=strict" in headers["Set-Cookie"].lower()
        for path in ("/teaching/start", "/teaching/accept", "/teaching/throw-away", "/versions/1/use"):
            assert station.ask(path, {})[0] == 403  # an operator
        assert station.ask("/engineer", {"pin": "wrong"})[0] == 403
        station.post("/engineer", pin=PIN)
        assert station.get("/me")["is_engineer"]
        assert station.ask("/versions/7/use", {})[0] == 404
        code, _, content = station.ask("/teaching/start", {})
        assert code == 409 and b"nothing to teach" in content
        station.post("/engineer", leave=True)
        assert station.ask("/teaching/start", {})[0] == 403


@pytest.mark.slow
def test_a_token_guards_everything_but_the_empty_page(part, tmp_path):
    more = ["--host", "0.0.0.0", "--allow-remote"]
    with running(part, tmp_path, *more, CFA_LITE_TOKEN=TOKEN, CFA_LITE_PIN="") as station:
        station.address = station.address.replace("0.0.0.0", "127.0.0.1")
        assert station.ask("/")[0] == 200
        assert station.get("/me")["name"] is None
        for path in ("/news", "/images", "/images/1/picture", "/teaching"):
            assert station.ask(path)[0] == 401
        assert station.ask("/sign-in", {"operator": "Ada", "token": "wrong"})[0] == 401
        assert station.ask("/sign-in", {"operator": "Ada"})[0] == 401
        station.post("/sign-in", operator="Ada", token=TOKEN)
        assert station.get("/news")["operator"] == "Ada"
        code, _, content = station.ask("/engineer", {"pin": ""})
        assert code == 403 and b"no PIN" in content


@pytest.mark.parametrize(
    "more, code, words",
    [
        (["--host", "0.0.0.0"], 2, "can be reached by other computers"),
        (["--good", "nowhere"], 2, "is no folder"),
        (["--pin-file", "{pin}"], 2, "fewer than 4 characters"),
        (["--folder", "{in}"], 1, "is the watched folder"),
        (["--move-to", "{in}"], 1, "is the watched folder"),
        (["--output", "{in}.txt"], 1, "the format is not clear"),
    ],
)
def test_wrong_options_are_refused(part, tmp_path, more, code, words):
    (tmp_path / "in").mkdir()
    (tmp_path / "pin").write_text("12")
    places = {"in": tmp_path / "in", "pin": tmp_path / "pin"}
    shutil.copy(part, tmp_path / "part.cfa")
    options = [option.format(**places) for option in more]
    done = run("station", tmp_path / "part.cfa", "--watch", tmp_path / "in", "--port", 0, *options)
    assert done.exit_code == code and words in done.stderr, done.output


@pytest.mark.slow
def test_missing_extra_is_told(part, tmp_path):
    hide = "import sys; sys.modules['uvicorn'] = None; from cfa_lite.commands.main import main; main()"
    command = [sys.executable, "-c", hide, "station", part, "--watch", tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'cfa-lite[station]'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_watch_that_fails_ends_the_station(part, tmp_path, monkeypatch):
    shutil.copy(part, tmp_path / "part.cfa")
    (tmp_path / "line").mkdir()
    setup = Setup(
        tmp_path / "part.cfa", tmp_path / "line", tmp_path / "kept", tmp_path / "rows.csv", None, None, 0.1, 1.0, 9, 1
    )
    station = RunningStation(setup, Sessions(None, None), print)
    monkeypatch.setattr(RunningStation, "watch", lambda self: 1 / 0)
    try:
        with listen("127.0.0.1", 0) as listening, pytest.raises(OutputError, match="The watch has ended: division"):
            run_station(station, listening)
    finally:
        station.close()


# Its parts


@pytest.fixture
def database(tmp_path):
    found = Database(tmp_path / "station.sqlite")
    yield found
    found.close()


def journal_of(tmp_path, verdicts, fmt="csv"):
    """A journal with an image of each verdict."""
    journal = Journal(tmp_path / "rows.journal", fmt, tables.beginning(fmt))
    for i, verdict in enumerate(verdicts):
        path = tmp_path / f"{i}, ü.png"
        path.write_bytes(f"content {i}".encode())
        status = {"INVALID": "invalid", "ERROR": "error"}.get(verdict, "ok")
        result = not_scored(str(path), status, 'say "no"', 2.0, 0.0)
        row = tables.row(result.__class__(**{**result.__dict__, "verdict": verdict}), fmt).encode()
        stamp = path.stat().st_size, path.stat().st_mtime_ns
        journal.add(path, Content(stamp, digest(path.read_bytes())), path.name, verdict, row, None)
    journal.commit()
    return journal


@pytest.mark.parametrize("fmt", tables.FORMATS)
def test_images_follow_the_journal_in_short_lists(tmp_path, database, fmt):
    verdicts = ["OK", "NG", "UNSURE", "INVALID", "ERROR", "NG"]
    journal = journal_of(tmp_path, verdicts, fmt)
    reviews = Reviews(database, journal, fmt, lambda path: 3)
    reviews.catch_up()
    reviews.catch_up()  # nothing twice
    assert [one.verdict for one in reviews.all(None, 9)] == verdicts[::-1]
    assert [one.id for one in reviews.waiting(None, 9)] == [6, 3, 2]
    assert [one.id for one in reviews.waiting(6, 1)] == [3]
    assert reviews.counts() == {"NG": 2, "UNSURE": 1, "OK": 1, "INVALID": 1, "ERROR": 1}
    one = reviews.get(2)
    assert (one.name, one.message, one.version, one.decided) == ("1, ü.png", 'say "no"', 3, None)
    assert one.found() == tmp_path / "1, ü.png"
    with database.reading() as db:
        plan = db.execute("EXPLAIN QUERY PLAN SELECT id FROM images WHERE is_waiting ORDER BY id DESC").fetchall()
    assert "images_waiting" in str(plan)
    journal.close()
    (tmp_path / "rows.journal").unlink()
    with pytest.raises(OutputError, match="do not belong together"):
        Reviews(database, journal_of(tmp_path, ["OK"], fmt), fmt, lambda path: 3)


def test_a_file_that_was_replaced_is_not_the_image(tmp_path, database):
    journal = journal_of(tmp_path, ["NG", "NG"])
    reviews = Reviews(database, journal, "csv", lambda path: 1)
    reviews.catch_up()
    touched, replaced = reviews.get(1), reviews.get(2)
    os.utime(touched.path, (5, 5))
    replaced.path.write_bytes(b"content X")
    assert touched.found() == touched.path
    assert replaced.found() is None
    kept = KeptImages(tmp_path, 10**6)
    with pytest.raises(OutputError, match="has just been replaced"):
        kept.keep(replaced.path, replaced.content.digest)
    journal.close()


def test_decisions_are_kept_and_undone_by_their_operator(tmp_path, database):
    journal = journal_of(tmp_path, ["NG", "OK", "UNSURE"])
    reviews, decisions = Reviews(database, journal, "csv", lambda path: 1), Decisions(database)
    reviews.catch_up()
    square = marks.from_json([{"points": [[1, 1], [9, 1], [9, 9]], "width": 2}])
    decisions.add(1, Decision("good"), "a.png", "Ada", 4)
    decisions.add(2, Decision("defect", "hole", square), "b.png", "Bob", 4)
    last = decisions.add(1, Decision("defect", "scratch"), "a.png", "Ada", 4)
    assert [one.id for one in reviews.waiting(None, 9)] == [3]
    assert decisions.kinds() == {"hole": 1, "scratch": 1} and decisions.n_good() == 0
    assert decisions.marks(2) == square
    assert [one.decided.id for one in reviews.decided(None, 9)] == [last, 2]
    assert decisions.undo("Ada") == 1
    assert reviews.get(1).decided.action == "good" and decisions.n_good() == 1
    assert decisions.undo("Ada") == 1
    assert decisions.undo("Ada") is None
    assert [one.id for one in reviews.waiting(None, 9)] == [3, 1]
    assert decisions.undo("Bob") == 2
    assert [one.id for one in reviews.waiting(None, 9)] == [3, 1]  # it was OK: nobody waits for a decision
    with database.reading() as db:
        found = db.execute("SELECT action, operator, version, undone_by FROM decisions ORDER BY id").fetchall()
    assert found == [("good", "Ada", 4, "Ada"), ("defect", "Bob", 4, "Bob"), ("defect", "Ada", 4, "Ada")]
    journal.close()


def test_a_decision_that_cannot_be_written_is_an_error_and_changes_nothing(tmp_path, database):
    decisions = Decisions(database)
    with database.reading() as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON decisions BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(OutputError, match="disk full"):
        decisions.add(1, Decision("good"), None, "Ada", 1)
    assert decisions.newest() == (0, 0)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, "action is not"),
        ({"action": "defect"}, "kind is not"),
        ({"action": "defect", "kind": "good"}, "kind is not"),
        ({"action": "defect", "kind": "x" * 41}, "kind is not"),
        ({"action": "defect", "kind": "hole", "marks": 3}, "marks is not"),
        ({"action": "defect", "kind": "hole", "marks": [{"points": []}]}, "marks is not"),
        ({"action": "defect", "kind": "hole", "marks": [{"points": [[1, float("nan")]]}]}, "marks is not"),
        ({"action": "defect", "kind": "hole", "marks": [{"points": [[1, 2]] * 501}]}, "marks is not"),
    ],
)
def test_wrong_decisions_are_refused(fields, words):
    with pytest.raises(RequestError, match=words):
        decision_of(fields)


def test_marks_make_a_mask():
    box, blob = marks.from_json(
        [{"points": [[10, 5], [20, 5], [20, 9], [10, 9]]}, {"points": [[40, 20], [50, 20]], "width": 4}]
    )
    found = marks.mask([box], (40, 60))
    rows, columns = np.nonzero(found)
    assert found.shape == (40, 60)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 9, 10, 20)
    both = marks.mask([box, blob], (40, 60))
    assert both[20, 45] and not found[20, 45] and both[found].all()
    dot = marks.mask(marks.from_json([{"points": [[3, 3]]}]), (40, 60))
    assert 1 <= dot.sum() <= 4
    assert marks.mask(marks.from_json([{"points": [[900, 900]]}]), (40, 60)) is None
    assert marks.from_json(marks.to_json([box, blob])) == (box, blob)


def test_the_oldest_copies_make_room(tmp_path):
    (tmp_path / "kept").mkdir()
    kept, names = KeptImages(tmp_path / "kept", 250), []
    for i in range(3):
        source = tmp_path / f"{i}.png"
        source.write_bytes(bytes([i]) * 100)
        names.append(kept.keep(source, digest(source.read_bytes())))
        os.utime(tmp_path / "kept" / names[-1], (i, i))
    assert [kept.find(name) is not None for name in names] == [False, True, True]
    source.write_bytes(bytes(300))
    assert kept.keep(source, digest(bytes(300))) is None
    assert kept.find(None) is None and kept.find(names[2]).read_bytes() == bytes([2]) * 100


def test_versions_are_kept_and_one_is_always_in_use(part, tmp_path, database, good):
    file, folder = tmp_path / "part.cfa", tmp_path / "models"
    folder.mkdir()
    shutil.copy(part, file)
    versions = Versions(database, file, folder)
    first = file.read_bytes()
    assert versions.in_use.number == 1 and versions.file(1).read_bytes() == first
    taught = load(file).adjust(sensitivity=1.5)
    assert versions.accept(taught, 1, "Eve") == 2
    second = file.read_bytes()
    assert versions.in_use.number == 2 and second != first and versions.file(1).read_bytes() == first
    assert versions.in_use.model.threshold_ == taught.threshold_
    versions.use(1, "Eve")
    assert versions.in_use.number == 1 and file.read_bytes() == first
    # Another program writes the model file: it is kept when it is replaced.
    load(file).adjust(sensitivity=0.5).save(file)
    other = file.read_bytes()
    versions.use(2, "Eve")
    assert versions.file(3).read_bytes() == other and file.read_bytes() == second
    assert Versions(database, file, folder).in_use.number == 2  # as after a restart
    found = versions.listed()
    assert [(one["number"], one["origin"], one["base"], one["is_used"]) for one in found] == [
        (3, "found", 3, False), (2, "taught", 1, True), (1, "found", 1, False),
    ]  # fmt: skip
    file.write_bytes(b"junk")
    with pytest.raises(ArchiveError, match=re.escape(f"copy one, such as {versions.file(3)}.")):
        Versions(database, file, folder)
    file.write_bytes(second)
    # One that cannot be read does not come to the line.
    versions.file(1).write_bytes(b"damaged")
    with pytest.raises(Exception, match="0001.cfa"):
        versions.use(1, "Eve")
    assert versions.in_use.number == 2 and file.read_bytes() == second


def test_the_pin_cannot_be_tried_often():
    sessions = Sessions(None, PIN)
    session = sessions.get(sessions.sign_in("Ada", None))
    for _ in range(5):
        with pytest.raises(RequestError, match="the PIN is wrong"):
            sessions.become_engineer(session, "0000")
    with pytest.raises(RequestError, match="too many wrong PINs"):
        sessions.become_engineer(session, PIN)
    assert not session.is_engineer
    other = Sessions(None, PIN)
    session = other.get(other.sign_in("Ada", None))
    other.become_engineer(session, PIN)
    assert session.is_engineer and sessions.get("unknown") is None


def test_only_one_station_uses_a_folder(tmp_path, database):
    with pytest.raises(OutputError, match="in use by another"):
        Database(tmp_path / "station.sqlite")
    (tmp_path / "other.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(OutputError, match="is not a file of cfa-lite station"):
        Database(tmp_path / "other.sqlite")
