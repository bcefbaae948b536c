"""The page of the station in headless Chromium, with a station in a process of its own."""

import json
import os
import shutil
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from test_station import PIN, copy_in, running
from test_station_history import Line

if "CFA_LITE_BROWSER" not in os.environ or sys.version_info < (3, 11):  # as pyproject.toml says
    pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and "CFA_LITE_BROWSER" not in os.environ, reason="no Chromium with its driver"
    ),
]
# The image that was asked for is shown, and nothing is being sent.
SETTLED = "const p = station.page; return p.mode === 'review' && !p.isBusy && p.image && p.image.id === p.wanted"


@contextmanager
def browser(address, width=1280, height=800):
    """Chromium at the page of a station. At the end, its policy was not violated and no other host was asked."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        resize(driver, width, height)
        driver.get(address)
        until(driver, "return document.body.dataset.ready")
        yield driver
        log = [entry["message"] for entry in driver.get_log("browser")]
        assert not [line for line in log if "Content Security Policy" in line or "Uncaught" in line], log
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        assert {urlsplit(url).netloc for url in asked if url.startswith("http")} == {urlsplit(address).netloc}
    finally:
        driver.quit()


def resize(driver, width, height):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def until(driver, script, *arguments, seconds=120):
    """Wait until a script returns something true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = driver.execute_script(script, *arguments)
        if found:
            return found
        time.sleep(0.05)
    shown = driver.execute_script("return document.body.innerText")
    raise AssertionError(f"not true in {seconds} s: {script} {arguments}\n{shown}")


def text(driver, name):
    return driver.execute_script("return document.getElementById(arguments[0]).innerText", name)


def shown(driver, name):
    """Wait until an element can be used."""
    script = "const e = document.getElementById(arguments[0]); return e.offsetParent !== null && !e.disabled"
    until(driver, script, name)
    return driver.find_element(By.ID, name)


def click(driver, name):
    shown(driver, name).click()


def press(driver, *keys):
    ActionChains(driver).send_keys(*keys).perform()


def write(driver, name, value, end=Keys.ENTER):
    field = shown(driver, name)
    field.clear()
    field.send_keys(value, end)


def draw(driver, *points):
    """Draw with a finger on the canvas, in pixels from its middle."""
    actions = ActionBuilder(driver, mouse=PointerInput("touch", "finger"), duration=20)
    canvas, (first, *others) = driver.find_element(By.ID, "canvas"), points
    actions.pointer_action.move_to(canvas, *first).pointer_down()
    for point in others:
        actions.pointer_action.move_to(canvas, *point)
    actions.pointer_action.pointer_up()
    actions.perform()


def review(driver, id_):
    """Open an image of the list."""
    until(driver, "return document.querySelector(`#list li[data-id='${arguments[0]}'] button`) !== null", id_)
    driver.execute_script("document.querySelector(`#list li[data-id='${arguments[0]}'] button`).click()", id_)
    until(driver, "return station.page.mode === 'review' && station.page.image?.id === arguments[0]", id_)


def until_waiting(driver, n):
    until(driver, "return document.getElementById('waiting-n').innerText === arguments[0]", str(n))


def test_the_whole_loop_from_ng_to_taught_and_ok(part, cloth, line, tmp_path):
    more = ["--good", cloth / "good", "--move-to", tmp_path / "done"]
    with running(part, tmp_path, *more) as station, browser(station.address) as driver:
        assert "Waiting for images" in text(driver, "verdict")
        copy_in(line, station.watched)
        news = station.wait(lambda news: news["newest"] == len(line))
        n = news["waiting"]
        until_waiting(driver, n)
        until(driver, "return station.page.image?.id === arguments[0]", len(line))  # it updates by itself

        # A false alarm: of the images that were found, the one with the lowest score
        found = station.get("/images")["images"]
        alarm, defect = (pick(found, key=lambda one: one["score"]) for pick in (min, max))
        review(driver, alarm["id"])
        assert text(driver, "verdict") == alarm["verdict"] == "NG"
        until(driver, "return station.viewer.preview && station.viewer.map && true")
        click(driver, "good")
        write(driver, "operator", "Ada")
        until_waiting(driver, n - 1)

        # A defect, marked with a finger
        review(driver, defect["id"])
        click(driver, "defect")
        draw(driver, (-40, -40), (40, -40), (40, 40), (-40, 40))
        until(driver, "return station.viewer.marks.length === 1 && station.viewer.marks[0].points.length > 3")
        write(driver, "kind", "hole")
        until_waiting(driver, n - 2)
        kept = station.get(f"/images/{defect['id']}")
        assert kept["decision"]["kind"] == "hole" and len(kept["marks"][0]["points"]) > 3

        # Taught by an engineer
        click(driver, "teach")
        write(driver, "pin", "wrong")
        until(driver, "return document.querySelector('#pin-dialog .error').innerText.includes('wrong')")
        write(driver, "pin", PIN)
        click(driver, "job-start")
        shown(driver, "job-accept")
        report = text(driver, "job-report")
        assert "Before: model 1" in report and alarm["name"] in report and "hole" in report
        assert station.get("/news")["version"] == 1
        click(driver, "job-accept")
        until(driver, "return document.getElementById('version').innerText === 'model 2'")
        driver.execute_script("document.querySelector('#teaching .close').click()")

        # The same image, once more
        click(driver, "live")
        again = station.watched / "again.tmp"
        shutil.copy(tmp_path / "done" / "NG" / alarm["name"], again)
        again.rename(again.with_suffix(".png"))
        until(driver, "return station.page.image?.name === 'again.png'")
        assert driver.execute_script("return station.page.image.version") == 2
        assert text(driver, "verdict") == "OK"
        assert station.get(f"/images/{defect['id']}")["now"]["verdict"] == "NG"

        # And back with one click
        click(driver, "teach")
        until(driver, "return document.querySelector('#versions button') !== null")
        driver.execute_script("document.querySelector('#versions button').click()")
        until(driver, "return document.getElementById('version').innerText === 'model 1'")


def test_keys_gone_files_and_widths(part, line, tmp_path):
    with running(part, tmp_path) as station, browser(station.address) as driver:
        copy_in(line, station.watched)
        n = station.wait(lambda news: news["newest"] == len(line))["waiting"]
        assert n >= 4
        until_waiting(driver, n)
        press(driver, "r")
        until(driver, f"{SETTLED} && station.page.image.id === station.page.list[0].id")
        press(driver, "m")
        assert driver.execute_script("return station.viewer.isMapOn") is False
        press(driver, "z")
        until(driver, "return !station.viewer.isFitted")
        press(driver, "0")
        until(driver, "return station.viewer.isFitted")
        first = driver.execute_script("return station.page.image.id")
        press(driver, Keys.ARROW_RIGHT)
        until(driver, "return station.page.image?.id !== arguments[0]", first)
        press(driver, Keys.ARROW_LEFT)
        until(driver, "return station.page.image?.id === arguments[0]", first)
        press(driver, "s")
        write(driver, "operator", "Grace")
        until_waiting(driver, n - 1)
        press(driver, "u")
        until_waiting(driver, n)
        until(driver, "return station.page.image?.id === arguments[0]", first)
        press(driver, "d")
        until(driver, "return station.viewer.tool === 'blob'")
        press(driver, "x")
        draw(driver, (-30, -30), (30, 20))
        until(driver, "return station.viewer.marks.length === 1 && station.viewer.marks[0].points.length === 4")
        press(driver, "c", "b")
        assert driver.execute_script("return station.viewer.marks.length") == 0
        press(driver, Keys.ENTER)  # without marks, teaching takes what is most unusual
        until_waiting(driver, n - 1)
        until(driver, SETTLED)
        press(driver, "g")
        until_waiting(driver, n - 2)
        press(driver, "?")
        until(driver, "return document.getElementById('keys').open")
        press(driver, Keys.ESCAPE)

        gone = driver.execute_script("return station.page.image")
        (station.watched / gone["name"]).unlink()
        review(driver, gone["id"])
        until(driver, "return document.getElementById('nothing').innerText.includes('is gone')")
        assert not driver.find_element(By.ID, "good").is_enabled()
        press(driver, "l")
        until(driver, "return station.page.mode === 'live'")

        for width, height in ((320, 640), (768, 1024), (1920, 1080), (3840, 2160)):
            resize(driver, width, height)
            for mode in ("live", "review", "mark"):
                if mode != "live":
                    press(driver, {"review": "h", "mark": "d"}[mode])
                is_there = "station.page.marking" if mode == "mark" else f"station.page.mode === '{mode}'"
                until(driver, f"return {is_there}")
                wide = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
                assert wide <= 0, (width, mode)
            press(driver, Keys.ESCAPE, "l")
            until(driver, "return station.page.mode === 'live'")
            least = driver.execute_script("return document.getElementById('canvas').clientHeight / window.innerHeight")
            assert least > 0.3


def test_since_when_the_light_has_changed(part, tmp_path):
    (tmp_path / "part.station").mkdir()
    inspected = Line(tmp_path / "part.station", name="results.csv.journal")
    inspected.add(400)
    inspected.add(200, brightness=92.0)
    inspected.journal.close()
    with running(part, tmp_path) as station, browser(station.address) as driver:
        press(driver, "w")
        until(driver, "return document.querySelectorAll('#charts svg polyline').length === 3")
        told = text(driver, "changes-told")
        assert "(image 401): the light fell by " in told and "No change of scores and sharpness." in told
        changed = driver.execute_script("return [...document.querySelectorAll('figure.changed')].map(e => e.innerText)")
        assert [name.split()[0] for name in changed] == ["light"]
        for width, height in ((320, 640), (1280, 800), (3840, 2160)):
            resize(driver, width, height)
            fits = "const d = document.getElementById('changes-dialog'); return d.scrollWidth <= d.clientWidth"
            until(driver, fits)
            assert shown(driver, "changes-again").rect["height"] >= 40
        click(driver, "changes-again")
        press(driver, Keys.ESCAPE)
        until(driver, "return !document.getElementById('changes-dialog').open")


def test_a_name_cannot_become_markup(part, line, tmp_path):
    with running(part, tmp_path) as station, browser(station.address) as driver:
        name = "<img src=x onerror=document.title='x'>&amp;.png"
        shutil.copy(line[0], tmp_path / "half.tmp")
        (tmp_path / "half.tmp").rename(station.watched / name)
        until(driver, "return station.page.image && station.page.image.name === arguments[0]", name)
        assert name in text(driver, "name")
        assert driver.execute_script("return document.querySelectorAll('img[onerror]').length") == 0
