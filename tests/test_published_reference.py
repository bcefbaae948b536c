"""Every stage of the published recipe against numbers of the authors' implementation (tests/data/README.md)."""

from pathlib import Path

import numpy as np
import pytest

from cfa_lite.features import patches
from cfa_lite.method import hypersphere_loss, memory_bank, neighbors
from cfa_lite.method.hypersphere_loss import LossSettings
from cfa_lite.method.resampling import bilinear_matrix
from cfa_lite.published import certainty, coordinates
from cfa_lite.published.adamw import AdamW
from cfa_lite.published.coordinates import CoordLinear

REFERENCE = np.load(Path(__file__).parent / "data" / "official_small.npz")
TOLERANCE = {np.float64: 1e-6, np.float32: 1e-4}  # relative to the largest value

pytestmark = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def hypersphere(descriptors, centers, radius, settings, n_patches):
    nearest = neighbors.nearest_k(descriptors, centers, settings.n_neighbors + settings.n_hard_negatives)
    return hypersphere_loss.coupled_hypersphere(descriptors, centers, nearest, radius, settings, n_patches)


def agrees(found, expected, dtype):
    expected = np.asarray(expected)
    assert np.shape(found) == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()


def pooled(batch, dtype):
    """Return the pooled maps of a batch: one list for each image."""
    maps = [REFERENCE[f"maps{s}_batch{batch}"].astype(dtype) for s in range(3)]
    return [[patches.pool(m[i]) for m in maps] for i in range(len(maps[0]))]


def layer(dtype):
    return CoordLinear(REFERENCE["weight"].astype(dtype), REFERENCE["bias"].astype(dtype))


def descriptors(dtype):
    return [coordinates.describe(p, layer(dtype)) for p in pooled(3, dtype)]


def loss_and_gradient(batch, weights, centers, radius):
    """Return the loss and the gradients of a batch, computed image by image."""
    images = pooled(batch, weights.weight.dtype.type)
    terms = []
    total = CoordLinear(np.zeros_like(weights.weight), np.zeros_like(weights.bias))
    for image in images:
        phi = coordinates.describe(image, weights)
        terms.append(hypersphere(phi, centers, radius, LossSettings(), len(phi) * len(images)))
        gradient = coordinates.gradient(image, terms[-1].of_descriptors)
        total.weight += gradient.weight
        total.bias += gradient.bias
    attraction, repulsion = sum(t.attraction for t in terms), sum(t.repulsion for t in terms)
    return np.array([attraction + repulsion, attraction, repulsion]), total, sum(t.of_radius for t in terms)


def test_patch_features(dtype):
    """The package never concatenates the patch features. The test joins the parts that the descriptor uses."""
    for image, expected in zip(pooled(3, dtype), REFERENCE["patch_features_batch3"]):
        resized = [
            bilinear_matrix(m.shape[1], 8).astype(dtype) @ m @ bilinear_matrix(m.shape[2], 8).T.astype(dtype)
            for m in image
        ]
        agrees(np.concatenate(resized), expected, dtype)


def test_coordinates(dtype):
    channels = coordinates.coordinates((8, 8)).T.reshape(2, 8, 8).astype(dtype)
    for expected in REFERENCE["coord_channels_batch3"]:
        agrees(channels, expected, dtype)


def test_descriptors(dtype):
    agrees(np.stack(descriptors(dtype)), REFERENCE["descriptors_batch3"], dtype)


def test_position_mean_bank(dtype):
    """The published bank: the mean descriptor of each position over batches 0 to 2."""
    images = [p for batch in range(3) for p in pooled(batch, dtype)]
    agrees(
        memory_bank.position_mean([coordinates.describe(p, layer(dtype)) for p in images]),
        REFERENCE["centers"],
        dtype,
    )


def test_distances(dtype):
    centers = REFERENCE["centers"].astype(dtype)
    found = [neighbors.nearest_k(phi, centers, 6)[1] for phi in descriptors(dtype)]
    agrees(np.stack(found), REFERENCE["distances_sq_6_batch3"], dtype)


def test_score_and_maps(dtype):
    centers = REFERENCE["centers"].astype(dtype)
    for i, phi in enumerate(descriptors(dtype)):
        score = certainty.certainty_score(neighbors.nearest_k(phi, centers, 3)[1]).reshape(8, 8)
        agrees(score, REFERENCE["score_batch3"][i], dtype)
        upsampled = bilinear_matrix(8, 32) @ score @ bilinear_matrix(8, 32).T
        agrees(upsampled, REFERENCE["map_upsampled_32"][i], dtype)
        agrees(certainty.smooth_map(score, (32, 32), 4.0), REFERENCE["map_smoothed_sigma4"][i], dtype)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_loss_and_gradients(dtype, n):
    """With radius 0 only attraction is active, with 1 both terms, with 2 only repulsion."""
    centers, radius = REFERENCE["centers"].astype(dtype), float(REFERENCE["radii"][n])
    loss, gradient, of_radius = loss_and_gradient(3, layer(dtype), centers, radius)
    agrees(loss, REFERENCE[f"loss_{n}"], dtype)
    agrees(gradient.weight, REFERENCE[f"grad_weight_{n}"], dtype)
    agrees(gradient.bias, REFERENCE[f"grad_bias_{n}"], dtype)
    agrees(of_radius, REFERENCE[f"grad_radius_{n}"][0], dtype)


def test_adamw_steps(dtype):
    weights, radius = layer(dtype), np.array([REFERENCE["radii"][1]])
    optimizer = AdamW([weights.weight, weights.bias, radius], 1e-3, 5e-4)
    centers = REFERENCE["centers"].astype(dtype)
    for step in range(1, 13):
        loss, gradient, of_radius = loss_and_gradient((step - 1) % 4, weights, centers, float(radius[0]))
        optimizer.step([gradient.weight, gradient.bias, np.array([of_radius])])
        if f"adamw_weight_step{step}" in REFERENCE:
            agrees(loss[0], REFERENCE[f"adamw_loss_step{step}"][0], dtype)
            agrees(weights.weight, REFERENCE[f"adamw_weight_step{step}"], dtype)
            agrees(weights.bias, REFERENCE[f"adamw_bias_step{step}"], dtype)
            agrees(radius, REFERENCE[f"adamw_radius_step{step}"], dtype)
