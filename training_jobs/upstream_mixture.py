"""Mixtures in VITA-Audio's own form (:mod:`validation.leakage_mixture`), as entries of a mixture: one per data file.

Of a file with n rows its loader draws ``min(int(n * ratio), num)``: whole passes over all rows, and a random part of
them once more. ``ratio`` is 1 where it is not said, and ``num`` without limit; a dataset of which either is 0 is not
looked at. Its loader warns of a file that is not there, and trains without it; here that is an error. Here n are the
file's rows that are accepted, not held out, and not too long; which of them the random part is is our own choice.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from pathlib import Path

from training_jobs.profile import MixtureFile, MixtureItem
from validation.errors import ConfigurationError
from validation.leakage_mixture import read_mixture
from validation.remote import is_s3

# From a path or URL to the corpus that reads it and the file's name there, or to what is wrong with it.
FindFile = Callable[[str], tuple[str, str] | str]


def upstream_items(settings: MixtureFile, find: FindFile) -> list[MixtureItem]:
    """The entries of a mixture file.

    Raises:
        ConfigurationError: if the file is none; naming all data files that are not there, that no corpus reads, or that
            are named twice.
    """
    place = Path(os.path.expandvars(settings.file))
    if not place.is_file():
        raise ConfigurationError(f"mixture file {settings.file!r} is {str(place)!r}, which is no file")
    root = os.path.expandvars(settings.root) if settings.root is not None else str(place.resolve().parent)
    items: dict[tuple[str, str], MixtureItem] = {}
    faults: list[str] = []
    for name, dataset in read_mixture(place).items():
        if dataset.ratio == 0 or dataset.num == 0:
            continue
        for written in dataset.data_paths:
            found = find(_path_of(written, root))
            if isinstance(found, str):
                faults.append(f"dataset {name}: {written.strip()}: {found}")
            elif found in items:
                faults.append(
                    f"dataset {name}: {written.strip()} is drawn by dataset {items[found].dataset} already; name it "
                    "once, with the sum of both ratios"
                )
            else:
                corpus, file = found
                items[found] = MixtureItem(
                    dataset=name, corpus=corpus, file=file, ratio=dataset.ratio, at_most=dataset.num
                )
    if faults:
        what = "1 data file" if len(faults) == 1 else f"{len(faults)} data files"
        raise ConfigurationError("\n".join([f"{place}: {what} cannot be drawn from:", *faults]))
    if not items:
        raise ConfigurationError(f"{place}: every dataset has the ratio or the num 0: nothing is drawn")
    return list(items.values())


def _path_of(written: str, root: str) -> str:
    """Where a data path leads; upstream's own files have names with blanks behind them."""
    path = os.path.expandvars(written.strip())
    if is_s3(path):
        return path
    if is_s3(root) and not path.startswith("/"):
        return f"{root.rstrip('/')}/{posixpath.normpath(path)}"
    return posixpath.normpath(posixpath.join(root, path))
