"""What only profile and stages together can get wrong, found before any work starts instead of after the training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.interleaving import interleave
from training_jobs.imported import base_modules, is_passed_over, unknown_audio_tokens
from training_jobs.latency import FIRST_CHUNK_TOKENS
from training_jobs.nodes import nodes_of
from training_jobs.profile import Profile, check_size, position_limit
from training_jobs.spec import STAGES, Stage, StageSpec
from validation.errors import ConfigurationError

# What the last stage's model is decoded with: Balance, Boost and Turbo all take ten MCTP steps in a row (DESIGN §5).
MODULES_TO_DECODE = 10
# A spoken question of one audio token where each letter of its frame is a token, as the byte tokenizer has it.
SHORTEST_PROMPT = 22


def check_run(profile: Profile, specs: Sequence[StageSpec]) -> None:
    """Check a profile against the specs of the four stages in it.

    Raises:
        ConfigurationError: naming every stage, entry, value and what is allowed; or if the base model is not there.
    """
    check_size(profile.base_model)
    by_stage = {spec.stage: spec for spec in specs}
    assert by_stage.keys() == set(STAGES), sorted(by_stage)
    faults = [*_stage_faults(profile, by_stage), *_decoding_faults(profile, by_stage[STAGES[-1]])]
    if (unknown := unknown_audio_tokens(profile.base_model)) is not None:
        faults.append(unknown)
    if faults:
        raise ConfigurationError(f"profile {profile.name}: {'; '.join(faults)}")


def _stage_faults(profile: Profile, specs: dict[Stage, StageSpec]) -> Iterator[str]:
    positions, nodes = position_limit(profile.base_model), nodes_of().count
    for stage, spec in specs.items():
        least = nodes * (1 if spec.processes == "auto" else spec.processes)
        if least not in spec.world_sizes():
            yield (
                f"stage {stage}: batch_rows {spec.batch_rows} in micro batches of {spec.micro_batch} cannot be dealt "
                f"out evenly to processes {spec.processes} on {nodes} machines; possible are {spec.world_sizes()} ranks"
            )
        if spec.mixture not in profile.mixtures:
            yield f"stage {stage}: mixture {spec.mixture!r} is not one of {sorted(profile.mixtures)}"
        if spec.sequence_length > positions:
            yield (
                f"stage {stage}: sequence_length {spec.sequence_length} is more than the base model's {positions} "
                "positions"
            )
        if is_passed_over(profile.base_model, stage):
            continue
        start = spec.starts_from
        if start != "base_model" and is_passed_over(profile.base_model, start):
            start = "base_model"  # whose model the imported weights are in its place
        present = base_modules(profile.base_model) if start == "base_model" else specs[start].mctp_modules
        if spec.mctp_modules < present:
            yield (
                f"stage {stage}: mctp_modules {spec.mctp_modules} is less than the {present} of {start}, from which it "
                "starts: none are dropped"
            )
            if start == "base_model":
                yield "voxline import can leave modules out (--modules) or start at a later stage (--start-at)"


def _decoding_faults(profile: Profile, last: StageSpec) -> Iterator[str]:
    positions, benchmark = position_limit(profile.base_model), profile.benchmark
    if last.mctp_modules < MODULES_TO_DECODE:
        yield (
            f"stage {last.stage}: mctp_modules {last.mctp_modules} is less than the {MODULES_TO_DECODE} MCTP steps "
            "that Balance, Boost and Turbo take in a row"
        )
    shortest = benchmark.prompt_tokens[0]
    if shortest < SHORTEST_PROMPT:
        yield (
            f"benchmark.prompt_tokens {shortest} is less than the {SHORTEST_PROMPT} that a "
            "spoken question of one audio token may take"
        )
    if benchmark.new_tokens < (needed := tokens_to_first_chunk(last.ratio)):
        yield (
            f"benchmark.new_tokens {benchmark.new_tokens} is less than the {needed} after which ratio "
            f"{list(last.ratio)} has completed a chunk of {FIRST_CHUNK_TOKENS} audio tokens"
        )
    # Longer ones are left out where they do not fit, and the benchmark says so.
    if shortest + benchmark.new_tokens > positions:
        yield (
            f"benchmark.prompt_tokens {shortest} and new_tokens {benchmark.new_tokens} are together more than the "
            f"base model's {positions} positions"
        )
    if profile.evaluation.max_new_tokens >= positions:
        yield (
            f"evaluation.max_new_tokens {profile.evaluation.max_new_tokens} leaves no room for a prompt in the base "
            f"model's {positions} positions"
        )


def tokens_to_first_chunk(ratio: Sequence[int]) -> int:
    """Tokens of a long reply laid out by ``ratio`` up to its eighth audio token, markers and text included."""
    text, audio, begin, end = range(4)
    long = max(ratio) * FIRST_CHUNK_TOKENS
    reply = interleave([text] * long, [audio] * long, ratio, begin, end)
    places = [place for place, token in enumerate(reply) if token == audio]
    return places[FIRST_CHUNK_TOKENS - 1] + 1
