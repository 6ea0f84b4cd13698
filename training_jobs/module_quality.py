"""How good each MCTP module is on held-out rows: its choice beside the backbone's and beside the label, and its loss.

All levels read the rows as they are written (teacher forcing). The backbone predicts the label one token later, module
k the one k+2 tokens later, which it is asked about k+1 tokens before the backbone is.

Shapes: B rows, T tokens of a row, N labels of a level, C of these in a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from models.losses import chunk_rows
from models.packing import IGNORED, segments_of, shifted_labels
from models.teacher_forcing import level_states

if TYPE_CHECKING:
    from models import MctpForCausalLM

Kind = Literal["text", "audio"]
KINDS: tuple[Kind, ...] = ("text", "audio")
Row = tuple[Sequence[int], Sequence[int]]
WINDOW_TOKENS = 2048  # read at once; a longer row is read alone


@dataclass(frozen=True)
class LevelQuality:
    """One level on the labels of one kind.

    Attributes:
        level: ``backbone``, or ``module_0`` and so on.
        kind: of the labels. Text is everything that is no audio token: the markers around audio, too.
        labels: how many; the figures are shares of them, and ``None`` where there are none.
        agreement: where the level's likeliest token is the backbone's likeliest at that place; the backbone's own is
            left out.
        accuracy: where it is the label.
        loss: mean cross entropy of the labels in nats.
    """

    level: str
    kind: Kind
    labels: int
    agreement: float | None
    accuracy: float | None
    loss: float | None


@dataclass(frozen=True)
class ModuleQuality:
    """All levels on all kinds."""

    levels: list[LevelQuality]

    def to_records(self) -> list[dict[str, Any]]:
        """Plain values, a record per level and kind."""
        return [asdict(one) for one in self.levels]

    def metrics(self) -> dict[str, float]:
        """Those that there are, as ``modules/module_3_audio_agreement``."""
        return {
            f"modules/{one.level}_{one.kind}_{name}": value
            for one in self.levels
            for name in ("agreement", "accuracy", "loss")
            if (value := getattr(one, name)) is not None
        }

    def to_markdown(self) -> str:
        """A line per level."""
        names = ("labels", "agreement", "accuracy", "loss")
        head = ["level", *(f"{name}, {kind}" for kind in KINDS for name in names)]
        lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
        by_level: dict[str, list[str]] = {}
        for one in self.levels:
            shares = [one.agreement, one.accuracy]
            cells = [f"{one.labels:,}", *("–" if share is None else f"{share:.1%}" for share in shares)]
            cells.append("–" if one.loss is None else f"{one.loss:.3f}")
            by_level.setdefault(one.level.replace("_", " "), []).extend(cells)
        lines += ["| " + " | ".join([level, *cells]) + " |" for level, cells in by_level.items()]
        return "\n".join(lines)


@torch.inference_mode()
def measure(
    model: MctpForCausalLM, rows: Iterable[Row], audio_ids: range, window_tokens: int = WINDOW_TOKENS
) -> ModuleQuality:
    """Read the rows, several at once, and compare.

    Args:
        model: on its device, in its type.
        rows: token ids and labels of each, as :func:`training_jobs.rows.encode_row` makes them.
        audio_ids: the vocabulary's audio tokens.
        window_tokens: of the rows that are read at once; memory grows with it and with the longest row.
    """
    levels = 1 + model.config.num_nextn_predict_layers
    # For each level and kind: labels, agreed, right, nats.
    sums = torch.zeros(levels, len(KINDS), 4, dtype=torch.float64)
    for window in _windows(rows, window_tokens):
        sums += _window_sums(model, window, audio_ids)
    return ModuleQuality(
        [
            _quality(level, kind, sums[level, place].tolist())
            for level in range(levels)
            for place, kind in enumerate(KINDS)
        ]
    )


def _quality(level: int, kind: Kind, sums: Sequence[float]) -> LevelQuality:
    labels, *totals = sums
    agreement, accuracy, loss = ((total / labels) if labels else None for total in totals)
    return LevelQuality(
        level=f"module_{level - 1}" if level else "backbone",
        kind=kind,
        labels=round(labels),
        agreement=agreement if level else None,
        accuracy=accuracy,
        loss=loss,
    )


def _windows(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    window: list[Row] = []
    tokens = 0
    for row in rows:
        if window and tokens + len(row[0]) > most:
            yield window
            window, tokens = [], 0
        window.append(row)
        tokens += len(row[0])
    if window:
        yield window


def _window_sums(model: MctpForCausalLM, window: Sequence[Row], audio_ids: range) -> Tensor:
    """(levels, kinds, 4) on the CPU."""
    ids, labels = ([one for row in window for one in row[part]] for part in (0, 1))
    places = [place for row in window for place in range(len(row[0]))]
    ids_1T, labels_1T, positions_1T = (
        torch.tensor([values], device=model.device) for values in (ids, labels, places)
    )
    segments_1T = segments_of(positions_1T)
    found = []
    own_T = torch.full_like(
        ids_1T[0], IGNORED
    )  # by the place of the token: what the backbone would say there
    for level, states_1TD in enumerate(level_states(model, ids_1T, positions_1T)):
        targets_T = shifted_labels(labels_1T, segments_1T, level + 1)[0]
        at_N = (targets_T != IGNORED).nonzero().flatten()
        choices_N, nats_N = _choices(model, states_1TD[0, at_N], targets_T[at_N])
        if level == 0:
            own_T[at_N + 1] = choices_N
        targets_N = targets_T[at_N]
        is_audio_N = (targets_N >= audio_ids.start) & (targets_N < audio_ids.stop)
        figures = torch.stack(
            (
                torch.ones_like(nats_N),
                (choices_N == own_T[at_N + level + 1]).double(),
                (choices_N == targets_N).double(),
                nats_N,
            ),
            dim=-1,
        )
        found.append(torch.stack([figures[~is_audio_N].sum(dim=0), figures[is_audio_N].sum(dim=0)]))
    return torch.stack(found).cpu()


def _choices(model: MctpForCausalLM, states_ND: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest word of each state, and the cross entropy of its target in nats, in float64."""
    weight_VD = model.lm_head.weight
    chunk = chunk_rows(weight_VD.shape[1], weight_VD.shape[0], weight_VD.device.type)
    choices, nats = [targets_N[:0]], [states_ND.new_zeros(0, dtype=torch.float64)]
    for states_CD, targets_C in zip(
        torch.split(states_ND, chunk), torch.split(targets_N, chunk), strict=True
    ):
        # As decoding chooses: in the type that the head computes in. Only the loss needs more.
        scores_CV = states_CD @ weight_VD.T
        choices.append(scores_CV.argmax(dim=-1))
        wide_CV = scores_CV.float()
        at_target_C = wide_CV.gather(1, targets_C[:, None]).squeeze(1)
        nats.append((wide_CV.logsumexp(dim=-1) - at_target_C).double())
    return torch.cat(choices), torch.cat(nats)
