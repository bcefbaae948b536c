"""Numba kernels. They only compute; their callers check arguments, allocate arrays and multiply matrices.

Every kernel is serial and releases the GIL, so that threads.ordered_map can run several in parallel. This needs none of
the threading layers of Numba, one of which aborts the process when two Python threads enter it, and results are
bit-equal for any number of threads. tests/naive.py has a simple version of each kernel.
"""

import sys
from contextlib import suppress

import numba
import numpy as np
from numba.core.caching import FunctionCache

# All fast-math flags except nnan and ninf, which would remove the checks for NaN and infinity.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}


class _Cache(FunctionCache):
    """Numba's cache on disk, except that a damaged file or a full disk only costs the time to compile again."""

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # damaged bytes can raise any error
            with suppress(Exception):
                self.flush()  # remove an index that cannot be read
            return None

    def save_overload(self, sig, data):
        with suppress(Exception):
            super().save_overload(sig, data)


def njit(function):
    """Compile for one thread without the GIL, and cache the result on disk if a folder is writable."""
    # A frozen program has no source files, and Numba finds its cache by their paths. It also looks for lines of text in
    # them, which Python 3.9 cannot do in a file that is no text.
    if getattr(sys, "frozen", False) and sys.version_info >= (3, 10):
        function.__code__ = function.__code__.replace(co_filename=sys.executable)
    dispatcher = numba.njit(nogil=True, fastmath=FASTMATH)(function)
    with suppress(RuntimeError):  # no folder is writable: each process compiles again
        dispatcher._cache = _Cache(function)  # type: ignore[attr-defined]  # cache=True puts Numba's own there
    return dispatcher


@njit
def nearest_of_columns(products, half_sq, points_sq, index, distance_sq):
    """Find the nearest center of each point by |x|^2 - 2 (x.c - |c|^2 / 2); of equally near ones, the lower index.

    In: products (k, n), one row for each center; half_sq (k,); points_sq (n,). Out: index (n,) int32; distance_sq (n,).
    A running maximum over rows needs neither a branch nor a sum across a vector. Rounding can give values below zero;
    they are set to 0. NaN stays NaN.
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


@njit
def distance_of_columns(products, half_sq, distance):
    """Compute the distance of each point to its nearest center from descriptors and products.

    In: products (d + k, n), d rows of descriptors x and k rows of x.c; half_sq (k,) = |c|^2 / 2. Out: distance (n,). As
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


@njit
def next_seed(columns, pick, share, distance_sq, squared):
    """Update the distances of all points for the seed `pick`, and draw the next seed: k-means++.

    In: columns (d, n), one column for each point; share, 0 to 1, a random position in the cumulative sum of squared
    distances. In and out: distance_sq (n,) to the nearest seed. squared (n,) is a buffer. Returns the next seed, or -1
    if every point coincides with a seed.
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


@njit
def add_to_clusters(points, labels, sums, counts):
    """Add each point (n, d) float32 to the sum (k, d) float64 and the count (k,) int64 of its cluster."""
    n, d = points.shape
    for i in range(n):
        j = labels[i]
        counts[j] += 1
        for c in range(d):
            sums[j, c] += points[i, c]


@njit
def pool3x3(maps, out):
    """Average each channel of maps (c, h, w) over 3x3 neighborhoods with stride 1; positions outside count as zeros."""
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


@njit
def halve(planes, out):
    """Halve both sides of planes (n, h, w) by the filter (1, 3, 3, 1) / 8 with repeated edges; out (n, h/2, w/2)."""
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


@njit
def image_statistics(pixels, found):
    """Compute statistics of pixels (3, h, w); out: found (6,) float64.

    Of the second plane: the sum of its values, of the absolute differences to the pixel below, and of those to the
    pixel on the right. Of all planes: the lowest and the highest value, and the largest sum over a column of the
    absolute differences to the second plane.
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


@njit
def add_combined_rows(first, weights, source, out):
    """Add to each row i of out (n, w) the rows first[i], first[i] + 1, ... of source, times weights (n, n_taps)."""
    n, n_taps = weights.shape
    w = source.shape[1]
    for i in range(n):
        for t in range(n_taps):
            weight, row = weights[i, t], source[first[i] + t]
            for x in range(w):
                out[i, x] += weight * row[x]


@njit
def stretch(values, low, factor, top, out):
    """Stretch values (h, w) above `low` by `factor` and clip them at `top`; all have one dtype."""
    h, w = values.shape
    for y in range(h):
        for x in range(w):
            value = values[y, x]
            value = low + (value - low) * factor if value > low else value
            out[y, x] = value if value < top else top


@njit
def merge_nearest(products, half_sq, points_sq, first, index, distance_sq):
    """Merge the centers first, first + 1, ... into the k nearest of each point, ascending; the earlier of equals stays.

    In: products (m, n), one row for each center; half_sq (m,) = |c|^2 / 2; points_sq (n,), all float32 or float64. In
    and out: index (k, n) int32 and distance_sq (k, n), infinity where no center is known yet. Values below 0 are set to
    0. Each center is compared with one row of all points after another. This gives vector instructions, whereas a list
    for each point would give branches that a processor cannot predict.
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


@njit
def hypersphere_gradient(descriptors, centers, index, distance_sq, n_neighbors, loss, gradient, sums):
    """Compute the terms of the coupled-hypersphere loss and their gradient with respect to the descriptors.

    In: descriptors (n, d); centers (m, d); index and distance_sq (n, K + J), ascending; loss (4,) float64, the squared
    radius, the margin, and the factors of an attraction and of a repulsion term. Out: gradient (n, d); sums (4,)
    float64, the sum of the attraction terms, the sum of the repulsion terms, and the numbers of active terms of both
    kinds. A term of exactly 0 counts as one half, which agrees with a central difference.
    """
    n, d = descriptors.shape
    n_all = index.shape[1]
    radius_sq, margin = loss[0], loss[1]
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
            factor = 2 * active * loss[2 + kind] * (1 if attracts else -1)
            center = index[i, j]
            for c in range(d):
                gradient[i, c] += factor * (descriptors[i, c] - centers[center, c])
