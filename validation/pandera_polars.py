"""pandera, for polars alone: where pandas is installed, it would import that too, which is half a second at each start.

What is wanted of pandera is imported from here, never from pandera itself.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder

# Before pandas is hidden: it asks as it is imported, and once, whether that is installed.
import polars  # noqa: F401 - see above


class _NotInstalled(MetaPathFinder):
    """Says of one package that it is not there, to the thread that made this."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        if fullname == self._package and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Let imports in the block do without a package that is not imported yet."""
    finder = _NotInstalled(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


with _without("pandas"):
    import pandera.polars as pa
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaErrors

__all__ = ["SchemaErrors", "ValidationDepth", "config_context", "pa"]
