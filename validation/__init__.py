"""Data contracts: the lake, table schemas, signal measures, thresholds and the ledger."""

from validation.allocators import give_back_soon

# Here, since whatever imports polars or DuckDB is imported after the package that it belongs to.
give_back_soon()
