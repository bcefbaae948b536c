"""Many products: a folder for each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import ImageError

_GOOD = ("train/good", "good")  # where a product's good images are, if there; MVTec AD's layout first


def find_products(folders: Iterable[Path]) -> dict[str, Path]:
    """Where the good images of each product are, by its name: that of a folder directly in one of `folders`.

    They are in train/good or good of it, or in the folder itself. Hidden folders are no products.

    Raises
    ------
    ImageError
        If one of `folders` holds no folder, or two products have one name (or would have, where upper and lower case
        are one).
    """
    found: dict[str, Path] = {}
    names: dict[str, Path] = {}
    for folder in folders:
        inside = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        products = sorted(path for path in inside if not path.name.startswith("."))
        if not products:
            raise ImageError(f"{folder} holds no folder of a product. Put the images of each in one, named after it.")
        for product in products:
            other = names.setdefault(product.name.casefold(), product)
            if other is not product:
                raise ImageError(f"{other} and {product} are two products of one name. Rename one of them.")
            below = [product / place for place in _GOOD if (product / place).is_dir()]
            found[product.name] = [*below, product][0]
    return found
