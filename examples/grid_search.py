"""Choose parameters with scikit-learn, where a few images with known defects exist.

    python examples/grid_search.py

CFA is an outlier detector: `decision_function` is at least 0 for a good image. Labels are +1 (good) and -1 (defective).
`fit` learns from good images alone, so the splits below train on good images and test on good and defective ones.
"""

import csv
import tempfile
from pathlib import Path

import numpy as np
from sklearn.model_selection import GridSearchCV, KFold

from cfa_lite import CFA
from cfa_lite.demo import make_demo


def main(folder: Path) -> None:
    """Search over two parameters on the demo's images."""
    make_demo(folder / "cloth", n_good=18, n_line_good=6, n_per_defect=2)
    good = sorted((folder / "cloth" / "good").iterdir())
    with (folder / "cloth" / "defects.csv").open(newline="") as file:
        line = {folder / "cloth" / "line" / row["file"]: -1 if row["defect"] else 1 for row in csv.DictReader(file)}
    images, labels = [*good, *line], np.array([1] * len(good) + list(line.values()))

    in_line = np.arange(len(good), len(images))
    splits = [(train, np.concatenate([test, in_line])) for train, test in KFold(3).split(good)]
    search = GridSearchCV(
        CFA(recipe="whitened", size=128), {"n_centers": [32, 64], "shrinkage": [0.1, 1.0]}, scoring="roc_auc",
        cv=splits, refit=False,
    )  # fmt: skip
    search.fit(images, labels)
    for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"]):
        print(f"image AUROC {score:.3f} with {params}")
    print("best:", search.best_params_)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
