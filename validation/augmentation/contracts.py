"""Contract of the table ``augmentations``."""

from __future__ import annotations

import polars as pl

from validation.contract import DIGEST, Contract
from validation.pandera_polars import pa


class Augmentations(Contract):
    """What each variant of a training row was drawn: one row per audio of it that is changed.

    The audio itself is nowhere stored; ``voxline augment render`` makes it again.
    """

    corpus: str
    row_id: str = pa.Field(description="of the variant: <original>~<copy>")
    original: str = pa.Field(description="row_id in training_rows")
    copy_number: pl.Int32 = pa.Field(ge=1)
    marker: pl.Int32 = pa.Field(ge=0, description="which <|audio|> of the row")
    utterance_id: str
    audio_digest: str = pa.Field(str_matches=DIGEST, description="of the original's audio")
    augmentation_digest: str = pa.Field(str_matches=DIGEST)
    augmentation: str = pa.Field(description="JSON: each transform with its drawn values")
    seed: pl.Int64 = pa.Field(ge=0)
    original_s: float = pa.Field(gt=0, description="duration of the original's audio")
    duration_s: float = pa.Field(gt=0, description="of the variant's")
