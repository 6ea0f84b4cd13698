"""``voxline promote`` and ``voxline rollback`` change the champion, say by whom and why, and refuse rubbish."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from conftest import voxline
from typer.testing import CliRunner

from pipelines.cli import app
from training_jobs.jobs import Tracking
from training_jobs.promotion import Change, PromotionError, crown
from training_jobs.registered import DIGEST_TAG, version_at, version_numbered
from training_jobs.registry import create_version
from training_jobs.tracking import tracked_run
from training_jobs.tracking_store import REGISTERED_MODEL, connect
from training_jobs.version_weights import LostVersionError
from training_jobs.weights import model_digest
from validation.errors import UserError

runner = CliRunner()


def invoke(*arguments: object) -> str:
    result = runner.invoke(app, [str(one) for one in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three registered versions, none of them champion."""
    home = tmp_path_factory.mktemp("registered") / "home"
    home.mkdir()
    (home / "voxline.yaml").write_text("profile: tiny\n")
    tracking = Tracking(
        uri=f"sqlite:///{home / 'mlflow.db'}", artifact_root=str(home / "mlartifacts"), tags={}
    )
    with tracked_run(tracking, "voxline/evaluation", "registration", {}) as run:
        for number in (1, 2, 3):
            parts = [home / name / str(number) for name in ("model", "tokenizer")]
            for part in parts:
                part.mkdir(parents=True)
                (part / "config.json").write_text(f'"{number}"')
            tags = {
                DIGEST_TAG: model_digest(*parts),
                "gate": "failed",
                "gate_reasons": "failed: too slow\nheld: x",
            }
            create_version(
                tracking.uri, run.run_id, *parts, tags, copy_limit_bytes=0 if number == 2 else 1 << 20
            )
    return home


@pytest.fixture
def home(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = mlflow.get_tracking_uri()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("LOGNAME", "alice")
    client = connect(Tracking(uri=f"sqlite:///{registered / 'mlflow.db'}", artifact_root="", tags={}))
    for alias in ("champion", "previous"):
        client.delete_registered_model_alias(REGISTERED_MODEL, alias)
    for version in client.search_model_versions(f"name='{REGISTERED_MODEL}'"):
        for name in set(version.tags) - {DIGEST_TAG, "gate", "gate_reasons", "weights"}:
            client.delete_model_version_tag(REGISTERED_MODEL, version.version, name)
        client.update_model_version(REGISTERED_MODEL, version.version, description="## Gate: failed")
    yield registered
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(None)


def aliases(home: Path) -> dict[str, str]:
    client = connect(Tracking(uri=f"sqlite:///{home / 'mlflow.db'}", artifact_root="", tags={}))
    found = client.get_registered_model(REGISTERED_MODEL).aliases
    return {alias: str(version) for alias, version in found.items()}


def tags(home: Path, version: str) -> tuple[dict[str, str], str]:
    client = connect(Tracking(uri=f"sqlite:///{home / 'mlflow.db'}", artifact_root="", tags={}))
    found = version_numbered(client, version)
    assert found is not None
    return found.tags, found.description or ""


def test_a_person_promotes_and_rolls_back_and_both_versions_say_so(home: Path) -> None:
    said = invoke("promote", "1", "--why", "the first that can be heard", "--home", home)
    assert "version 1 is champion: by alice" in said and "the gate had refused it:" in said
    assert "failed: too slow" in said and "held" not in said
    assert aliases(home) == {"champion": "1"}
    said = invoke("promote", "2", "--why", "fewer  words\nlost", "--by", "Bob", "--home", home)
    assert "version 2 is champion, in place of version 1: by Bob" in said
    assert aliases(home) == {"champion": "2", "previous": "1"}
    # Again: nothing changes, and what was before stays what was before.
    assert "champion already" in invoke("promote", "champion", "--why", "again", "--home", home)
    assert aliases(home) == {"champion": "2", "previous": "1"}
    own, description = tags(home, "2")
    assert (own["promoted_by"], own["promoted_why"], own["champion_before"]) == (
        "Bob",
        "fewer words lost",
        "1",
    )
    assert description.startswith("## Gate: failed\n\n## As champion\n\n- 2")
    assert description.endswith("champion, over version 1, by Bob: fewer words lost")

    invoke("rollback", "--why", "stutters", "--home", home)
    assert aliases(home) == {"champion": "1"}
    own, description = tags(home, "2")
    assert (own["withdrawn_by"], own["withdrawn_why"]) == ("alice", "stutters")
    assert description.endswith("rolled back to version 1, by alice: stutters")
    assert "back by rollback, for version 2, by alice: stutters" in tags(home, "1")[1]
    # Once more would be no way back: it must not bring the bad one back.
    with pytest.raises(PromotionError, match="no version is previous: version 1 is champion"):
        invoke("rollback", "--why", "stutters", "--home", home)
    assert aliases(home) == {"champion": "1"}
    invoke("promote", "2", "--why", "was the room", "--home", home)
    assert "withdrawn_by" not in tags(home, "2")[0]


def test_a_promotion_that_was_killed_half_way_is_done_by_doing_it_again(home: Path) -> None:
    invoke("promote", "1", "--why", "first", "--home", home)
    client = connect(Tracking(uri=f"sqlite:///{home / 'mlflow.db'}", artifact_root="", tags={}))
    # As it stands before its last step.
    client.set_registered_model_alias(REGISTERED_MODEL, "previous", "1")
    with pytest.raises(PromotionError, match="no version is previous"):
        invoke("rollback", "--why", "x", "--home", home)
    for _ in range(2):
        invoke("promote", "3", "--why", "better", "--home", home)
        assert aliases(home) == {"champion": "3", "previous": "1"}
    assert tags(home, "3")[1].count("by alice: better") == 1


def test_the_gate_leaves_a_champion_alone_that_it_has_not_compared_with(home: Path) -> None:
    invoke("promote", "1", "--why", "first", "--home", home)
    uri = f"sqlite:///{home / 'mlflow.db'}"
    client = connect(Tracking(uri=uri, artifact_root="", tags={}))
    first, third = (version_numbered(client, number) for number in "13")
    assert first is not None and third is not None
    change = Change.now("gate", "held")
    assert crown(client, uri, third, change, over=None, is_gates=True) is None
    assert aliases(home) == {"champion": "1"}
    crowned = crown(client, uri, third, change, over=first, is_gates=True)
    assert crowned is not None and crowned.replaced == "1"
    assert "withdrawn_by" not in tags(home, "1")[0]  # the gate may give it back
    assert version_at(client, "previous") is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("promote", "7", "--why", "x"), r"no version '7'; versions: 1, 2, 3; aliases: none"),
        (("promote", "best", "--why", "x"), r"no version 'best'"),
        (("promote", "1", "--why", " \n"), "say why: it is kept with the version"),
        (("promote", "1", "--why", "x", "--by", ""), "say who"),
        (("promote", "1", "--why", "x" * 1001), "why: 1,001 characters, at most 1,000"),
        (("rollback", "--why", ""), "say why"),
        (("rollback", "--why", "x"), "no version is champion, and none was before"),
    ],
)
def test_rubbish_is_refused_and_changes_nothing(home: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        invoke(*arguments, "--home", home)
    assert aliases(home) == {}


def test_a_version_without_its_weights_is_not_promoted(home: Path) -> None:
    place = home / "model" / "2"
    shutil.move(place, home / "away")
    try:
        with pytest.raises(LostVersionError, match=r"registered by reference to .* which is gone"):
            invoke("promote", "2", "--why", "x", "--home", home)
    finally:
        shutil.move(home / "away", place)
    assert aliases(home) == {}


def test_without_a_registry_there_is_one_line_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "voxline.yaml").write_text("profile: tiny\n")
    environment = {name: "" for name in ("MLFLOW_TRACKING_URI",) if name in os.environ}
    done = voxline(["promote", "1", "--why", "x", "--home", str(tmp_path)], **environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nothing is registered: there is no ")
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "mlflow.db").exists()
