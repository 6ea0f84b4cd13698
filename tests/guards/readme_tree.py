"""The README's file tree, made from what each file says of itself: ``python tests/guards/readme_tree.py --write``."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path

BEGIN = "<!-- file tree: python tests/guards/readme_tree.py --write -->"
END = "<!-- end of the file tree -->"
# Files that cannot say it themselves.
_DESCRIPTIONS = {
    ".gitignore": "what stays out of the repository",
    "LICENSE": "Apache-2.0",
    "constraints.txt": "the exact version of every package, the one place where they are pinned",
    "pyproject.toml": "the package, its extras, and the settings of ruff, mypy, pytest and import-linter",
    "README.md": "this page",
    "assets/report/templates/charts.html": "histograms, trends, tables of counts and cards of recordings, as macros",
    "assets/report/templates/corpus.html": "the page of one corpus",
    "assets/report/templates/index.html": "the page of all corpora",
    "assets/report/templates/page.html": "the frame of both: nothing on it runs or is fetched",
    "assets/report/templates/style.css": "how they look, on white and on dark, wide and narrow",
    "training_jobs/templates/version/parts.html": "tables, pairs, loss curves and samples, as macros",
    "training_jobs/templates/version/style.css": "how it looks, on white, on dark, on a telephone and on paper",
    "training_jobs/templates/version/version.html": "the page of a registered version",
    "docs/images/dagster_partition.png": "Dagster's page of one corpus",
    "docs/images/loss_through_kills.png": "a stage killed five times, over the undisturbed one",
    "docs/images/report.png": "the beginning of a corpus' page",
}
_MOST_CHARACTERS = 110
_COMMENT = re.compile(r"(?:^#(?!!).*\n)+", re.MULTILINE)
_HEADING = re.compile(r"^# .+$", re.MULTILINE)
_SENTENCE = re.compile(r"(.+?)(?:\.(?:\s|$)|$)")
_OWN_NAME = re.compile(r"^(?:(?:The )?(?:step|Step|Reader|Program) )?``[^`]+``: ")


class NothingSaidError(ValueError):
    """A file without a description."""


def describe(root: Path, name: str) -> str:
    """The first sentence of what the file says of itself: docstring, heading or leading comment.

    Raises:
        NothingSaidError: if it says nothing.
    """
    if name in _DESCRIPTIONS:
        return _DESCRIPTIONS[name]
    path = root / name
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        found = (_HEADING if path.suffix == ".md" else _COMMENT).search(text)
        said = re.sub(r"^# ?", "", found[0], flags=re.MULTILINE) if found else ""
    sentence = _SENTENCE.match(" ".join(said.split("\n\n")[0].split()).rstrip(":"))
    if sentence is None:
        raise NothingSaidError(
            f"{name}: begin it with a line that says what it holds, or describe it in {__file__}"
        )
    return _shortened(_OWN_NAME.sub("", sentence[1])).replace("``", "")


def _shortened(text: str) -> str:
    """The text, or so many of its clauses as fit into a line."""
    for mark in ("; ", ": ", ", "):
        while len(text) > _MOST_CHARACTERS and mark in text:
            text = text[: text.rindex(mark)]
    return text


def tree(root: Path) -> str:
    """The tracked files, folders first said and indented, with a line per file."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True
    ).stdout
    names = [name for name in listed.decode().split("\0") if name and (root / name).is_file()]
    lines: list[str] = []
    shown: set[str] = set()
    for name in sorted(names, key=_files_before_folders):
        *folders, base = name.split("/")
        for depth in range(len(folders)):
            folder = "/".join(folders[: depth + 1])
            if folder not in shown:
                shown.add(folder)
                lines.append(f"{'  ' * depth}{folders[depth]}/")
        entry = f"{'  ' * len(folders)}{base}"
        lines.append(f"{entry:<40} {describe(root, name)}")
    return "\n".join(lines)


def _files_before_folders(name: str) -> list[tuple[bool, str]]:
    parts = name.split("/")
    return [(index < len(parts) - 1, part) for index, part in enumerate(parts)]


def with_tree(readme: str, files: str) -> str:
    """The README with the tree between its markers."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n```\n{files}\n```\n{END}{after}"


def main() -> None:
    """Command line: say whether the tree is true, or make it so."""
    parser = argparse.ArgumentParser(description="Check the README's file tree.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    parser.add_argument("--write", action="store_true", help="make it true")
    options = parser.parse_args()
    path = options.root / "README.md"
    readme = path.read_text(encoding="utf-8")
    wanted = with_tree(readme, tree(options.root))
    if options.write:
        path.write_text(wanted, encoding="utf-8")
    elif readme != wanted:
        sys.exit("README.md: its file tree is out of date: python tests/guards/readme_tree.py --write")


if __name__ == "__main__":
    main()
