"""The page of a version says all that is known and what is not, and nothing that others wrote runs on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from version_pages import HOSTILE, Page, bare_facts, rows, sample, stage, whole_facts

from training_jobs.history import History, StepRecord
from training_jobs.version_charts import loss_charts
from training_jobs.version_page import MOST_BYTES, version_page
from training_jobs.version_records import PageRecord, page_path, records_of, remove_page, write_record
from training_jobs.version_samples import Samples, samples_of
from training_jobs.version_sounds import LONGEST_S, NoSound, Sound, sound_of, sound_of_tokens
from training_jobs.version_tables import duel_table, from_markdown, overall_table
from validation.lake import Lake
from validation.visible import visible

SECTIONS = ["origin", "stages", "evaluation", "latency", "samples", "gate"]


@pytest.mark.parametrize("facts", [whole_facts(), bare_facts()], ids=["whole", "bare"])
def test_nothing_on_it_runs_or_comes_from_elsewhere(facts):
    page = Page(version_page(facts))
    assert not page.named("script") and not page.named("link") and not page.named("iframe")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert attributes.get("src", "data:").startswith("data:"), (tag, attributes)
        assert attributes.get("href", "#").startswith("#"), (tag, attributes)
        assert not {"srcset", "poster", "action", "data", "xlink:href"} & set(attributes)
    assert "url(" not in page.style and "@import" not in page.style
    (policy,) = [one["content"] for one in page.named("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {one["href"][1:] for one in page.named("a")} <= set(ids)


def test_what_others_wrote_is_shown_as_it_is_with_its_unseen_signs():
    html = version_page(whole_facts())
    text = Page(html).text
    # In data, stages, evaluation, samples and gate, from names to transcripts.
    assert text.count(visible(HOSTILE)) >= 25
    assert b"<script" not in html and "\u202e" not in html.decode()


def test_everything_is_there_for_eye_and_screen_reader():
    page = Page(version_page(whole_facts()))
    assert [one["id"] for one in page.named("h2")] == SECTIONS
    assert len(page.named("table")) == len(page.named("caption")) >= 12
    assert all(one["alt"] for one in page.named("img")) and len(page.named("img")) == 2
    assert all("from" in one["aria-label"] for one in page.named("svg")) and len(page.named("svg")) == 2
    labels = [one["aria-label"] for one in page.named("audio")]
    assert labels == ["Prompt of spoken question, median", "Reply of spoken question, median"]
    for words in (
        "refused", "by the gate: 1 of its checks failed", "25.0% [15.0, 35.0]", "3.20 [3.10, 3.30]",
        "have changed since this version was trained", "1 request to forget came after", "A busy machine",
        "champion (version 6)", "at most +0.00 points", "This stage was not trained for this version",
        "Comparable only with figures of the same fingerprint", "53.0 ms", "signal-to-noise",
    ):  # fmt: skip
        assert words in page.text, words


def test_what_is_not_there_is_said_to_be_missing_and_no_figure_stands_for_it():
    text = Page(version_page(bare_facts())).text
    assert "No registration of this version lies in this home" in text
    for words in (
        "no stage of this version", "the evaluation of this version is not there", "latency benchmark of this",
        "there is no evaluation of this version here", "the gate has not decided", "is not known here",
        "no corpus of this version",
    ):  # fmt: skip
        assert words in text, words
    assert "%" not in text
    kept = Page(version_page(whole_facts(evaluation=None))).text
    assert "boost/asr_known_wer" in kept  # what MLflow has kept, where the files are gone


def test_a_passed_champion_is_called_one():
    text = Page(
        version_page(whole_facts(tags={"gate": "passed", "promoted_by": "alice"}, aliases=["champion"]))
    ).text
    assert "The gate has let this version pass." in text and "made so by hand by alice" in text


def test_markdown_tables_are_read_back_with_their_bars_and_notes():
    one = "### One\n\nbefore\n\n| a\\|b | n |\n|---|---:|\n| **failed** | `x` |\n\n- note\n\n"
    first, second = from_markdown("C", f"{one}### Two\n\n| c |\n|---|\n| d |\n\nend")
    assert (first.caption, first.head, first.right) == ("C: One", ["a|b", "n"], frozenset({1}))
    assert [(cell.text, cell.kind) for cell in first.rows[0]] == [("failed", "bad"), ("x", "")]
    assert (first.notes, second.caption, second.notes) == (["before", "note"], "C: Two", ["end"])


def test_a_difference_is_red_only_where_all_of_its_interval_is_worse():
    def kind(name: str, low: float, high: float) -> str:
        figures = {"vanilla": {name: 0.5}, "boost": {name: 0.5}}
        found = {"overall": figures, "boost_minus_vanilla": {name: {"value": 0.0, "low": low, "high": high}}}
        return overall_table(found).rows[0][-1].kind

    assert [kind("asr_known_wer", *ends) for ends in ((0.1, 0.2), (-0.1, 0.2), (-0.2, -0.1))] == [
        "bad",
        "",
        "good",
    ]
    assert [kind("sqa_exact", *ends) for ends in ((0.1, 0.2), (-0.1, 0.2), (-0.2, -0.1))] == [
        "good",
        "",
        "bad",
    ]


def test_both_sides_and_the_limit_stand_in_the_duel():
    one = {"candidate": 60.0, "champion": 50.0, "difference": 0.2, "interval": [0.1, 0.3], "limit": 0.05,
           "relative": True, "undecided": False, "basis": "9 pairs", "held": False}  # fmt: skip
    (row,) = duel_table({"boost/first_chunk_ms_p50": one}, "3").rows
    assert [cell.text for cell in row] == [
        "failed", "boost/first_chunk_ms_p50", "60.00", "50.00", "+20.0%", "+10.0% to +30.0%", "at most +5.0%",
        "9 pairs",
    ]  # fmt: skip


def picked(tmp_path: Path, table: list[dict[str, object]]) -> Samples:
    return samples_of(pl.DataFrame(table), Lake(str(tmp_path)), None)


def test_samples_are_picked_by_the_rule_and_by_nothing_else(tmp_path):
    both = picked(tmp_path, [*rows(9, "tts"), *rows(5, "sqa"), *rows(4, "asr")])
    assert [(one.row_id, one.place, one.rank) for one in both.chosen] == [
        ("sqa0", "best", 1), ("sqa2", "median", 3), ("sqa4", "worst", 5), ("tts0", "best", 1), ("tts8", "worst", 9),
    ]  # fmt: skip
    assert "best, median, worst of the 5 replies to spoken questions" in both.rule and not both.missing
    read = picked(tmp_path, [*rows(9, "tts"), *rows(9, "tts", mode="vanilla", row_id="other")])
    assert [one.row_id for one in read.chosen] == ["tts0", "tts2", "tts4", "tts6", "tts8"]
    assert [one.row_id for one in picked(tmp_path, rows(9, "asr")).chosen][:2] == ["asr0", "asr2"]
    few = picked(tmp_path, [*rows(1, "sqa"), *rows(2, "tts")])
    assert [one.row_id for one in few.chosen] == ["sqa0", "tts0", "tts1"] and "only 3 replies" in few.missing
    none = picked(tmp_path, rows(3, mode="vanilla"))
    assert not none.chosen and none.missing == "no row was answered in Boost"


def test_a_sample_says_what_of_it_cannot_be_heard(tmp_path):
    class Codes:
        vocabulary_size, frame_rate = 4, 12.5

    silent, old, other = ([], None, [9])
    words = [sound_of_tokens(codes, Codes()) for codes in (silent, old, other)]  # type: ignore[arg-type]
    assert all(isinstance(one, NoSound) for one in words)
    assert [one.why.split(":")[0] for one in words if isinstance(one, NoSound)] == [
        "the reply is silent",
        "the evaluation is of a version of voxline that kept no audio tokens of replies",
        "none of its 1 audio tokens is one of the audio tokenizer's",
    ]
    one = picked(tmp_path, rows(1)).chosen[0]
    assert one.prompt_text is None and one.prompt == NoSound("the lake has no such row any more")
    assert one.reply == NoSound("the audio tokenizer of the version is not there any more")


def test_players_are_short_and_five_of_them_keep_the_page_small():
    noise = np.random.default_rng(0).uniform(-1, 1, 22_050 * 60).astype(np.float32)
    sound = sound_of(noise, 22_050)
    assert isinstance(sound, Sound) and (sound.seconds, sound.whole_s) == (LONGEST_S, 60.0)
    samples = Samples([sample(prompt=sound, reply=sound)] * 5, "rule")
    html = version_page(whole_facts(samples=samples))
    assert html.count(b"<audio") == 10 and len(html) < MOST_BYTES / 4
    assert "the first 15.0 of 60.0 s" in Page(html).text


def test_curves_stay_on_the_drawing_for_one_step_flat_and_infinite_losses():
    flat = [StepRecord(step, 2.0, 2.0, [2.0], 1e-3, 1.0, 9, 0.1) for step in range(3)]
    odd = [*flat, StepRecord(3, float("inf"), 2.0, [float("nan")], 1e-3, 1.0, 9, 0.1)]
    for records in (flat[:1], flat, odd):
        (chart,) = loss_charts("sft", History(steps=records))
        assert [curve.name for curve in chart.curves] == ["loss", "backbone", "module 0"]
        assert not [curve for curve in chart.curves if "nan" in curve.path or "inf" in curve.path]
    assert loss_charts("sft", History()) == []
    (long,) = loss_charts("sft", stage("sft", 0, steps=5000).history or History())
    assert long.curves[0].path.count("L") <= 200


def test_a_page_is_found_by_the_evaluation_of_which_it_has_samples(tmp_path):
    evaluations = tmp_path / "training" / "debug" / "evaluation_report"
    write_record(tmp_path, mine := PageRecord("1", "run", "debug", "e1"))
    write_record(tmp_path, PageRecord("2", None, "debug", "e2"))
    page_path(tmp_path, "1").write_text("a voice")
    assert records_of(tmp_path, [evaluations / "e1"]) == [mine]
    assert records_of(tmp_path, [tmp_path / "training" / "7b" / "evaluation_report" / "e1"]) == []
    assert not remove_page(tmp_path, mine).exists() and records_of(tmp_path, [evaluations / "e1"]) == []
