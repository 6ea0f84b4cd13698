"""The page of a version that a run has registered: in the home, in Dagster, in MLflow, and made again by a command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import mlflow
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner
from version_pages import Page

from assets.outputs import Outputs
from pipelines.cli import app
from training_jobs.jobs import Tracking
from training_jobs.promotion import PromotionError
from training_jobs.registered import DIGEST_TAG
from training_jobs.registry import create_version
from training_jobs.tracking import tracked_run
from training_jobs.tracking_store import REGISTERED_MODEL, connect
from training_jobs.version_records import ARTIFACT, page_path
from training_jobs.weights import model_digest
from validation.errors import ConfigurationError

if TYPE_CHECKING:
    from conftest import Pipeline
    from playwright.sync_api import Browser

_CHROMIUM = shutil.which("chromium")
_PLAYS = """async () => {
    const players = [...document.querySelectorAll("audio")];
    await Promise.all(players.map(player => player.readyState ? 0 : new Promise((done, failed) => {
        player.onloadedmetadata = done;
        player.onerror = () => failed(player.error.message);
    })));
    return players.map(player => player.duration);
}"""
pytestmark = pytest.mark.slow
runner = CliRunner()


@pytest.fixture(autouse=True)
def _addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow's process-wide addresses as they were; it writes them to the environment too, for programs to inherit."""
    before = mlflow.get_tracking_uri()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def client_of(home: Path) -> MlflowClient:
    return connect(Tracking(uri=f"sqlite:///{home / 'mlflow.db'}", artifact_root="", tags={}))


def report(home: Path, *arguments: str) -> str:
    result = runner.invoke(app, ["report", *arguments, "--home", str(home)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_run_leaves_the_page_of_the_version_that_it_registered(pipeline: Pipeline) -> None:
    page = page_path(pipeline.home, "1")
    parsed = Page(page.read_bytes())
    result = Outputs(pipeline.home / "training" / "debug").present("version_report").result()
    assert (result["version"], Path(result["page"]), result["missing"]) == ("1", page, [])
    for corpus in ("spoken_commands", "spoken_mandarin", "spoken_questions"):
        assert corpus in parsed.text
    assert "No training row shares with an evaluation set" in parsed.text
    # Four stages, each with its losses and those by task.
    assert len(parsed.named("svg")) == 8
    assert "still have the digest with which this version was trained" in parsed.text
    evaluation = Outputs(pipeline.home / "training" / "debug").present("evaluation_report").result()
    assert f"{evaluation['boost_asr_known_wer']:.1%}" in parsed.text
    assert len([one for one in parsed.named("article") if one["class"] == "sample"]) == 5
    # Questions are heard, so that at least these have a player.
    assert len(parsed.named("audio")) >= 3
    assert "skipped: no root under standard_sets" in parsed.text


def test_mlflow_has_the_page_and_the_version_leads_to_it(pipeline: Pipeline, tmp_path: Path) -> None:
    client = client_of(pipeline.home)
    version = client.get_model_version(REGISTERED_MODEL, "1")
    assert version.tags["report"] == f"runs:/{version.run_id}/{ARTIFACT}"
    first = (version.description or "").splitlines()[0]
    assert first.startswith(f"Report: [{ARTIFACT}](#/experiments/") and first.endswith(f"{ARTIFACT})")
    assert "## Gate: " in (version.description or "")
    copy = Path(client.download_artifacts(version.run_id, ARTIFACT, str(tmp_path)))
    assert Page(copy.read_bytes()).named("h2")


def test_dagster_shows_where_the_page_lies(pipeline: Pipeline) -> None:
    with pipeline.alone(), dg.DagsterInstance.from_config(str(pipeline.home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("version_report"))
        assert event is not None and event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
    assert metadata["page"].value == str(page_path(pipeline.home, "1"))
    assert str(metadata["attached"].value).startswith("runs:/")


@pytest.mark.usefixtures("alone")
def test_the_command_makes_it_again_in_the_same_place_and_once(pipeline: Pipeline) -> None:
    client = client_of(pipeline.home)
    before = client.get_model_version(REGISTERED_MODEL, "1")
    page = page_path(pipeline.home, "1")
    page.unlink()
    said = report(pipeline.home, "candidate")
    assert "version 1: made" in said and str(page) in said.replace("\n", "")
    after = client.get_model_version(REGISTERED_MODEL, "1")
    assert (after.description, after.tags) == (before.description, before.tags)
    assert len([one for one in client.list_artifacts(str(after.run_id)) if one.path == ARTIFACT]) == 1
    with pytest.raises(PromotionError, match="no version 'nobody'; versions: 1"):
        report(pipeline.home, "nobody")
    with pytest.raises(ConfigurationError, match="VERSION is a model's"):
        report(pipeline.home, "1", "--corpus", "spoken_commands")


def test_a_version_that_was_registered_elsewhere_has_a_page_that_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    parts = [home / name for name in ("model", "tokenizer")]
    for part in parts:
        part.mkdir(parents=True)
        (part / "config.json").write_text("{}")
    (home / "voxline.yaml").write_text("profile: tiny\n")
    uri = f"sqlite:///{home / 'mlflow.db'}"
    tracking = Tracking(uri=uri, artifact_root=str(home / "mlartifacts"), tags={})
    tags = {DIGEST_TAG: model_digest(*parts), "gate": "failed", "gate_reasons": "failed: too slow\nheld: x"}
    with tracked_run(tracking, "voxline/evaluation", "registration", {}) as run:
        create_version(uri, run.run_id, *parts, tags, copy_limit_bytes=1 << 20)
        run.metric("boost/asr_known_wer", 0.25)
    said = report(home, "1")
    assert "missing: training data, stages, evaluation, latency, samples" in said
    page = Page(page_path(home, "1").read_bytes())
    assert "No registration of this version lies in this home" in page.text
    assert "too slow" in page.text and "boost/asr_known_wer" in page.text and not page.named("audio")
    record = json.loads(page_path(home, "1").with_suffix(".json").read_text())
    assert record["evaluation"] is None


@pytest.fixture
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=_CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()


@pytest.mark.browser
@pytest.mark.skipif(_CHROMIUM is None, reason="no chromium on the PATH")
@pytest.mark.parametrize("width", [390, 1280])
def test_it_plays_fits_and_fetches_nothing_from_the_disk_and_in_a_sandbox(
    pipeline: Pipeline, tmp_path: Path, browser: Browser, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    place = page_path(pipeline.home, "1")
    page.goto(place.as_uri())
    durations = page.evaluate(_PLAYS)
    assert len(durations) >= 3 and all(0 < one <= 15.2 for one in durations)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 100)")
    page.get_by_role("link", name="6 Gate").click()
    assert page.get_by_text("The gate has").first.is_visible()
    # As MLflow's artifact viewer has it: a blob in an iframe that may do nothing but run scripts. Links of the page to
    # itself do nothing there: Chromium takes them for another document.
    frame = tmp_path / "frame.html"
    frame.write_text("<iframe sandbox='allow-scripts' style='width:100%;height:800px'></iframe>")
    page.goto(frame.as_uri())
    page.evaluate(
        """html => {
            const page = new Blob([html], {type: "text/html"});
            document.querySelector("iframe").src = URL.createObjectURL(page);
        }""",
        place.read_text(encoding="utf-8"),
    )
    inner = page.frame_locator("iframe")
    inner.get_by_role("heading", name="5 Samples").wait_for()
    assert not said, said
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    page.close()
