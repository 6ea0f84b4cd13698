"""Standard test sets as corpora: a set with a root is read like any corpus, and every row of it is held out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assets.corpora.file_roots import CorporaFileError
from training_jobs.standard_sets import load_standard_sets

# Found in every id: nothing of a set is ever trained on.
_ALL_HELD_OUT = {"by": "pattern", "field": "utterance_id", "pattern": ""}


def standard_items(path: Path, value: Any) -> Iterator[dict[str, Any]]:
    """The corpora file's section ``standard_sets`` (name: root) as entries of ``corpora``; null roots are none.

    Raises:
        CorporaFileError: naming the file, the entry and what is allowed.
    """
    known = load_standard_sets()
    if not isinstance(value, dict):
        raise CorporaFileError(
            f"{path}: standard_sets: got {value!r:.80}; wanted are names of sets with roots: {', '.join(known)}"
        )
    for name, root in value.items():
        if name not in known:
            raise CorporaFileError(
                f"{path}: standard_sets: unknown set {name!r}; allowed are {', '.join(known)}"
            )
        if root is None:
            continue
        if not isinstance(root, str) or not root:
            raise CorporaFileError(
                f"{path}: standard_sets: {name}: got {root!r:.80}; wanted is the folder with {known[name].expects}"
            )
        one = known[name]
        tasks = {} if one.task == "sqa" else {"tasks": [one.task]}
        yield {
            "name": name,
            "reader": one.reader,
            "root": root,
            "options": one.options,
            "licence": one.licence,
            "language": one.language,
            "split": [_ALL_HELD_OUT],
            **tasks,
        }
