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
def select_nearest(products, points_sq, centers_sq, index, distance_sq):
    """Nearest center of each point, from |x|^2 - 2 x.c + |c|^2; ties go to the lower index.

    products (n, k), points_sq (n,), centers_sq (k,) float32 in; index (n,) int32, distance_sq (n,) out.
    The expansion rounds below zero, so it is clamped; NaN stays NaN. Floats that are not negative order
    like their bits, and a minimum of integers is a vector instruction where one of floats is a branch.
    """
    n, k = products.shape
    row = np.empty(k, np.float32)
    bits = row.view(np.int32)
    for i in range(n):
        for j in range(k):
            value = points_sq[i] + centers_sq[j] - np.float32(2) * products[i, j]
            row[j] = np.float32(0) if value < 0 else value
        least = bits[0]
        for j in range(k):
            least = min(least, bits[j])
        nearest = 0
        for j in range(k):
            if bits[j] == least:
                nearest = j
                break
        index[i] = nearest
        distance_sq[i] = row[nearest]


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


_CHUNK = 64  # centers looked at together: only a chunk that holds a nearer one is looked at one by one


@_njit
def select_smallest(products, points_sq, centers_sq, first, row, bits, index, distance_sq):
    """Merge centers first, first + 1, ... into the k nearest of each point, ascending; the earlier of equals stays.

    products (n, m), points_sq (n,), centers_sq (m,) float32 or float64 in; row (m + 1,) of that type is scratch
    and bits its view as integers of like width; index (n, k) int32 and distance_sq (n, k), infinity where there
    is none yet, in and out. The expansion is clamped at 0.
    """
    n, m = products.shape
    k = index.shape[1]
    for i in range(n):
        for j in range(m):
            value = points_sq[i] + centers_sq[j] - 2 * products[i, j]
            row[j] = 0 if value < 0 else value
        row[m] = distance_sq[i, k - 1]
        for start in range(0, m, _CHUNK):
            stop = min(start + _CHUNK, m)
            least = bits[start]
            for j in range(start, stop):
                least = min(least, bits[j])
            if least >= bits[m]:
                continue
            for j in range(start, stop):
                if row[j] < row[m]:
                    place = k - 1
                    while place > 0 and row[j] < distance_sq[i, place - 1]:
                        distance_sq[i, place] = distance_sq[i, place - 1]
                        index[i, place] = index[i, place - 1]
                        place -= 1
                    distance_sq[i, place] = row[j]
                    index[i, place] = first + j
                    row[m] = distance_sq[i, k - 1]


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
