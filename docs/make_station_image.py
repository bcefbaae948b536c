"""Draw docs/images/station.png: the page of a station with images of the demo.

    python docs/make_station_image.py

Needs selenium, Chromium and its driver.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from cfa_lite import CFA
from cfa_lite.demo import make_demo

IMAGE = Path(__file__).resolve().parent / "images" / "station.png"
SIZE = 1200, 675
N_COLORS = 128


def main() -> None:
    """Start a station, open the image of a hole, and take a picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_demo(folder / "cloth")
        CFA(n_centers=128).fit(folder / "cloth" / "good").save(folder / "cloth.cfa")
        command = [sys.executable, "-m", "cfa_lite", "station", "cloth.cfa", "--watch", "cloth/line", "--port", "0"]
        station = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        assert station.stderr is not None
        found = None
        while found is None:
            line = station.stderr.readline()
            assert line, "the station has ended"
            found = re.search(r"http://\S+", line)
        try:
            shot = _screenshot(found[0])
        finally:
            station.send_signal(signal.SIGTERM)
            station.wait()
    shot.quantize(N_COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(IMAGE, optimize=True)
    print(f"{IMAGE}: {IMAGE.stat().st_size} bytes")


def _screenshot(address: str) -> Image.Image:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        size = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(address)
        _until(driver, "return window.station && station.page.news && station.page.news.newest === 27")
        _until(driver, "return document.querySelectorAll('#list img:not([data-src])').length > 5")
        # The highest score that waits
        driver.execute_script(
            "const best = station.page.list.reduce((a, b) => (a.score > b.score ? a : b));"
            "document.querySelector(`#list li[data-id='${best.id}'] button`).click()"
        )
        _until(driver, "return station.page.mode === 'review' && station.viewer.map && station.viewer.preview && true")
        time.sleep(1)  # the list is still painted
        return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    finally:
        driver.quit()


def _until(driver: webdriver.Chrome, script: str) -> None:
    while not driver.execute_script(script):
        time.sleep(0.1)


if __name__ == "__main__":
    main()
