"""The corpora file: what is allowed is typed, and what is not is refused with entry, value and what is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.corpora import CorporaFileError, listing_digest, load_corpora
from assets.corpora.labelled_names import LabelledNamesOptions


def corpus(**more: Any) -> dict[str, Any]:
    values = {"name": "one", "reader": "librispeech", "root": "data", "licence": "CC0-1.0", "language": "en"}
    return {**values, **more}


def write(folder: Path, *corpora: Any) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    path = folder / "corpora.yaml"
    path.write_text(yaml.safe_dump({"corpora": list(corpora)}), encoding="utf-8")
    return path


def test_roots_are_relative_to_the_file_and_variables_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "data")
    path = write(
        tmp_path, corpus(), corpus(name="two", root="${WHERE}"), corpus(name="three", root=str(tmp_path))
    )
    roots = [entry.root for entry in load_corpora(path).corpora]
    assert roots == [str(tmp_path / "data"), str(tmp_path / "data"), str(tmp_path)]


def test_options_have_the_types_of_their_reader(tmp_path):
    options = {"pattern": r"(?P<label>\d)_(?P<speaker>[a-z]+)\.wav", "labels": {"0": "zero"}}
    split = [{"by": "field", "field": "speaker", "values": ["ann"]}]
    entry = load_corpora(
        write(tmp_path, corpus(reader="labelled_names", options=options, split=split))
    ).corpora[0]
    assert isinstance(entry.options, LabelledNamesOptions)
    assert entry.options.labels == {"0": "zero"}
    assert entry.tasks == ("asr", "tts")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (corpus(colour="red"), ["'one'", "colour", "'red'", "allowed keys are name, reader"]),
        (
            corpus(reader="vox"),
            ["'one'", "unknown reader 'vox'", "librispeech, ljspeech, labelled_names, jsonl"],
        ),
        (corpus(name="No Good"), ["name", "No Good", "[a-z0-9_]"]),
        (corpus(root="nowhere"), ["'one'", "root", "nowhere", "not a folder"]),
        (corpus(root="${NOT_SET_ANYWHERE}"), ["'one'", "NOT_SET_ANYWHERE", "not set"]),
        (corpus(options={"depth": 3}), ["options", "depth", "librispeech allows no options"]),
        (
            corpus(reader="ljspeech", options={"speaker_pattern": "("}),
            ["speaker_pattern", "not a regular expression"],
        ),
        (corpus(reader="ljspeech", options={"speaker_pattern": "x"}), ["group (?P<speaker>"]),
        (corpus(reader="ljspeech"), ["no file 'metadata.csv'", "ljspeech"]),
        (corpus(reader="labelled_names", options={"pattern": r"\d.wav"}), ["pattern", "group (?P<label>"]),
        (corpus(reader="labelled_names"), ["pattern", "required"]),
        (
            corpus(split=[{"by": "hash", "field": "speaker", "fraction": 1.0}]),
            ["split.0", "less than 1", "1.0"],
        ),
        (corpus(split=[{"by": "hash", "field": "speaker", "fraction": 0}]), ["split.0", "greater than 0"]),
        (
            corpus(split=[{"by": "pattern", "field": "speaker", "pattern": "["}]),
            ["split.0", "regular expression", "["],
        ),
        (
            corpus(split=[{"by": "field", "field": "take", "values": ["1"]}]),
            ["'take'", "librispeech gives", "speaker"],
        ),
        (corpus(split=[{"by": "moon", "field": "speaker"}]), ["split.0", "moon", "'hash'"]),
        (corpus(tasks=["asr", "sing"]), ["tasks", "sing"]),
        (corpus(tasks=["conversation"]), ["tasks", "allowed are asr and tts"]),
        (corpus(reader="jsonl", tasks=["asr"]), ["'one'", "tasks", "reader jsonl", "leave it out"]),
        (corpus(reader="instructions", tasks=["asr"]), ["tasks", "reader instructions", "leave it out"]),
        (
            corpus(reader="untranscribed", options={"purpose": "tokenizer"}, tasks=["tts"]),
            ["tasks", "reader untranscribed", "leave it out"],
        ),
        (corpus(tasks=["audio"]), ["tasks", "allowed are asr and tts"]),
        (corpus(thresholds={"min_snr": 3}), ["thresholds", "min_snr", "min_snr_db"]),
        (corpus(thresholds={"max_chars_per_second": {"zh-CN": 30}}), ["max_chars_per_second", "zh-CN"]),
        (corpus(thresholds={"max_dc_offset": 7}), ["max_dc_offset", "7", "less than or equal to 1"]),
        (corpus(language="English"), ["language", "English"]),
        ({"name": "one"}, ["'one'", "reader", "None"]),
        ("one", ["corpora.0", "'one'", "wanted are the keys"]),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, list) else "",
)
def test_what_is_not_allowed_is_named_with_file_entry_and_what_is(tmp_path, wrong, said):
    path = write(tmp_path, wrong)
    with pytest.raises(CorporaFileError) as caught:
        load_corpora(path)
    for words in [str(path), *said]:
        assert words in str(caught.value)


def test_two_corpora_of_one_name_are_refused(tmp_path):
    with pytest.raises(CorporaFileError, match="corpus 'one': name: two corpora have it"):
        load_corpora(write(tmp_path, corpus(), corpus()))


@pytest.mark.parametrize(
    "text", ["", "corpora:", "corpora: []", "corpora: 3", "- a", "corpora: [", "a: 1", "corpora: {}"]
)
def test_a_file_without_corpora_is_refused(tmp_path, text):
    path = tmp_path / "corpora.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorporaFileError, match="corpora"):
        load_corpora(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CorporaFileError, match=r"none\.yaml"):
        load_corpora(tmp_path / "none.yaml")


def test_the_listing_digest_notices_new_changed_and_removed_files(tmp_path):
    entry = load_corpora(write(tmp_path, corpus())).corpora[0]
    file = tmp_path / "data" / "a" / "b.flac"
    digests = [listing_digest(entry)]
    file.parent.mkdir()
    for content in (b"x", b"xy"):
        file.write_bytes(content)
        digests.append(listing_digest(entry))
        assert listing_digest(entry) == digests[-1]
    assert len(set(digests)) == 3
    file.unlink()
    assert listing_digest(entry) == digests[0]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "aliases stand for"),
        ("corpora: &all [*all]", "aliases stand for"),
        ("corpora: " + "[" * 5_000, "recursion"),
        ("corpora: [!!python/object/apply:os.system ['exit 1']]", "python/object"),
    ],
)
def test_a_file_that_means_harm_is_refused(tmp_path, text, said):
    path = tmp_path / "corpora.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorporaFileError, match=said):
        load_corpora(path)


def test_aliases_of_a_usual_size_are_allowed(tmp_path):
    path = write(tmp_path)
    path.write_text(
        "corpora:\n- &one {name: one, reader: librispeech, root: data, licence: CC0-1.0, language: en}\n"
        "- {<<: *one, name: two}\n",
        encoding="utf-8",
    )
    assert [entry.licence for entry in load_corpora(path).corpora] == ["CC0-1.0", "CC0-1.0"]
