"""A start that is refused leaves nothing behind: no empty journal, table, database or folder."""

import pytest
from test_cli import run


@pytest.fixture
def place(tmp_path, line):
    """A folder with images, and a results file of another program."""
    (tmp_path / "line").mkdir()
    for path in line[:2]:
        (tmp_path / "line" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "theirs.csv").write_text("a,b\n1,2\n")
    (tmp_path / "broken.cfa").write_text("no model")
    return tmp_path


def all_of(folder):
    return {path.relative_to(folder).as_posix(): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


WRITTEN = ("--maps", "maps", "--overlays", "overlays", "--masks", "masks", "--core-masks", "cores")


def test_watch(part, place, monkeypatch):
    monkeypatch.chdir(place)
    before = all_of(place)
    for arguments, words in [
        ((part, "line", "--output", "theirs.csv"), "does not hold the rows of the journal"),
        (("gone.cfa", "line", "--output", "r.csv"), "gone.cfa"),
        (("broken.cfa", "line", "--output", "r.csv"), "broken.cfa"),
        ((part, "line", "--output", "r.csv", "--journal", "theirs.csv"), "is not a journal"),
    ]:
        done = run("watch", *arguments, *WRITTEN, "--move-to", "moved", "--once")
        assert done.exit_code == 1 and words in done.stderr, (arguments, done.output)
        assert all_of(place) == before, arguments
    (place / "file").write_text("")
    before = all_of(place)
    assert run("watch", part, "line", "--output", "r.csv", "--overlays", "file", "--once").exit_code == 1
    assert all_of(place) == before


def test_a_watch_that_was_refused_keeps_an_earlier_journal(part, place, monkeypatch):
    monkeypatch.chdir(place)
    watch = ("watch", part, "line", "--output", "r.csv", "--once", "--patience", 0.05, "--poll", 0.02)
    assert run(*watch).exit_code == 0
    rows = (place / "r.csv").read_bytes()
    (place / "r.csv").write_text("overwritten")
    assert run(*watch).exit_code == 1
    (place / "r.csv").unlink()
    assert run(*watch).exit_code == 0
    assert (place / "r.csv").read_bytes() == rows


def test_score(part, place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "empty").mkdir()
    before = all_of(place)
    for arguments, words in [
        ((part, "line", "--output", "theirs.csv", "--resume"), "does not hold rows of this version"),
        ((part, "line", "--output", "r.xlsx"), "the format is not clear"),
        ((part, "line", "--output", part), part.name),
        ((part, "empty", "--output", "r.csv"), "contains no image"),
        (("broken.cfa", "line", "--output", "r.csv"), "broken.cfa"),
    ]:
        done = run("score", *arguments, *WRITTEN, "--report", "report/r.html")
        assert done.exit_code in (1, 2) and words in done.stderr, (arguments, done.output)
        assert all_of(place) == before, arguments


def test_station(part, place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "empty").mkdir()
    (place / "part.cfa").write_bytes(part.read_bytes())
    before = all_of(place)
    for arguments, words in [
        (("gone.cfa", "--watch", "line"), "gone.cfa"),
        (("broken.cfa", "--watch", "line"), "broken.cfa"),
        (("part.cfa", "--watch", "line", "--output", "theirs.csv"), "does not hold the rows of the journal"),
        (("part.cfa", "--watch", "line", "--good", "empty"), "contains no image"),
        (("part.cfa", "--watch", "line", "--output", "r.xlsx"), "the format is not clear"),
    ]:
        done = run("station", *arguments, "--move-to", "moved", "--port", 0)
        assert done.exit_code == 1 and words in done.stderr, (arguments, done.output)
        assert all_of(place) == before, arguments


def test_evaluate(part, place, cloth, monkeypatch):
    monkeypatch.chdir(place)
    before = all_of(place)
    good = ("--good", cloth / "good", "--defects", place / "gone")
    assert run("evaluate", part, *good, "--report", "report/r.html", "--output", "out/r.json").exit_code == 1
    assert all_of(place) == before


def test_an_output_that_is_a_folder_is_told_before_any_work(part, cloth, place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "folder.cfa").mkdir()
    before = all_of(place)
    for arguments in [
        ("calibrate", part, "line", "-o", "folder.cfa"),
        ("teach", part, "--good", cloth / "good", "--defects", cloth / "defects", "-o", "folder.cfa"),
        ("score", part, "line", "--report", "folder.cfa", "--overlays", "overlays"),
        ("evaluate", part, cloth / "test", "--output", "folder.cfa"),
        ("evaluate", part, cloth / "test", "--report", "folder.cfa"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 1 and "folder.cfa is a folder. Give the name of a file." in done.stderr, done.output
        assert not done.stdout
        assert all_of(place) == before


def test_a_line_break_in_a_name_stays_in_the_line(part, place):
    done = run("score", part, place / "a\nb.png")
    assert done.exit_code == 1
    assert "a\\nb.png does not exist" in done.stderr.splitlines()[-1]
