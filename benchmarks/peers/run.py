"""How does cfa-lite compare with PatchCore, PaDiM and Cfa of anomalib, on the CPU?

    python benchmarks/peers/run.py --work ENVIRONMENTS

The script creates two virtual environments in the work folder: one with anomalib and a CPU build of PyTorch, and one
with this checkout. With ``--work`` they are kept for the next run; otherwise the folder is temporary. All methods get
the same images: woven cloth from cfa_lite.demo at 256x256 pixels, or a data set in the layout of MVTec AD (``--set``).
All methods use EfficientNet-Lite0 with the same weights; the script checks that their feature maps agree. anomalib
works at 256x256 pixels, its default. The script measures for each method:

fit       seconds of the whole fit on --threads threads, without and with start, import and saving. cfa-lite is fitted
          before and after each peer. Its fit includes the limits; without validation images, anomalib sets none.
score     milliseconds per image, from the file to score and map; each method reads the file with its own package. Each
          method and number of threads has its own process. The processes take turns, in a new random order each round.
memory    peak memory of the process that fits, and of a process that only loads the model and scores.
model     MB of the model file; in brackets the part of the network. A model of cfa-lite only refers to the network.
accuracy  image AUROC / pixel AUROC / AUPRO by the same code for all methods (cfa_lite.evaluation and scikit-learn), on
          maps that are resized to the size of the image.

PatchCore uses strides 8 and 16, the default layers of anomalib. PatchCore-ONNX is the same model, exported by anomalib
and run by onnxruntime. PatchCore-4 (``--methods``) also uses stride 4, as all other methods do. The time of its coreset
grows with the square of the number of images and would be an hour or more for 200 images.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import _common  # noqa: E402
import _sets  # noqa: E402
import numpy as np  # noqa: E402
from environments import (  # noqa: E402
    OURS,
    TORCH_INDEX,
    clean_environment,
    environments,
    own,
    python_of,
)
from PIL import Image  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from tables import EXPORTED, ratios, sizes, table  # noqa: E402

from cfa_lite import threads  # noqa: E402
from cfa_lite.demo import cloth  # noqa: E402
from cfa_lite.evaluation import ground_truth  # noqa: E402
from cfa_lite.evaluation.pixel_metrics import PixelMetrics  # noqa: E402

METHODS = (OURS, "PatchCore", EXPORTED, "PaDiM", "Cfa")
OTHERS = ("PatchCore-4",)
SCRIPTS = {OURS: "cfa_lite_worker.py", EXPORTED: "exported_worker.py"}
SIZE_PX = (256, 256)
LARGEST_DIFFERENCE = 1e-3  # of feature maps, relative to the largest value
PAUSE_SECONDS = 0.01  # between two images, so that the threads of the last one go to sleep


class Worker:
    """A method in its own process."""

    def __init__(self, work: Path, method: str, n_threads: int):
        package = OURS if method == OURS else "anomalib"
        self.log = work / f"{method}-{n_threads}.log"
        environment = clean_environment() | {"OMP_NUM_THREADS": str(n_threads), "HF_HUB_OFFLINE": "1"}
        self._start = time.perf_counter()
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [python_of(work, package), HERE / SCRIPTS.get(method, "anomalib_worker.py"), method, str(n_threads)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=work, env=environment,
            )  # fmt: skip
        self.started = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            log = self.log.read_text(encoding="utf-8", errors="replace")
            sys.exit(f"{self.log.stem} ended too early:\n{log[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def since_start(self) -> float:
        """Return the seconds since the start of the process."""
        return time.perf_counter() - self._start

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        work = (args.work or Path(folder)).resolve()
        own(work)
        installed = environments(work, args)
        good, test = images(work, args)
        machine(work, args, good, test)
        same_features(work)
        sizes(installed)
        models, fits = fit_all(work, args, good)
        starts = start_all(work, args, models, test[0].path)
        measured = measure(work, models, test)
        seconds, peaks = score_all(work, args, models, test)
        table(args.methods, fits, models, seconds, peaks, measured)
        ratios(args.methods, installed, fits, starts, seconds)


def parse() -> Any:
    parser = _common.parser(__doc__)
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder that keeps the environments")
    parser.add_argument("--set", type=Path, metavar="FOLDER", help="a data set in the layout of MVTec AD")
    parser.add_argument("--images", type=int, default=200, help="most images to fit on (default: 200)")
    parser.add_argument("--line", type=int, default=40, help="good images to score, and as many defective ones")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS), metavar="A,B")
    parser.add_argument("--threads", type=int, default=2, help="threads of fit; images are scored on 1 and on these")
    parser.add_argument("--fits", type=int, default=2, help="fits of cfa-lite before and after each peer")
    parser.add_argument("--starts", type=int, default=5, help="starts of each package, for the time of its import")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of one image by each method")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of Cfa, which was published with 30")
    parser.add_argument(
        "--torch-index", default=TORCH_INDEX, metavar="URL", help=f'default: {TORCH_INDEX}; "" for pip\'s own'
    )
    parser.add_argument(
        "--plain", action="store_true", help="also install anomalib as PyPI gives it, with CUDA, to measure its size"
    )
    args = parser.parse_args()
    unknown = sorted(set(args.methods) - {*METHODS, *OTHERS})
    if unknown:
        parser.error(f"no method {', '.join(unknown)}; the methods are {', '.join((*METHODS, *OTHERS))}")
    if "PatchCore" not in args.methods:
        args.methods.insert(0, "PatchCore")
    args.methods = [OURS, *(method for method in args.methods if method != OURS)]  # the others are compared with it
    return args


def images(work: Path, args: Any) -> tuple[Path, list[ground_truth.LabeledImage]]:
    """Return the folder of good images to fit on, and the images to score."""
    root = work / "images"
    shutil.rmtree(root, ignore_errors=True)
    good = root / "train" / "good"
    good.mkdir(parents=True)
    if args.set:
        for path in _sets.train_images(args.set.resolve(), args.images):
            shutil.copy(path, good)
        return good, list(ground_truth.find_test_set(args.set.resolve()))

    def write(place: int) -> None:
        rng, name = np.random.default_rng(place), f"{place:03d}"
        is_line = place >= args.images
        if is_line and place % 2:
            defect = cloth.DEFECTS[place // 2 % len(cloth.DEFECTS)]
            pixels, mask = cloth.weave_with_defect(rng, defect, SIZE_PX)
            save(root / "ground_truth" / defect / f"{name}_mask.png", mask)
            save(root / "test" / defect / f"{name}.png", pixels)
        else:
            save((root / "test" / "good" if is_line else good) / f"{name}.png", cloth.weave(rng, SIZE_PX))

    places = range(args.images + 2 * args.line)
    for _ in threads.ordered_map(write, places, threads.available_cores()):
        pass
    return good, list(ground_truth.find_test_set(root))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def machine(work: Path, args: Any, good: Path, test: list[ground_truth.LabeledImage]) -> None:
    _common.print_machine(f"{args.threads} for fit, 1 and {args.threads} for one image")
    for method in (OURS, "PatchCore"):
        with Worker(work, method, 1) as worker:
            print(f"measured   {', '.join(worker.started['versions'])}")
    n_defective = sum(image.defective for image in test)
    print(f"images   {len(list(good.iterdir()))} good to fit on; {len(test)} to score, {n_defective} defective")
    print(f"peers      Cfa trained for {args.epochs} of its 30 epochs", flush=True)


def same_features(work: Path) -> None:
    """Check that the network of the peers gives the same feature maps as ours. End the script if it does not."""
    image = work / "features.png"
    save(image, cloth.weave(np.random.default_rng(0), SIZE_PX))
    kept = {method: work / f"features-{method}.npz" for method in (OURS, "PaDiM")}
    for method, path in kept.items():
        with Worker(work, method, 1) as worker:
            worker.ask(do="features", path=str(image), keep=str(path))
    ours, theirs = (list(np.load(path).values()) for path in kept.values())
    differences = [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(ours, theirs)]
    print("\nlargest difference of feature maps between the peers and ours, relative to the largest value")
    print(f"  strides 4, 8, 16: {', '.join(f'{difference:.1e}' for difference in differences)}", flush=True)
    if not max(differences) < LARGEST_DIFFERENCE:
        sys.exit(f"The networks differ by more than {LARGEST_DIFFERENCE}, so the methods cannot be compared.")


def fit_all(work: Path, args: Any, good: Path) -> tuple[dict[str, dict], dict[str, list[dict]]]:
    """Return the model and the fits of each method; the fit of a peer has the seconds of our fits around it."""

    def fit(method: str) -> dict[str, Any]:
        folder = work / "models" / method
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        options = {} if method == OURS else {"epochs": args.epochs}
        with Worker(work, method, args.threads) as worker:
            found = worker.ask(do="fit", good=str(good), folder=str(folder), **options)
            found["whole"] = worker.since_start()
            if method == "PatchCore" and EXPORTED in args.methods:
                found["exported"] = worker.ask(do="export", folder=str(folder))
        print(
            f"  {method:11s} {found['seconds']:8.1f} s, {found['whole']:8.1f} s with start, import, saving", flush=True
        )
        return found

    print(f"\nfit, {args.threads} threads; the first fit of cfa-lite may compile its kernels and does not count")
    fit(OURS)
    before = [fit(OURS) for _ in range(args.fits)]
    models, fits = {}, {OURS: list(before)}
    for method in args.methods[1:]:
        if method == EXPORTED:
            continue
        models[method] = fit(method)
        after = [fit(OURS) for _ in range(args.fits)]
        fits[OURS] += after
        fits[method] = [models[method] | {"ours": [of["seconds"] for of in before + after]}]
        before = after
    models[OURS] = fits[OURS][-1]
    if EXPORTED in args.methods:
        models[EXPORTED] = models["PatchCore"] | models["PatchCore"]["exported"]
        fits[EXPORTED] = fits["PatchCore"]
    return models, fits


def start_all(work: Path, args: Any, models: dict[str, dict], image: Path) -> dict[str, np.ndarray]:
    """Return the seconds of the import of each package, in new processes that take turns."""
    taken: dict[str, list[tuple[float, float]]] = {OURS: [], "PatchCore": []}
    for _ in range(args.starts):
        for method, values in taken.items():
            with Worker(work, method, 1) as worker:
                worker.ask(do="open", model=models[method]["model"])
                worker.ask(do="score", path=str(image))
                values.append((worker.started["import_seconds"], worker.since_start()))
    print(f"\nnew processes, median of {args.starts} (lowest to highest), 1 thread")
    print(f"  {'':11s} {'import, s':>20s} {'to the first score, s':>24s}")
    for method, values in taken.items():
        shown = [f"{np.median(of):.2f} ({min(of):.2f} to {max(of):.2f})" for of in zip(*values)]
        print(f"  {method:11s} {shown[0]:>20s} {shown[1]:>24s}", flush=True)
    return {method: np.array([seconds for seconds, _ in values]) for method, values in taken.items()}


def measure(work: Path, models: dict[str, dict], test: list[ground_truth.LabeledImage]) -> dict[str, np.ndarray]:
    """Return image AUROC, pixel AUROC and AUPRO of each method."""
    measured, kept = {}, work / "map.npy"
    sizes_px = [Image.open(image.path).size[::-1] for image in test]
    with_masks = all(image.mask for image in test if image.defective)
    masks = [ground_truth.read_mask(*of) for of in zip(test, sizes_px)] if with_masks else []
    for method, model in models.items():
        pixels, scores = PixelMetrics(), []
        with Worker(work, method, 1) as worker:
            worker.ask(do="open", model=model["model"])
            for i, image in enumerate(test):
                scores.append(worker.ask(do="score", path=str(image.path), keep_map=str(kept))["score"])
                if with_masks:
                    h, w = sizes_px[i]
                    score_map = Image.fromarray(np.load(kept)).resize((w, h), Image.Resampling.BILINEAR)
                    pixels.add(np.asarray(score_map), masks[i])
        image_auroc = roc_auc_score([image.defective for image in test], scores)
        measured[method] = np.array([image_auroc, pixels.auroc(), pixels.aupro()])
    return measured


def score_all(
    work: Path, args: Any, models: dict[str, dict], test: list[ground_truth.LabeledImage]
) -> tuple[dict[int, dict[str, np.ndarray]], dict[str, float]]:
    """Return the seconds per image by number of threads and method, and the peak MB by method."""
    rng, counts = np.random.default_rng(0), sorted({1, args.threads})
    keys = [(method, count) for count in counts for method in args.methods]
    workers = {key: Worker(work, *key) for key in keys}
    seconds = {key: np.empty(args.rounds) for key in keys}
    peaks: dict[str, float] = {}
    for (method, _), worker in workers.items():
        worker.ask(do="open", model=models[method]["model"])
        for image in test[:3]:  # compiles, allocates and fills caches
            worker.ask(do="score", path=str(image.path))
    for i in range(args.rounds):
        image = test[i % len(test)]
        for place in rng.permutation(len(keys)):
            time.sleep(PAUSE_SECONDS)
            answer = workers[keys[place]].ask(do="score", path=str(image.path))
            seconds[keys[place]][i] = answer["seconds"]
            if keys[place][1] == 1:
                peaks[keys[place][0]] = answer["peak_mb"]
    for worker in workers.values():
        worker.__exit__()
    return {count: {method: seconds[method, count] for method in args.methods} for count in counts}, peaks


if __name__ == "__main__":
    main()
