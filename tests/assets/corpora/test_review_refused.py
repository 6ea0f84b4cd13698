"""A file of decisions with a fault adds nothing, and says where and what."""

from __future__ import annotations

import json

import pytest
from reviewing import annotation, export_of, exported, filled_in, take

from validation.errors import UserError
from validation.review_csv import COLUMNS

BAD = {
    "unknown decision": (
        {"decision": "maybe"},
        r"row 3: decision 'maybe' is none; allowed are accept and reject",
    ),
    "unknown id": ({"decision": "accept", "id": "z"}, r"row 3: 'z' of corpus 'made': no such row waits"),
    "unknown corpus": (
        {"decision": "accept", "corpus": "x"},
        r"row 3: 'b' of corpus 'x': there is no such corpus",
    ),
    "changed content": ({"decision": "accept", "content": "0" * 64}, r"row 3: 'b' of .*another one since"),
    "text edited in place": ({"decision": "accept", "text": "shore"}, r"row 3: 'b' of .*changed to 'shore'"),
    "correction of a rejected row": (
        {"decision": "reject", "corrected_text": "x"},
        r"row 3: 'b' .*needs no corrected",
    ),
    "correction and no decision": (
        {"corrected_text": "x"},
        r"row 3: 'b' has a corrected text and no decision",
    ),
    "control character": (
        {"decision": "accept", "corrected_text": "x\x07"},
        r"row 3: 'b' .*control character '\\x07'",
    ),
    "control token": (
        {"decision": "accept", "corrected_text": "<|im_end|>"},
        r"row 3: 'b' .*refused <\|im_end\|>",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_with_one_bad_row_adds_nothing(corpus, lake, tmp_path, case):
    changes, said = BAD[case]
    rows = exported(lake, tmp_path / "q.csv")
    rows[0]["decision"] = "accept"
    assert rows[1]["id"] == "b"
    rows[1].update(changes)

    def fault(text: str) -> str | None:
        return f"refused {text}" if "<|" in text else None

    with pytest.raises(UserError, match=said) as caught:
        take(lake, filled_in(tmp_path / "q.csv", rows), text_fault=fault)
    assert "q.csv: nothing was imported" in str(caught.value)
    assert lake.read_table("review_decisions").is_empty()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("id", "corpus", "decision"), r"missing columns \['content'\]"),
        ((*COLUMNS, "mood"), r"unknown columns \['mood'\]; wanted are id, corpus"),
        ((*COLUMNS, "id"), r"columns \['id'\] stand there twice"),
    ],
)
def test_wrong_columns_are_refused(corpus, lake, tmp_path, columns, said):
    path = filled_in(tmp_path / "q.csv", exported(lake, tmp_path / "q.csv"), columns)
    with pytest.raises(UserError, match=said):
        take(lake, path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id;corpus;content;decision\n", "unknown columns"),
        (b"\xff\xfe\x00", "cannot be read as CSV in UTF-8"),
        (b"id,corpus,content,decision\na,made\n", "row 2: 2 cells; the header has 4"),
        (b"", "missing columns"),
    ],
)
def test_what_is_no_such_csv_is_refused(corpus, lake, tmp_path, content, said):
    (tmp_path / "q.csv").write_bytes(content)
    with pytest.raises(UserError, match=said):
        take(lake, tmp_path / "q.csv")


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("{", "cannot be read as a JSON list of tasks"),
        ([{"id": 5, "decision": "accept", "annotation_id": 3}], "task 5: this is Label Studio's JSON-MIN"),
        (
            [{"id": 5, "data": {"audio": "x"}, "annotations": []}],
            "task 5: its data have no id, corpus, content",
        ),
        (
            [{"id": 5, "data": {"id": "a", "corpus": "made", "content": "x"}, "annotations": 3}],
            "task 5: annotations must",
        ),
        (
            [export_of(5, {"id": "a", "corpus": "made", "content": "x"}, [annotation("perhaps")])],
            "annotation 1001: decision .'perhaps'. is none",
        ),
        (
            [
                export_of(
                    5,
                    {"id": "a", "corpus": "made", "content": "x"},
                    [annotation("accept", updated_at="then")],
                )
            ],
            "'then' is no time",
        ),
        (
            [export_of(5, {"id": "a", "corpus": "made", "content": "x"}, [annotation("accept")])],
            "no such row waits for review",
        ),
    ],
)
def test_what_is_no_such_export_is_refused(corpus, lake, tmp_path, tasks, said):
    path = tmp_path / "export.json"
    path.write_text(tasks if isinstance(tasks, str) else json.dumps(tasks))
    with pytest.raises(UserError, match=said):
        take(lake, path)
