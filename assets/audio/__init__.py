"""Decode, resample, measure and write audio; no Dagster here."""
