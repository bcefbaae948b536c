"""How much time does HTTP add to an inspection?

    python benchmarks/serving.py --images 300

Inspects images of the demo's cloth with `cfa-lite serve`, one client, a connection for each image and a kept one. HTTP
adds what the client waits beyond `seconds` of the answer, the time for reading and scoring. The target is 3 ms.
"""

from __future__ import annotations

import http.client
import json
import re
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


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--images", type=int, default=300)
    args = parser.parse_args()
    _common.print_machine(2)
    with tempfile.TemporaryDirectory() as name:
        images = _cloth.write(Path(name, "cloth"), 40, (256, 256), seed=1)
        part = Path(name, "part.cfa")
        CFA(recipe="whitened", threads=2).fit(images[:20]).save(part)
        command = [sys.executable, "-m", "cfa_lite", "serve", str(part), "--port", "0"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        found = re.search(r":(\d+) answers", server.stderr.readline())
        assert found
        for kind in ("new", "kept"):
            added, scored = [], []
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]))
            for i in range(args.images):
                content = images[i % len(images)].read_bytes()
                start = time.perf_counter()
                if kind == "new":
                    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]))
                connection.request("POST", "/inspect", content)
                answer = json.loads(connection.getresponse().read())
                scored.append(answer["seconds"])
                added.append(time.perf_counter() - start - answer["seconds"])
            p50, p95 = 1000 * np.quantile(added[5:], (0.5, 0.95))
            print(f"{kind} connection: scorer {1000 * np.median(scored[5:]):.1f} ms, HTTP adds {p50:.2f} ms (median),"
                  f" {p95:.2f} ms (p95)")  # fmt: skip
        server.send_signal(signal.SIGTERM)
        server.wait()


if __name__ == "__main__":
    main()
