"""Programs started by assets: what a failure says, and when it is ended."""

import sys
from pathlib import Path

import dagster as dg

from assets.outputs import Outputs
from assets.programs import Pipes, command_of, materialize_by_program, pipes_client
from assets.workspace import Workspace
from training_jobs.jobs import BaseModelJob
from training_jobs.launch import supervised
from training_jobs.profile import BaseModelSettings, ProgramLimits, TinyBackbone

LIMITS = ProgramLimits(grace_s=5, stall_s=60, collective_s=60)
SIZES = TinyBackbone(
    hidden_size=8,
    intermediate_size=8,
    layers=1,
    attention_heads=2,
    key_value_heads=1,
    max_position_embeddings=64,
)


def failing_asset(outputs: Outputs, said: str) -> dg.AssetsDefinition:
    """An asset whose program says something and fails."""
    code = f"import sys; print({said!r}, file=sys.stderr); sys.exit(1)"

    @dg.asset
    def failing(context: dg.AssetExecutionContext, pipes: Pipes) -> dg.MaterializeResult:
        metadata = materialize_by_program(
            context,
            pipes,
            outputs,
            "0" * 64,
            lambda _, log: supervised([sys.executable, "-c", code], log, LIMITS, quiet=True),
            lambda directory: BaseModelJob(
                settings=BaseModelSettings(make=SIZES), audio_codes=2, seed=0, output_dir=directory
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return failing


def failure_of(outputs: Outputs, said: str) -> str:
    result = dg.materialize(
        [failing_asset(outputs, said)],
        resources={"pipes": dg.PipesSubprocessClient()},
        raise_on_error=False,
    )
    (event,) = (event for event in result.all_events if event.is_step_failure)
    cause = event.step_failure_data.user_failure_data
    assert cause is not None and cause.description is not None
    return str(cause.description)


def test_a_failure_says_what_its_own_program_said_last(tmp_path: Path) -> None:
    """Both failures write to the same log: the second must not show the first one's words."""
    outputs = Outputs(tmp_path)
    first, second = failure_of(outputs, "no such file"), failure_of(outputs, "out of memory")
    assert first.splitlines()[1:] == ["no such file"]
    assert second.splitlines()[1:] == ["out of memory"]
    assert second.startswith("failing: the program ended with code 1 after ")


def test_programs_are_started_with_the_profiles_limits(tmp_path: Path) -> None:
    workspace = Workspace(home=str(tmp_path), profile_name="7b", quiet_programs=True)
    command = command_of(workspace, "pack")(tmp_path / "job.json", tmp_path / "log.txt")
    options = command[: command.index("--")]
    assert options[options.index("--grace") + 1] == f"{workspace.profile.limits.grace_s:g}"
    assert options[options.index("--stall") + 1] == f"{workspace.profile.limits.stall_s:g}"
    assert pipes_client(workspace).termination_timeout_seconds > workspace.profile.limits.grace_s
    assert command[-2:] == ["training_jobs.pack", str(tmp_path / "job.json")]
