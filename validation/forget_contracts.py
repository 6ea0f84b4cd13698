"""Contract of the table ``forgotten``."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import polars as pl

from validation.contract import DIGEST, Contract
from validation.pandera_polars import pa

SelectorKind = Literal["speaker", "file", "licence", "utterance"]
SELECTOR_KINDS: tuple[SelectorKind, ...] = get_args(SelectorKind)
_Time = Annotated[pl.Datetime, "us", "UTC"]


class Forgotten(Contract):
    """What is never to be read again, one partition per request: digests, and no name of anybody."""

    request: str = pa.Field(str_matches=r"^[0-9a-f]{16}$")
    kind: str = pa.Field(
        isin=[*SELECTOR_KINDS, "content"], description="content: of a recording that was forgotten"
    )
    corpus: str = pa.Field(nullable=True, description="null: in every corpus")
    digest: str = pa.Field(str_matches=DIGEST, description="of the kind and of what is forgotten")
    rows: pl.Int64 = pa.Field(ge=0, description="of raw_utterances that it stood for when it was asked")
    licence: str = pa.Field(nullable=True, description="a licence is nobody's name: it stands here as it is")
    at: _Time
    by: str = pa.Field(str_length={"min_value": 1})
    why: str
