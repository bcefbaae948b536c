"""Numba kernels of the search in cells, under the rules of `_kernels`."""

import numpy as np

from ._kernels import njit


@njit
def _cells_of(products, half_sq, first, second, points, points_sq):
    """Find the two cells whose middles are nearest to each point. Copy the points from columns to rows.

    In: products (d + n_cells, n), d rows of points x and one row of x.middle for each of at least two cells; half_sq
    (n_cells,). Out: first and second (n,) int32; points (n, d); points_sq (n,).
    """
    n_cells, n = len(half_sq), products.shape[1]
    d = len(products) - n_cells
    points_sq[:] = 0
    for c in range(d):
        for i in range(n):
            value = products[c, i]
            points_sq[i] += value * value
            points[i, c] = value
    best, next_best = np.empty(n, products.dtype), np.full(n, -np.inf, products.dtype)
    first[:] = 0
    second[:] = 1
    for i in range(n):
        best[i] = products[d, i] - half_sq[0]
    for j in range(1, n_cells):
        half, this = half_sq[j], np.int32(j)
        for i in range(n):
            value = products[d + j, i] - half
            nearer, near = value > best[i], value > next_best[i]
            next_best[i] = best[i] if nearer else (value if near else next_best[i])
            second[i] = first[i] if nearer else (this if near else second[i])
            best[i] = value if nearer else best[i]
            first[i] = this if nearer else first[i]


@njit
def _add_products(point, centers, half_sq, out):
    """Compute x.c - |c|^2 / 2 for a point (d,) and the columns of centers (d, m), four rows at a time; out (m,)."""
    d, m = centers.shape
    for t in range(m):
        out[t] = -half_sq[t]
    whole = d - d % 4
    for c in range(0, whole, 4):
        x0, x1, x2, x3 = point[c], point[c + 1], point[c + 2], point[c + 3]
        row0, row1, row2, row3 = centers[c], centers[c + 1], centers[c + 2], centers[c + 3]
        for t in range(m):
            out[t] += (x0 * row0[t] + x1 * row1[t]) + (x2 * row2[t] + x3 * row3[t])
    for c in range(whole, d):
        x0, row0 = point[c], centers[c]
        for t in range(m):
            out[t] += x0 * row0[t]


@njit
def distance_in_cells(products, half_sq, centers, centers_half_sq, distance):
    """Compute the distance of each point to the nearest center that its two cells list.

    In: products and half_sq as in _cells_of; centers (n_cells, d, m) and centers_half_sq (n_cells, m), the listed
    centers. Out: distance (n,).
    """
    d, m = centers.shape[1:]
    n = products.shape[1]
    first, second = np.empty(n, np.int32), np.empty(n, np.int32)
    points, points_sq = np.empty((n, d), products.dtype), np.empty(n, products.dtype)
    _cells_of(products, half_sq, first, second, points, points_sq)
    values = np.empty(2 * m, products.dtype)
    for i in range(n):
        _add_products(points[i], centers[first[i]], centers_half_sq[first[i]], values[:m])
        _add_products(points[i], centers[second[i]], centers_half_sq[second[i]], values[m:])
        best = values[0]
        for t in range(1, 2 * m):
            best = values[t] if values[t] > best else best
        value = points_sq[i] - 2 * best
        distance[i] = np.sqrt(0 * value if value < 0 else value)


@njit
def nearest_in_cells(products, half_sq, listed, centers, centers_half_sq, index, distance_sq):
    """Find the k nearest centers that the two cells of each point list, ascending; of equal ones, the first listed.

    In: as in distance_in_cells; listed (n_cells, m) int32, the indices of the listed centers. Out: index (n, k) int32;
    distance_sq (n, k). A center that both cells list counts once.
    """
    d, m = centers.shape[1:]
    n, k = index.shape
    first, second = np.empty(n, np.int32), np.empty(n, np.int32)
    points, points_sq = np.empty((n, d), products.dtype), np.empty(n, products.dtype)
    _cells_of(products, half_sq, first, second, points, points_sq)
    values, which = np.empty(2 * m, products.dtype), np.empty(2 * m, np.int32)
    for i in range(n):
        _add_products(points[i], centers[first[i]], centers_half_sq[first[i]], values[:m])
        _add_products(points[i], centers[second[i]], centers_half_sq[second[i]], values[m:])
        which[:m] = listed[first[i]]
        which[m:] = listed[second[i]]
        for rank in range(k):
            best, at = values[0], 0
            for t in range(1, 2 * m):
                nearer = values[t] > best
                best = values[t] if nearer else best
                at = t if nearer else at
            value = points_sq[i] - 2 * best
            distance_sq[i, rank] = 0 * value if value < 0 else value
            index[i, rank] = which[at]
            for t in range(2 * m):
                values[t] = -np.inf if which[t] == which[at] else values[t]
