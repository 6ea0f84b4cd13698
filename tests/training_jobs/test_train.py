"""The training program, on one rank in this process: what it leaves, and how it ends when it diverges."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stage_runs import (
    SPEC,
    Lines,
    losses,
    make_job,
    result,
)

from models import MctpForCausalLM, extend_model, load_model, save_model
from models.windowed_attention import WINDOWED
from training_jobs import stage, train
from training_jobs.batches import PackedRows
from training_jobs.history import StepRecord, TaskLosses
from training_jobs.jobs import Tracking, read_result
from training_jobs.probe import PROBE_ROWS
from training_jobs.reporting import Reporter
from training_jobs.spec import Explosion
from training_jobs.step import DivergedError, take_step
from training_jobs.tracking_store import connect


def loss_over_probe(model_dir: Path, packs_dir: Path) -> float:
    """Mean loss over the evenly spaced rows, computed without the program's own loop."""
    model = load_model(model_dir)
    model.set_attn_implementation(WINDOWED)
    rows = PackedRows(packs_dir, seed=0, batch_rows=1)
    total = 0.0
    with torch.no_grad():
        for row in np.linspace(0, rows.count - 1, PROBE_ROWS).astype(int):
            batch = rows.read((int(row),))
            output = model(
                input_ids=batch.input_ids_BT, labels=batch.labels_BT, position_ids=batch.position_ids_BT
            )
            total += float(output.loss)
    return total / PROBE_ROWS


@pytest.mark.usefixtures("one_rank")
def test_a_stage_learns_and_leaves_model_history_and_figures(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> None:
    lines = Lines()
    train.run(make_job(tmp_path, base_dir, packs_dir, tracking), Reporter(lines.log))
    figures = result(tmp_path)
    assert figures["last_loss"] < figures["first_loss"]
    assert figures["last_loss"] == pytest.approx(loss_over_probe(tmp_path / "model", packs_dir), abs=1e-4)
    assert len(figures["module_losses_last"]) == SPEC.mctp_modules
    assert figures["resumed_from"] is None
    assert figures["loss_curve_markdown"].startswith("![sft](data:image/png;base64,")
    assert len(losses(tmp_path)) == SPEC.steps
    assert (figures["verdict"], figures["warnings"], figures["errors"]) == ("too short", 0, 0)
    assert 0 <= figures["waiting_share"] < 1
    assert figures["task_losses_markdown"].startswith("![sft, by task](data:image/png;base64,")
    assert set(figures["analysis"]["curves"]) == {"loss", "backbone", "module 0", "module 1", "task text"}
    model = load_model(tmp_path / "model")
    assert model.config.num_nextn_predict_layers == SPEC.mctp_modules
    assert (tmp_path / "model" / "tokenizer.json").is_file()
    assert not (tmp_path / "checkpoints").exists()
    assert any(line.startswith("sft 12/12 loss ") and line.endswith("0 s left") for line in lines.lines)
    _assert_tracked(tracking, figures)


def _assert_tracked(tracking: Tracking, figures: dict[str, Any]) -> None:
    run = connect(tracking).get_run(figures["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    names = {
        "loss",
        "loss_backbone",
        "loss_module_0",
        "loss_module_1",
        "learning_rate",
        "grad_norm",
        "tokens_per_s",
        "waiting_share",
        "loss_task_text",
        "loss_task_text_module_1",
        "waiting_share_of_stage",
        "log_warnings",
        "gradient_spikes",
    }
    assert names <= run.data.metrics.keys()
    assert run.data.params["steps"] == "12"
    assert run.data.tags["verdict"] == "too short"
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == "d"
    assert json.loads(data.dataset.profile)["sources"]["c/text"]["rows"] == 60


@pytest.mark.usefixtures("one_rank")
def test_a_loss_that_is_no_number_stops_the_stage_with_step_and_samples(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> None:
    model = load_model(base_dir)
    with torch.no_grad():
        model.lm_head.weight[7] = float("nan")
    poisoned = tmp_path / "poisoned"
    save_model(model, poisoned)
    with pytest.raises(
        DivergedError, match=r"sft: loss is not finite at step 0, in rows with the samples c/\d+"
    ):
        train.run(make_job(tmp_path / "out", poisoned, packs_dir, tracking), Reporter(Lines().log))
    assert read_result(tmp_path / "out") is None


@pytest.mark.usefixtures("one_rank")
def test_only_the_rows_at_fault_are_named(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> None:
    spec = SPEC.model_copy(update={"batch_rows": 4})
    rows = PackedRows(packs_dir, spec.seed, batch_rows=4)
    batches = [rows.read(rows.rows_of(0, 0, micro, 1, 1)) for micro in range(4)]
    ids = [set(batch.input_ids_BT.flatten().tolist()) for batch in batches]
    token = min(ids[2] - ids[0] - ids[1] - ids[3])
    model = load_model(base_dir)
    with torch.no_grad():
        model.model.embed_tokens.weight[token] = float("nan")
    save_model(model, tmp_path / "poisoned")
    with pytest.raises(DivergedError) as caught:
        train.run(
            make_job(tmp_path / "out", tmp_path / "poisoned", packs_dir, tracking, spec),
            Reporter(Lines().log),
        )
    named, good = str(caught.value).split("samples ")[1].split("; ")
    assert named.split(", ") == rows.sample_names(batches[2].rows)
    assert good == "last good checkpoint: there is no checkpoint yet"


@pytest.mark.usefixtures("one_rank")
def test_a_gradient_that_is_no_number_ends_the_stage_before_it_reaches_a_weight(
    tmp_path: Path,
    base_dir: Path,
    packs_dir: Path,
    tracking: Tracking,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def extend(*arguments: Any, **options: Any) -> MctpForCausalLM:
        model = extend_model(*arguments, **options)
        model.lm_head.weight.register_hook(lambda gradient: gradient * float("nan"))
        made.append(model)
        return model

    monkeypatch.setattr(stage, "extend_model", extend)
    with pytest.raises(DivergedError, match="sft: gradient is not finite at step 0") as caught:
        train.run(make_job(tmp_path, base_dir, packs_dir, tracking), Reporter(Lines().log))
    assert "c/" in str(caught.value)
    start = load_file(base_dir / "model.safetensors")
    after = dict(made[0].named_parameters())
    assert all(torch.equal(tensor, after[name]) for name, tensor in start.items())


@pytest.mark.usefixtures("one_rank")
def test_a_loss_that_explodes_stops_the_stage_with_step_samples_and_the_checkpoint_before_it(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No checkpoint is made after a step that may be its first."""

    def rising(*arguments: Any) -> tuple[StepRecord, TaskLosses, bool]:
        record, by_task, must_stop = take_step(*arguments)
        return replace(record, loss=record.loss + 50.0 * (record.step >= 9)), by_task, must_stop

    monkeypatch.setattr(train, "take_step", rising)
    explosion = Explosion(window=8, nats=20.0, deviations=10.0, gradient_factor=1e4, in_a_row=2)
    spec = SPEC.model_copy(update={"checkpoints": 6, "explosion": explosion})
    with pytest.raises(
        DivergedError, match=r"sft: loss has exploded \(.*\) at step 9, in rows with"
    ) as caught:
        train.run(make_job(tmp_path, base_dir, packs_dir, tracking, spec), Reporter(Lines().log))
    rows = PackedRows(packs_dir, spec.seed, spec.batch_rows)
    names = ", ".join(rows.sample_names(rows.rows_of_step(9)))
    good = tmp_path / "checkpoints" / "step-000008"
    assert f"samples {names}; last good checkpoint: {good}" in str(caught.value)
    assert sorted(path.name for path in good.parent.iterdir()) == ["step-000006", "step-000008"]


@pytest.mark.usefixtures("one_rank")
def test_slow_steps_are_reported_one_by_one(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor takes silence for a hang."""
    monkeypatch.setattr(train, "LOG_EVERY_S", 0.0)
    monkeypatch.setattr(train, "LOG_LINES", 1)
    lines = Lines()
    train.run(make_job(tmp_path, base_dir, packs_dir, tracking), Reporter(lines.log))
    assert len([line for line in lines.lines if line.startswith("sft ") and "tok/s" in line]) == SPEC.steps
