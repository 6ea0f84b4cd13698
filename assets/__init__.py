"""Dagster assets: thin, one module per step of the graph."""
