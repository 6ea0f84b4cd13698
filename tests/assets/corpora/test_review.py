"""Quarantined rows go out as CSV and Label Studio tasks, and what people decide comes back and is applied, no more."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from reviewing import (
    LONG,
    annotation,
    decide,
    ends,
    export_of,
    exported,
    filled_in,
    made_corpus,
    row_of,
    take,
)

from assets.corpora.acceptance import accept
from validation.errors import UserError
from validation.ledger import LedgerRow, balance, ledger_frame
from validation.review_label_studio import read_tasks, write_tasks
from validation.review_queue import review_queue


def test_the_queue_tells_what_a_person_needs(corpus, lake, tmp_path):
    rows = {row["id"]: row for row in exported(lake, tmp_path / "queue.csv")}
    assert set(rows) == {"'=a", "b", "c", "good"}
    found = rows["'=a"]
    assert (found["corpus"], found["reason"], found["limit"]) == ("made", "text_too_long", "60.0")
    assert float(found["value"]) > 60 and found["text"] == f"'{LONG}"
    assert Path(found["audio"]).is_file() and found["audio"].endswith(".wav")
    assert (found["decision"], found["reviewer"]) == ("", "")


def test_no_cell_is_a_formula_and_all_come_back_as_they_were(corpus, lake, tmp_path):
    path = tmp_path / "queue.csv"
    for row in exported(lake, path):
        assert all(
            cell[:1] not in "=+-@\t\r＝＋－＠" or not cell for name, cell in row.items() if name != "value"
        )
    decided = decide(lake, path, **{"=a": {"decision": "reject"}, "c": {"decision": "reject"}})
    assert take(lake, decided).added == 2
    accept(corpus, lake)
    assert ends(lake)["=a"] == ends(lake)["c"] == "rejected_by_review"


def test_decisions_of_a_csv_are_applied_by_the_next_run_with_who_and_when(corpus, lake, tmp_path):
    path = decide(
        lake,
        tmp_path / "queue.csv",
        **{
            "=a": {
                "decision": "ACCEPT ",
                "corrected_text": "what  is said",
                "reviewer": "ben",
                "note": "heard twice",
            },
            "b": {"decision": "reject", "note": "=not speech"},
        },
    )
    done = take(lake, path)
    assert (done.added, done.known) == (2, 0)
    outcome = accept(corpus, lake)
    assert outcome.recomputed and outcome.rows == 1
    taken, refused = row_of(lake, "=a"), row_of(lake, "b")
    assert (taken["outcome"], taken["reason"]) == ("accepted", "accepted_by_review")
    assert "accepted by ben at 20" in taken["detail"] and "(heard twice)" in taken["detail"]
    assert "text corrected" in taken["detail"] and "metadata.csv:2" in taken["detail"]
    assert (refused["outcome"], refused["reason"]) == ("rejected", "rejected_by_review")
    assert "rejected by ann at 20" in refused["detail"]
    assert taken["value"] > 60.0 == taken["limit"]
    assert lake.read_table("accepted_utterances", "made")["text"].to_list() == ["what is said"]
    assert lake.read_table("raw_utterances", "made").filter(utterance_id="=a")["text"].to_list() == [LONG]
    assert balance(lake, "made").holds
    assert not accept(corpus, lake).recomputed
    # Known decisions add nothing, and rows that were decided about are not asked about again.
    assert take(lake, path).known == 2
    assert {row["id"] for row in exported(lake, tmp_path / "again.csv")} == {"c", "good"}
    kept = lake.read_table("review_decisions").sort("utterance_id").to_dicts()
    assert [(one["reviewer"], one["imported_by"], one["file"]) for one in kept] == [
        ("ben", "ann", "queue.csv"),
        ("ann", "ann", "queue.csv"),
    ]


def test_a_decision_is_about_this_recording_and_text_only(lake, tmp_path, make):
    corpus = made_corpus(tmp_path / "c", lake, make)
    take(
        lake, decide(lake, tmp_path / "q.csv", **{"=a": {"decision": "accept"}, "b": {"decision": "reject"}})
    )
    accept(corpus, lake)
    root = Path(corpus.root)
    text = (root / "metadata.csv").read_text(encoding="utf-8")
    (root / "metadata.csv").write_text(text.replace("=SUM(A1)", "=SUM(A2)"), encoding="utf-8")
    make.speech(root / "wavs" / "b.wav", seed=99)
    make.run_all(corpus, lake)
    assert ends(lake) == {
        "good": "text_too_short",
        "=a": "text_too_long",
        "b": "text_too_short",
        "c": "text_too_long",
    }
    # Back to what was decided upon, the decision counts again.
    (root / "metadata.csv").write_text(text, encoding="utf-8")
    make.run_all(corpus, lake)
    assert ends(lake)["=a"] == "accepted_by_review"


def test_an_acceptance_is_for_one_reason_and_a_rejection_for_good(corpus, lake, tmp_path, make):
    take(
        lake,
        decide(lake, tmp_path / "q.csv", **{"good": {"decision": "accept"}, "c": {"decision": "reject"}}),
    )
    other = make.entry(
        "ljspeech",
        corpus.root,
        thresholds={
            "max_chars_per_second": {"default": 1000.0},
            "min_script_share": 0.0,
            "min_bandwidth_share": 1.0,
        },
    )
    accept(other, lake)
    assert (ends(lake)["good"], ends(lake)["c"]) == ("upsampled", "rejected_by_review")
    lenient = make.entry(
        "ljspeech",
        corpus.root,
        thresholds={"max_chars_per_second": {"default": 1000.0}, "min_script_share": 0.0},
    )
    accept(lenient, lake)
    assert (ends(lake)["good"], ends(lake)["c"], ends(lake)["=a"]) == (
        "accepted_by_review",
        "rejected_by_review",
        "accepted",
    )


def test_label_studio_tasks_go_out_and_come_back_as_its_export_has_them(corpus, lake, tmp_path):
    out = io.StringIO()
    assert write_tasks(out, review_queue(lake, ["made"]), lambda path: f"/data/local-files/?d={path}") == 4
    tasks = {task["data"]["id"]: task for task in json.loads(out.getvalue())}
    data = tasks["=a"]["data"]
    assert data["text"] == LONG and data["audio"].startswith("/data/local-files/?d=audio_22k/made/")
    annotations = {
        "=a": [annotation("accept", "the words\nthat are said", completed_by=7)],
        "b": [annotation("reject", completed_by={"id": 3, "email": "eve@example.org", "first_name": "Eve"})],
        "c": [annotation("accept", was_cancelled=True)],
        "good": [],
    }
    path = tmp_path / "export.json"
    path.write_text(
        json.dumps(
            [
                export_of(number, task["data"], annotations[name])
                for number, (name, task) in enumerate(tasks.items(), 11)
            ]
        )
    )
    assert take(lake, path).added == 2
    kept = {row["utterance_id"]: row for row in lake.read_table("review_decisions").to_dicts()}
    assert kept["=a"]["reviewer"] == "Label Studio user 7" and kept["b"]["reviewer"] == "eve@example.org"
    assert kept["b"]["decided_at"].isoformat() == "2026-11-20T09:14:01.500000+00:00"
    assert kept["b"]["imported_by"] == "ann" and "annotation 1001" in kept["b"]["place"]
    accept(corpus, lake)
    assert ends(lake) == {
        "good": "text_too_short",
        "=a": "accepted_by_review",
        "b": "rejected_by_review",
        "c": "text_too_long",
    }
    assert "by eve@example.org at 2026-11-20 09:14:01 UTC" in row_of(lake, "b")["detail"]
    assert lake.read_table("accepted_utterances", "made")["text"].to_list() == ["the words that are said"]


@pytest.mark.parametrize("result", [5, {"a": 1}, [{"from_name": "decision", "value": {"choices": 5}}]])
def test_an_annotation_that_is_none_is_told_by_its_place(result, tmp_path):
    data = {"id": "u", "corpus": "made", "content": "x"}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"id": 1, "data": data, "annotations": [{"id": 2, "result": result}]}]))
    with pytest.raises(UserError, match=r"task 1, annotation 2: decision \[.*\] is none"):
        read_tasks(path)


def test_decisions_that_contradict_each_other_are_told(corpus, lake, tmp_path):
    rows = exported(lake, tmp_path / "q.csv")
    rows[0].update(decision="accept", reviewer="ben")
    again = {**rows[0], "decision": "reject", "reviewer": "eve"}
    both = filled_in(tmp_path / "both.csv", [rows[0], again])
    with pytest.raises(UserError, match=r"row 3: '=a' .*reject by eve contradicts row 2: accept by ben"):
        take(lake, both)
    take(lake, filled_in(tmp_path / "first.csv", rows))
    second = filled_in(tmp_path / "second.csv", [again])
    with pytest.raises(
        UserError, match=r"reject by eve contradicts an earlier decision \(accepted by ben at .*--overrule"
    ):
        take(lake, second)
    accept(corpus, lake)
    assert ends(lake)["=a"] == "accepted_by_review"
    # Also of a row that is not in the queue any more.
    assert take(lake, second, overrule=True).added == 1
    accept(corpus, lake)
    assert ends(lake)["=a"] == "rejected_by_review"
    assert lake.read_table("review_decisions")["decision"].to_list() == ["accept", "reject"]
    with pytest.raises(UserError, match="contradicts an earlier decision"):
        take(lake, tmp_path / "first.csv")


def test_a_second_reviewer_who_agrees_is_kept_too(corpus, lake, tmp_path):
    rows = exported(lake, tmp_path / "q.csv")
    for name in ("ben", "eve", "ben"):
        rows[0].update(decision="accept", reviewer=name)
        take(lake, filled_in(tmp_path / "q.csv", rows))
    assert lake.read_table("review_decisions")["reviewer"].to_list() == ["ben", "eve"]


def test_a_row_without_one_sound_can_be_rejected_only(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello")])
    path = tmp_path / "c" / "wavs" / "b.wav"
    samples, rate = sf.read(path)
    sf.write(path, np.stack([samples, -samples], axis=1), rate)
    make.run_all(entry, lake)
    assert ends(lake)["b"] == "channels_cancel"
    rows = exported(lake, tmp_path / "q.csv")
    assert rows[0]["audio"] == str(path)
    rows[0]["decision"] = "accept"
    with pytest.raises(
        UserError, match=r"cannot be accepted, since its audio could not be stored \(channels_cancel\)"
    ):
        take(lake, filled_in(tmp_path / "q.csv", rows))
    rows[0]["decision"] = "reject"
    take(lake, filled_in(tmp_path / "q.csv", rows))
    make.run_all(entry, lake)
    assert ends(lake) == {"a": "accepted", "b": "rejected_by_review"}
    detail = row_of(lake, "b")["detail"]
    assert "rejected by ann at 20" in detail and "b.wav" in detail
    assert balance(lake, "made").holds
    assert not any(outcome.recomputed for outcome in make.run_all(entry, lake))


def test_what_ended_while_it_was_read_is_listed_and_cannot_be_decided_upon(corpus, lake, tmp_path):
    part = lake.read_table("ledger", "made--raw_utterances")
    one = LedgerRow("made", "whole", "whole.wav", "raw_utterances", "truncated", "cut off", 1.0, 2.0)
    lake.write_table("ledger", "made--raw_utterances", pl.concat([part, ledger_frame([one])]))
    rows = {row["id"]: row for row in exported(lake, tmp_path / "q.csv")}
    assert rows["whole"]["reason"] == "truncated"
    rows["whole"]["decision"] = "reject"
    with pytest.raises(
        UserError, match=r"cannot be decided upon, since it ended while it was read \(truncated\)"
    ):
        take(lake, filled_in(tmp_path / "q.csv", list(rows.values())))


def test_the_text_of_a_conversation_is_not_corrected(tmp_path, lake, make):
    row = {
        "id": "t",
        "messages": [{"role": "user", "content": "hm?"}, {"role": "assistant", "content": "кот сидел"}],
    }
    entry = make.jsonl(tmp_path / "c", [row])
    make.run_all(entry, lake)
    assert ends(lake) == {"t": "wrong_script"}
    rows = exported(lake, tmp_path / "q.csv")
    rows[0].update(decision="accept", corrected_text="x")
    with pytest.raises(UserError, match="stands in the messages"):
        take(lake, filled_in(tmp_path / "q.csv", rows))
    rows[0]["corrected_text"] = ""
    assert take(lake, filled_in(tmp_path / "q.csv", rows)).added == 1
    make.run_all(entry, lake)
    assert ends(lake) == {"t": "accepted_by_review"}
