"""Draw the gallery of README.md and docs/index.md: overlays of the demo, image above anomaly map.

    cfa-lite demo cloth && cfa-lite fit cloth/good -o cloth.cfa
    cfa-lite score cloth.cfa cloth/line --overlays cloth-seen
    python docs/make_gallery.py cloth-seen

Each overlay holds the image and its anomaly map beside each other. Colors are reduced to a palette, for small files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

CHOSEN = {"pick": "017.png", "hole": "009.png", "knot": "015.png"}  # of the demo with seed 0
IMAGE, MAP = (12, 44, 396, 332), (408, 44, 792, 332)  # where an overlay of 384x288 pixels has them
WIDTH_PX, GAP_PX, N_COLORS = 288, 6, 256
FOLDER = Path(__file__).resolve().parent / "images"


def stacked(overlay: Image.Image) -> Image.Image:
    """Return the image above its anomaly map."""
    parts = [overlay.crop(box) for box in (IMAGE, MAP)]
    height = round(WIDTH_PX * parts[0].height / parts[0].width)
    sheet = Image.new("RGB", (WIDTH_PX, 2 * height + GAP_PX), "white")
    for i, part in enumerate(parts):
        sheet.paste(part.resize((WIDTH_PX, height), Image.Resampling.LANCZOS), (0, i * (height + GAP_PX)))
    return sheet


def save_small(image: Image.Image, path: Path) -> None:
    """Write a PNG with a palette."""
    image.quantize(N_COLORS, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Read the overlays and write the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overlays", type=Path, help="folder that `cfa-lite score --overlays` wrote")
    folder = parser.parse_args().overlays
    for name, file in CHOSEN.items():
        overlay = Image.open(folder / file).convert("RGB")
        save_small(stacked(overlay), FOLDER / f"gallery-{name}.png")
    whole = Image.open(folder / CHOSEN["pick"]).convert("RGB")
    w, h = whole.width * 3 // 4, whole.height * 3 // 4
    save_small(whole.resize((w, h), Image.Resampling.LANCZOS), FOLDER / "overlay.png")


if __name__ == "__main__":
    main()
