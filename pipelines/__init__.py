"""What Dagster loads, and the voxline command."""
