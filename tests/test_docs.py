"""The documentation agrees with the code: command reference, rooms, links and decisions."""

import importlib.util
import re
from pathlib import Path

import pytest

from cfa_lite.commands.main import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md")), ROOT / "models" / "README.md"]


def test_command_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate_commands", ROOT / "docs" / "generate_commands.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    written = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert written == generator.render(main), "run: python docs/generate_commands.py"
    assert all(f"## cfa-lite {name}\n" in written for name in main.commands)


def test_architecture_lists_every_module_and_room():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "cfa_lite"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")} - {"models"}
    for room in rooms:
        assert f"| `{room}/` |" in text and f"### {room}\n" in text, room
    for path in package.rglob("*.py"):
        room = path.parent.name if path.parent != package else "Shared"
        if path.stem.startswith("__") or path.stem == "_version" or room == "models":
            continue
        section = text.split(f"### {room}\n")[1].split("\n#")[0]
        assert f"| `{path.stem}` |" in section, path
    named = {pair for pair in re.findall(r"`(\w+)/(\w+)`", text) if pair[0] != "cfa_lite"}
    for room, module in named:
        assert (package / room / f"{module}.py").is_file() or (package / room / module).is_dir(), (room, module)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_point_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_every_decision_has_four_sections_and_is_listed():
    decisions = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    index = (ROOT / "docs" / "decisions" / "index.md").read_text(encoding="utf-8")
    assert len(decisions) > 30
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        for heading in ("Context", "Decision", "Evidence", "Rejected"):
            assert f"\n## {heading}\n" in text, (path.name, heading)
        assert path.name in index


def test_nothing_refers_to_files_that_are_not_in_the_repository():
    files = [*PAGES, *ROOT.glob("cfa_lite/**/*.py"), *ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("models/*.py")]
    for path in files:
        found = re.findall(r"FINDINGS|METHOD\.md|STYLE\.md|\.\./shared", path.read_text(encoding="utf-8"))
        assert found == [], path
