"""What of the profile says how latency is measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from validation.strict import Strict


class BenchmarkSettings(Strict):
    """How latency is measured."""

    prompt_tokens: list[Annotated[int, Field(gt=0)]] = Field(
        min_length=1,
        description="ascending; a length that with new_tokens exceeds the model's positions is left out",
    )
    new_tokens: int = Field(gt=0)
    repeats: list[Annotated[int, Field(gt=1)]] = Field(description="one for each length")
    warmup: int = Field(gt=0, description="repeats of each length before those that count")

    @model_validator(mode="after")
    def _a_count_for_each_length(self) -> BenchmarkSettings:
        if self.prompt_tokens != sorted(set(self.prompt_tokens)):
            raise ValueError(f"prompt_tokens {self.prompt_tokens} must ascend")
        if len(self.repeats) != len(self.prompt_tokens):
            raise ValueError(
                f"repeats {self.repeats} has {len(self.repeats)} counts for the {len(self.prompt_tokens)} lengths of "
                f"prompt_tokens {self.prompt_tokens}"
            )
        return self
