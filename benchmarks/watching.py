"""Does a watch lose or repeat an image when it is killed, and how fast is it beside `score`?

    python benchmarks/watching.py --kills 200 --images 600 --station-images 20000

Kills: images of the demo's cloth arrive in a folder while `cfa-lite watch --move-to` runs in its own process, which is
killed with SIGKILL at random moments and started again. In the end every image must have exactly one row, and be in the
folder of its verdict. Speed: the same images by `score` and by `watch --once`, in turns; the ratio of the times between
the first and the last row. Latency: images arrive one by one; from the file complete to its row. Station: the rate of
`cfa-lite station` with that many images, beside the one of `score`, and how its memory grows (on Linux).
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import _cloth
import _common
import numpy as np

from cfa_lite import CFA

SIZE_PX = (256, 256)
N_FILES = 40


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cfa_lite", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))


def killed(part: Path, images: list[Path], folder: Path, n_kills: int) -> None:
    """Kill a watch again and again while images arrive; check that each has one row and one place."""
    moments, n_arrived, n_working = random.Random(1), 0, 0
    (folder / "in").mkdir(parents=True)
    command = ["watch", part, folder / "in", "--output", folder / "rows.csv", "--move-to", folder / "done",
               "--overlays", folder / "seen", "--poll", 0.02]  # fmt: skip
    for _ in range(n_kills):
        for _ in range(moments.randint(0, 12)):
            source = images[n_arrived % len(images)]
            shutil.copy(source, folder / "in" / f"{n_arrived:05d}{source.suffix}")
            n_arrived += 1
        process = start(*command)
        assert process.stderr is not None
        process.stderr.readline()  # "watching"
        time.sleep(moments.uniform(0, 0.3))
        before = len(rows(folder / "rows.csv")) if (folder / "rows.csv").exists() else 0
        n_working += before < n_arrived
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(*command, "--once")
    said = process.communicate()[1]
    assert process.returncode == 0, said
    found = Counter(Path(row["path"]).name for row in rows(folder / "rows.csv"))
    placed = {path.name: path.parent.name for path in (folder / "done").rglob("*.*")}
    assert set(found.values()) <= {1} and len(found) == n_arrived, (len(found), n_arrived)
    assert placed == {Path(row["path"]).name: row["verdict"] for row in rows(folder / "rows.csv")}
    seen = {path.stem for path in (folder / "seen").rglob("*.png")}
    assert seen == {Path(name).stem for name in found}
    print(f"{n_kills} kills ({n_working} with images left), {n_arrived} images: each has exactly one row and one place")


def seconds_between_rows(process: subprocess.Popen[str]) -> float:
    """Return the time between the first and the last line on stdout."""
    assert process.stdout is not None
    first = last = 0.0
    for i, _ in enumerate(process.stdout):
        last = time.perf_counter()
        first = first or last if i == 0 else first
    process.communicate()
    assert process.returncode == 0
    return last - first


def speed(part: Path, images: list[Path], folder: Path, n: int) -> None:
    (folder / "in").mkdir(parents=True)
    for i in range(n):
        os.link(images[i % len(images)], folder / "in" / f"{i:05d}.png")
    ratios = []
    for turn in range(3):
        score = seconds_between_rows(start("score", part, folder / "in", "--output", folder / f"s{turn}.csv"))
        watch = seconds_between_rows(start("watch", part, folder / "in", "--output", folder / f"w{turn}.csv", "--once"))
        ratios.append(score / watch)
        print(f"score {1000 * score / n:.1f} ms, watch {1000 * watch / n:.1f} ms per image; rate {score / watch:.3f}")
    print(f"watch has {np.median(ratios):.3f} of the rate of score (median of 3 turns, {n} images)")


def latency(part: Path, images: list[Path], folder: Path, n: int) -> None:
    (folder / "in").mkdir(parents=True)
    process = start("watch", part, folder / "in", "--output", folder / "rows.csv")
    assert process.stdout is not None and process.stderr is not None
    process.stderr.readline()
    seconds = []
    for i in range(n):
        shutil.copy(images[i % len(images)], folder / "in" / f"{i:05d}.png")
        begin = time.perf_counter()
        process.stdout.readline()
        seconds.append(time.perf_counter() - begin)
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    p50, p95, p99 = 1000 * np.quantile(seconds[1:], (0.5, 0.95, 0.99))
    print(f"from file complete to row: p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms ({n} images, one by one)")


def station(part: Path, images: list[Path], folder: Path, n: int) -> None:
    """Let a station inspect many images that are there at its start."""
    (folder / "in").mkdir(parents=True)
    for i in range(n):
        os.link(images[i % len(images)], folder / "in" / f"{i:05d}.png")
    score = seconds_between_rows(start("score", part, folder / "in", "--output", folder / "s.csv"))
    taken = shutil.copy(part, folder / "line.cfa")
    table = folder / "line.station" / "results.csv"
    process = start("station", taken, "--watch", folder / "in", "--port", 0)
    counts: list[tuple[float, int, float]] = []  # seconds, rows, MB
    while not counts or counts[-1][1] < n:
        time.sleep(0.5)
        assert process.poll() is None, process.communicate()[1]
        n_rows = max(0, table.read_bytes().count(b"\n") - 1) if table.exists() else 0
        status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
        memory_mb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1000
        counts.append((time.perf_counter(), n_rows, memory_mb))
    process.send_signal(signal.SIGTERM)
    process.communicate()
    seconds, n_rows, memory_mb = np.array([one for one in counts if one[1] >= n / 10]).T
    rate = (n_rows[-1] - n_rows[0]) / (seconds[-1] - seconds[0])
    slope = np.polyfit(n_rows, memory_mb, 1)[0] * 1000
    print(
        f"station: {rate:.1f} images/s, score: {n / score:.1f} images/s, ratio {rate * score / n:.3f} ({n} images);"
        f" memory {memory_mb[0]:.0f} MB after a tenth, {memory_mb[-1]:.0f} MB at the end, slope {slope:+.3f} MB per"
        " 1,000 images"
    )


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--station-images", type=int, default=20000)
    args = parser.parse_args()
    _common.print_machine(2)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        images = _cloth.write(root / "cloth", N_FILES, SIZE_PX, seed=1)
        CFA(recipe="whitened", threads=2).fit(images[:20]).save(root / "part.cfa")
        speed(root / "part.cfa", images, root / "speed", args.images)
        latency(root / "part.cfa", images, root / "latency", 100)
        killed(root / "part.cfa", images, root / "killed", args.kills)
        if args.station_images:
            station(root / "part.cfa", images, root / "station", args.station_images)


if __name__ == "__main__":
    main()
