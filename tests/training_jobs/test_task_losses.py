"""The losses by task are those of each label, counted for the sample that it is of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stage_runs import LENGTH

from models import extend_model
from models.packing import IGNORED
from models.windowed_attention import WINDOWED
from training_jobs.history import TaskLosses
from training_jobs.task_losses import TaskSums

MODULES = 2
TASKS = ("asr", "text", "tts")
# Two rows of samples: their lengths and tasks; what is left of a row is padding.
ROWS = (((20, 0), (30, 2)), ((9, 2), (25, 0), (14, 2), (16, 0)))


def batch(seed: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    ids, labels, positions = (np.zeros((len(ROWS), LENGTH), dtype=np.int64) for _ in range(3))
    labels[:] = IGNORED
    tasks = np.full((len(ROWS), LENGTH), -1, dtype=np.int16)
    for row, samples in enumerate(ROWS):
        start = 0
        for size, task in samples:
            part = slice(start, start + size)
            ids[row, part] = rng.integers(0, 200, size)
            labels[row, part] = np.where(rng.random(size) < 0.6, ids[row, part], IGNORED)
            positions[row, part] = np.arange(size)
            tasks[row, part] = task
            start += size
    arrays = {"input_ids": ids, "labels": labels, "position_ids": positions, "tasks": tasks}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def model(base_dir: Path) -> torch.nn.Module:
    model = extend_model(base_dir, MODULES, seed=1, dtype=torch.float32)
    model.set_attn_implementation(WINDOWED)
    return model


def summed(model: torch.nn.Module, seeds: tuple[int, ...]) -> TaskSums:
    sums = TaskSums(TASKS)
    for seed in seeds:
        tensors = batch(seed)
        tasks = tensors.pop("tasks")
        output = model(**tensors)
        sums.add(output.label_losses, output.labelled_BT, tasks)
    return sums


def by_a_plain_loop(model: torch.nn.Module, seeds: tuple[int, ...]) -> dict[str, list[tuple[int, float]]]:
    """Labels and nats of each task and level, label by label."""
    found = {task: [(0, 0.0)] * (1 + MODULES) for task in TASKS}
    for seed in seeds:
        tensors = batch(seed)
        tasks = tensors.pop("tasks")
        labels, positions = tensors["labels"], tensors["position_ids"]
        output = model(**tensors)
        for level, losses in enumerate(output.label_losses):
            left = iter(losses.tolist())
            for row in range(len(ROWS)):
                for place in range(LENGTH - level - 1):
                    target = place + level + 1
                    is_same = bool(positions[row, target] == positions[row, place] + level + 1)
                    if tasks[row, place] < 0 or not is_same or labels[row, target] == IGNORED:
                        continue
                    name = TASKS[int(tasks[row, place])]
                    count, nats = found[name][level]
                    found[name][level] = (count + 1, nats + next(left))
            assert next(left, None) is None
    return found


@torch.no_grad()
def test_tasks_of_samples_in_one_row_are_told_apart_label_by_label(model: torch.nn.Module) -> None:
    found = summed(model, (0, 1)).over_ranks(summed(model, (0, 1)).to_list(), 1, step=7)
    assert (found.first_step, found.last_step) == (7, 7)
    assert set(found.labels) == {"asr", "tts"}  # no sample is of text
    for task, levels in by_a_plain_loop(model, (0, 1)).items():
        if task in found.labels:
            assert found.labels[task] == [count for count, _ in levels]
            assert found.nats[task] == pytest.approx([nats for _, nats in levels], rel=1e-9)
        else:
            assert levels == [(0, 0.0)] * (1 + MODULES)


@torch.no_grad()
def test_all_tasks_together_are_the_losses_of_the_model(model: torch.nn.Module) -> None:
    tensors = batch(3)
    del tensors["tasks"]
    output = model(**tensors)
    found = summed(model, (3,)).over_ranks(summed(model, (3,)).to_list(), 1, step=0)
    for level, mean in enumerate([output.backbone_loss, *output.module_losses]):
        nats = sum(values[level] for values in found.nats.values())
        labels = sum(values[level] for values in found.labels.values())
        assert nats / labels == pytest.approx(float(mean), rel=1e-6)


@torch.no_grad()
def test_the_means_over_ranks_give_the_sums_of_one_rank_with_all_batches(model: torch.nn.Module) -> None:
    shares = [summed(model, (seed,)) for seed in (0, 1, 2)]
    means = np.mean([share.to_list() for share in shares], axis=0).tolist()
    together = summed(model, (0, 1, 2))
    alone = together.over_ranks(together.to_list(), 1, step=0)
    found = shares[0].over_ranks(means, 3, step=0)
    assert found.labels == alone.labels
    for task in alone.nats:
        assert found.nats[task] == pytest.approx(alone.nats[task], rel=1e-12)


@torch.no_grad()
def test_a_frozen_backbone_has_no_level(model: torch.nn.Module) -> None:
    model.lm_head.requires_grad_(False)
    try:
        sums = summed(model, (0,))
    finally:
        model.lm_head.requires_grad_(True)
    found = sums.over_ranks(sums.to_list(), 1, step=0)
    assert [len(labels) for labels in found.labels.values()] == [MODULES, MODULES]


def test_padding_with_a_label_is_our_own_mistake() -> None:
    sums = TaskSums(TASKS)
    labelled = torch.tensor([[True, True]])
    with pytest.raises(AssertionError, match="padding has a label"):
        sums.add([torch.ones(2)], [labelled], torch.tensor([[0, -1]], dtype=torch.int16))
    assert sums.over_ranks([], 1, 0) == TaskLosses(0, 0, {}, {})
