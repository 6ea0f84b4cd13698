"""What a terminal sees of a run: a line when a step starts, its program's own progress, a line when it ends."""

from __future__ import annotations

import logging
import time

import dagster as dg
from dagster import DagsterEventType, EventLogEntry
from rich.console import Console
from rich.markup import escape

# Dagster says of every step below a failed one why it was not run; the failure itself says enough.
_NOISE = ("Dependencies for step", "[pipes]")


class RunProgress:
    """Turns the events of one run into lines."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._done = 0
        self._started: dict[str, float] = {}
        self._recomputed: dict[str, bool] = {}
        self.recomputed_steps: list[str] = []
        self.current_steps: list[str] = []

    def __call__(self, entry: EventLogEntry, _cursor: str) -> None:
        """Called by the Dagster instance for every event of the run."""
        event = entry.dagster_event
        if event is None:
            level = int(entry.level)
            if level >= logging.INFO and entry.user_message and not entry.user_message.startswith(_NOISE):
                style = "dim" if level < logging.WARNING else "yellow"
                self._console.print(
                    f"    {escape(entry.user_message)}", style=style, highlight=False, soft_wrap=True
                )
            return
        step = event.step_key or ""
        if event.event_type == DagsterEventType.STEP_START:
            self._started[step] = time.monotonic()
            self._console.print(
                f"[bold]> {step}[/bold]  ({self._done + 1} of {self._steps})", highlight=False
            )
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            self._note_materialization(step, event)
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                self._console.print(f"    check {check.check_name} failed: {check.description}", style="red")
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            self._end(step)
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            self._done += 1
            self._console.print(f"  failed: {step}", style="bold red", highlight=False)
        elif event.event_type == DagsterEventType.STEP_SKIPPED:
            self._done += 1
            self._console.print(f"  skipped: {step} (what it needs failed)", style="yellow", highlight=False)

    def _note_materialization(self, step: str, event: dg.DagsterEvent) -> None:
        metadata = event.step_materialization_data.materialization.metadata
        if "recomputed" in metadata:
            made = bool(metadata["recomputed"].value)
        elif "recomputed_corpora" in metadata:
            made = bool(metadata["recomputed_corpora"].value)
        else:
            return
        self._recomputed[step] = self._recomputed.get(step, False) or made

    def _end(self, step: str) -> None:
        self._done += 1
        seconds = time.monotonic() - self._started.get(step, time.monotonic())
        made = self._recomputed.get(step, True)
        (self.recomputed_steps if made else self.current_steps).append(step)
        state = "done" if made else "up to date, nothing recomputed"
        self._console.print(f"  [green]{state}[/green] in {seconds:.1f} s", highlight=False)
