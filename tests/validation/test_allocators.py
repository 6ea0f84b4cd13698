"""What is free goes back to the system, in whatever order the libraries are loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_ASK = "import validation.batches, pyarrow; print(pyarrow.default_memory_pool().backend_name)"


@pytest.mark.parametrize(
    ("said", "backend"), [({}, "system"), ({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "mimalloc")]
)
def test_arrow_takes_the_allocator_that_gives_back_unless_told_otherwise(said, backend):
    known = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run(
        [sys.executable, "-c", _ASK], env=known | said, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == backend
