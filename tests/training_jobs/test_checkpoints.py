"""Which checkpoints of a running stage are used."""

from __future__ import annotations

import json
from pathlib import Path

from training_jobs.checkpoints import fault_of


def test_a_checkpoint_of_other_hyper_parameters_or_with_a_changed_byte_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    files = {"weights.pt": {"bytes": 3, "sha256": digest}}
    state = {"steps_done": 1, "fingerprint": "one", "files": files, "history": []}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert fault_of(tmp_path, "one") is None
    assert "other hyper-parameters" in str(fault_of(tmp_path, "two"))
    (tmp_path / "weights.pt").write_bytes(b"abd")
    assert "has changed" in str(fault_of(tmp_path, "one"))
    (tmp_path / "state.json").write_text('{"steps')
    assert "cannot be read" in str(fault_of(tmp_path, "one"))
