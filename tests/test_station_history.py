"""Since when something has changed, as the page of a station tells it."""

from dataclasses import replace

import numpy as np
import pytest

from cfa_lite.line.journal import Journal
from cfa_lite.line.records import Content
from cfa_lite.report import tables
from cfa_lite.results import not_scored
from cfa_lite.station import history
from cfa_lite.station.history import History


class Line:
    """A journal to which images are added, with quantities that the test chooses."""

    def __init__(self, folder, fmt="csv", name="rows.journal"):
        self.journal, self.fmt, self.folder = Journal(folder / name, fmt, tables.beginning(fmt)), fmt, folder
        self.rng = np.random.default_rng(3)

    def add(self, n, score=0.5, brightness=100.0, status="ok"):
        for _ in range(n):
            number = len(self.journal) + 1
            path = self.folder / f"{number:05d}.png"
            result = replace(
                not_scored(str(path), status, "", 1.0, 0.01),
                verdict={"ok": "OK"}.get(status, "ERROR"),
                score=score + 0.05 * self.rng.normal(),
                raw_score=1.0,
                brightness=brightness + self.rng.normal(),
                sharpness=4 + 0.1 * self.rng.normal(),
                time=f"2026-11-27T{6 + number // 60:02d}:{number % 60:02d}:00",
            )
            row = tables.row(result, self.fmt).encode()
            self.journal.add(path, Content((number, number), b"%d" % number), path.name, "OK", row, None)
        self.journal.commit()


@pytest.fixture(params=["csv", "csv-semicolon", "jsonl"])
def line(tmp_path, request):
    made = Line(tmp_path, request.param)
    yield made
    made.journal.close()


def told(line, since=1):
    return History(line.journal, line.fmt, lambda: since).told()


def state(found):
    return {chart["name"]: chart["changed"] for chart in found["charts"]}


def test_few_images_tell_no_change(line):
    line.add(history.N_REFERENCE + 19)
    found = told(line)
    assert found["lines"] == ["Changes are told from 320 images on: the first 300 show what is normal."]
    assert found["charts"] == []


def test_a_change_of_the_light_is_told_with_its_time_and_drawn(line):
    line.add(420)
    following = History(line.journal, line.fmt, lambda: 1)
    assert state(following.told()) == {"scores": False, "light": False, "sharpness": False}
    line.add(200, brightness=92.0)
    following.catch_up()
    found = following.told()
    assert found == told(line)  # a station that is started again tells the same
    assert state(found) == {"scores": False, "light": True, "sharpness": False}
    assert "Since 13:01 (image 421): the light fell by " in found["lines"][0]
    assert (found["start"], found["end"]) == ("2026-11-27T11:01:00", "2026-11-27T16:20:00")
    points = np.array(next(chart for chart in found["charts"] if chart["name"] == "light")["points"])
    assert len(points) == 300 and points[0, 0] < 0.01 and points[-1, 0] > 0.99
    assert np.abs(points[points[:, 0] < 0.35, 1]).max() < 1 < -points[-1, 1]


def test_scores_are_compared_with_those_of_the_model_in_use(line):
    line.add(400)
    line.add(400, score=0.8)  # another model, from image 401 on
    assert state(told(line))["scores"]
    found = told(line, since=401)
    assert not state(found)["scores"] and "light" in state(found)
    assert found["model_since"] == pytest.approx(0.2, abs=0.01)
    line.add(150, score=1.1)
    found = told(line, since=401)
    assert state(found)["scores"] and "(image 801)" in found["lines"][0]
    found = told(line, since=921)  # too few images of a third model
    assert "scores" not in state(found)
    assert "Not judged: scores: only 30 images of the reference have a value, and 100 are needed." in found["lines"]


def test_images_that_were_not_inspected_do_not_count(line):
    line.add(330)
    line.add(200, status="error")
    found = told(line)
    assert "30 images compared with a reference of 300" in found["lines"][-1]


def test_only_the_newest_images_are_kept(line, monkeypatch):
    monkeypatch.setattr(history, "MAX_JUDGED", 100)
    line.add(350, brightness=100)
    line.add(200, brightness=90.0)
    line.add(200, brightness=100.0)
    found = told(line)
    assert "100 images compared with a reference of 300" in found["lines"][-1]
    assert (found["start"], found["end"]) == ("2026-11-27T16:51:00", "2026-11-27T18:30:00")
    assert state(found)["light"] is False
