"""Program ``base_model``: what training starts from, its vocabulary extended by the audio tokens.

Output: ``<output_dir>/model/``. ``tiny`` makes a Qwen2 directory with random weights and a byte-level tokenizer first;
from there on its path is that of the published model. MCTP modules that the published model has are kept.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from models import (
    extend_model,
    extend_text_tokenizer,
    load_text_tokenizer,
    make_byte_tokenizer,
    save_model,
)
from models.checkpoints import read_config
from models.quiet import quiet_transformers
from training_jobs.imported import RANDOM_WEIGHTS, UNKNOWN, read_imported
from training_jobs.jobs import BaseModelJob, write_result
from training_jobs.model_licence import stated_licence
from training_jobs.profile import TinyBackbone, base_model_directory
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from validation.atomic import replacing_directory
from validation.digests import digest_directory


def main() -> None:
    """``python -m training_jobs.base_model JOB.json``."""
    with quiet_transformers():
        program_main(BaseModelJob, run)


def run(job: BaseModelJob, report: Reporter) -> None:
    """Make or load the model, extend vocabulary and tokenizer, write both.

    Raises:
        validation.errors.ConfigurationError: if the base model's directory is not there.
        models.errors.CheckpointError: if it does not hold a Qwen2 or MCTP model.
        models.errors.ModelError: if its tokenizer has other audio tokens than the profile's.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_made(job.output_dir)) as folder:
        if job.settings.make is not None:
            source = make_tiny(job.settings.make, Path(folder), job.seed)
        else:
            source = base_model_directory(job.settings)
        tokenizer = load_text_tokenizer(source)
        known = len(tokenizer)
        tokenizer = extend_text_tokenizer(tokenizer, job.audio_codes)
        model = extend_model(
            source,
            modules=read_config(source).num_nextn_predict_layers,
            vocabulary_size=len(tokenizer),
            seed=job.seed,
            text_vocabulary=known,
        )
    with replacing_directory(job.output_dir / "model") as working:
        save_model(model, working)
        tokenizer.save_pretrained(working)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    write_result(
        job.output_dir,
        {
            "parameters": parameters,
            "layers": model.config.num_hidden_layers,
            "mctp_modules": model.config.num_nextn_predict_layers,
            "hidden_size": model.config.hidden_size,
            "text_vocabulary": len(tokenizer) - job.audio_codes,
            "audio_codes": job.audio_codes,
            "vocabulary_size": model.config.vocab_size,
            "model_digest": digest_directory(job.output_dir / "model"),
            **_origin(job, source),
            "seconds": round(time.monotonic() - started, 2),
        },
    )
    report.log(f"base model: {parameters:,} parameters, vocabulary {model.config.vocab_size:,}")


def make_tiny(sizes: TinyBackbone, directory: Path, seed: int) -> Path:
    """Write a Qwen2 directory with random weights and the byte-level tokenizer."""
    tokenizer = make_byte_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.attention_heads,
        num_key_value_heads=sizes.key_value_heads,
        max_position_embeddings=sizes.max_position_embeddings,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        Qwen2ForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def _origin(job: BaseModelJob, source: Path) -> dict[str, str]:
    if job.settings.make is not None:
        return {"source": RANDOM_WEIGHTS}
    imported = read_imported(source)
    if imported is not None:
        return {"source": imported.source, "licence": imported.licence, "imported_digest": imported.digest}
    return {"source": str(source), "licence": stated_licence(source) or UNKNOWN}


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


if __name__ == "__main__":
    main()
