"""What the labels of one step cost by task: summed up beside the losses that are trained on, which it leaves alone.

Shapes: L levels (backbone and modules), K tasks, B rows, T tokens of a row, N labels of a level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training_jobs.history import TaskLosses


class TaskSums:
    """Cross entropies of one rank's micro batches by task; :meth:`over_ranks` makes those of all ranks of them.

    A label counts for the task of the sample that predicts it. That is the label's own, but for labels that cross
    boundaries as upstream's do.

    Args:
        tasks: Those that a pack has; a batch names them by their places.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self._tasks = tuple(tasks)
        self._labels_LK: NDArray[np.float64] = np.zeros((0, len(self._tasks)))
        self._nats_LK: NDArray[np.float64] = np.zeros((0, len(self._tasks)))

    def add(
        self, label_losses: Sequence[Tensor], labelled_BT: Sequence[Tensor], task_of_token_BT: Tensor
    ) -> None:
        """Add one micro batch.

        Args:
            label_losses: for each level the cross entropies of its labels, in the order of rows and tokens.
            labelled_BT: for each level, True at the positions that predict them.
            task_of_token_BT: the place of each token's task, on the CPU.
        """
        # On the CPU: a few numbers per token, in sums whose order is always the same.
        labelled_LN = torch.stack(tuple(labelled_BT)).flatten(1).cpu().numpy()
        nats = torch.cat(tuple(label_losses)).double().cpu().numpy()
        level, position = np.nonzero(labelled_LN)
        tasks, levels = len(self._tasks), len(labelled_LN)
        task = task_of_token_BT.flatten().numpy()[position]
        assert not (task < 0).any(), "padding has a label"
        place = level * tasks + task
        if not len(self._labels_LK):
            self._labels_LK, self._nats_LK = np.zeros((levels, tasks)), np.zeros((levels, tasks))
        self._labels_LK += np.bincount(place, minlength=levels * tasks).reshape(levels, tasks)
        self._nats_LK += np.bincount(place, weights=nats, minlength=levels * tasks).reshape(levels, tasks)

    def to_list(self) -> list[float]:
        """Numbers of labels, then sums: to be averaged over the ranks."""
        return [*self._labels_LK.ravel().tolist(), *self._nats_LK.ravel().tolist()]

    def over_ranks(self, means: Sequence[float], world_size: int, step: int) -> TaskLosses:
        """The sums over all ranks that follow from :meth:`to_list`'s means over them."""
        labels_LK, nats_LK = (np.array(means) * world_size).reshape(2, *self._labels_LK.shape)
        seen = [index for index in range(len(self._tasks)) if labels_LK[:, index].any()]
        return TaskLosses(
            step,
            step,
            {self._tasks[index]: [round(count) for count in labels_LK[:, index].tolist()] for index in seen},
            {self._tasks[index]: nats_LK[:, index].tolist() for index in seen},
        )
