"""Settings of rates, loudness, channels and pieces: what is none is refused with what is allowed."""

from __future__ import annotations

import json

import pytest

from assets.corpora import load_corpora


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"segmentation": {"min": 3}},
            r"segmentation: unknown key 'min'; allowed are min_s, max_s, margin_s",
        ),
        ({"segmentation": {"min_s": 12}}, r"max_s 30 must be at least three times min_s 12"),
        ({"audio": {"view": True}}, r"audio: unknown key 'view'; allowed are view_16k, loudness, channels"),
        (
            {"audio": {"channels": "left"}},
            r"audio.channels: Input should be 'mix', 'first', 'best' or 'split'",
        ),
        (
            {"audio": {"loudness": {"method": "peak"}}},
            r"audio.loudness.method: Input should be 'r128' or 'rms'",
        ),
        ({"reader": "ljspeech", "options": {}}, r"segmentation: a text belongs to its whole recording"),
    ],
)
def test_settings_that_are_none_are_refused_with_what_is_allowed(tmp_path, more, said):
    (tmp_path / "file.yaml").write_text(
        json.dumps(
            {
                "corpora": [
                    {
                        "name": "made",
                        "reader": "untranscribed",
                        "root": str(tmp_path),
                        "licence": "CC0-1.0",
                        "language": "en",
                        "options": {"purpose": "tokenizer"},
                        "segmentation": {},
                        **more,
                    }
                ]
            }
        )
    )
    with pytest.raises(ValueError, match=said):
        load_corpora(tmp_path / "file.yaml", check_roots=False)
