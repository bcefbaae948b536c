import csv
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_backbone
from click.testing import CliRunner
from PIL import Image

from cfa_lite import CFA, OutputError, PublishedCFA, load
from cfa_lite.commands import inspecting
from cfa_lite.commands.main import main
from cfa_lite.commands.options import ParameterOption
from cfa_lite.evaluation import timing
from cfa_lite.report import text
from cfa_lite.results import not_scored

_SEPARATE = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}  # before click 8.2


def run(*arguments):
    return CliRunner(**_SEPARATE).invoke(main, [str(a) for a in arguments])


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))


def test_fit_score_info(cloth, tmp_path):
    fitted = run("fit", cloth / "good", "-o", tmp_path / "new" / "part.cfa", "--n-centers", 32)
    assert fitted.exit_code == 0, fitted.output
    assert "16 good images, working size 288x224 px" in fitted.stderr
    assert fitted.stdout == ""
    scored = run("score", tmp_path / "new" / "part.cfa", cloth / "line", "--output", tmp_path / "r.csv",
                 "--maps", tmp_path / "maps", "--overlays", tmp_path / "seen")  # fmt: skip
    assert scored.exit_code == 0, scored.output
    assert len(scored.stdout.splitlines()) == 16
    rows = rows_of(tmp_path / "r.csv")
    results = list(load(tmp_path / "new" / "part.cfa").inspect_many(cloth / "line"))
    assert [float(row["score"]) for row in rows] == [round(r.score, 4) for r in results]
    assert [row["path"] for row in rows] == [r.path for r in results]
    assert sorted(os.listdir(tmp_path / "maps")) == [f"{i:03d}.tiff" for i in range(16)]
    assert sorted(os.listdir(tmp_path / "seen")) == [f"{i:03d}.png" for i in range(16)]
    told = run("info", tmp_path / "new" / "part.cfa")
    assert "good images      16 used" in told.stdout
    facts = json.loads(run("info", "--json", tmp_path / "new" / "part.cfa").stdout)
    assert facts["training"]["n_images"] == 16


def test_score_prints_one_line_per_image(part, line):
    scored = run("score", part, line[0])
    result = load(part).inspect(line[0])
    assert scored.stdout == f"{result.verdict:7s} {result.score:7.3f}  {line[0]}\n"


def test_formats(part, line, tmp_path):
    as_json = run("score", part, line[0], "--format", "jsonl")
    assert json.loads(as_json.stdout)["path"] == str(line[0])
    as_csv = run("score", part, line[0], "--format", "csv")
    assert as_csv.stdout.startswith("path,status,")
    run("score", part, line[0], "--output", tmp_path / "odd.txt", "--format", "jsonl")
    assert json.loads((tmp_path / "odd.txt").read_text())["status"] == "ok"
    run("score", part, line[0], "--output", tmp_path / "r.jsonl")
    assert json.loads((tmp_path / "r.jsonl").read_text())["status"] == "ok"


def test_exit_codes(part, cloth, line, tmp_path):
    results = list(load(part).inspect_many(line))
    bad = next(p for p, r in zip(line, results) if r.verdict == "NG")
    fine = next(p for p, r in zip(line, results) if r.verdict == "OK")
    (tmp_path / "broken.png").write_text("no image")
    assert run("score", part, bad).exit_code == 0
    assert run("score", part, bad, "--fail-on-anomaly").exit_code == 3
    assert run("score", part, fine, "--fail-on-anomaly").exit_code == 0
    assert run("score", part, bad, tmp_path / "broken.png").exit_code == 1
    assert run("score", part).exit_code == 2
    assert run("fit", cloth / "good", "-o", tmp_path / "p.cfa", "--shrinkage", "0").exit_code == 2


def test_an_image_that_was_not_inspected_does_not_pass(part, line, tmp_path):
    """With --fail-on-anomaly: NG is 3, otherwise INVALID and ERROR are 4, on every route."""
    results = list(load(part).inspect_many(line))
    bad = next(p for p, r in zip(line, results) if r.verdict == "NG")
    fine = next(p for p, r in zip(line, results) if r.verdict == "OK")
    blank, broken = tmp_path / "blank.png", tmp_path / "broken.png"
    Image.new("RGB", (384, 288)).save(blank)
    broken.write_text("no image")
    rows = tmp_path / "rows.csv"
    for images, code, plain in (
        ([fine], 0, 0), ([fine, blank], 4, 0), ([fine, broken], 4, 1), ([blank] * 3, 4, 0), ([bad, blank], 3, 0),
        ([bad, broken], 3, 1), ([blank, broken], 4, 1),
    ):  # fmt: skip
        assert run("score", part, *images, "--output", rows, "--fail-on-anomaly").exit_code == code, images
        assert run("score", part, *images, "--output", rows, "--resume", "--fail-on-anomaly").exit_code == code, images
        assert run("score", part, *images).exit_code == plain, images
    assert run("score", part, fine, blank, "--workers", 2, "--fail-on-anomaly").exit_code == 4


def test_unreadable_image_is_a_row(part, line, tmp_path):
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "0.png").write_text("no image")
    (tmp_path / "line" / "1.png").symlink_to(line[0])
    scored = run("score", part, tmp_path / "line", "--output", tmp_path / "r.csv", "--overlays", tmp_path / "seen")
    assert scored.exit_code == 1
    rows = rows_of(tmp_path / "r.csv")
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert "cannot be read as an image" in rows[0]["message"]
    assert str(tmp_path / "line" / "0.png") in scored.stdout.splitlines()[0]
    assert os.listdir(tmp_path / "seen") == ["1.png"]


def test_output_folders_mirror_the_input_without_name_clashes(part, line, tmp_path):
    for name in ("a/1.png", "a/deep/1.png", "a/1.bmp", "b/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(line[0]).save(tmp_path / "in" / name)
    run("score", part, tmp_path / "in", "--maps", tmp_path / "maps")
    found = sorted(p.relative_to(tmp_path / "maps").as_posix() for p in (tmp_path / "maps").rglob("*.tiff"))
    assert found == ["a/1.bmp.tiff", "a/1.png.tiff", "a/deep/1.tiff", "b/1.tiff"]
    run("score", part, tmp_path / "in" / "a", tmp_path / "in" / "b", "--maps", tmp_path / "flat")
    assert len(list((tmp_path / "flat").rglob("*.tiff"))) == 4


def test_outputs_below_the_input_folder_are_not_inspected(part, line, tmp_path):
    Image.open(line[0]).save(tmp_path / "1.png")
    for _ in range(2):
        scored = run("score", part, tmp_path, "--overlays", tmp_path / "seen")
        assert len(scored.stdout.splitlines()) == 1


def test_input_image_is_never_overwritten(part, line, tmp_path):
    Image.open(line[0]).save(tmp_path / "1.png")
    before = (tmp_path / "1.png").read_bytes()
    for option, place in (("--overlays", tmp_path), ("--output", tmp_path / "1.png")):
        scored = run("score", part, tmp_path, option, place, "--format", "csv")
        assert scored.exit_code == 1
        assert "would overwrite" in scored.stderr
        assert (tmp_path / "1.png").read_bytes() == before


def broken_calls(part, good, tmp_path):
    """Return calls that fail and the messages that they must show, by name."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "1.png").symlink_to(good[0])
    damaged = tmp_path / "damaged.cfa"
    damaged.write_bytes(part.read_bytes()[:5000])
    out = tmp_path / "out.cfa"
    return [
        (("fit", tmp_path / "empty", "-o", out), "empty contains no image"),
        (("fit", tmp_path / "gone", "-o", out), "gone does not exist"),
        (("fit", tmp_path / "one", "-o", out), "1 of 1 images can be used. At least 2"),
        (("fit", tmp_path / "file", tmp_path / "one", "-o", out), "file cannot be read as an image"),
        (("fit", good[0], good[1], "-o", tmp_path / "empty"), "empty is a folder"),
        (("fit", good[0], good[1], "-o", tmp_path / "file" / "p.cfa"), "file cannot be written"),
        (("fit", good[0], good[1], "-o", out, "--backbone", "big"), "no backbone is called 'big'"),
        (("score", tmp_path / "gone.cfa", good[0]), "gone.cfa does not exist"),
        (("score", damaged, good[0]), "damaged.cfa is not a cfa-lite model, or is damaged"),
        (("score", tmp_path / "file", good[0]), "file is not a cfa-lite model"),
        (("score", part, tmp_path / "empty"), "empty contains no image"),
        (("score", part, good[0], "--maps", tmp_path / "file"), "file cannot be written"),
        (("score", part, good[0], "--output", tmp_path / "r.xlsx"), "the format is not clear from the file name"),
        (("score", part, good[0], "--output", tmp_path / "file" / "r.csv"), "cannot be written"),
        (("info", damaged), "damaged"),
        (("demo", tmp_path), "not empty"),
    ]


def test_bad_input_gives_one_message_and_writes_no_file(part, good, tmp_path):
    calls = broken_calls(part, good, tmp_path)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    for arguments, words in calls:
        result = run(*arguments)
        assert result.exit_code == 1, (arguments, result.output)
        assert words in result.stderr, (arguments, result.stderr)
        assert re.sub(r"^starting \(.*\n", "", result.stderr).startswith("Error: ")  # on a slow computer
        assert "Traceback" not in result.output
        assert isinstance(result.exception, SystemExit)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_wrong_usage_is_explained(part, good, tmp_path):
    fit = ("fit", good[0], good[1], "-o", tmp_path / "p.cfa")
    for arguments, words in (
        ((*fit, "--shrinkage", 0), "'--shrinkage'"),
        ((*fit, "--size", "big"), "'big' is neither a whole number nor 'full'"),
        ((*fit, "--range", "5"), "'5' is neither LOW,HIGH, such as 0,4095, nor 'auto'"),
        ((*fit, "--value-range", "9,5"), "(low, high) with low below high"),
        ((*fit, "--unsure-rate", 0.001), "UNSURE includes NG"),
        ((*fit, "--epochs", 3), "--epochs has no effect with --recipe adapted"),
        ((*fit, "--recipe", "paper", "--n-centers", 256), "--n-centers has no effect with --recipe paper"),
        ((*fit, "--recipe", "paper", "--bank-follows"), "bank_follows=True needs bank='kmeans_ema'"),
        ((*fit, "--workers", 2), "Use them with --each"),
        (("score", part, good[0], "--resume"), "Name their file with --output"),
        (("score", part, good[0], "--sensitivity", 0), "'--sensitivity'"),
        (("score", part, good[0], "--sensitivity", 2, "--threshold", 1), "Give either a sensitivity or a threshold"),
        (("score", part, good[0], "--workers", 2, "--dask", "a:1"), "Give only one of them"),
        (("calibrate", part), "Give GOOD images, --sensitivity or --threshold"),
        (("calibrate", part, "--group-by", "x"), "--group-by needs GOOD images"),
        (("calibrate", part, good[0], "--threshold", 1), "The GOOD images set the limits"),
        (("evaluate", part), "Give TEST, or both --good and --defects"),
        (("evaluate", part, tmp_path, "--good", tmp_path), "TEST cannot be combined"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert words in " ".join(result.stderr.split()), (arguments, result.stderr)
    assert not list(tmp_path.iterdir())


def test_options_of_fit_are_the_parameters():
    """One option per parameter of either estimator, with the default of its constructor."""
    found = {option.name: option for option in main.commands["fit"].params if isinstance(option, ParameterOption)}
    defaults = PublishedCFA().get_params() | CFA().get_params()
    assert {name: option.default for name, option in found.items()} == defaults
    parameters = {p.name: p for p in (*CFA.parameter_table, *PublishedCFA.parameter_table)}
    assert set(parameters) == set(found)
    for name, option in found.items():
        flags = [*option.opts, *option.secondary_opts]
        assert f"--{parameters[name].option or name.replace('_', '-')}" in flags
        if name != "recipe":
            assert option.help == parameters[name].help
    own = [name for name, option in found.items() if option.section]
    assert own == [p.name for p in PublishedCFA.parameter_table if p.name not in CFA().get_params()]
    help_text = run("fit", "--help").stdout
    first, second = help_text.split("Options of --recipe paper:")
    assert "--n-centers" in first and "--false-alarm-rate" in first and "--epochs" not in first
    assert "--epochs" in second and "--n-centers" not in second


@pytest.mark.parametrize("recipe, kind", [("whitened", "levels"), ("paper", "published")])
def test_recipe_decides_the_estimator(good, tmp_path, recipe, kind):
    own = tiny_backbone.write(tmp_path / "own.onnx")
    settings = ["--epochs", 1] if recipe == "paper" else ["--n-centers", 4, "--size", 64]
    done = run("fit", *good[:4], "-o", tmp_path / "p.cfa", "--recipe", recipe, "--backbone", own, *settings,
               "--limit-margin", 0.5, "--no-checks", "--seed", 3, "--report", tmp_path / "report")  # fmt: skip
    assert done.exit_code == 0, done.output
    shown = load(tmp_path / "p.cfa").info()
    assert shown["kind"] == kind
    assert shown["params"].items() >= {"limit_margin": 0.5, "checks": False, "random_state": 3}.items()
    lines = run("info", tmp_path / "p.cfa").stdout
    assert f"recipe           {recipe}" in lines
    assert "4 good images, each held out once, margin 50%" in lines
    assert (tmp_path / "report" / "training.json").exists() == (recipe == "paper")
    assert "most unusual good images, held out" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_checks_of_score_are_those_of_the_model(good, line, tmp_path):
    own = tiny_backbone.write(tmp_path / "own.onnx")
    model = CFA("whitened", backbone=own, n_centers=4, size=64, checks=False).fit(good[:4])
    model.save(tmp_path / "p.cfa")
    Image.new("RGB", Image.open(line[0]).size).save(tmp_path / "black.png")
    verdicts = [
        run("score", tmp_path / "p.cfa", tmp_path / "black.png", *how).stdout.split()[0]
        for how in ((), ("--no-checks",), ("--checks",))
    ]
    assert verdicts == ["NG", "NG", "INVALID"]


def test_limit_without_a_guarantee_is_described_as_such():
    asked = {"false_alarm_rate": 0.01, "unsure_rate": 0.05, "margin": 0, "n_images": 8, "n_groups": 1, "source": "fit"}
    limits = {**asked, "threshold": 2.0, "unsure_threshold": 1.5, "promised_rate": 0.01, "promised_unsure_rate": 0.5}
    shown = {"params": {"min_area": 0}, "mask_share": None}
    lines = text.limit_lines({**shown, "limits": limits})
    assert lines["NG above"] == "1.00 (raw score 2). At most 1.00% of good images like these are above"
    assert lines["UNSURE above"] == "0.75. No guarantee: too few calibration images"
    lines = text.limit_lines({**shown, "limits": {**limits, "promised_rate": 1.0, "source": "by hand"}})
    assert "No guarantee: most calibration images are above" in lines["NG above"]
    lines = text.limit_lines({**shown, "limits": {**limits, "unsure_rate": 0.5, "n_groups": 99}})
    assert lines["UNSURE above"] == "0.75. At most 50.00% of good images like these are above"


class Broken(inspecting.Sink):
    """Raises an error at the second image."""

    def __init__(self, error):
        self.error, self.calls = error, []

    def take(self, task, rendered):
        self.calls.append(rendered.result.path)
        if len(self.calls) == 2:
            raise self.error

    def close(self):
        self.calls.append("closed")


@pytest.mark.parametrize("error", [OutputError("full"), KeyboardInterrupt()])
def test_sinks_and_results_are_closed_when_one_fails(error):
    ended = []

    def results():
        try:
            for name in "abc":
                yield not_scored(name, "error", "why", 1.0, 0.1)
        finally:
            ended.append(True)

    sinks = [Broken(RuntimeError()), Broken(error)]
    sinks[0].error = error
    tasks = [inspecting.Task(Path(name)) for name in "abc"]
    with pytest.raises(type(error)):
        inspecting.run(tasks, results(), sinks)
    assert [sink.calls for sink in sinks] == [["a", "b", "closed"], ["a", "closed"]]
    assert ended == [True]


@pytest.mark.parametrize(
    "message, shown",
    [
        ("", ""),
        ("a.png cannot be read", "  cannot be read"),
        ("a.png: no such file", "  no such file"),
        ("The mask does not fit a.png.", "  The mask does not fit a.png."),
    ],
)
def test_line_names_its_image_once(message, shown):
    result = not_scored("a.png", "error", message, 1.0, 0.1)
    assert inspecting.line(result) == f"ERROR         -  a.png{shown}"


COMMANDS = [
    "fit", "score", "evaluate", "calibrate", "teach", "watch", "serve", "station", "drift", "info", "benchmark", "demo",
]  # fmt: skip


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_has_help_and_an_example(command):
    assert list(main.commands) == COMMANDS
    for flag in ("-h", "--help"):
        result = run(*command, flag)
        assert result.exit_code == 0
        assert "Example:\n    cfa-lite " in result.stdout


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_imports_nothing_heavy(command):
    code = (
        f"import sys; sys.argv = {['cfa-lite', *command, '--help']}\n"
        "from cfa_lite.commands.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'numba', 'onnxruntime', 'PIL', 'scipy'} & set(sys.modules)))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - start < 2  # 0.1 s here; far more means that it waits for something


def test_scoring_imports_no_training(part, line):
    code = (
        f"import sys; sys.argv = ['cfa-lite', 'score', {str(part)!r}, {str(line[0])!r}]\n"
        "from cfa_lite.commands.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith(('cfa_lite.training', 'cfa_lite.published'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_benchmark_draws_images_if_none_are_given(part, monkeypatch):
    timed = []

    def compared(model, images, n_threads):
        timed.extend(images)
        return [timing.Timing("accurate", True, 1, False, 12.0, 15.0), timing.Timing("fast", False, 1, False, 6.0, 9.0)]

    monkeypatch.setattr(timing, "compared", compared)
    monkeypatch.setattr(timing, "cold_start", lambda part, image, backbone: 0.5)
    done = run("benchmark", part, "--budget-ms", 10)
    assert done.exit_code == 0, done.output
    assert f"{timing.N_IMAGES} images of 384x288 px." in done.stdout
    assert "part.cfa, fitted again with --preset fast, is within 10 ms on 1 thread" in done.stdout
    assert not done.stderr or done.stderr.startswith("starting (")  # on a slow computer
    assert len(timed) == timing.N_IMAGES
    none = run("benchmark", part, "--budget-ms", 1, "--json")
    assert none.exit_code == 1
    assert json.loads(none.stdout)["within_budget"] is None


def test_run_from_a_checkout(pytestconfig):
    done = subprocess.run(
        [sys.executable, pytestconfig.rootpath / "cli.py", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("cfa-lite, version ")


@pytest.mark.parametrize(
    "command",
    [
        ("fit", "{good}", "-o", "{good}/a.png"), ("calibrate", "{part}", "{good}", "-o", "{good}/a.png"),
        ("calibrate", "{part}", "{good}", "--defects", "{bad}", "-o", "{bad}/b.png"),
        ("evaluate", "{part}", "--good", "{good}", "--defects", "{bad}", "--output", "{bad}/b.png"),
        ("evaluate", "{part}", "--good", "{good}", "--defects", "{bad}", "--report", "{part}"),
        ("score", "{part}", "{good}", "--report", "{part}"), ("score", "{part}", "{good}", "--report", "{good}/a.png"),
        ("score", "{part}", "{good}", "--output", "{out}.csv", "--report", "{out}.csv"),
    ],
)  # fmt: skip
def test_no_command_overwrites_what_it_reads(part, good, line, tmp_path, command):
    places = {name: tmp_path / name for name in ("good", "bad", "out")} | {"part": tmp_path / "part.cfa"}
    for folder, name, source in (("good", "a.png", good[0]), ("good", "c.png", good[1]), ("bad", "b.png", line[0])):
        places[folder].mkdir(exist_ok=True)
        (places[folder] / name).write_bytes(source.read_bytes())
    places["part"].write_bytes(part.read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = run(*(word.format(**places) for word in command))
    assert done.exit_code == 1 and ("would overwrite" in done.stderr or "is given for two outputs" in done.stderr)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", ["score", "calibrate", "evaluate", "benchmark", "info"])
def test_a_folder_in_the_place_of_the_model(part, cloth, command):
    done = run(command, cloth / "line", *([] if command == "info" else [part]))
    assert done.exit_code == 1
    assert "is a folder, not a model file. Give the model first" in done.stderr


def test_a_pattern_that_joins_nothing_is_a_remark(cloth, tmp_path):
    fit = ("fit", cloth / "good", "-o", tmp_path / "p.cfa", "--recipe", "whitened", "--n-centers", 4, "--size", 96)
    assert "--group-by 'roll' joins no two images" in run(*fit, "--group-by", "roll").stderr
    assert "joins no two images" not in run(*fit, "--group-by", "png").stderr


@pytest.mark.parametrize(
    "command, words",
    [
        ("score {line} {part}", "Give the model first, then the images, as in `cfa-lite score {part} {line}`."),
        ("score {image} {part}", "{image} is an image, not a model file."),
        ("calibrate {line} {part}", "as in `cfa-lite calibrate {part} {line}`. {part} and {line} are swapped."),
        ("evaluate {line} {part}", "as in `cfa-lite evaluate {part} {line}`."),
        ("evaluate {part} --good {part} --defects {line}", "{part} is a model, not an image."),
        ("teach {line} --good {part}", "as in `cfa-lite teach {part} --good {line}`."),
        ("benchmark {line} {part}", "as in `cfa-lite benchmark {part} {line}`."),
        ("info {line}", "{line} is a folder, not a model file. Give the model first"),
        ("score {part} {line} {part}", "`cfa-lite score` takes one model, and then images and folders."),
        ("fit {part} -o {new}", "writes the model, as in `cfa-lite fit good/ -o {part}`."),
        ("fit {part} -o {line}", "writes the model, as in `cfa-lite fit good/ -o {part}`."),
        ("fit {line} {part} -o {new}", "{part} is a model, not an image. `cfa-lite fit` learns from images"),
        ("fit {line} -o {new} --defects {part}", "{part} is a model, not an image."),
    ],
)
def test_swapped_arguments_are_told(part, cloth, line, tmp_path, command, words):
    names = {"part": part, "line": cloth / "line", "image": line[0], "new": tmp_path / "new.cfa"}
    done = run(*(word.format(**names) for word in command.split()))
    assert done.exit_code == 1
    assert words.format(**names) in done.stderr
    assert not os.listdir(tmp_path)


def test_file_names_cannot_break_a_line(part, line, good, tmp_path):
    for folder, images in (("good", good[:8]), ("line", line[:2])):
        (tmp_path / folder).mkdir()
        for i, image in enumerate(images):
            shutil.copy(image, tmp_path / folder / f"{i}\nNG 9.9\x1b[2J.png")
        (tmp_path / folder / "no\nimage.png").write_text("text")
    new = tmp_path / "new.cfa"
    fit = ("fit", tmp_path / "good", "-o", new, "--recipe", "whitened", "--n-centers", 4, "--size", 96)
    for arguments in (fit, ("score", new, tmp_path / "line"), ("info", new), ("score", new, tmp_path / "gone\x1b[2J")):
        done = run(*arguments)
        said = done.stdout + done.stderr  # in older versions of click, output is stdout alone
        assert "\\nNG 9.9\\x1b[2J.png" in said or "gone\\x1b[2J" in said
        assert "\x1b" not in said
        assert not any(text.startswith(("NG 9.9", "image.png")) for text in said.splitlines())
    assert len(run("score", new, tmp_path / "line").stdout.splitlines()) == 3
