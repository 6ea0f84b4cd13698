"""The voxline command refuses what is wrong before any work starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from assets import workspace
from pipelines.cli import app
from training_jobs.profile import Profile, load_profile

runner = CliRunner()


def refused(arguments: list[str]) -> str:
    """The words with which a command is refused."""
    result = runner.invoke(app, arguments)
    assert isinstance(result.exception, ValueError), result
    return str(result.exception)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("corpora: [{name: a, reader: librispeach, root: .}]", ["librispeach", "librispeech"]),
        ("corpora: [{name: a, reader: librispeech, root: nowhere, licence: x, language: en}]", ["nowhere"]),
        ("corpora: [{name: a, reader: librispeech, root: ., licence: x, language: en, rate: 3}]", ["rate"]),
        ("corpora: []", ["corpora"]),
    ],
)
def test_a_wrong_corpora_file_is_refused_before_anything_is_written(
    tmp_path: Path, document: str, said: list[str]
) -> None:
    corpora = tmp_path / "corpora.yaml"
    corpora.write_text(document)
    home = tmp_path / "home"
    message = refused(["run", "--corpora", str(corpora), "--home", str(home)])
    for words in said:
        assert words in message
    assert str(corpora) in message
    assert not home.exists()


def test_an_unknown_profile_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    message = refused(
        ["run", "--corpora", str(tmp_path / "x.yaml"), "--profile", "huge", "--home", str(tmp_path)]
    )
    assert "huge" in message
    assert "tiny" in message


def test_the_7b_profile_without_its_base_model_is_refused_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOXLINE_BASE_MODEL", raising=False)
    (tmp_path / "corpus").mkdir()
    corpora = tmp_path / "corpora.yaml"
    corpora.write_text("corpora: [{name: a, reader: librispeech, root: corpus, licence: x, language: en}]")
    message = refused(["run", "--corpora", str(corpora), "--profile", "7b", "--home", str(tmp_path / "home")])
    assert "VOXLINE_BASE_MODEL" in message
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        ("[]", "has no entries"),
        ("[{task: asr, ratio: 1, corpus: b}]", r"names the corpora \['b'\]; there are \['a'\]"),
        ("{file: nowhere.yaml}", "nowhere.yaml"),
    ],
)
def test_a_mixture_that_cannot_be_drawn_is_refused_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixture: str, said: str
) -> None:
    profile = load_profile("tiny").model_dump() | {
        "mixtures": {name: yaml.safe_load(mixture) for name in load_profile("tiny").mixtures}
    }
    monkeypatch.setattr(workspace, "load_profile", lambda name: Profile.model_validate(profile))
    (tmp_path / "corpus").mkdir()
    corpora = tmp_path / "corpora.yaml"
    corpora.write_text("corpora: [{name: a, reader: librispeech, root: corpus, licence: x, language: en}]")
    message = refused(["run", "--corpora", str(corpora), "--home", str(tmp_path / "home")])
    assert re.search(said, message), message
    assert not (tmp_path / "home").exists()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "voxline.yaml").write_text("profile: tiny\n")
    assert "xml" in refused(["sql", "SELECT 1", "--format", "xml", "--home", str(tmp_path)])


@pytest.mark.parametrize(
    "command", [["sql", "SELECT count(*) FROM ledger"], ["status"], ["status", "--json"]]
)
def test_a_home_in_which_nothing_has_run_is_refused_and_not_made(tmp_path: Path, command: list[str]) -> None:
    home = tmp_path / "typo"
    message = refused([*command, "--home", str(home)])
    assert f"{home} has no voxline.yaml" in message
    assert "voxline run" in message
    assert not home.exists()


def test_a_fresh_checkout_is_told_what_to_start_with(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-m", "pipelines.cli", "status", "--home", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing has run there yet" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]


def test_the_help_of_every_command_shows_what_its_arguments_are() -> None:
    shown = 0
    commands: list[tuple[list[str], Any]] = [([], get_command(app))]
    while commands:
        path, command = commands.pop()
        commands += [([*path, name], one) for name, one in getattr(command, "commands", {}).items()]
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        if not arguments:
            continue
        answer = runner.invoke(app, [*path, "--help"], env={"COLUMNS": "250"})
        words = " ".join(re.sub("[╭╮╰╯─│]", " ", answer.stdout).split())
        for argument in arguments:
            assert argument.help, (path, argument.name)
            assert argument.help in words, (path, argument.name)
            shown += 1
    assert shown > 5


def test_a_view_that_there_is_not_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "voxline.yaml").write_text("profile: tiny\n")
    answer = runner.invoke(app, ["sql", "FROM drawn", "--home", str(tmp_path)])
    assert answer.exit_code == 1
    assert "The views are accepted_utterances, " in answer.stderr and "sample_ledger" in answer.stderr


def test_the_command_itself_loads_without_dagster_and_what_reads_the_lake() -> None:
    code = "import sys, pipelines.cli; print(*({'dagster', 'duckdb', 'pandera', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
