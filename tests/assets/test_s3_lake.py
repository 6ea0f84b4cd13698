"""A lake in an object store that goes away: the step fails, and the next run is as if it had not been disturbed."""

from __future__ import annotations

import pytest

from validation.lake import Lake
from validation.remote import StoreError

pytestmark = [pytest.mark.s3, pytest.mark.slow]


def test_a_lake_that_goes_away_fails_the_step_and_the_next_run_is_as_if_undisturbed(
    s3, proxy, make, tmp_path, monkeypatch
):
    monkeypatch.setenv("VOXLINE_S3_ATTEMPTS", "1")
    entry = make.ljspeech(tmp_path / "lj", [(f"n{n}", f"some text of number {n}") for n in range(6)])
    undisturbed, lake = Lake(f"{s3.url}/a"), Lake(f"{s3.url}/b")
    make.run_all(entry, undisturbed)
    for at in ("tables/raw_utterances", "audio_22k/", "tables/audio_quality", "manifests/accepted"):
        proxy.fail("status", "PutObject", key=f"b/{at}", status=503, times=1000)
        with pytest.raises(StoreError, match=rf"{s3.url}/b/{at}.*gave no whole answer"):
            make.run_all(entry, lake)
        proxy.faults.clear()
    make.run_all(entry, lake)
    for name in ("raw_utterances", "audio_22k", "audio_quality", "accepted_utterances", "ledger"):
        keys = s3.keys(f"a/tables/{name}/")
        assert keys and all(s3.get(key) == s3.get(f"b{key[1:]}") for key in keys), name
    assert [key[1:] for key in s3.keys("a/")] == [key[1:] for key in s3.keys("b/")]
