"""Dagster assets: thin, one module per step of the graph."""

import warnings

from validation.allocators import give_back_soon

# Here, since whatever imports polars or DuckDB is imported after the package that it belongs to.
give_back_soon()

# Single-run backfills are marked as beta by Dagster; every asset uses them, and one decision needs no 20 warnings.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")
# So are Pipes readers' writer counts, which Dagster itself uses.
warnings.filterwarnings("ignore", message="Function `PipesMessageReader")
