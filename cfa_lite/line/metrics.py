"""Metrics of a server in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

from ..results import Inspection

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Metrics:
    """Count what a server does. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: Counter[tuple[str, str]] = Counter()
        self._responses: Counter[int] = Counter()
        self._buckets = [0] * len(_BOUNDS)
        self._n, self._seconds = 0, 0.0

    def finished(self, model: str, result: Inspection, seconds: float) -> None:
        """Count an inspected image and the time since its request was complete."""
        with self._lock:
            self._images[model, result.verdict] += 1
            self._n += 1
            self._seconds += seconds
            for i, bound in enumerate(_BOUNDS):
                self._buckets[i] += seconds <= bound

    def responded(self, code: int) -> None:
        """Count a response by its code of HTTP."""
        with self._lock:
            self._responses[code] += 1

    def text(self, n_in_progress: int) -> str:
        """Return all metrics; `n_in_progress` images wait or are inspected."""
        with self._lock:
            lines = ["# HELP cfa_lite_images_total Inspected images.", "# TYPE cfa_lite_images_total counter"]
            for (model, verdict), n in sorted(self._images.items()):
                lines.append(f'cfa_lite_images_total{{model="{_escaped(model)}",verdict="{verdict}"}} {n}')
            lines += [
                "# HELP cfa_lite_latency_seconds Time from a complete request to its result.",
                "# TYPE cfa_lite_latency_seconds histogram",
                *(f'cfa_lite_latency_seconds_bucket{{le="{b}"}} {n}' for b, n in zip(_BOUNDS, self._buckets)),
                f'cfa_lite_latency_seconds_bucket{{le="+Inf"}} {self._n}',
                f"cfa_lite_latency_seconds_sum {self._seconds}",
                f"cfa_lite_latency_seconds_count {self._n}",
                "# HELP cfa_lite_responses_total Responses by code of HTTP.",
                "# TYPE cfa_lite_responses_total counter",
                *(f'cfa_lite_responses_total{{code="{code}"}} {n}' for code, n in sorted(self._responses.items())),
                "# HELP cfa_lite_queue Images that wait or are inspected.",
                "# TYPE cfa_lite_queue gauge",
                f"cfa_lite_queue {n_in_progress}",
            ]
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
