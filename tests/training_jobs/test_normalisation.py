"""The published normalisers, as they are published, and where ours step in."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from training_jobs.normalisation import normalise_pair, normaliser_of, plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop — TWENTY-one, please!", "dont stop twenty one please"),
        ("打开 灯。", "打 开 灯"),
        ("call 李雷 now", "call 李 雷 now"),
        ("\ufb01ve\u3000ｆｏｕｒ", "five four"),
        ("…", ""),
        ("", ""),
    ],
)
def test_what_is_compared_plainly_loses_no_word(text: str, words: str) -> None:
    assert plain(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "Don't stop — TWENTY-one, please!",
        "Mr. O'Neil hasn't got $20 million; he'd like one oh one.",
        "The colours of three hundred and sixty-five days, 1960s",
        "hmm, um, well",
    ],
)
def test_english_is_what_the_implementation_in_transformers_gives(text: str) -> None:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    spellings = json.loads((files("whisper_normalizer") / "normalizers" / "english.json").read_text())
    expected = " ".join(EnglishTextNormalizer(spellings)(text).split())
    assert normalise_pair("a light", text, "en-GB")[1] == expected


@pytest.mark.parametrize(
    ("language", "reference", "expected"),
    [
        ("fr", "L'été, c'est l'heure !", "l été c est l heure"),
        ("hi", "नमस्ते दुनिया", "नमस्ते दुनिया"),  # the vowel signs stay with their words
        ("zh", "打开 灯，OK", "打 开 灯 o k"),
        ("th", "สวัสดี", "ส วั ส ดี"),
    ],
)
def test_other_languages_go_through_the_basic_one(language: str, reference: str, expected: str) -> None:
    assert normalise_pair(reference, reference, language) == (expected, expected)


def test_what_is_used_is_said_with_its_version_and_unit() -> None:
    assert normaliser_of("en").name.startswith("Whisper's English (whisper-normalizer ")
    assert normaliser_of("en_US") == normaliser_of("en")
    assert [normaliser_of(language).unit for language in ("en", "de", "zh-TW", "ja")] == [
        "word",
        "word",
        "character",
        "character",
    ]


def test_a_reference_that_the_normaliser_drops_is_compared_plainly_with_its_reply() -> None:
    assert normalise_pair("Um.", "um", "en") == ("um", "um")
    assert normalise_pair("(laughs)", "it is seven", "en") == ("laughs", "it is seven")


def test_brackets_of_a_reference_are_dropped_on_both_sides() -> None:
    assert normalise_pair("turn [noise] on", "turn <laughs> on", "en") == ("turn on", "turn on")
