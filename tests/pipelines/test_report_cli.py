"""``voxline report``: says where the pages lie, and makes nothing again that is up to date."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from validation.errors import UserError

if TYPE_CHECKING:
    from conftest import Pipeline

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("alone")]


def test_pages_of_a_run_are_up_to_date_and_lie_where_it_says(pipeline: Pipeline) -> None:
    answer = pipeline.voxline("report")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("up to date; first state") == 3
    places = [Path(line.strip()) for line in answer.stdout.splitlines() if line.strip().endswith(".html")]
    assert [place.name for place in places] == [
        "spoken_commands.html", "spoken_mandarin.html", "spoken_questions.html", "index.html",
    ]  # fmt: skip
    assert all(place.is_file() for place in places)


# In this process: the test above has the command in one of its own, which takes seconds to start.
runner = CliRunner()


def report(pipeline: Pipeline, *options: str) -> list[str]:
    """The arguments of the command."""
    return ["report", *options, "--home", str(pipeline.home)]


def test_one_corpus_may_be_named_and_an_unknown_one_is_refused(pipeline: Pipeline) -> None:
    answer = runner.invoke(app, report(pipeline, "--corpus", "spoken_mandarin"))
    assert answer.exit_code == 0, answer.output
    assert "spoken_mandarin.html" in answer.stdout and "spoken_commands.html" not in answer.stdout
    for option in ("--corpus", "--accept-drift"):
        wrong = runner.invoke(app, report(pipeline, option, "nobody"))
        assert isinstance(wrong.exception, UserError) and "has no corpus 'nobody'" in str(wrong.exception)


def test_pages_are_left_alone_while_a_run_is_at_work(pipeline: Pipeline) -> None:
    with (pipeline.home / ".turn").open("a+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        answer = runner.invoke(app, report(pipeline, "--corpus", "spoken_mandarin"))
    assert answer.exit_code == 0, answer.output
    assert "left as it is: a run is at work" in answer.stdout
