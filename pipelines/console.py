"""What a terminal sees of a run: a line when a step starts, its program's own progress, a line when it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import dagster as dg
from dagster import DagsterEventType, EventLogEntry
from rich.console import Console

from pipelines.shown import escape

# Dagster says of every step below a failed one why it was not run; the failure itself says enough.
_NOISE = ("Dependencies for step", "[pipes]")


def was_made(metadata: Mapping[str, Any]) -> bool:
    """Whether a materialisation's metadata say that something was made; those that do not say it were."""
    for key in ("recomputed", "recomputed_corpora"):
        if key in metadata:
            return bool(metadata[key].value)
    return True


@contextmanager
def shown_live(
    instance: dg.DagsterInstance, run_id: str, show: Callable[[EventLogEntry], None]
) -> Iterator[None]:
    """Show each event of a run that this process executes in the block; at its end all have been shown.

    A thread shows them, so that neither a terminal that stands still nor one that is gone holds up the run.
    """
    events: SimpleQueue[EventLogEntry | None] = SimpleQueue()

    def show_all() -> None:
        while (entry := events.get()) is not None:
            show(entry)

    thread = threading.Thread(target=show_all, name="progress", daemon=True)
    # Dagster's own watch reads the log's file anew at each change of it: a quarter of a run's connections to SQLite.
    instance.add_event_listener(run_id, events.put)
    thread.start()
    try:
        yield
    finally:
        events.put(None)
        thread.join()


class RunProgress:
    """Turns the events of one run into lines.

    Args:
        steps: of the whole run.
        holders: from a pool's name to the runs that have their place in it.
    """

    def __init__(self, console: Console, steps: int, holders: Callable[[str], list[str]]) -> None:
        self._console = console
        self._steps = steps
        self._holders = holders
        self._done = 0
        self._started: dict[str, float] = {}
        self._made: dict[str, bool] = {}

    def __call__(self, entry: EventLogEntry) -> None:
        """Show an event of the run; called for each, in their order."""
        event = entry.dagster_event
        if event is None:
            self._show_words(entry)
            return
        step = event.step_key or ""
        if event.event_type == DagsterEventType.STEP_START:
            self._started[step] = time.monotonic()
            self._console.print(
                f"[bold]> {step}[/bold]  ({self._done + 1} of {self._steps})", highlight=False
            )
        elif event.event_type == DagsterEventType.ENGINE_EVENT:
            self._note_waiting(step, event)
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            metadata = event.step_materialization_data.materialization.metadata
            self._made[step] = self._made.get(step, False) or was_made(metadata)
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                words = escape(f"check {check.check_name} failed: {check.description}")
                self._console.print(f"    {words}", style="red", highlight=False)
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            self._end(step)
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            self._done += 1
            self._console.print(f"  failed: {step}", style="bold red", highlight=False)
        elif event.event_type == DagsterEventType.STEP_SKIPPED:
            self._done += 1
            self._console.print(f"  skipped: {step} (what it needs failed)", style="yellow", highlight=False)

    def _show_words(self, entry: EventLogEntry) -> None:
        level = int(entry.level)
        if level >= logging.INFO and entry.user_message and not entry.user_message.startswith(_NOISE):
            style = "dim" if level < logging.WARNING else "yellow"
            self._console.print(
                f"    {escape(entry.user_message)}", style=style, highlight=False, soft_wrap=True
            )

    def _note_waiting(self, step: str, event: dg.DagsterEvent) -> None:
        pool = event.engine_event_data.metadata.get("pool")
        if pool is None:
            return
        name = str(pool.value)
        holders = ", ".join(self._holders(name)) or "nobody: its limit is 0"
        self._console.print(
            f"  {step}: waiting for pool {name}, held by {holders}", style="yellow", highlight=False
        )

    def _end(self, step: str) -> None:
        self._done += 1
        seconds = time.monotonic() - self._started.get(step, time.monotonic())
        state = "done" if self._made.get(step, True) else "up to date, nothing recomputed"
        self._console.print(f"  [green]{state}[/green] in {seconds:.1f} s", highlight=False)
