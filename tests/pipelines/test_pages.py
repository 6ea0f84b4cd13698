"""The two pages, as a person opens them: headless Chromium against ``voxline up``."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml
from ports import HOST, free_port
from waiting import until

from assets.recovery import PROCESS_TAG

if TYPE_CHECKING:
    from conftest import Pipeline
    from playwright.sync_api import Page

_CHROMIUM = shutil.which("chromium")
_DEADLINE_S = 180.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(_CHROMIUM is None, reason="no chromium on the PATH"),
]


@dataclass(frozen=True)
class Servers:
    """Running servers of one home."""

    dagster: str
    mlflow: str
    home: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def servers(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    home = tmp_path_factory.mktemp("pages") / "home"
    with pipeline.alone():
        shutil.copytree(pipeline.home, home)
    ports = [free_port(), free_port()]
    command = [sys.executable, "-m", "pipelines.cli", "up", "--home", str(home)]
    command += ["--dagster-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    log = home.with_name("up.log")
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, text=True)
    try:
        until(lambda: process.poll() is not None or "Ctrl-C" in log.read_text(), "the servers", _DEADLINE_S)
        assert process.poll() is None, log.read_text()
        yield Servers(f"http://{HOST}:{ports[0]}", f"http://{HOST}:{ports[1]}", home, process)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=_DEADLINE_S) == 0, log.read_text()


@pytest.fixture(scope="module")
def page(servers: Servers) -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=flags)
        opened = browser.new_page(viewport={"width": 1600, "height": 1000})
        opened.set_default_timeout(_DEADLINE_S * 1000)
        ask(opened, servers, "mutation { setNuxSeen }")  # else a welcome window covers the first page
        yield opened
        browser.close()


def ask(page: Page, servers: Servers, query: str, **variables: Any) -> dict[str, Any]:
    answer = page.request.post(
        f"{servers.dagster}/graphql",
        data={"query": query, "variables": variables},
        timeout=_DEADLINE_S * 1000,
    )
    found = json.loads(answer.text())
    assert "errors" not in found, found
    data = found["data"]
    assert isinstance(data, dict)
    return data


def sees(page: Page, text: str) -> None:
    """Fail unless the text becomes visible."""
    page.get_by_text(text).first.wait_for()  # which fails unless it does; a page drawn anew may hide it again


def test_the_graph_shows_every_step(page: Page, servers: Servers) -> None:
    for group, asset in [
        ("data", "audio_tokens"),
        ("training", "multi_mctp"),
        ("registry", "registered_model"),
    ]:
        page.goto(f"{servers.dagster}/locations/pipelines.definitions/asset-groups/{group}/lineage")
        sees(page, asset)


def test_a_quality_page_shows_its_histograms(page: Page, servers: Servers) -> None:
    page.goto(f"{servers.dagster}/assets/audio_quality")
    page.get_by_text("Show Markdown").first.click()
    image = page.locator("img[src^='data:image/png']").first
    image.wait_for()
    # It has its place on the page before it is decoded, and its size after that.
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300


def test_the_demos_run_and_its_check_are_there(page: Page, servers: Servers) -> None:
    found = ask(page, servers, "{ runsOrError { ... on Runs { results { runId jobName status } } } }")[
        "runsOrError"
    ]["results"]
    run = next(run for run in found if run["jobName"] == "everything" and run["status"] == "SUCCESS")
    page.goto(f"{servers.dagster}/runs/{run['runId']}")
    sees(page, "registered_model")
    page.goto(f"{servers.dagster}/assets/accepted_utterances?view=checks")
    sees(page, "ledger_balances")


def test_the_registry_page_shows_version_and_alias(page: Page, servers: Servers) -> None:
    address = f"{servers.mlflow}/#/models/vita-audio-mctp/versions/1?workflowType=machine_learning"
    page.goto(address)
    sees(page, "candidate")
    sees(page, "tokenizer_digest")


def test_the_schedule_can_be_switched_on(page: Page, servers: Servers) -> None:
    from playwright.sync_api import expect

    page.goto(f"{servers.dagster}/automation")
    row = page.locator("[data-index]").filter(has_text="nightly_retraining")
    switch = row.locator("input[type=checkbox]").nth(1)  # the first one selects the row
    # Until the page knows the schedule's state, its switch is there, and deaf.
    expect(switch).to_be_enabled(timeout=_DEADLINE_S * 1000)
    expect(switch).not_to_be_checked()
    # The input itself has no size: a picture of a switch is drawn over it.
    switch.evaluate("input => input.click()")
    expect(switch).to_be_checked(timeout=_DEADLINE_S * 1000)
    query = (
        '{ schedulesOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: '
    )
    query += '"pipelines.definitions"}) { ... on Schedules { results { name scheduleState { status } } } } }'

    def running() -> bool:
        results = ask(page, servers, query)["schedulesOrError"]["results"]
        return [one["scheduleState"]["status"] for one in results] == ["RUNNING"]

    until(running, "the schedule to be on", _DEADLINE_S)


def test_a_run_beside_the_pages_has_them_read_its_corpora(page: Page, servers: Servers) -> None:
    home = servers.home
    settings = yaml.safe_load((home / "voxline.yaml").read_text())
    corpora = yaml.safe_load(Path(settings["corpora"]).read_text())["corpora"]
    fewer = [
        {**entry, "root": str(Path(settings["corpora"]).parent / entry["root"])} for entry in corpora[:1]
    ]
    (home / "fewer.yaml").write_text(yaml.safe_dump({"corpora": fewer}))
    command = [sys.executable, "-m", "pipelines.cli", "run", "--corpora", str(home / "fewer.yaml")]
    with subprocess.Popen(
        [*command, "--profile", "debug", "--home", str(home)], stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None
            assert "show these corpora now" in run.stdout.readline()
            query = """{ assetNodeOrError(assetKey: {path: ["raw_utterances"]}) {
              ... on AssetNode { partitionKeys } } }"""
            shown = ask(page, servers, query)["assetNodeOrError"]["partitionKeys"]
            assert shown == [entry["name"] for entry in fewer]
        finally:
            run.send_signal(signal.SIGINT)
            run.stdout.read()


def test_the_sensor_prepares_a_corpus_with_new_files(page: Page, servers: Servers) -> None:
    start = """mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) {
      __typename ... on Sensor { sensorState { status } } } }"""
    selector = {
        "repositoryLocationName": "pipelines.definitions",
        "repositoryName": "__repository__",
        "sensorName": "new_raw_data",
    }
    started = ask(page, servers, start, s=selector)["startSensor"]
    assert started["__typename"] == "Sensor", started

    def runs() -> list[dict[str, str]]:
        query = '{ runsOrError(filter: {pipelineName: "prepare_data"}) { ... on Runs { results { runId status } } } }'
        found: list[dict[str, str]] = ask(page, servers, query)["runsOrError"]["results"]
        return found

    # Its first tick has no cursor yet: the corpus that the run before has left is new to it.
    until(lambda: any(run["status"] == "SUCCESS" for run in runs()), "a run of prepare_data", _DEADLINE_S)
    assert {run["status"] for run in runs()} == {"SUCCESS"}


def test_a_killed_run_is_marked_failed_while_the_pages_are_open(page: Page, servers: Servers) -> None:
    with dg.DagsterInstance.from_config(str(servers.home)) as instance:
        run = dg.DagsterRun(
            job_name="everything",
            run_id="0" * 32,
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: f"{socket.gethostname()}:1:0"},
        )
        instance.add_run(run)

    def status() -> str:
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        return str(ask(page, servers, query, id=run.run_id)["runOrError"]["status"])

    until(lambda: status() == "FAILURE", "the run to be marked failed", _DEADLINE_S)
    assert status() == "FAILURE"


def test_nothing_listens_beyond_this_machine(servers: Servers) -> None:
    import psutil

    family = [
        psutil.Process(servers.process.pid),
        *psutil.Process(servers.process.pid).children(recursive=True),
    ]
    addresses = set()
    for process in family:
        with suppress(psutil.NoSuchProcess):  # a helper that has ended since listens no more
            connections = process.net_connections(kind="inet")
            addresses |= {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}, addresses
