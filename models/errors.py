"""The base of the models' errors that a user can mend."""


class ModelError(ValueError):
    """Weights, a configuration or a tokenizer that cannot be used as they are."""


class CheckpointError(ModelError):
    """A directory that does not hold the checkpoint it should; names the directory and what is wrong."""
