"""Labels stay within their sample, or cross its boundary exactly as upstream's do."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.packing import IGNORED, segments_of, shifted_labels

ROWS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def positions(lengths: list[int]) -> torch.Tensor:
    return torch.cat([torch.arange(length) for length in lengths])[None]


def make_labels(tokens: int) -> torch.Tensor:
    """All different, and some of them left out."""
    labels_BT = torch.arange(100, 100 + tokens)[None]
    labels_BT[:, ::4] = IGNORED
    return labels_BT


def upstreams_targets(labels: list[int], position_ids: list[int], modules: int) -> list[list[int]]:
    """What each of the row's hidden states is to predict, in the backbone and in each module.

    Written down from upstream's forward pass: before each module it keeps the tokens whose position is beyond the
    module's number, and the hidden states before those; then it shifts what is left by one, whoever it belongs to.
    """
    tokens = len(labels)
    hidden, found = list(range(tokens)), []
    for module in range(-1, modules):
        if module >= 0:
            keeps = [position > module for position in position_ids]
            labels = [label for label, keep in zip(labels, keeps, strict=True) if keep]
            position_ids = [position for position, keep in zip(position_ids, keeps, strict=True) if keep]
            hidden = [place for place, keep in zip(hidden, keeps[1:] + keeps[:1], strict=True) if keep]
        targets = [IGNORED] * tokens
        for place, label in zip(hidden, labels[1:], strict=False):
            targets[place] = label
        found.append(targets)
    return found


@given(ROWS)
def test_references_boundaries_are_upstreams(lengths: list[int]) -> None:
    position_ids_BT = positions(lengths)
    labels_BT = make_labels(sum(lengths))
    segments_BT = segments_of(position_ids_BT)
    expected = upstreams_targets(labels_BT[0].tolist(), position_ids_BT[0].tolist(), modules=5)
    for level, targets in enumerate(expected):
        ours = shifted_labels(labels_BT, segments_BT, level + 1, reference_boundaries=True)
        assert ours[0].tolist() == targets


@given(ROWS, st.integers(1, 12))
def test_labels_stay_within_their_sample(lengths: list[int], shift: int) -> None:
    labels_BT = make_labels(sum(lengths))
    targets = shifted_labels(labels_BT, segments_of(positions(lengths)), shift)[0].tolist()
    expected: list[int] = []
    for sample in torch.split(labels_BT[0], lengths):
        expected += [*sample[shift:].tolist(), *[IGNORED] * min(shift, len(sample))]
    assert targets == expected


def test_rows_of_a_batch_have_boundaries_of_their_own() -> None:
    position_ids_BT = torch.cat((positions([4, 6]), positions([7, 3])))
    labels_BT = torch.cat((make_labels(10), make_labels(10) + 50))
    together = shifted_labels(labels_BT, segments_of(position_ids_BT), 2, reference_boundaries=True)
    for row in range(2):
        alone = shifted_labels(
            labels_BT[row : row + 1],
            segments_of(position_ids_BT[row : row + 1]),
            2,
            reference_boundaries=True,
        )
        assert together[row].equal(alone[0])
