"""The last screen of ``voxline run``: data, stages, figures, latency, registry, and what to open next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from assets.outputs import Outputs
from assets.speech_tokenizer import tokenizer_of
from assets.workspace import Workspace
from pipelines.run import RunReport
from pipelines.settings import Settings
from pipelines.shown import escape
from pipelines.status import registry
from training_jobs.spec import MODES, STAGES
from training_jobs.tracking_store import REGISTERED_MODEL
from validation.batches import database, files_of
from validation.lake import Lake
from validation.ledger import balance, ledger_counts
from validation.schemas import OUTCOMES


def print_summary(console: Console, home: Path, settings: Settings, report: RunReport) -> None:
    """Print what the home holds after the run."""
    workspace = Workspace(home=str(home), corpora_file=settings.corpora, profile_name=settings.profile)
    outputs = Outputs(workspace.training_dir)
    console.print()
    tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))[1]
    console.print(corpora_table(workspace.lake, workspace.corpus_names, tokenizer_digest))
    console.print(reasons_table(workspace.lake, workspace.corpus_names))
    console.print(stages_table(outputs))
    console.print(scores_table(outputs.present("evaluation_report").result()))
    console.print(latency_table(outputs.present("latency_benchmark").result()))
    aliases = registry(workspace).get("aliases", {})
    for line in registry_lines(outputs.present("registered_model").result(), aliases):
        console.print(line)
    console.print()
    for line in closing_lines(home, report):
        console.print(line, soft_wrap=True)


def print_data_summary(console: Console, home: Path, settings: Settings, report: RunReport) -> None:
    """Print what became of the corpora, after a run that made nothing of them yet."""
    workspace = Workspace(home=str(home), corpora_file=settings.corpora, profile_name=settings.profile)
    console.print()
    console.print(corpora_table(workspace.lake, workspace.corpus_names))
    console.print(reasons_table(workspace.lake, workspace.corpus_names))
    for line in closing_lines(home, report):
        console.print(line, soft_wrap=True)


def corpora_table(lake: Lake, corpora: list[str], tokenizer_digest: str | None = None) -> Table:
    """Rows read and by outcome, hours and tokens per corpus.

    Args:
        tokenizer_digest: Of the tokenizer whose tokens count; ``None``: there is none yet.
    """
    table = _table("Corpora", ["corpus"], ["read", *OUTCOMES, "hours", "tokens", "train", "held out"])
    for corpus in corpora:
        ended = balance(lake, corpus)
        seconds, tokens, splits = _figures(lake, corpus, tokenizer_digest)
        table.add_row(
            corpus,
            str(ended.read) if ended.holds else f"[red]{ended.read} (does not balance)[/red]",
            *(str(getattr(ended, outcome)) for outcome in OUTCOMES),
            f"{seconds / 3600:.3f}",
            "-" if tokens is None else f"{tokens:,}",
            str(splits.get("train", 0)),
            str(splits.get("test", 0)),
        )
    return table


def _figures(
    lake: Lake, corpus: str, tokenizer_digest: str | None
) -> tuple[float, int | None, dict[str, int]]:
    """Seconds that were accepted, their tokens without those of variants, and training rows by split."""
    accepted = files_of(lake, "accepted_utterances", [corpus])
    with database(lake) as connection:
        seconds = connection.execute(f"SELECT coalesce(sum(duration_s), 0) FROM {accepted}").fetchone()  # noqa: S608
        tokens = None
        if tokenizer_digest is not None:
            tokens = connection.execute(
                f"SELECT coalesce(sum(len(token_ids)), 0) FROM {files_of(lake, 'audio_tokens', [corpus])} "  # noqa: S608
                f"SEMI JOIN {accepted} AS accepted USING (audio_digest) "
                "WHERE tokenizer_digest = ? AND augmentation_digest = ''",
                [tokenizer_digest],
            ).fetchone()
        splits: list[tuple[str, int]] = []
        if lake.has_table("training_rows", corpus):
            rows = files_of(lake, "training_rows", [corpus])
            splits = connection.execute(f"SELECT split, count(*) FROM {rows} GROUP BY split").fetchall()  # noqa: S608
    assert seconds is not None
    return float(seconds[0]), None if tokens is None else int(tokens[0]), dict(splits)


def reasons_table(lake: Lake, corpora: list[str]) -> Table:
    """Why rows were not accepted, with one case of each reason."""
    table = _table("Not accepted, and why", ["corpus", "outcome", "reason"], ["rows"], ["for example"])
    for corpus in sorted(corpora):
        lost = ledger_counts(lake, corpus).filter(pl.col("outcome") != "accepted").sort("outcome", "reason")
        for outcome, reason, count, example in lost.iter_rows():
            table.add_row(corpus, outcome, reason, str(count), escape(str(example)))
    return table


def stages_table(outputs: Outputs) -> Table:
    """Steps and losses of the four stages."""
    table = _table(
        "Stages", ["stage"], ["steps", "loss first", "loss last", "tokens/s", "seconds", "resumed from"]
    )
    for stage in STAGES:
        output = outputs.present(stage)
        if output.asset != stage:
            table.add_row(stage, "imported", "", "", "", "", "")
            continue
        result = output.result()
        resumed = result.get("resumed_from")
        table.add_row(
            stage,
            str(result["steps"]),
            f"{result['first_loss']:.3f}",
            f"{result['last_loss']:.3f}",
            f"{result['tokens_per_s']:,.0f}",
            f"{result['seconds']:.0f}",
            "" if resumed is None else str(resumed),
        )
    return table


def scores_table(result: dict[str, Any]) -> Table:
    """Held-out figures, the modes side by side."""
    overall: dict[str, dict[str, float]] = result["overall"]
    modes = _in_order(overall)
    table = _table("Held-out rows, by decode mode", ["figure"], modes)
    names = {
        "asr_known_wer": "ASR, known voices: word error rate",
        "asr_known_cer": "  character error rate",
        "asr_known_exact": "  exact match",
        "asr_unseen_wer": "ASR, unseen voices: word error rate",
        "asr_unseen_cer": "  character error rate",
        "asr_unseen_exact": "  exact match",
        "asr_unstated_wer": "ASR, voices nobody named: word error rate",
        "asr_unstated_cer": "  character error rate",
        "asr_unstated_exact": "  exact match",
        "sqa_exact": "spoken QA: exact match",
        "sqa_contains": "  answer said in the text",
        "sqa_spoken_contains": "  in the speech, read back",
        "sqa_heard_contains": "  in the speech, heard by the ASR model",
        "tts_wer": "TTS, read back: word error rate",
        "tts_exact": "  exact match",
        "tts_heard_wer": "  word error rate, heard by the ASR model",
    }
    for key, name in names.items():
        values = [overall[mode].get(key) for mode in modes]
        if any(value is not None for value in values):
            table.add_row(name, *("" if value is None else f"{value:.1%}" for value in values))
    return table


def latency_table(result: dict[str, Any]) -> Table:
    """Decode modes."""
    hardware = result["hardware"]
    device = hardware.get("gpu") or hardware.get("cpu")
    prompt = escape(f"Latency (prompt of {result['prompt_tokens']} tokens, {device})")
    table = _table(
        prompt,
        ["mode"],
        ["first chunk p50", "p95", "tokens/s", "x Vanilla", "real-time factor"],
    )
    for mode in _in_order(result["modes"]):
        figures = result["modes"][mode]
        table.add_row(
            mode,
            f"{figures['first_chunk_ms_p50']:.1f} ms",
            f"{figures['first_chunk_ms_p95']:.1f} ms",
            f"{figures['tokens_per_second_p50']:,.0f}",
            f"{figures['speedup']:.2f}",
            f"{figures['real_time_factor']:.3f}",
        )
    return table


def registry_lines(result: dict[str, Any], aliases: Mapping[str, str]) -> list[str]:
    """Version and aliases, and why it is no champion.

    Args:
        aliases: from each alias to its version, as the registry has them now.
    """
    version = str(result["version"])
    own = [alias for alias, named in aliases.items() if named == version]
    named = " and ".join(own) if own else "no alias"
    lines = [f"[bold]Registry[/bold]  {REGISTERED_MODEL} version [bold]{version}[/bold]: {named}"]
    if "champion" not in own:
        lines += [f"  {escape(reason)}" for reason in result["gate_reasons"]]
        lines += [f"  champion is version {aliases['champion']}"] if "champion" in aliases else []
    return lines


def closing_lines(home: Path, report: RunReport) -> list[str]:
    """What was recomputed, and what to open next."""
    if report.recomputed:
        lines = [f"made: {', '.join(report.recomputed)}"]
        if report.up_to_date:
            lines.append(f"up to date, left alone: {', '.join(report.up_to_date)}")
    else:
        lines = [
            f"Nothing was stale: all {len(report.up_to_date)} assets are up to date, nothing was recomputed."
        ]
    return [
        *lines,
        "",
        "[bold]Next[/bold]",
        "  make up                                   the Dagster and MLflow pages of this home",
        "  voxline status                            each asset's last materialisation and health",
        '  voxline sql "SELECT corpus, reason, count(*) AS n FROM ledger GROUP BY ALL ORDER BY ALL"',
        f"  {escape(str(home))}",
    ]


def _in_order(modes: Mapping[str, Any]) -> list[str]:
    """From no speculation to most; modes that this code does not know come last."""
    return sorted(modes, key=lambda mode: (MODES.index(mode) if mode in MODES else len(MODES), mode))


def _table(title: str, left: list[str], right: list[str], last: list[str] | None = None) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right")
    for name in last or []:
        table.add_column(name, overflow="fold")
    return table
