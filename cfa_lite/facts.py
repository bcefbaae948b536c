"""What a model tells of itself, in words: the lines of ``cfa-lite info``."""

from __future__ import annotations

from typing import Any


def told(facts: dict[str, Any]) -> dict[str, str]:
    """Lines, by name, of what `CFA.info` gives."""
    made, params = facts["training"], facts["params"]
    sizes = [f"{w}x{h}" for h, w in (made["smallest_px"], made["largest_px"])]
    h, w = made["working_px"]
    limit = facts["threshold"]
    banks = facts["levels"] or [facts["paper"]]
    half = " and half of it" if facts["levels"] else ""
    scores = ", ".join(f"{name} {value / limit:.2f}" for name, value in made["held_back_scores"].items())
    lines = {
        "recipe": params["recipe"],
        "backbone": f"{params['backbone']} (sha256 {facts['backbone_sha256'][:16]}...)",
        "good pictures": f"{made['n_images']} used, {made['n_skipped']} left out",
        "their size": " to ".join(dict.fromkeys(sizes)) + " px",
        "worked at": f"{w}x{h} px{half} ({facts['scale']:.3g} of the picture's scale)",
        "limit": f"{limit:.4g}, the largest raw score of the good pictures, each held back once",
        "their scores": f"{scores} (1 is the limit)",
        "levels": f"{len(banks)}, {sum(bank['n_centers'] for bank in banks)} centers in all",
        "arguments": ", ".join(f"{k} {v}" for k, v in params.items() if k not in ("recipe", "backbone")),
        "made with": ", ".join(f"{k} {v}" for k, v in made["versions"].items()),
    }
    for picture in made.get("atypical", []):
        lines["unlike others"] = lines.get("unlike others", "left out") + f", {picture['name']} {picture['score']:.2f}"
    for move in made.get("moves", []):
        what = "trained" if move["kept"] else "left at its start"
        lines[f"level 1/{move['divisor']} {move['output']}"] = (
            f"{what}: made-up defects {move['gain']:+.3f} (error {move['gain_error']:.3f}) powers of ten rarer after"
            f" training, drift {move['drift']:.3f}, loss {move['first_loss']:.3g} to {move['last_loss']:.3g}"
        )
    for row in made.get("epochs", []):
        lines[f"epoch {row['epoch']}"] = (
            f"loss {row['loss']:.4g}, active attraction {row['active_attraction']:.3f}, repulsion"
            f" {row['active_repulsion']:.3f}, radius {row['radius']:.4g}, drift {row['drift']:.3f}"
        )
    return lines
