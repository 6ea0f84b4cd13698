"""A request to forget that is killed anywhere, and made again, leaves what one leaves that nobody disturbed."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from forgetting import ANN, apply, holds, prepare, table_corpus

from assets.workspace import Workspace
from validation.lake import Lake


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("VOXLINE_LAKE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(home=str(tmp_path / "home"))


class Dying:
    """A lake whose process ends at the n-th file that it is to write or to remove."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.done = 0
        for name in ("atomic_write", "remove"):
            monkeypatch.setattr(Lake, name, self._counted(getattr(Lake, name)))

    def _counted(self, really: Any) -> Any:
        def step(*arguments: Any, **more: Any) -> Any:
            self.done += 1
            if self.left is not None and self.done > self.left:
                raise KeyboardInterrupt
            return really(*arguments, **more)

        return step

    def at(self, left: int | None) -> None:
        self.left, self.done = left, 0


def content_of(lake: Lake) -> dict[str, Any]:
    """Every file, but for when the request was made."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in Path(lake.root).rglob("*") if path.is_file()):
        name = path.relative_to(lake.root).as_posix()
        is_list = name.startswith("tables/forgotten/")
        found[name] = pl.read_parquet(path).drop("at").to_dicts() if is_list else path.read_bytes()
    return found


@pytest.mark.parametrize("copies", [False, True])
def test_killed_at_any_file_and_done_again_it_ends_the_same(
    tmp_path: Path, make: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    lake = workspace.lake
    ours = table_corpus(tmp_path / "c", make)
    theirs = table_corpus(tmp_path / "d", make, name="other")
    if copies:  # under another's name, in a corpus whose tables are written later than those that lead to it
        (tmp_path / "d/rows.csv").write_text("file,text,who\naudio/ben/b1.wav,plain words,ben\n")
        shutil.copy(tmp_path / "c/audio/zebediah/a1.wav", tmp_path / "d/audio/ben/b1.wav")
        shutil.rmtree(tmp_path / "d/audio/zebediah")
    for entry in (ours, theirs):
        prepare(entry, lake, make)
    before = tmp_path / "before"
    shutil.copytree(lake.root, before)
    dying = Dying(monkeypatch)
    dying.at(None)
    apply(workspace, ANN, copies)
    whole, files = content_of(lake), dying.done
    assert holds(Path(lake.root), "zebediah", "quincunx") == []
    # The last ones are those by which the others are found; some of the others will do.
    for limit in sorted({*range(0, files - 6, 8), *range(files - 6, files)}):
        shutil.rmtree(lake.root)
        shutil.copytree(before, lake.root)
        dying.at(limit)
        with contextlib.suppress(KeyboardInterrupt):
            apply(workspace, ANN, copies)
        dying.at(None)
        apply(workspace, ANN, copies)
        assert content_of(lake) == whole, limit
