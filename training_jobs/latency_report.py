"""The latency benchmark's tables in markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training_jobs.decoding_settings import DecodingSettings
from training_jobs.hardware import Hardware
from training_jobs.latency_figures import MaybeSpread, NotMeasured, PromptFigures, Spread
from training_jobs.machine_load import MachineLoad

_BASIS = {
    "reply": "the eighth audio token of each reply",
    "interleaving_ratio": "where the interleaving puts the eighth audio token (not every reply has as many)",
}
_FIGURES = {
    "prefill": "prefill_ms",
    "first text": "first_text_ms",
    "first chunk": "first_chunk_ms",
    "first sound": "first_sound_ms",
    "tokens/s": "tokens_per_second",
    "tokens/s without prefill": "decode_tokens_per_second",
    "audio s/s": "audio_seconds_per_second",
}


def latency_markdown(
    figures: PromptFigures, hardware: Hardware, decoding: DecodingSettings, load: MachineLoad
) -> str:
    """The modes at one length of prompt, briefly."""
    lines = [
        "| mode | first chunk p50 / p95 / p99 | first sound p50 | prefill p50 | tokens/s p50 / p95 | speed-up "
        "| real-time factor |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for mode in figures.modes:
        sound, rate = mode.first_sound_ms, mode.tokens_per_second
        first_sound = "–" if isinstance(sound, NotMeasured) else f"{sound.p50:.1f} ms"
        lines.append(
            f"| {mode.mode} | {_three(mode.first_chunk_ms)} ms | {first_sound} | {mode.prefill_ms.p50:.1f} ms "
            f"| {rate.p50:.0f} / {rate.p95:.0f} | {mode.speedup:.2f} x | {mode.real_time_factor:.3f} |"
        )
    question = (
        f"Prompts of {figures.prompt_tokens:,} tokens ({figures.audio_seconds:.1f} s of speech), {figures.repeats} "
        "repeats; p95 and p99 are of the slow end."
    )
    busy = f" {_capital(load.sentence())}." if load.is_busy else ""
    return "\n".join([*lines, "", f"{question} {comparable(hardware, decoding)}{busy}"])


def comparable(hardware: Hardware, decoding: DecodingSettings) -> str:
    """What it was taken on, and with what it can be compared."""
    threads = f"{hardware.threads} thread{'s' * (hardware.threads != 1)}"
    return (
        f"Taken on {hardware.gpu or hardware.cpu} ({threads}, {hardware.dtype}, torch {hardware.torch}), "
        f"{decoding.words()}, fingerprint `{decoding.fingerprint(hardware.digest)[:12]}`: comparable only with "
        "figures of the same fingerprint."
    )


def all_latencies_markdown(
    prompts: Sequence[PromptFigures],
    skipped: Mapping[int, str],
    hardware: Hardware,
    decoding: DecodingSettings,
    load: MachineLoad,
) -> str:
    """Every length of prompt, every figure, what was not measured and why, and the machine."""
    parts = [_section(figures) for figures in prompts]
    parts += [f"### Prompts of {length:,} tokens\n\nNot measured: {why}." for length, why in skipped.items()]
    parts.append(
        "Times are p50 / p95 / p99 ± interquartile range; percentiles of rates are of the slow end, and between few "
        f"repeats they are interpolated. {comparable(hardware, decoding)} {_capital(load.sentence())}."
    )
    return "\n\n".join(parts)


def _section(figures: PromptFigures) -> str:
    lines = [
        f"### Prompts of {figures.prompt_tokens:,} tokens ({figures.audio_seconds:.1f} s of speech)",
        "",
        f"{figures.repeats} repeats after {figures.warmup} of warm-up; different prompts: {figures.prompts}. First "
        f"chunk: {_BASIS[figures.first_chunk_basis]}. Memory: {figures.memory}.",
        "",
        f"- audio encoder: {_cell(figures.audio_encoder_ms, ' ms')}",
        f"- first chunk to sound: {_cell(figures.chunk_decoder_ms, ' ms')}",
        "",
        f"| mode | {' | '.join(_FIGURES)} | speed-up | speed-up without prefill | real-time factor | peak memory |",
        "|---" + "|---:" * (len(_FIGURES) + 4) + "|",
    ]
    for mode in figures.modes:
        cells = [
            _cell(getattr(mode, name), " ms" if name.endswith("_ms") else "") for name in _FIGURES.values()
        ]
        lines.append(
            f"| {mode.mode} | {' | '.join(cells)} | {mode.speedup:.2f} x | {mode.decode_speedup:.2f} x "
            f"| {mode.real_time_factor:.3f} | {mode.peak_memory_mib:,.0f} MiB |"
        )
    missing: dict[str, list[str]] = {}
    for name, reason in figures.not_measured().items():
        missing.setdefault(reason, []).append(name)
    if missing:
        lines += ["", *(f"- not measured: {', '.join(names)}: {reason}" for reason, names in missing.items())]
    return "\n".join(lines)


def _cell(value: MaybeSpread, unit: str) -> str:
    if isinstance(value, NotMeasured):
        return "–"
    return f"{_three(value)} ± {_number(value.iqr)}{unit}"


def _three(value: Spread) -> str:
    return " / ".join(_number(figure) for figure in (value.p50, value.p95, value.p99))


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
