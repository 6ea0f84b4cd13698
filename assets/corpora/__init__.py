"""Readers of corpus layouts; no Dagster here."""
