"""What Dagster loads, and the voxline command."""

from validation.allocators import give_back_soon

# Here, since whatever imports polars or DuckDB is imported after the package that it belongs to.
give_back_soon()
