"""The repository keeps its shape, and the guards would notice if it did not."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("assets", "models", "pipelines", "training_jobs", "validation")


def guard(script: str, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests" / "guards" / script), "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository in which everything is in order."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name in ("constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_text("numpy==2.0\n")
    add(tmp_path, "models/__init__.py", '"""Models. More of it."""\n')
    return tmp_path


def add(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    subprocess.run(["git", "-C", str(root), "add", "--all"], check=True)


def test_repository_keeps_its_shape() -> None:
    done = guard("layout.py", ROOT)
    assert done.returncode == 0, done.stderr


def test_readme_tree_has_every_tracked_file() -> None:
    done = guard("readme_tree.py", ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_no_installed_package_shadows_ours(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT), f"{package} is imported from {spec.origin}"
    owners = set(packages_distributions().get(package, []))
    assert owners <= {"voxline"}, f"{package} also comes with {sorted(owners)}"


def test_orderly_repository_passes(repository: Path) -> None:
    done = guard("layout.py", repository)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("scripts/run.py", "", "scripts: not one of the top-level entries"),
        ("models/long.py", "x = 1\n" * 301, "models/long.py: 301 lines, at most 300"),
        ("pyproject.toml", 'a = "b @ https://example.org/b.whl"\n', "pyproject.toml:1: a URL"),
        ("docs/notes.md", "see /" + "root/notes\n", "docs/notes.md:1: a path of one machine"),
        (
            "assets/both.py",
            "import dagster as dg\ndef f():\n    from torch import nn\n",
            "imports both dagster and torch",
        ),
    ],
)
def test_layout_guard_names_the_file_and_the_fault(
    repository: Path, name: str, text: str, message: str
) -> None:
    add(repository, name, text)
    done = guard("layout.py", repository)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    "text", ["<home>/lake\n", "${X}/work/a\n", "https://example.org/work/a\n", "a/" + "root/b\n"]
)
def test_paths_that_belong_to_no_machine_pass(repository: Path, text: str) -> None:
    add(repository, "docs/notes.md", text)
    assert guard("layout.py", repository).returncode == 0


def test_readme_tree_is_made_from_what_files_say(repository: Path) -> None:
    markers = [
        "<!-- file tree: python tests/guards/readme_tree.py --write -->",
        "<!-- end of the file tree -->",
    ]
    add(repository, "README.md", "before\n" + "\n".join(markers) + "\nafter\n")
    for name in ("constraints.txt", "pyproject.toml"):
        add(repository, name, "numpy==2.0\n")
    assert guard("readme_tree.py", repository).returncode == 1
    assert guard("readme_tree.py", repository, "--write").returncode == 0
    assert guard("readme_tree.py", repository).returncode == 0
    readme = (repository / "README.md").read_text()
    assert [line.split() for line in readme.splitlines() if "__init__" in line] == [["__init__.py", "Models"]]
    assert readme.startswith("before\n") and readme.endswith("\nafter\n")


def test_file_that_says_nothing_of_itself_is_named(repository: Path) -> None:
    markers = (
        "<!-- file tree: python tests/guards/readme_tree.py --write -->\n<!-- end of the file tree -->\n"
    )
    add(repository, "README.md", markers)
    add(repository, "models/silent.py", "x = 1\n")
    done = guard("readme_tree.py", repository)
    assert done.returncode == 1 and "models/silent.py: begin it with a line" in done.stderr
