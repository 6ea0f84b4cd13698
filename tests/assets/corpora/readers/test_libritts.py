"""LibriTTS: the text beside each file, in either form; nothing without its partner is dropped."""

from __future__ import annotations

import pytest

CHAPTER = "dev-clean/1919/142785/1919_142785_000033"


@pytest.fixture
def corpus(lay):
    return lay(
        {
            f"{CHAPTER}_000001.wav": b"",
            f"{CHAPTER}_000001.normalized.txt": "Ten pounds,\n",
            f"{CHAPTER}_000001.original.txt": "10l.,\n",
            f"{CHAPTER}_000002.wav": b"",
            f"{CHAPTER}_000002.original.txt": "of beef",
            f"{CHAPTER}_000003.normalized.txt": "gone",
            f"{CHAPTER}_000004.wav": b"",
            f"{CHAPTER}_000004.normalized.txt": b"\xff\xfe",
            "dev-clean/1919/142785/other.wav": b"",
            "dev-clean/1919/142785/other.normalized.txt": "x",
            "dev-clean/1919/142785/1919_142785.trans.tsv": "not read",
        }
    )


def test_the_spoken_text_is_the_default_and_the_printed_one_an_option(corpus, read):
    found = read("libritts", corpus)
    row = found.said["1919_142785_000033_000001"]
    assert (row.text, row.speaker) == ("Ten pounds,", "1919")
    assert dict(row.fields) == {"subset": "dev-clean", "chapter": "142785"}
    assert list(found.said) == ["1919_142785_000033_000001"]
    printed = read("libritts", corpus, text="original")
    assert list(printed.texts.values()) == ["10l.,", "of beef"]


def test_each_file_without_its_partner_has_a_reason(corpus, read):
    assert read("libritts", corpus).reasons == {
        f"{CHAPTER}_000002.wav": "no_transcript",
        f"{CHAPTER}_000003.normalized.txt": "missing_audio",
        f"{CHAPTER}_000004.wav": "not_utf8",
        "dev-clean/1919/142785/other.wav": "unmatched_name",
    }


def test_a_huge_text_file_is_not_read(lay, read):
    root = lay({"a/1_1_1_1.wav": b"", "a/1_1_1_1.normalized.txt": b"x" * (1 << 20) + b"y"})
    problem = read("libritts", root).problems["a/1_1_1_1.wav"]
    assert (problem.reason, problem.value, problem.limit) == ("malformed_row", 1048577.0, 1048576.0)


def test_a_text_file_that_is_a_link_out_of_the_root_is_not_read(lay, read, tmp_path):
    root = lay({"a/1_1_1_1.wav": b""})
    (tmp_path / "secret").write_text("secret")
    (root / "a" / "1_1_1_1.normalized.txt").symlink_to(tmp_path / "secret")
    assert read("libritts", root).reasons == {"a/1_1_1_1.wav": "outside_root"}
