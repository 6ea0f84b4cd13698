"""The asset stops a corpus that loses too much, records what changed, and tells Dagster no row's name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
import yaml

from assets import accepted_utterances
from assets.accepted_utterances import BUDGET_CHECK, LEDGER_CHECK
from assets.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, make: SimpleNamespace) -> Workspace:
    """One corpus of twelve rows, half of which have a text that is too long; all earlier steps have run."""
    texts = [(f"secret{number:02}", "x" * 90 if number % 2 else "hello") for number in range(12)]
    entry = make.ljspeech(tmp_path / "root", texts)
    make.run_all(entry, Workspace(home=str(tmp_path / "home")).lake)
    return configured(tmp_path, entry)


def configured(tmp_path: Path, entry, **more: object) -> Workspace:
    values = entry.model_dump(mode="json", include={"name", "reader", "root", "licence", "language"})
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump({"corpora": [{**values, **more}]}))
    return Workspace(home=str(tmp_path / "home"), corpora_file=str(tmp_path / "corpora.yaml"))


def materialized(workspace: Workspace) -> dg.ExecuteInProcessResult:
    asset = accepted_utterances.build(dg.StaticPartitionsDefinition(["made"]))

    @dg.asset(deps=[asset])
    def downstream() -> None:
        return None

    return dg.materialize(
        [asset, downstream],
        partition_key="made",
        resources={"workspace": workspace},
        selection=[asset, downstream],
        raise_on_error=False,
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def test_a_corpus_within_its_budget_goes_on_and_its_ledger_is_recorded_once(workspace: Workspace) -> None:
    result = materialized(workspace)
    assert result.success and checks(result)[BUDGET_CHECK].passed and checks(result)[LEDGER_CHECK].passed
    history = workspace.lake.read_table("ledger_history")
    assert history.height == 12 and set(history["change"]) == {"new"}
    assert history["run_id"].to_list() == [result.run_id] * 12
    assert materialized(workspace).success
    assert workspace.lake.read_table("ledger_history").equals(history)


def test_a_corpus_above_its_budget_fails_the_run_and_stops_what_is_downstream(
    workspace: Workspace, tmp_path: Path
) -> None:
    strict = configured(
        tmp_path, workspace.corpus("made"), budget={"reasons": {"text_too_long": 0.4}, "at_least": 2}
    )
    result = materialized(strict)
    assert not result.success
    found = checks(result)[BUDGET_CHECK]
    assert not found.passed and found.blocking and checks(result)[LEDGER_CHECK].passed
    assert found.description is not None
    assert (
        "corpus 'made': text_too_long: 6 of 12 rows, 50.00%, are above the budget of 40.00%"
        in found.description
    )
    assert "downstream" not in {event.step_key for event in result.all_events if event.is_step_success}
    # Its rows stand in ledger and history all the same.
    assert strict.lake.read_table("ledger_history").height == 12
    told = "".join(str(event) for event in result.all_events)
    assert "secret" not in told and "text_too_long" in told
