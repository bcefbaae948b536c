"""Options of `cfa-lite fit` that set arguments of recipe `paper`. What is allowed is said once, in arguments.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_PAPER: dict[str, tuple[Any, Any, str]] = {
    "n_neighbors": (int, 3, "K, centers that attract."),
    "n_hard_negatives": (int, 3, "J, next centers, that repel."),
    "radius": (float, 1e-5, "r to start with; it is learnt."),
    "margin": (float, 0.1, "alpha of the repulsion."),
    "nu": (float, 1e-3, "nu of the loss."),
    "learning_rate": (float, 1e-3, "Of AdamW."),
    "weight_decay": (float, 5e-4, "Of AdamW."),
    "epochs": (int, 30, "All are done; none is chosen."),
    "batch_size": (int, 4, "Pictures a step."),
    "gamma_c": (int, 1, "Compression of the number of centers."),
    "gamma_d": (int, 1, "Compression of the descriptor's channels."),
    "bank": (click.Choice(["position_mean", "kmeans_ema"]), "position_mean", "The authors' code, or Algorithm 1."),
    "ema_rate": (float, 0.05, "Share of the new in a center of kmeans_ema."),
}


def paper_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with them; their defaults are the published values."""
    command = click.option("--certainty/--no-certainty", default=True, help="paper: weight by certainty.")(command)
    command = click.option(
        "--bank-follows", is_flag=True, default=False, help="paper: kmeans_ema goes on while training."
    )(command)
    for name, (kind, default, words) in reversed(_PAPER.items()):
        flag = f"--{name.replace('_', '-')}"
        command = click.option(flag, type=kind, default=default, show_default=True, help=f"paper: {words}")(command)
    return command
