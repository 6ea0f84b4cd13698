"""Instructions: three forms become the same messages, and rows that cannot are told."""

from __future__ import annotations

import json

import pytest

ASKED = [{"role": "user", "content": "Add.\n2 and 2"}, {"role": "assistant", "content": "4"}]


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ({"instruction": "Add.", "input": "2 and 2", "output": "4"}, "instruction"),
        ({"messages": ASKED, "source": "x"}, "messages"),
        (
            {"conversations": [{"from": "human", "value": "Add.\n2 and 2"}, {"from": "gpt", "value": "4"}]},
            "conversations",
        ),
    ],
)
def test_every_form_gives_the_same_messages(lay, read, line, form):
    found = read("instructions", lay({"a/x.jsonl": json.dumps({**line, "id": 7}) + "\n"}))
    row = found.said["7"]
    assert json.loads(row.messages) == ASKED
    assert (row.text, row.tasks, row.audio, row.conversation_id) == ("4", ("text",), None, "7")
    assert dict(row.fields) == {"file": "a/x.jsonl", "form": form}


def test_system_and_history_come_first(lay, read):
    line = {
        "instruction": "And 3?",
        "input": "",
        "output": "5",
        "system": "Be brief.",
        "history": [["2+2?", "4"]],
    }
    (row,) = read("instructions", lay({"x.jsonl": json.dumps(line)})).said.values()
    assert [(one["role"], one["content"]) for one in json.loads(row.messages)] == [
        ("system", "Be brief."),
        ("user", "2+2?"),
        ("assistant", "4"),
        ("user", "And 3?"),
        ("assistant", "5"),
    ]
    assert row.utterance_id == "x.jsonl:1"


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": "x"},
        {"messages": ASKED, "instruction": "x", "output": "y"},
        {"instruction": "x"},
        {"instruction": "x", "output": ""},
        {"instruction": "x", "output": 4},
        {"instruction": "x", "output": "y", "history": [["only one"]]},
        {"instruction": "say <|audio|>", "output": "y"},
        {"instruction": "x", "output": "<|im_end|>"},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"conversations": [{"from": "human", "value": "x"}]},
        {"conversations": [{"from": "observation", "value": "x"}]},
        {"conversations": [{"value": "x"}]},
        {"conversations": [{"from": ["human"], "value": "x"}]},
        {"conversations": [{"from": "gpt", "value": 3}]},
        {"conversations": "x"},
        [1],
    ],
)
def test_rows_that_are_no_text_conversation_are_refused(lay, read, line):
    found = read("instructions", lay({"x.jsonl": json.dumps(line) + "\n"}))
    assert found.reasons == {"x.jsonl:1": "malformed_row"}
