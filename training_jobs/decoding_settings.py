"""How the last stage's model decodes wherever it is run: one setting for evaluation, benchmark, duel and serving."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationError

from validation.digests import digest_value
from validation.errors import ConfigurationError
from validation.strict import Strict, explain


class DecodingSettings(Strict):
    """The profile's ``decoding``.

    Attributes:
        constrained: MCTP steps choose among the audio words only, whose logits are about a tenth of the full head's.
            That is faster, and costs quality wherever such a step would have said text: a mode's steps stand at fixed
            places, also in replies that are text alone. The full head is what the reference does, and the default.
        weights: what the matrices are kept in (:mod:`models.quantized`). Fewer bits are read faster and change what is
            said; ``int8`` runs on x86 CPUs with VNNI and on NVIDIA GPUs, ``int4`` on NVIDIA GPUs. ``float``, the
            default, is the type that the model was trained in.
    """

    constrained: bool = False
    weights: Literal["float", "int8", "int4"] = "float"  # models.quantized.Weights, without torch

    def words(self) -> str:
        """For people."""
        head = "MCTP steps constrained to audio words" if self.constrained else "full head in every step"
        return head if self.weights == "float" else f"{head}, {self.weights} weights"

    def fingerprint(self, hardware_digest: str) -> str:
        """SHA-256: latencies taken on that hardware are comparable where this is equal too."""
        return digest_value({"hardware": hardware_digest, "decoding": self.model_dump()})

    def tag(self) -> str:
        """As a registered version keeps it; :func:`decoding_of_tag` reads it."""
        return self.model_dump_json()


FULL_HEAD = DecodingSettings()


def decoding_of_tag(tag: str | None) -> DecodingSettings:
    """What a registered version decodes with; one that does not say it was made before there was a choice.

    Raises:
        ConfigurationError: for a tag that was changed by hand to what is no such setting.
    """
    if tag is None:
        return FULL_HEAD
    try:
        return DecodingSettings.model_validate_json(tag)
    except ValidationError as error:
        raise ConfigurationError(f"the version's tag 'decoding' is {tag!r}: {explain(error)}") from error
