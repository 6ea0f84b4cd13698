"""What a training row is for; apart from the table contracts, so that a training rank need not load pandera."""

from __future__ import annotations

from typing import Literal, get_args

RowTask = Literal["asr", "tts", "conversation", "text"]
ROW_TASKS: tuple[RowTask, ...] = get_args(RowTask)

# What an utterance is for: ``audio`` is what a tokenizer is trained from, ``noise`` what is mixed into others; neither
# becomes a training row.
Task = Literal[RowTask, "audio", "noise"]
NOISE: Task = "noise"
TASKS: tuple[Task, ...] = get_args(Task)
# Of rows that need no text.
WITHOUT_TEXT: tuple[tuple[Task, ...], ...] = (("audio",), (NOISE,))
