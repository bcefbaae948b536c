"""``cfa-lite fit --each``: one model per product, and where the images of each product are."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CfaLiteError, ImageError
from . import options, waiting
from .fitted_model import show_summary, write
from .inspecting import tell_left_out
from .waiting import tell

if TYPE_CHECKING:
    from ..base.detector import Detector
    from ..distributed.executor import Executor

_GOOD_FOLDERS = ("train/good", "good")  # where a product may have its good images; the layout of MVTec AD first


def fit_each(
    model: Detector, folders: Sequence[Path], output: Path, report: Path | None, pool: Executor | None
) -> None:
    """Fit a copy of an estimator to each product and write the models. A product that fails does not end the run.

    Parameters
    ----------
    model : Detector
        Not fitted.
    folders : sequence of Path
        Folders of products.
    output : Path
        Folder of the models.
    report : Path or None
        Folder of the reports.
    pool : Executor or None
        Fits several products at once.
    """
    from ..features import image_files
    from ..report import outputs

    products = find_products(folders)
    tell_left_out([other for folder in folders for other in image_files.beside_folders(folder)])
    for folder in filter(None, (output, report)):
        outputs.make_folder(folder)
    images: dict[str, list[Path]] = {}
    left_out: dict[str, list[str]] = {}
    for name, folder in products.items():
        try:
            found = image_files.find_images([folder])
            left_out[name] = tell_left_out(found.left_out, f"{name}: ")
            images[name] = [file.path for file in found]
        except ImageError as error:
            tell(f"{name}: {error}")
    if pool:
        waiting.current().doing("fitting products")
    n_fitted = 0
    for name, fitted in zip(images, _fitted(pool, model, list(images.values()))):
        file = output / f"{name}.cfa"
        try:
            if isinstance(fitted, str):
                raise ImageError(fitted)
            write(fitted, file, outputs.make_folder(report / name) if report else None, left_out[name])
        except CfaLiteError as error:
            tell(f"{name}: {error}")
            continue
        if pool and pool.scheduler:  # local processes have logged it to the same terminal
            for skipped in fitted.skipped_:
                tell(f"skipped: {skipped.message}")
        show_summary(fitted, file, prefix=f"{name}: ")
        n_fitted += 1
    n_failed = len(products) - n_fitted
    tell(f"{len(products)} products: {n_fitted} fitted, {n_failed} failed")
    if n_failed:
        sys.exit(options.EXIT_FAILED)


def _fitted(pool: Executor | None, model: Detector, products: list[list[Path]]) -> Iterator[Detector | str]:
    from ..distributed import jobs

    if pool:
        return jobs.fit(pool, model, products)
    return (jobs.fit_one(model, paths, waiting.current().show) for paths in products)


def find_products(folders: Iterable[Path]) -> dict[str, Path]:
    """Find the good images of each product.

    Parameters
    ----------
    folders : iterable of Path
        Each folder directly in one of them is a product and names it. Hidden folders are skipped.

    Returns
    -------
    dict of str to Path
        The folder of the good images by the name of the product: its folder train/good or good, or the product's folder
        itself.

    Raises
    ------
    ImageError
        If one of `folders` contains no product, or two products have the same name on a file system that ignores case.
    """
    found: dict[str, Path] = {}
    names: dict[str, Path] = {}
    for folder in folders:
        inside = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        products = sorted(path for path in inside if not path.name.startswith("."))
        if not products:
            raise ImageError(
                f"{folder} contains no folder of a product. Put the images of each product into a folder with its name."
            )
        for product in products:
            other = names.setdefault(product.name.casefold(), product)
            if other is not product:
                raise ImageError(f"{other} and {product} are two products with the same name. Rename one of them.")
            below = [product / place for place in _GOOD_FOLDERS if (product / place).is_dir()]
            found[product.name] = [*below, product][0]
    return found
