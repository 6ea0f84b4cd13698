"""The MCTP language model, its decoding, and audio tokenizers; torch only."""
