"""The contracts load without pandas, and whoever wants it afterwards has it."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
from validation.lake import Lake
from validation.schemas import empty_frame, validate_table
validate_table("ledger", "words", empty_frame("ledger"))
assert "pandas" not in sys.modules
assert len(empty_frame("ledger").to_pandas().columns) == len(empty_frame("ledger").columns)
assert "pandas" in sys.modules
"""


def test_contracts_are_checked_without_pandas_which_can_be_imported_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
