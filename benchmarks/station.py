"""How soon can the page of a station be used, with many results?

    python benchmarks/station.py --results 20000 --loads 20

Fills the journal of a station with synthetic rows of a few images, starts `cfa-lite station`, and opens its page in
headless Chromium without a cache. The page is interactive when the newest image, its verdict and the list are there
and the buttons answer; its picture is shown a little later. Needs selenium, Chromium and its driver.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _cloth
import _common
import numpy as np

from cfa_lite import CFA
from cfa_lite.line.arrivals import digest
from cfa_lite.line.journal import Journal
from cfa_lite.line.records import Content
from cfa_lite.report import tables
from cfa_lite.results import Inspection

_VERDICTS = (("NG", 1.2, 0.03), ("UNSURE", 0.97, 0.02), ("OK", 0.7, 0.95))  # with their scores and shares
_PICTURE = "return window.station && station.viewer.preview ? performance.now() : 0"


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--results", type=int, default=20_000)
    parser.add_argument("--loads", type=int, default=20)
    args = parser.parse_args()
    _common.print_machine("default")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = _cloth.write(folder / "line", 60, (256, 256), seed=1)
        CFA(recipe="whitened").fit(images[:20]).save(folder / "part.cfa")
        _fill(folder, images, args.results)
        command = [sys.executable, "-m", "cfa_lite", "station", str(folder / "part.cfa")]
        command += ["--watch", str(folder / "line"), "--port", "0"]
        start = time.perf_counter()
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        found = None
        while found is None:
            line = server.stderr.readline()
            assert line, "the station has ended"
            found = re.search(r"http://\S+", line)
        print(f"start       {time.perf_counter() - start:.2f} s, with {args.results} results to take over")
        try:
            _measure(found[0], args.loads)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _fill(folder: Path, images: list[Path], n: int) -> None:
    """Write a journal of `n` results."""
    rng = np.random.default_rng(0)
    (folder / "part.station").mkdir()
    journal = Journal(folder / "part.station" / "results.csv.journal", "csv", tables.beginning("csv"))
    contents = [Content((p.stat().st_size, p.stat().st_mtime_ns), digest(p.read_bytes())) for p in images]
    for i, choice in enumerate(rng.choice(len(_VERDICTS), n, p=[share for _, _, share in _VERDICTS])):
        verdict, score, _ = _VERDICTS[choice]
        path, content = images[i % len(images)], contents[i % len(images)]
        result = Inspection(os.fspath(path), "ok", verdict, score, 2 * score, 2.0, 0.02)
        journal.add(path, content, f"{i}", verdict, tables.row(result, "csv").encode(), None)
    journal.commit()
    journal.close()


def _measure(address: str, n_loads: int) -> None:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1920,1080"):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        driver.get("about:blank")  # the start of the browser does not count
        ready, pictures = [], []
        for _ in range(n_loads):
            driver.get(address)
            ready.append(_until(driver, "return document.body ? Number(document.body.dataset.ready) || 0 : 0"))
            pictures.append(_until(driver, _PICTURE))
            n_waiting = driver.execute_script("return station.page.news.waiting")
            n = driver.execute_script("return station.page.news.newest")
        print(f"page        {n} results, {n_waiting} of them waiting")
        for label, values in (("interactive", ready), ("picture", pictures)):
            low, middle, high = np.quantile(values, (0, 0.5, 1))
            print(f"{label:11s} {middle:.0f} ms (median of {n_loads} loads), {low:.0f} to {high:.0f} ms; first"
                  f" {values[0]:.0f} ms")  # fmt: skip
    finally:
        driver.quit()


def _until(driver, script):
    value = 0
    while not value:
        value = driver.execute_script(script)
    return value


if __name__ == "__main__":
    main()
