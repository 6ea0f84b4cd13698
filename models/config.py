"""Configuration of a Qwen2 backbone with MCTP modules, under upstream's keys."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, Qwen2Config

from models.errors import ModelError

UPSTREAM_ARCHITECTURE = "Qwen2MTPForCausalLM"


class MctpConfig(Qwen2Config):
    """A ``Qwen2Config`` whose ``num_hidden_layers`` counts backbone layers and MCTP modules together.

    The last ``num_nextn_predict_layers`` layers belong to the modules, one layer each; ``mtp_loss_weight`` scales
    the mean of the modules' losses. ``reference_boundaries`` lets labels cross the boundaries of packed samples as
    upstream's do, to compare with it; it belongs to a training run and is not written to ``config.json``.

    Raises:
        ModelError: if no layer is left for the backbone, or the configuration asks for sliding-window attention,
            which the modules' caches do not have.
    """

    model_type = "qwen2_mtp"

    num_nextn_predict_layers: int = 0
    mtp_loss_weight: float = 1.0
    reference_boundaries: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not 0 <= self.num_nextn_predict_layers < self.num_hidden_layers:
            raise ModelError(
                f"num_nextn_predict_layers is {self.num_nextn_predict_layers}, but must be at least 0 and less than "
                f"num_hidden_layers, which counts the modules too and is {self.num_hidden_layers}"
            )
        if self.use_sliding_window:
            raise ModelError("use_sliding_window is true; this model has full attention only")

    @property
    def backbone_layers(self) -> int:
        """Layers below the MCTP modules; also the index of the first module's layer."""
        return int(self.num_hidden_layers - self.num_nextn_predict_layers)

    def to_dict(self) -> dict[str, Any]:
        """As the base class, under the names that upstream reads: it runs on transformers 4."""
        values: dict[str, Any] = super().to_dict()
        values.pop("reference_boundaries", None)
        values["architectures"] = [UPSTREAM_ARCHITECTURE]
        values["torch_dtype"] = values.get("dtype")
        # It names code that lies beside the checkpoint that was read, and not beside the one that is written.
        values.pop("auto_map", None)
        # Without these two keys transformers 4 falls back on a theta of 10,000.
        rope = dict(values["rope_parameters"])
        values["rope_theta"] = rope.pop("rope_theta")
        values["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
        return values


AutoConfig.register(MctpConfig.model_type, MctpConfig)
