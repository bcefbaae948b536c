"""How often does `cfa-lite drift` raise a false alarm, and how late does it find a change?

    python benchmarks/drift.py [--runs 200] [--images 10000] [--reference 300] [--every 10000]

Simulated lines: independent values of three distributions, values that depend on their neighbors, and rolls of 20
images that share a level. Each run has its own reference. The second table has independent values with a shift.
"""

import _common
import numpy as np
from scipy.signal import lfilter

from cfa_lite import threads
from cfa_lite.drift import changes, chart


def neighbors(rng, correlation, n):
    noise = rng.standard_normal(n + 200) * np.sqrt(1 - correlation**2)
    return lfilter([1], [1, -correlation], noise)[200:]


def rolls(rng, share, n, size=20):
    levels = np.repeat(rng.standard_normal(-(-n // size)), size)[:n]
    return np.sqrt(share) * levels + np.sqrt(1 - share) * rng.standard_normal(n)


LINES = {
    "independent, normal": lambda rng, n: rng.standard_normal(n),
    "independent, heavy tails (t, 3 degrees)": lambda rng, n: rng.standard_t(3, n),
    "independent, skewed (log-normal)": lambda rng, n: np.exp(rng.standard_normal(n)),
    "neighbors correlated by 0.3": lambda rng, n: neighbors(rng, 0.3, n),
    "neighbors correlated by 0.6": lambda rng, n: neighbors(rng, 0.6, n),
    "neighbors correlated by 0.8": lambda rng, n: neighbors(rng, 0.8, n),
    "neighbors correlated by 0.9": lambda rng, n: neighbors(rng, 0.9, n),
    "rolls of 20, a tenth of the variance": lambda rng, n: rolls(rng, 0.1, n),
    "rolls of 20, a third of the variance": lambda rng, n: rolls(rng, 1 / 3, n),
}


def alarms(made):
    return len(changes.excursions(made))


def main():
    parser = _common.parser(__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--reference", type=int, default=300)
    parser.add_argument("--every", type=float, default=10_000, help="at most one false alarm in so many images")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, n = np.random.default_rng(options.seed), options.reference

    print(f"{options.runs} runs of {options.images} images, reference {n}, one alarm in {options.every:g} is allowed")
    print(f"{'line':42s} {'judged':>6s} {'alarms':>6s} {'images per alarm':>16s} {'runs with one':>13s}")
    for name, draw in LINES.items():
        counts = []
        for _ in range(options.runs):
            values = draw(rng, n + options.images)
            made = chart.make(values[n:], values[:n], options.every)
            if made.n_independent >= changes.MIN_INDEPENDENT:
                counts.append(alarms(made))
        total = sum(counts)
        length = f"{len(counts) * options.images / total:16,.0f}" if total else f"{'none':>16s}"
        some = sum(count > 0 for count in counts)
        print(f"{name:42s} {len(counts):6d} {total:6d} {length} {some:13d}", flush=True)

    print(f"{'shift, standard deviations':42s} {'found':>6s} {'median delay':>12s} {'90%':>6s} {'error of place':>14s}")
    for every in (options.every, 5e5):
        for shift in (0.5, 1.0, 2.0):
            delays, errors = [], []
            for _ in range(options.runs):
                values = rng.standard_normal(n + 1500)
                values[n + 500 :] += shift
                made = chart.make(values[n:], values[:n], every)
                for before, alarm, _end in changes.excursions(made):
                    if alarm >= 500:
                        delays.append(alarm - 500 + 1)
                        errors.append(abs(changes.first_image(made, before, alarm) - 500))
                        break
            name = f"{shift} (one alarm in {every:g})"
            quantiles = np.quantile(delays, (0.5, 0.9)) if delays else (np.nan, np.nan)
            found = f"{len(delays):6d} {quantiles[0]:12.0f} {quantiles[1]:6.0f}"
            print(f"{name:42s} {found} {np.median(errors):14.0f}", flush=True)


if __name__ == "__main__":
    with threads.serial_blas():
        main()
