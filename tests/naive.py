"""Simple versions of the kernels and of the functions that use them: loops in float64."""

import numpy as np


def nearest(points, centers):
    """Return index and squared distance of the nearest center; of equally near ones, the first."""
    index, distance_sq = [], []
    for x in np.asarray(points, np.float64):
        all_sq = [((x - c) ** 2).sum() for c in np.asarray(centers, np.float64)]
        index.append(int(np.argmin(all_sq)))
        distance_sq.append(min(all_sq))
    return np.array(index), np.array(distance_sq)


def cluster_sums(points, labels, n_clusters):
    sums = np.zeros((n_clusters, points.shape[1]))
    counts = np.zeros(n_clusters, int)
    for x, j in zip(points, labels):
        sums[j] += x
        counts[j] += 1
    return sums, counts


def lloyd_step(points, centers):
    """One K-means iteration; an empty cluster goes to the point farthest from its center."""
    labels, distance_sq = nearest(points, centers)
    sums, counts = cluster_sums(points, labels, len(centers))
    farthest = list(np.argsort(-distance_sq, kind="stable"))
    out = np.empty_like(sums)
    for j in range(len(centers)):
        out[j] = sums[j] / counts[j] if counts[j] else points[farthest.pop(0)]
    return out


def kmeans_plus_plus(points, n_clusters, rng):
    """Seeds: the first at random, each next with probability in proportion to the squared distance."""
    points = np.asarray(points, np.float64)
    picks = [int(rng.integers(len(points)))]
    while len(picks) < n_clusters:
        _, distance_sq = nearest(points, points[picks])
        distance_sq[picks] = 0
        total = np.cumsum(distance_sq)
        at = rng.random() * total[-1]
        picks.append(next(i for i, t in enumerate(total) if t > at))
    return points[picks]


def pool3x3(maps):
    c, h, w = maps.shape
    out = np.zeros((c, h, w))
    for y in range(h):
        for x in range(w):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= y + dy < h and 0 <= x + dx < w:
                        out[:, y, x] += maps[:, y + dy, x + dx]
    return out / 9


def halve(planes):
    """The filter (1, 3, 3, 1) / 8 along both sides, with repeated edges."""
    n, h, w = planes.shape
    out = np.zeros((n, h // 2, w // 2))
    for y in range(h // 2):
        for x in range(w // 2):
            for i, down in enumerate((1, 3, 3, 1)):
                for j, right in enumerate((1, 3, 3, 1)):
                    row, column = min(max(2 * y - 1 + i, 0), h - 1), min(max(2 * x - 1 + j, 0), w - 1)
                    out[:, y, x] += down * right / 64 * planes[:, row, column]
    return out


def bilinear(image, size):
    """Interpolate with pixel centers at half-integers, and with the value of the edge beyond the edge."""
    (h, w), (out_h, out_w) = image.shape, size
    out = np.empty(size)
    for y in range(out_h):
        for x in range(out_w):
            v, u = (y + 0.5) * h / out_h - 0.5, (x + 0.5) * w / out_w - 0.5
            y0, x0 = int(np.floor(v)), int(np.floor(u))
            b, a = v - y0, u - x0
            ys, xs = np.clip([y0, y0 + 1], 0, h - 1), np.clip([x0, x0 + 1], 0, w - 1)
            out[y, x] = (
                (1 - b) * ((1 - a) * image[ys[0], xs[0]] + a * image[ys[0], xs[1]])
                + b * ((1 - a) * image[ys[1], xs[0]] + a * image[ys[1], xs[1]])
            )  # fmt: skip
    return out


def nearest_k(points, centers, k):
    """Indices and squared distances of the k nearest centers, ascending; of equally near ones, the lower first."""
    all_sq = np.array([[((x - c) ** 2).sum() for c in centers] for x in points])
    index = np.argsort(all_sq, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(all_sq, index, axis=1)


def nearest_k_in_cells(points, centers, cells, k):
    """As nearest_k, among the centers that the two cells list whose middles are nearest to the point."""
    index, distance_sq = [], []
    for x in points:
        two = np.argsort(((cells.middles - x) ** 2).sum(axis=1), kind="stable")[:2]
        listed = np.unique(cells.listed[two])
        found, of_found = nearest_k(x[None], centers[listed], k)
        index.append(listed[found[0]])
        distance_sq.append(of_found[0])
    return np.array(index), np.array(distance_sq)


def coupled_hypersphere_loss(descriptors, centers, radius, n_neighbors, n_hard_negatives, margin, nu):
    """Attraction and repulsion, as the equations in method/hypersphere_loss.py state them."""
    _, distance_sq = nearest_k(descriptors, centers, n_neighbors + n_hard_negatives)
    attraction = np.maximum(0, distance_sq[:, :n_neighbors] - radius**2).sum()
    repulsion = np.maximum(0, radius**2 - distance_sq[:, n_neighbors:] - margin).sum()
    scale = 1 / (nu * len(descriptors))
    return scale * attraction / n_neighbors, scale * repulsion / n_hard_negatives


def describe(pooled, weight, bias):
    """Resize every map to the finest grid, concatenate, append coordinates, map linearly."""
    h, w = pooled[0].shape[1:]
    channels = [bilinear(channel, (h, w)) for stage in pooled for channel in stage]
    down, right = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    features = np.stack([*channels, down, right], axis=-1).reshape(h * w, -1)
    return features @ weight.T + bias
