"""Every real layout goes through the first step whole: each row read is a row of the table, with its audio found."""

from __future__ import annotations

import pytest

from assets.corpora.ingest import ingest

SIDECAR = {"pattern": "(?P<language>[a-z]{2})/.*"}
PROMPTS = {
    "file": "core-sounds-en.txt",
    "columns": ["name", "text"],
    "audio": "name",
    "text": "text",
    "delimiter": ":",
    "comment": ";",
    "audio_path": "en_US_f_Allison/{audio}.wav",
}


@pytest.mark.parametrize(
    ("reader", "folder", "rows", "options"),
    [
        ("mls", "mls", 1, {}),
        ("common_voice", "common_voice/cv-corpus/en", 2, {}),
        ("aishell3", "aishell3", 20, {}),
        ("sidecar", "fleurs_sidecar", 30, SIDECAR),
        ("sidecar", "mfa_sidecar", 1, {"suffix": ".lab"}),
        ("sphinx", "sphinx", 5, {}),
        ("kaldi", "wenet_datalist", 2, {"directory": "test/resources/dataset"}),
        ("wenet_list", "wenet_datalist", 2, {"file": "test/resources/dataset/data.list"}),
        ("table", "asterisk_prompts", 85, PROMPTS),
    ],
)
def test_a_real_layout_is_ingested_whole(lake, make, reader, folder, rows, options):
    summary = ingest(make.entry(reader, make.shared(folder), options=options), lake).summary
    assert (summary["read"], summary["rows"], summary["ended_here"]) == (rows, rows, 0)
