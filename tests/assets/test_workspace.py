"""What an asset asks of its home: corpora that are there, and the commit of the code that runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from assets import workspace as module
from assets.workspace import MissingRootError, NotConfiguredError, Workspace, git_commit
from validation.errors import ConfigurationError


def workspace_of(tmp_path: Path, *names: str) -> Workspace:
    corpora = [
        {"name": name, "reader": "librispeech", "root": name, "licence": "CC0-1.0", "language": "en"}
        for name in names
    ]
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump({"corpora": corpora}))
    return Workspace(home=str(tmp_path / "home"), corpora_file=str(tmp_path / "corpora.yaml"))


def test_a_root_that_is_not_there_stops_only_who_reads_it(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    workspace = workspace_of(tmp_path, "here", "unmounted")
    assert workspace.corpus_names == ["here", "unmounted"]
    assert workspace.corpus_to_read("here").name == "here"
    with pytest.raises(MissingRootError, match=r"corpora\.yaml: corpus 'unmounted': root: .*/unmounted"):
        workspace.corpus_to_read("unmounted")


def test_a_corpus_that_the_file_does_not_have_is_named_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(NotConfiguredError, match=r"no corpus 'x'; it has \['a', 'b'\]"):
        workspace_of(tmp_path, "a", "b").corpus("x")


def test_a_commit_says_when_its_files_were_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    monkeypatch.setattr(module, "__file__", str(tmp_path / "assets" / "workspace.py"))
    assert git_commit() == "unknown"
    (tmp_path / "code.py").write_text("one = 1\n")
    git("init")
    git("add", "code.py")
    git("commit", "-m", "one")
    git("tag", "v1")
    clean = git_commit()
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (tmp_path / "code.py").write_text("one = 2\n")
    assert git_commit() == f"{clean}-dirty"


def test_a_tracking_uri_with_a_password_is_refused_without_repeating_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:s3cret@mlflow.example/")
    with pytest.raises(ConfigurationError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        _ = Workspace(home=str(tmp_path)).tracking_uri
    assert "s3cret" not in str(caught.value)
