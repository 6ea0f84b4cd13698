"""What is said of a stage's training: verdicts by curve, spikes, speed, waiting, and its log."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training_jobs.history import History, Losses, StepRecord, TaskLosses
from training_jobs.training_log import analyse, first_comparable_step

STEPS = 200
AT = "2026-11-23 14:59:03,862 [rank 0]"


def history(
    steps: int = STEPS, modules: int = 2, spike_at: int | None = None, slow_from: int = STEPS
) -> History:
    """The backbone falls and comes to rest, the modules stay as they are; of two tasks one falls."""
    rng = np.random.default_rng(0)
    made = History()
    for step in range(steps):
        falls = 1 + 4 * float(np.exp(-step / 15))
        backbone, *others = (np.array([falls, *[6.0] * modules]) + rng.normal(0, 0.05, 1 + modules)).tolist()
        labels = {"asr": [40, *[30] * modules], "tts": [60, *[50] * modules]}
        nats = {"asr": [40 * backbone, *[30 * 6.0] * modules], "tts": [60 * 6.0, *[50 * 6.0] * modules]}
        record = StepRecord(
            step,
            backbone + sum(others) / max(1, modules),
            backbone,
            others,
            1e-3,
            grad_norm=20.0 if step == spike_at else 2.0,
            tokens=100,
            seconds=0.1 if step < slow_from else 0.2,
            waited_s=0.001,
        )
        made.add(record, TaskLosses(step, step, labels, nats), steps)
    return made


def test_each_curve_has_a_verdict_of_its_own() -> None:
    found = analyse(history(), ())
    verdicts = {name: one.verdict for name, one in found.curves.items()}
    assert verdicts == {
        "loss": "converged",
        "backbone": "converged",
        "module 0": "plateau",
        "module 1": "plateau",
        "task asr": "converged",
        "task tts": "plateau",
    }
    assert (found.verdict, found.why) == (found.curves["loss"].verdict, found.curves["loss"].why)
    assert found.waiting_share == pytest.approx(0.01)
    assert found.tokens_per_s == pytest.approx(1000)
    assert found.spike_count == 0 and found.slow_down == 0


def test_a_spike_of_the_gradient_is_named_with_its_step_and_the_usual_norm() -> None:
    found = analyse(history(spike_at=120), ())
    assert found.spike_count == 1
    assert (found.spikes[0].step, found.spikes[0].factor) == (120, pytest.approx(10.0))
    assert analyse(history(spike_at=3), ()).spike_count == 0  # nothing is usual yet


def test_a_stage_that_gets_slower_says_how_much() -> None:
    assert analyse(history(slow_from=100), ()).slow_down == pytest.approx(0.5)


def test_with_a_curriculum_losses_are_compared_from_where_all_modules_weigh_the_same() -> None:
    made = history()
    for step in range(100):
        # So few modules weigh that the loss is far below what it will be.
        made.steps[step] = StepRecord(step, 0.5, 0.5, [6.0, 6.0], 1e-3, 2.0, 100, 0.1)
    assert analyse(made, ()).verdict == "diverged"
    assert first_comparable_step(STEPS, None) == 0
    found = analyse(made, (), since=first_comparable_step(STEPS, 0.5))
    assert found.verdict == "plateau"


def test_a_stage_that_has_not_begun_is_too_short_and_still_has_its_log() -> None:
    found = analyse(History(), [f"{AT} ERROR OSError: gone"])
    assert (found.verdict, found.steps, found.log.errors) == ("too short", 0, 1)
    assert found.tokens_per_s == 0


def test_the_tables_say_it_all_and_break_no_cell() -> None:
    found = analyse(history(), [f"{AT} WARNING a | b `c`"] * 3)
    figures = found.figures()
    assert figures["verdict"] == "converged" and figures["warnings"] == 3 and figures["errors"] == 0
    assert "| module 1 | plateau | " in figures["trends_markdown"]
    assert figures["messages_markdown"].endswith("| warning | 3 | 1 | `a / b 'c'` |")
    assert "1.00% of the time waiting for rows" in found.markdown()
    json.dumps(figures, allow_nan=False)
    assert all(isinstance(value, float | int) for value in found.metrics().values())


def test_intervals_of_tasks_are_as_many_for_a_long_stage_as_for_a_short_one() -> None:
    made = history(950, modules=0)
    assert [one.first_step for one in made.tasks[:3]] == [0, 9, 18]
    assert made.tasks[-1].last_step == 949
    assert sum(one.labels["asr"][0] for one in made.tasks) == 950 * 40
    nats = sum(40 * (record.backbone_loss or 0) for record in made.steps)
    assert sum(one.nats["asr"][0] for one in made.tasks) == pytest.approx(nats, rel=1e-12)
    steps, losses = made.task_curves()["asr"]
    first = [record.backbone_loss or 0 for record in made.steps[:9]]
    assert (steps[0], losses[0]) == (8, pytest.approx(sum(first) / 9))


def test_a_task_that_is_missing_in_some_steps_is_added_up_where_it_is() -> None:
    one = TaskLosses(0, 0, {"asr": [2, 1]}, {"asr": [4.0, 3.0]})
    two = TaskLosses(1, 1, {"asr": [2, 0], "tts": [5, 5]}, {"asr": [2.0, 0.0], "tts": [5.0, 10.0]})
    both = one.with_later(two)
    assert both.labels == {"asr": [4, 1], "tts": [5, 5]}
    assert both.means("asr") == [1.5, 3.0] and both.means("tts") == [1.0, 2.0]
    assert (both.loss("tts", has_backbone=True), both.loss("tts", has_backbone=False)) == (1.0, 1.5)
    assert both.metrics(has_backbone=True) == {
        "loss_task_asr": 1.5, "loss_task_asr_module_0": 3.0, "loss_task_tts": 1.0, "loss_task_tts_module_0": 2.0,
    }  # fmt: skip
    assert TaskLosses(1, 1, {"asr": [0, 2]}, {"asr": [0.0, 2.0]}).loss("asr", has_backbone=True) is None


def test_a_history_reads_back_also_from_before_there_were_tasks() -> None:
    made = history(50)
    made.before = Losses(5.0, 4.0, [1.0, 1.0])
    whole = json.loads(json.dumps(made.to_json()))
    assert History.from_json(whole) == made
    del whole["tasks"]
    for record in whole["steps"]:
        del record["waited_s"]
    assert History.from_json(whole).tasks == []


def test_the_plot_of_the_tasks_is_a_picture_of_bounded_size() -> None:
    picture = history(5000, modules=0).plot_tasks_markdown("sft, by task")
    assert picture.startswith("![sft, by task](data:image/png;base64,")
    assert len(picture) < 120_000
    assert History().plot_tasks_markdown("none") == ""
