"""Guards of the repository's shape: ``python tests/guards/layout.py`` prints what breaks it and fails then."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TOP_LEVEL = frozenset(
    {
        ".ci", ".gitignore", "LICENSE", "Makefile", "README.md", "assets", "constraints.txt", "dagster_home", "docs",
        "models", "pipelines", "pyproject.toml", "tests", "training_jobs", "validation",
    }
)  # fmt: skip
MOST_LINES = 300
PINNED = ("constraints.txt", "pyproject.toml")
_URL = re.compile(r"\w+://|\bgit\+|\bfile:")
# Put together here, so that this file does not hold what it looks for. A path of a machine is one that starts there:
# "…/work/…" inside a longer path or a URL is none.
_MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:" + "|".join(("root", "work", "home", "Users")) + r")/\w")
_NOT_TOGETHER = {"dagster", "torch"}


def tracked_files(root: Path) -> list[Path]:
    """Files that git knows and that are there, relative to ``root``."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True
    ).stdout
    names = sorted(Path(name.decode()) for name in listed.split(b"\0") if name)
    return [name for name in names if (root / name).is_file()]


def strangers_at_the_top(files: list[Path]) -> Iterator[str]:
    """Top-level entries that DESIGN §2 does not have."""
    for name in sorted({file.parts[0] for file in files} - TOP_LEVEL):
        yield f"{name}: not one of the top-level entries {sorted(TOP_LEVEL)}"


def long_files(root: Path, files: list[Path]) -> Iterator[str]:
    """Python files that do more than one thing, by their length."""
    for file in files:
        if (
            file.suffix == ".py"
            and (lines := len((root / file).read_text("utf-8").splitlines())) > MOST_LINES
        ):
            yield f"{file}: {lines} lines, at most {MOST_LINES}"


def urls_in_pins(root: Path) -> Iterator[str]:
    """URLs where versions are pinned: the registry is the installer's own business."""
    for name in PINNED:
        for number, line in enumerate((root / name).read_text("utf-8").splitlines(), start=1):
            if _URL.search(line):
                yield f"{name}:{number}: a URL: {line.strip()}"


def machine_paths(root: Path, files: list[Path]) -> Iterator[str]:
    """Absolute paths that one machine has and another has not."""
    for file in files:
        data = (root / file).read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), start=1):
            if found := _MACHINE_PATH.search(line):
                yield f"{file}:{number}: a path of one machine: {line[found.start() :][:60]}"


def dagster_beside_torch(root: Path, files: list[Path]) -> Iterator[str]:
    """Files that import both: orchestration and tensors meet in a program's job file only."""
    for file in files:
        if file.suffix == ".py" and imported(root / file) >= _NOT_TOGETHER:
            yield f"{file}: imports both {' and '.join(sorted(_NOT_TOGETHER))}"


def imported(path: Path) -> set[str]:
    """Names of the top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def problems(root: Path) -> list[str]:
    """Everything that breaks the shape of the repository at ``root``."""
    files = tracked_files(root)
    return [
        *strangers_at_the_top(files),
        *long_files(root, files),
        *urls_in_pins(root),
        *machine_paths(root, files),
        *dagster_beside_torch(root, files),
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Check the repository's layout.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    found = problems(parser.parse_args().root)
    if found:
        sys.exit("\n".join(found))
    sys.stdout.write("layout: nothing to complain about\n")


if __name__ == "__main__":
    main()
