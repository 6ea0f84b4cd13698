"""Generate again and again, mostly left in the middle, and print what is left: ``python -m many_generations COUNT``.

Three numbers: how far the peak of memory rose (KiB), how many more tensors, and how many decoders there are.
"""

from __future__ import annotations

import gc
import resource
import sys
from itertools import cycle

import torch

from models import AudioWords, Engine, MctpConfig, MctpForCausalLM
from models.decoding import Decoder

SCHEDULES = ([1, 0], [1, 3], [1, 1, 2, 3, 1, 0], [2, 2])
SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 128}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
WARM_UP = 100  # until what is kept once is there


def main() -> None:
    """A small model, decoded ``COUNT`` times."""
    torch.set_num_threads(1)
    config = MctpConfig(**SIZES, **HEADS, num_hidden_layers=5, num_nextn_predict_layers=3)
    engine = Engine(MctpForCausalLM(config), audio_words=AudioWords(first=30, count=12, others=(2,)))
    schedules = cycle(SCHEDULES)

    def some(count: int) -> None:
        for number in range(count):
            tokens = engine.stream([1] * (1 + number % 40), next(schedules), 12, constrained=bool(number % 2))
            for _ in range(1 + number % 12):
                next(tokens)

    some(WARM_UP)
    peak_kib, tensors = _peak_kib(), _count(torch.Tensor)
    some(int(sys.argv[1]))
    sys.stdout.write(f"{_peak_kib() - peak_kib} {_count(torch.Tensor) - tensors} {_count(Decoder)}\n")


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _count(kind: type) -> int:
    gc.collect()
    return sum(issubclass(type(thing), kind) for thing in gc.get_objects())


if __name__ == "__main__":
    main()
