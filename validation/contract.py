"""What all tables' contracts have in common."""

from __future__ import annotations

from validation.pandera_polars import pa

DIGEST = r"^[0-9a-f]{64}$"  # SHA-256


class Contract(pa.DataFrameModel):
    """A table with just these columns, in their order."""

    class Config:
        """See pandera."""

        strict = True
        ordered = True
