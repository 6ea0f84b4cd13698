"""Sidecar text: any suffix, and what the folders say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError


def test_real_fleurs_has_its_language_in_the_folder(make, read):
    found = read("sidecar", make.shared("fleurs_sidecar"), pattern="(?P<language>[a-z]{2})/.*")
    assert len(found.said) == 30
    assert {row.language for row in found.said.values()} == {"de", "en", "es", "fr", "pt"}
    assert found.texts["fr/fleurs-fr-000"].startswith("l'accident a eu lieu en terrain montagneux")
    assert not found.problems


def test_real_lab_files_are_an_option_away(make, read):
    found = read("sidecar", make.shared("mfa_sidecar"), suffix=".lab", pattern="(?P<speaker>[^/]+)/.*")
    (row,) = found.said.values()
    assert (row.utterance_id, row.speaker) == ("michael/acoustic_corpus", "michael")
    assert row.text.startswith("this is the acoustic corpus i'm talking")


def test_lines_are_joined_and_files_without_a_partner_reported(lay, read):
    root = lay(
        {
            "ann/a.wav": b"",
            "ann/a.txt": "\ufeffone\r\n\n  two \n",
            "ann/b.flac": b"",
            "ann/c.txt": "c",
            "d.wav": b"",
            "d.txt": "d",
            "ann/e.mp3": b"",
            "ann/e.txt": b"\xe9",
        }
    )
    found = read("sidecar", root, pattern="(?P<speaker>[a-z]+)/.*")
    assert found.texts == {"ann/a": "one two"}
    assert found.reasons == {
        "ann/b.flac": "no_transcript",
        "ann/c.txt": "missing_audio",
        "ann/e.mp3": "not_utf8",
        "d.wav": "unmatched_name",
    }


@pytest.mark.parametrize(
    "options", [{"suffix": "txt"}, {"suffix": ".wav"}, {"pattern": "("}, {"colour": "red"}]
)
def test_options_that_cannot_be_meant_are_refused(make, tmp_path, options):
    with pytest.raises(ValidationError):
        make.entry("sidecar", tmp_path, options=options)
