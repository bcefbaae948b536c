"""Numba kernels: they only compute. Their callers check, allocate and multiply.

Every kernel is serial and releases the GIL; threads.ordered_map runs several beside each other. This
needs none of Numba's threading layers (of which one aborts the process when two Python threads meet in
it) and gives the same bits on any number of threads. tests/naive.py holds an obvious twin of each.
"""

from contextlib import suppress

import numba
import numpy as np
from numba.core.caching import FunctionCache

# All of fast-math but nnan and ninf, which would delete the checks for NaN and infinity.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}


class _Cache(FunctionCache):
    """Numba's, where a file that a power cut emptied or a full disk does not take costs a second and no score."""

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # of damaged bytes any kind
            with suppress(Exception):
                self.flush()  # or an index that cannot be read would stay
            return None

    def save_overload(self, sig, data):
        with suppress(Exception):
            super().save_overload(sig, data)


def _njit(function):
    """Compile for one thread without the GIL; keep it on disk where a folder for that can be written."""
    dispatcher = numba.njit(nogil=True, fastmath=FASTMATH)(function)
    with suppress(RuntimeError):  # read-only install and no writable home: compile anew in each process
        dispatcher._cache = _Cache(function)  # type: ignore[attr-defined]  # cache=True puts Numba's own there
    return dispatcher


@_njit
def nearest_of_columns(products, half_sq, points_sq, index, distance_sq):
    """Nearest center of each point, from |x|^2 - 2 (x.c - |c|^2 / 2); ties go to the lower index.

    products (k, n), a row a center, half_sq (k,), points_sq (n,) in; index (n,) int32, distance_sq (n,) out. A running
    maximum over rows needs neither a branch nor a sum across a vector. The expansion rounds below zero, so it is
    clamped; NaN stays NaN.
    """
    k, n = products.shape
    best, at = np.empty(n, products.dtype), np.zeros(n, np.int32)
    for i in range(n):
        best[i] = products[0, i] - half_sq[0]
    for j in range(1, k):
        half = half_sq[j]
        center = np.int32(j)
        for i in range(n):
            value = products[j, i] - half
            nearer = value > best[i]
            best[i] = value if nearer else best[i]
            at[i] = center if nearer else at[i]
    for i in range(n):
        value = points_sq[i] - 2 * best[i]
        distance_sq[i] = 0 if value < 0 else value
        index[i] = at[i]


@_njit
def distance_of_columns(products, half_sq, distance):
    """Distance of each point to its nearest center, from descriptors and products at once.

    products (d + k, n): d rows of descriptors x, then k of x.c; half_sq (k,) = |c|^2 / 2 in; distance (n,) out. As
    nearest_of_columns, without the index.
    """
    k, n = len(half_sq), products.shape[1]
    d = len(products) - k
    sq, best = np.zeros(n, products.dtype), np.empty(n, products.dtype)
    for c in range(d):
        for i in range(n):
            sq[i] += products[c, i] * products[c, i]
    for i in range(n):
        best[i] = products[d, i] - half_sq[0]
    for j in range(1, k):
        half = half_sq[j]
        for i in range(n):
            value = products[d + j, i] - half
            best[i] = value if value > best[i] else best[i]
    for i in range(n):
        value = sq[i] - 2 * best[i]
        distance[i] = np.sqrt(0 * value if value < 0 else value)


@_njit
def next_seed(columns, pick, share, distance_sq, squared):
    """Measure all points to the seed `pick`, and draw the next one by what is left: k-means++.

    columns (d, n) a column a point, share 0 to 1 of the sum of distances where the next one is in; distance_sq (n,), to the
    nearest seed, in and out; squared (n,) is scratch. Gives the next seed, -1 where every point is one.
    """
    d, n = columns.shape
    squared[:] = 0
    for c in range(d):
        at = columns[c, pick]
        for i in range(n):
            squared[i] += (columns[c, i] - at) ** 2
    total = 0.0
    for i in range(n):
        distance_sq[i] = squared[i] if squared[i] < distance_sq[i] else distance_sq[i]
        total += distance_sq[i]
    if not total > 0:
        return -1
    left = share * total
    for i in range(n):
        left -= distance_sq[i]
        if left < 0:
            return i
    return n - 1


@_njit
def add_to_clusters(points, labels, sums, counts):
    """Add each point (n, d) float32 to its cluster's sum (k, d) float64 and count (k,) int64."""
    n, d = points.shape
    for i in range(n):
        j = labels[i]
        counts[j] += 1
        for c in range(d):
            sums[j, c] += points[i, c]


@_njit
def pool3x3(maps, out):
    """3x3 mean, stride 1, of each channel of maps (c, h, w); zero padding counts."""
    n_channels, h, w = maps.shape
    ninth = maps.dtype.type(1 / 9)
    column = np.empty(w, maps.dtype)
    for c in range(n_channels):
        for y in range(h):
            for x in range(w):
                column[x] = maps[c, y, x]
            if y > 0:
                for x in range(w):
                    column[x] += maps[c, y - 1, x]
            if y < h - 1:
                for x in range(w):
                    column[x] += maps[c, y + 1, x]
            if w == 1:
                out[c, y, 0] = column[0] * ninth
                continue
            out[c, y, 0] = (column[0] + column[1]) * ninth
            for x in range(1, w - 1):
                out[c, y, x] = (column[x - 1] + column[x] + column[x + 1]) * ninth
            out[c, y, w - 1] = (column[w - 2] + column[w - 1]) * ninth


@_njit
def halve(planes, out):
    """Half of planes (n, h, w) along both sides by the filter (1, 3, 3, 1) / 8, edges held; out (n, h/2, w/2)."""
    n, h, w = planes.shape
    row = np.empty(w, planes.dtype)
    three, eighth = planes.dtype.type(3), planes.dtype.type(1 / 8)
    for p in range(n):
        for y in range(h // 2):
            above, below = max(2 * y - 1, 0), min(2 * y + 2, h - 1)
            for x in range(w):
                inner = planes[p, 2 * y, x] + planes[p, 2 * y + 1, x]
                row[x] = (inner * three + (planes[p, above, x] + planes[p, below, x])) * eighth
            for x in range(w // 2):
                inner = row[2 * x] + row[2 * x + 1]
                out[p, y, x] = (inner * three + (row[max(2 * x - 1, 0)] + row[min(2 * x + 2, w - 1)])) * eighth


@_njit
def look(pixels, found):
    """Sums over pixels (3, h, w): found (6,) float64 out.

    Of the second plane its values and the absolute steps down and to the right; of all planes the lowest and the highest
    value, and how far apart from the second any is at most, added up over a column.
    """
    _, h, w = pixels.shape
    lows, highs, apart = pixels[1, 0].copy(), pixels[1, 0].copy(), np.zeros(w, pixels.dtype)
    sums = np.zeros(3)
    for y in range(h):
        line, below = pixels[1, y], pixels[1, min(y + 1, h - 1)]
        total = down = right = np.float32(0)
        for x in range(w):
            total += line[x]
            down += abs(below[x] - line[x])
        for x in range(w - 1):
            right += abs(line[x + 1] - line[x])
        sums[0] += total
        sums[1] += down
        sums[2] += right
        for c in range(3):
            plane = pixels[c, y]
            for x in range(w):
                lows[x] = plane[x] if plane[x] < lows[x] else lows[x]
                highs[x] = plane[x] if plane[x] > highs[x] else highs[x]
                apart[x] += abs(plane[x] - line[x])
    found[:3] = sums
    found[3], found[4], found[5] = lows.min(), highs.max(), apart.max()


@_njit
def add_combined_rows(first, weights, source, out):
    """Add to each row of out (n, w) the sum of source's rows first[i], first[i] + 1, ... by weights (n, n_taps)."""
    n, n_taps = weights.shape
    w = source.shape[1]
    for i in range(n):
        for t in range(n_taps):
            weight, row = weights[i, t], source[first[i] + t]
            for x in range(w):
                out[i, x] += weight * row[x]


@_njit
def stretch(score_map, low, factor, top, out):
    """What is above `low` is stretched by `factor` and kept at `top` at most; maps (h, w), numbers of their type."""
    h, w = score_map.shape
    for y in range(h):
        for x in range(w):
            value = score_map[y, x]
            value = low + (value - low) * factor if value > low else value
            out[y, x] = value if value < top else top


@_njit
def merge_nearest(products, half_sq, points_sq, first, index, distance_sq):
    """Merge centers first, first + 1, ... into the k nearest of each point, ascending; the earlier of equals stays.

    products (m, n), a row a center, half_sq (m,) = |c|^2 / 2, points_sq (n,), float32 or float64 in; index (k, n) int32
    and distance_sq (k, n), infinity where there is none yet, in and out. The expansion is clamped at 0. Each center sinks
    through the k rows of all points at once, which are vector instructions where one point's own list would be
    branches that no processor foresees.
    """
    m, n = products.shape
    k = len(index)
    value, center = np.empty(n, products.dtype), np.empty(n, np.int32)
    for j in range(m):
        half, this = half_sq[j], np.int32(first + j)
        n_nearer = 0
        for i in range(n):
            of_this = points_sq[i] + 2 * (half - products[j, i])
            value[i] = 0 if of_this < 0 else of_this
            center[i] = this
            n_nearer += value[i] < distance_sq[k - 1, i]
        if n_nearer == 0:
            continue
        for rank in range(k):
            known_value, known_center = distance_sq[rank], index[rank]
            for i in range(n):
                new, old, new_center, old_center = value[i], known_value[i], center[i], known_center[i]
                nearer = new < old
                known_value[i] = new if nearer else old
                value[i] = old if nearer else new
                known_center[i] = new_center if nearer else old_center
                center[i] = old_center if nearer else new_center


@_njit
def hypersphere_gradient(
    descriptors, centers, index, distance_sq, n_neighbors, radius_sq, margin, gains, gradient, sums
):
    """Terms of the coupled-hypersphere loss and their gradient with respect to the descriptors.

    descriptors (n, d), centers (m, d), index and distance_sq (n, K + J) ascending, gains (2,): factors of one
    attraction and one repulsion term. gradient (n, d) and sums (4,) float64 out: sum of attraction terms, of
    repulsion terms, active attraction terms, active repulsion terms; a term at exactly 0 counts half, which is
    what a central difference sees there.
    """
    n, d = descriptors.shape
    n_all = index.shape[1]
    sums[:] = 0
    for i in range(n):
        for c in range(d):
            gradient[i, c] = 0
        for j in range(n_all):
            attracts = j < n_neighbors
            value = distance_sq[i, j] - radius_sq if attracts else radius_sq - distance_sq[i, j] - margin
            if value < 0:
                continue
            active = 0.5 if value == 0 else 1.0
            kind = 0 if attracts else 1
            sums[kind] += value
            sums[2 + kind] += active
            factor = 2 * active * gains[kind] * (1 if attracts else -1)
            center = index[i, j]
            for c in range(d):
                gradient[i, c] += factor * (descriptors[i, c] - centers[center, c])
