"""Waits longer than two seconds say what they do, also where stderr is a pipe."""

import io
import sys
import time

import click
import pytest
from test_cli import run

from cfa_lite import load
from cfa_lite.commands import waiting
from cfa_lite.commands.waiting import Waiting


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def quick(monkeypatch):
    """A twentieth of all times."""
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(waiting, "_GAPS", (0.4, 10.0))
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.01)


def test_a_phase_is_told_after_a_while_and_then_rarely(quick, capsys):
    one = Waiting()
    for done in range(1, 101):
        one.show("reading images", done, 1000)
        time.sleep(0.01)
    one.close()
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    assert all(text.startswith("reading images: ") and text.endswith(" of 1000") for text in lines)


def test_a_phase_without_progress_is_told(quick, capsys):
    one = Waiting()
    time.sleep(0.3)
    one.doing("writing the report")
    time.sleep(0.3)
    one.show("reading images", 7, 7)
    time.sleep(0.3)
    one.close()
    assert capsys.readouterr().err.splitlines() == [
        "starting (this takes longer once after an installation) ...",
        "writing the report ...",
        "reading images: done, computing the next step ...",
    ]
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


def test_short_waits_say_nothing(capsys):
    one = Waiting()
    one.show("reading images", 1, 2)
    one.show("reading images", 2, 2)
    time.sleep(0.3)
    one.close()
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_the_count_at_once_and_clears_it(quick, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 1000)
    one = Waiting()
    one.show("reading images", 1, 2)
    assert sys.stderr.getvalue() == "\rreading images 1/2 "
    with monkeypatch.context() as patch:
        patch.setattr(waiting, "FIRST_SECONDS", 0.1)
        time.sleep(0.2)  # nothing is told beside the count
    one.show("reading images", 2, 2)
    one.close()
    assert sys.stderr.getvalue().endswith("\rreading images 2/2 \r" + " " * 40 + "\r")
    assert "\n" not in sys.stderr.getvalue()


def test_the_end_of_a_command_ends_the_thread(monkeypatch):
    made = []

    class Kept(Waiting):
        def __init__(self):
            super().__init__()
            made.append(self)

    monkeypatch.setattr(waiting, "Waiting", Kept)

    @click.command()
    def command():
        assert waiting.current() is waiting.current()
        raise click.ClickException("stopped")

    with pytest.raises(click.ClickException, match="stopped"):
        command.main([], standalone_mode=False)
    assert len(made) == 1 and made[0]._closed.is_set()


def test_a_run_on_a_pipe_tells_how_far_it_is(part, cloth, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.001)
    done = run("score", part, cloth / "line", "--output", tmp_path / "r.csv")
    assert "inspecting images: " in done.stderr and " of 16" in done.stderr
    assert "ms per image to read and score (median)" in done.stderr
    assert len(done.stdout.splitlines()) == 16


def test_the_time_of_the_first_image_has_no_warm_up(part, line):
    """What the first inspection loads takes many times as long as an image."""
    model = load(part, threads=1)
    model.inspect_many([])  # an empty list is no reason to wait
    start = time.perf_counter()
    results = list(model.inspect_many(line[:6]))
    assert model.open_backbone().is_warm
    assert sum(result.seconds for result in results) < time.perf_counter() - start
    warm = load(part, threads=1)
    assert not warm.open_backbone().is_warm
    assert [r.score for r in warm.inspect_many(line[:6])] == [r.score for r in results]
