"""Objects are read and written whole, whatever the connection does."""

from __future__ import annotations

import pytest

from validation.lake_files import LakeFiles

pytestmark = [pytest.mark.s3, pytest.mark.slow]


def test_files_come_back(s3):
    lake = LakeFiles(f"{s3.url}/lake")
    lake.check()
    assert lake.read_json("a.json") is None and not lake.exists("a.json")
    lake.write_json("x/a.json", [1, 2])
    assert lake.read_json("x/a.json") == [1, 2]
    assert s3.keys() == ["lake/x/a.json"]
    assert lake.list_files("x") == ["x/a.json"] and lake.sizes("x") == {"x/a.json": 10}
