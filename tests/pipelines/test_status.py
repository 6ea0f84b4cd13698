"""An asset whose last attempt failed is not healthy, whatever came before."""

from pathlib import Path

import dagster as dg
import yaml
from rich.console import Console

from assets.workspace import Workspace
from pipelines.jobs import RANGE_END, RANGE_START
from pipelines.status import as_table, collect

CORPORA = dg.StaticPartitionsDefinition(["one", "two"])


def graph(broken: set[str]) -> dg.Definitions:
    """A partitioned asset and one below it; those in ``broken`` fail."""

    @dg.asset(partitions_def=CORPORA, backfill_policy=dg.BackfillPolicy.single_run())
    def table() -> None:
        if "table" in broken:
            raise ValueError("no table today")

    @dg.asset(deps=[table], backfill_policy=dg.BackfillPolicy.single_run())
    def model() -> None:
        if "model" in broken:
            raise ValueError("no model today")

    return dg.Definitions(assets=[table, model], jobs=[dg.define_asset_job("everything")])


def run(instance: dg.DagsterInstance, first: str, last: str, broken: set[str]) -> str:
    result = (
        graph(broken)
        .resolve_job_def("everything")
        .execute_in_process(
            instance=instance, tags={RANGE_START: first, RANGE_END: last}, raise_on_error=False
        )
    )
    return result.run_id


def workspace_of(tmp_path: Path) -> Workspace:
    corpora = [
        {"name": name, "reader": "librispeech", "root": ".", "licence": "CC0-1.0", "language": "en"}
        for name in ("one", "two")
    ]
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump({"corpora": corpora}))
    return Workspace(home=str(tmp_path), corpora_file=str(tmp_path / "corpora.yaml"))


def health(instance: dg.DagsterInstance, tmp_path: Path) -> dict[str, tuple[str, str | None]]:
    """Of each asset its health and the run that failed."""
    found = collect(instance, graph(set()), workspace_of(tmp_path))
    return {asset["asset"]: (asset["health"], asset["failed_run"]) for asset in found["assets"]}


def test_a_failure_after_a_success_shows_with_its_run_until_it_is_mended(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        assert health(instance, tmp_path) == {"table": ("never", None), "model": ("never", None)}
        run(instance, "one", "two", set())
        assert health(instance, tmp_path) == {"table": ("healthy", None), "model": ("healthy", None)}
        failed = run(instance, "one", "two", {"model"})
        assert health(instance, tmp_path) == {"table": ("healthy", None), "model": ("failing", failed)}
        run(instance, "one", "two", set())
        assert health(instance, tmp_path) == {"table": ("healthy", None), "model": ("healthy", None)}


def test_what_was_never_reached_keeps_its_health(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        run(instance, "one", "two", set())
        failed = run(instance, "one", "two", {"table"})
        assert health(instance, tmp_path) == {"table": ("failing", failed), "model": ("healthy", None)}


def test_another_corpus_does_not_mend_the_one_that_failed(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        run(instance, "one", "two", set())
        failed = run(instance, "two", "two", {"table"})
        run(instance, "one", "one", set())
        assert health(instance, tmp_path)["table"] == ("failing", failed)
        run(instance, "two", "two", set())
        assert health(instance, tmp_path)["table"] == ("healthy", None)


def test_the_first_attempt_may_fail_too(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        failed = run(instance, "one", "two", {"table"})
        assert health(instance, tmp_path) == {"table": ("failing", failed), "model": ("never", None)}


def test_the_table_names_the_run_and_keeps_a_homes_brackets(tmp_path: Path) -> None:
    home = tmp_path / "[red]"
    home.mkdir()
    with dg.instance_for_test() as instance:
        failed = run(instance, "one", "two", {"model"})
        found = collect(instance, graph(set()), workspace_of(home))
    console = Console(record=True, width=200)
    console.print(as_table(found))
    shown = console.export_text()
    assert f"run {failed}" in shown
    assert str(home) in shown
