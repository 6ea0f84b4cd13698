"""What a training row is for; apart from the table contracts, so that a training rank need not load pandera."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["asr", "tts", "conversation", "text"]
TASKS: tuple[Task, ...] = get_args(Task)
