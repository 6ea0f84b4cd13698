"""The model card of an exported checkpoint: what it is, what it was trained on, under which terms, how good it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from training_jobs.export_weights import ARCHITECTURE, Exported
from training_jobs.imported import AUDIO_TOKENIZER_DIR, RANDOM_WEIGHTS, UNKNOWN
from training_jobs.trained_on import CorpusShare, TrainedStage


@dataclass(frozen=True)
class CardFacts:
    """All that a card says.

    Attributes:
        name: of the model: its registered version, or its stage.
        stages: that were trained, the first one first; the base model in front.
        forgotten: requests to forget rows that the weights have seen.
        evaluation: ``result.json`` of the evaluation of these very weights, where there is one.
        latency: the same of the latency benchmark.
        digests: name to digest, of model, data and audio tokenizer.
        tokenizer_kind: of the audio tokenizer; ``None`` where it is not known.
    """

    name: str
    exported: Exported
    stages: Sequence[TrainedStage]
    shares: Sequence[CorpusShare]
    forgotten: Sequence[str] = ()
    evaluation: Mapping[str, Any] | None = None
    latency: Mapping[str, Any] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    tokenizer_kind: str | None = None


def model_card(facts: CardFacts) -> str:
    """The card, as Markdown with a YAML header that Hugging Face's hub reads."""
    return (
        "\n".join([*_header(facts), *_what(facts), *_data(facts), *_figures(facts), *_digests(facts)]) + "\n"
    )


def _header(facts: CardFacts) -> Iterator[str]:
    data = sorted({licence for share in facts.shares for licence in share.licences})
    header = {
        "library_name": "transformers",
        "tags": ["speech", "speech-language-model", "vita-audio", "mctp"],
        # The terms of weights are their owner's to choose; these are the ones that they rest on.
        "license": "other",
        "license_name": f"base model {_base_licence(facts)}; data {', '.join(data) or 'none'}",
    }
    yield "---"
    yield yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip()
    yield "---"


def _what(facts: CardFacts) -> Iterator[str]:
    exported, base = facts.exported, facts.stages[0].result if facts.stages else {}
    trained = [stage.name for stage in facts.stages if stage.packs_dir is not None]
    yield f"\n# {facts.name}\n"
    yield (
        f"A Qwen2 language model with {exported.modules} MCTP modules that reads and writes text and audio tokens, "
        f"in VITA-Audio's format (`{ARCHITECTURE}`), made by voxline.\n"
    )
    # The directory's name, not where it lay: a card is published.
    yield f"- Base model: {Path(base.get('source', UNKNOWN)).name}; licence: {_base_licence(facts)}"
    yield f"- Trained stages: {', '.join(trained) or 'none'}"
    yield (
        f"- Decode schedule `mtp_inference_mode`: {list(exported.schedule)}, backbone and MCTP steps in turn; "
        "greedy, without a penalty of repetition"
    )
    yield (
        "- Class: its code lies beside the weights (`trust_remote_code=True`)"
        if exported.has_code
        else "- Class: its code is not beside the weights: `import vita_audio.models.qwen2_mtp_v4_48_3` (upstream) or "
        "`import models.mctp` (voxline) before `AutoModelForCausalLM` is used"
    )
    yield f"- Audio tokens: {exported.audio_codes:,}, of the tokenizer kind `{facts.tokenizer_kind or UNKNOWN}`"
    if facts.tokenizer_kind is not None and facts.tokenizer_kind != "glm4voice":
        yield (
            f"- **These are not GLM-4-Voice's tokens.** Speech goes in and out through `{AUDIO_TOKENIZER_DIR}/` with "
            "voxline; upstream's scripts load the model and its text, but their tokenizer and decoder are another's"
        )


def _data(facts: CardFacts) -> Iterator[str]:
    yield "\n## Training data\n"
    if not facts.shares:
        yield "Nothing was trained here, or what was is no longer listed."
    else:
        yield "| corpus | licences | rows | hours | packed samples | tokens |"
        yield "|---|---|---:|---:|---:|---:|"
        for share in facts.shares:
            hours = f"{share.hours:,.2f}" + (
                f" ({share.unknown_rows:,} rows unknown)" if share.unknown_rows else ""
            )
            terms = ", ".join(share.licences) or UNKNOWN
            yield (
                f"| {_cell(share.corpus)} | {_cell(terms)} | {share.rows:,} | {hours} | {share.samples:,} | "
                f"{share.tokens:,} |"
            )
        yield "\nRows count once, samples as often as they or variants of them were packed; hours are the rows'."
    if facts.forgotten:
        yield (
            f"\n**{len(facts.forgotten)} requests to forget came after the training**; the weights have seen those "
            f"rows, which are not listed: {', '.join(request[:16] for request in facts.forgotten)}."
        )


def _figures(facts: CardFacts) -> Iterator[str]:
    yield "\n## Figures\n"
    if facts.evaluation is None and facts.latency is None:
        yield "These weights were not evaluated."
        return
    for name, result, key in (
        ("Held-out rows", facts.evaluation, "scores_markdown"),
        ("Latency", facts.latency, "latency_markdown"),
    ):
        if result is not None:
            yield f"### {name}\n\n{result[key]}\n"
    if facts.latency is not None:
        machine = facts.latency["hardware"]
        yield f"Measured on {machine['gpu'] or machine['cpu']} in {machine['dtype']}."


def _digests(facts: CardFacts) -> Iterator[str]:
    yield "\n## Digests (SHA-256)\n"
    for name, digest in {**facts.digests, **facts.exported.weights}.items():
        yield f"- {name}: `{digest}`"


def _base_licence(facts: CardFacts) -> str:
    base = facts.stages[0].result if facts.stages else {}
    return "none" if base.get("source") == RANDOM_WEIGHTS else str(base.get("licence", UNKNOWN))


def _cell(text: str) -> str:
    """What corpora say, without what would end a cell of the table."""
    return text.replace("|", "\\|").replace("\n", " ")
