"""Is each kernel faster than the same in NumPy, and which block size is best for neighbors.nearest?

    python benchmarks/kernels.py

The sizes are those of an image of 256x256 pixels: 4096 x 24, 1024 x 40 and 256 x 112 patch features, and 256 centers.
Kernels that fitting uses are also timed with 65,536 points. Everything runs on one thread, and the alternatives take
turns. The result of each alternative is compared with that of the kernel before it is timed.
"""

from __future__ import annotations

import _common
import numpy as np
from scipy import ndimage, sparse

from cfa_lite import threads
from cfa_lite.method import _kernels, neighbors

IMAGE_SIZES = ((4096, 24), (1024, 40), (256, 112))
FIT_SIZES = ((65536, 24), (65536, 40), (65536, 112))
N_CENTERS = 256
BLOCKS = (128, 256, 512, 1024)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--small", action="store_true", help="leave out the 65,536 points of fitting")
    args = parser.parse_args()
    _common.print_machine(1)
    fit_sizes = () if args.small else FIT_SIZES
    rng = np.random.default_rng(0)
    with threads.serial_blas():
        for n, d in IMAGE_SIZES:
            nearest_of_columns(rng, n, d, args.rounds)
            distances(rng, n, d, args.rounds)
        for n, d in (*IMAGE_SIZES, *fit_sizes):
            add_to_clusters(rng, n, d, args.rounds)
        for n, d in IMAGE_SIZES:
            pool3x3(rng, d, int(n**0.5), args.rounds)
        for n, d in (*IMAGE_SIZES, *fit_sizes):
            block_size(rng, n, d, args.rounds)
        # the published recipe: one block of patches and the bank of a 56x56 grid, and one image
        merge_nearest(rng, 256, 3136, 176, args.rounds)
        # recipe "adapted": one training batch
        merge_nearest(rng, 2048, 256, 40, args.rounds)
        hypersphere_gradient(rng, 3136, 176, args.rounds)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def nearest_of_columns(rng: np.random.Generator, n: int, d: int, rounds: int) -> None:
    points, centers = normal(rng, n, d), normal(rng, N_CENTERS, d)
    points_sq, half_sq = (points**2).sum(1), (centers**2).sum(1) / 2
    products = centers @ points.T
    index, distance_sq = np.empty(n, np.int32), np.empty(n, np.float32)

    def kernel() -> tuple[np.ndarray, np.ndarray]:
        _kernels.nearest_of_columns(products, half_sq, points_sq, index, distance_sq)
        return index, distance_sq

    def numpy_whole() -> tuple[np.ndarray, np.ndarray]:
        near = products - half_sq[:, None]
        return near.argmax(0), np.maximum(points_sq - 2 * near.max(0), 0)

    def numpy_blocks() -> tuple[np.ndarray, np.ndarray]:
        # in the blocks of neighbors.nearest, so that the products are still in the cache
        found, least = np.empty(n, np.intp), np.empty(n, np.float32)
        for start in range(0, n, neighbors._BLOCK):
            part = slice(start, min(start + neighbors._BLOCK, n))
            near = products[:, part] - half_sq[:, None]
            near.argmax(0, out=found[part])
            least[part] = np.maximum(points_sq[part] - 2 * near.max(0), 0)
        return found, least

    alternatives = {
        "kernel": kernel,
        "NumPy, max and argmax": numpy_whole,
        f"NumPy, same in blocks of {neighbors._BLOCK}": numpy_blocks,
    }
    for name, call in alternatives.items():
        found, least = call()
        # two centers at the same distance up to rounding may change places
        assert np.mean(found == kernel()[0]) > 0.999 and np.allclose(least, distance_sq, rtol=1e-4, atol=1e-4), name
    _common.print_interleaved(f"nearest_of_columns, {n} x {d}", _common.interleaved(alternatives, rounds))


def distances(rng: np.random.Generator, n: int, d: int, rounds: int) -> None:
    """Compare one folded matrix for descriptor and bank with a descriptor that is followed by a search."""
    patches, weight, centers = normal(rng, d, n), normal(rng, d, d) / np.float32(d**0.5), normal(rng, N_CENTERS, d)
    matrices = neighbors.folded(weight, centers)

    def described_first() -> np.ndarray:
        return np.sqrt(neighbors.nearest(patches.T @ weight, centers)[1])

    alternatives = {
        "folded": lambda: neighbors.distances(patches, *matrices),
        "described, then nearest": described_first,
        "the product alone, in blocks": lambda: [
            matrices[0] @ patches[:, part] for part in neighbors.blocks(n, neighbors._BLOCK_DISTANCES)
        ],
    }
    assert np.allclose(alternatives["folded"](), described_first(), rtol=1e-4, atol=1e-3)
    _common.print_interleaved(f"distances, {n} x {d}", _common.interleaved(alternatives, rounds))


def add_to_clusters(rng: np.random.Generator, n: int, d: int, rounds: int) -> None:
    points = normal(rng, n, d)
    labels, _ = neighbors.nearest(points, normal(rng, N_CENTERS, d))

    def kernel() -> tuple[np.ndarray, np.ndarray]:
        sums, counts = np.zeros((N_CENTERS, d)), np.zeros(N_CENTERS, np.int64)
        _kernels.add_to_clusters(points, labels, sums, counts)
        return sums, counts

    def add_at() -> tuple[np.ndarray, np.ndarray]:
        sums = np.zeros((N_CENTERS, d))
        np.add.at(sums, labels, points)
        return sums, np.bincount(labels, minlength=N_CENTERS)

    def bincount() -> tuple[np.ndarray, np.ndarray]:
        sums = np.empty((N_CENTERS, d))
        for c in range(d):
            sums[:, c] = np.bincount(labels, weights=points[:, c], minlength=N_CENTERS)
        return sums, np.bincount(labels, minlength=N_CENTERS)

    def one_hot() -> tuple[np.ndarray, np.ndarray]:
        # float32 is less precise than the sums of the kernel, but float64 would be even slower
        hot = (labels == np.arange(N_CENTERS, dtype=np.int32)[:, None]).astype(np.float32)
        return hot @ points, hot.sum(1)

    def sparse_one_hot() -> tuple[np.ndarray, np.ndarray]:
        hot = sparse.csc_matrix((np.ones(n), labels, np.arange(n + 1)), (N_CENTERS, n))
        return hot @ points, np.bincount(labels, minlength=N_CENTERS)

    alternatives = {
        "kernel": kernel,
        "np.add.at": add_at,
        "np.bincount a column": bincount,
        "one-hot product, float32": one_hot,
        "one-hot product, SciPy sparse": sparse_one_hot,
    }
    for name, call in alternatives.items():
        sums, counts = call()
        assert np.allclose(sums, kernel()[0], rtol=1e-3, atol=1e-2) and (counts == kernel()[1]).all(), name
    _common.print_interleaved(f"add_to_clusters, {n} x {d}", _common.interleaved(alternatives, rounds))


def pool3x3(rng: np.random.Generator, n_channels: int, side: int, rounds: int) -> None:
    maps = normal(rng, n_channels, side, side)
    ninth = np.float32(1 / 9)

    def kernel() -> np.ndarray:
        out = np.empty_like(maps)
        _kernels.pool3x3(maps, out)
        return out

    def shifted() -> np.ndarray:
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        rows = padded[:, :-2] + padded[:, 1:-1]
        rows += padded[:, 2:]
        out = rows[:, :, :-2] + rows[:, :, 1:-1]
        out += rows[:, :, 2:]
        out *= ninth
        return out

    def scipy_filter() -> np.ndarray:
        return ndimage.uniform_filter(maps, (1, 3, 3), mode="constant")

    alternatives = {"kernel": kernel, "NumPy, shifted sums": shifted, "SciPy, uniform_filter": scipy_filter}
    for name, call in alternatives.items():
        assert np.allclose(call(), kernel(), rtol=1e-4, atol=1e-5), name
    _common.print_interleaved(f"pool3x3, {n_channels} x {side} x {side}", _common.interleaved(alternatives, rounds))


def merge_nearest(rng: np.random.Generator, n: int, m: int, d: int, rounds: int, k: int = 6) -> None:
    points = normal(rng, n, d)
    centers = normal(rng, m, d)
    points_sq, half_sq = (points**2).sum(1), (centers**2).sum(1) / 2

    def partition() -> np.ndarray:
        all_sq = points_sq[:, None] + 2 * (half_sq - points @ centers.T)
        index = np.argpartition(all_sq, k, axis=1)[:, :k]
        return np.maximum(np.sort(np.take_along_axis(all_sq, index, axis=1), axis=1), 0)

    alternatives = {
        "nearest_k": lambda: neighbors.nearest_k(points, centers, k)[1],
        "NumPy, argpartition": partition,
        "the product alone": lambda: points @ centers.T,
    }
    assert np.allclose(alternatives["nearest_k"](), partition(), rtol=1e-4, atol=1e-4)
    _common.print_interleaved(f"merge_nearest, {k} of {m}, {n} x {d}", _common.interleaved(alternatives, rounds))


def hypersphere_gradient(rng: np.random.Generator, n: int, d: int, rounds: int) -> None:
    descriptors, centers = normal(rng, n, d), normal(rng, n, d)
    index, distance_sq = neighbors.nearest_k(descriptors, centers, 6)
    radius_sq = float(np.median(distance_sq))
    gains = np.array([1e-3, 1e-3])

    def kernel() -> np.ndarray:
        gradient = np.empty_like(descriptors)
        _kernels.hypersphere_gradient(
            descriptors, centers, index, distance_sq, 3, radius_sq, 0.1, gains, gradient, np.empty(4)
        )
        return gradient

    def numpy() -> np.ndarray:
        attracts = distance_sq[:, :3] > radius_sq
        repels = radius_sq - distance_sq[:, 3:] - 0.1 > 0
        factors = np.concatenate([attracts * gains[0], repels * -gains[1]], axis=1).astype(np.float32)
        return 2 * (factors.sum(1, keepdims=True) * descriptors - np.einsum("nk,nkd->nd", factors, centers[index]))

    assert np.allclose(kernel(), numpy(), rtol=1e-3, atol=1e-5)
    alternatives = {"kernel": kernel, "NumPy, gather and einsum": numpy}
    _common.print_interleaved(f"hypersphere_gradient, {n} x {d}", _common.interleaved(alternatives, rounds))


def block_size(rng: np.random.Generator, n: int, d: int, rounds: int) -> None:
    points, centers = normal(rng, n, d), normal(rng, N_CENTERS, d)
    usual = neighbors._BLOCK

    def with_blocks_of(size: int) -> None:
        neighbors._BLOCK = size
        neighbors.nearest(points, centers)

    in_use = min(usual, n)
    sizes = dict.fromkeys([in_use, *(block for block in BLOCKS if block < n), n])  # the size in use comes first

    def name_of(size: int) -> str:
        return ("all" if size == n else str(size)) + (" (in use)" if size == in_use else "")

    alternatives = {name_of(size): lambda size=size: with_blocks_of(size) for size in sizes}
    try:
        seconds = _common.interleaved(alternatives, rounds)
    finally:
        neighbors._BLOCK = usual
    _common.print_interleaved(f"product and nearest_of_columns by points per block, {n} x {d}", seconds)


if __name__ == "__main__":
    main()
