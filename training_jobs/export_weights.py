"""Writes a checkpoint as a directory that upstream's code reads, and any program with transformers 4.48 or later.

Weights are copied byte for byte. What transformers 5 writes in other words than upstream's transformers 4 reads is
written in the older ones; the decode schedule goes into ``generation_config.json``, where upstream looks for it.
"""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.published import MCTP, expected_tensors, modules_of
from models.tensor_files import INDEX_FILE, read_json, stored_tensors
from training_jobs.imported import AUDIO_TOKENIZER_DIR
from training_jobs.text_vocabulary import TOKENIZER_FILE, vocabulary_of
from validation.digests import digest_stream
from validation.errors import UserError

ARCHITECTURE, CONFIGURATION = "Qwen2MTPForCausalLM", "Qwen2MTPConfig"
# Upstream's own code beside its published weights: file to the class that transformers is to load from it.
CODE = {"configuration_qwen2.py": CONFIGURATION, "modeling_qwen2.py": ARCHITECTURE}
CARD_FILE = "README.md"
# As training rows are framed (DESIGN §4), without the system message that Qwen's own template puts in front.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_END_OF_TURN, _END_OF_TEXT = "<|im_end|>", "<|endoftext|>"
_SLOW_CLASSES = ("Qwen2Tokenizer", "Qwen2TokenizerFast")
# Of a tokenizer_config.json of transformers 5: what 4 does not know, or knows by another name.
_NEW_KEYS = ("backend", "extra_special_tokens", "is_local", "local_files_only")


class ExportError(UserError):
    """A directory that cannot be written, or code that is not upstream's; names it and what is allowed."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        modules: MCTP modules.
        schedule: backbone and MCTP steps in turn, as ``generation_config.json`` has them.
        has_code: whether upstream's code lies beside the weights.
        weights: SHA-256 of each file of weights.
        audio_codes: audio tokens of the text tokenizer.
    """

    directory: Path
    modules: int
    schedule: tuple[int, ...]
    has_code: bool
    weights: dict[str, str]
    audio_codes: int


def export_weights(
    model_dir: Path,
    target: Path,
    ratio: Sequence[int],
    code_from: Path | None = None,
    tokenizer_dir: Path | None = None,
) -> Exported:
    """Write ``target``, all but its card; whoever needs it atomic gives a temporary directory.

    Args:
        model_dir: a stage's ``model/``: weights, configuration, text tokenizer.
        target: an empty directory.
        ratio: of the interleaving that the model was trained with; decoding follows it.
        code_from: holds upstream's ``configuration_qwen2.py`` and ``modeling_qwen2.py``, which are copied.
        tokenizer_dir: the audio tokenizer, copied to ``audio_tokenizer/``.

    Raises:
        ExportError: if ``code_from`` is not upstream's code.
        models.errors.CheckpointError: if ``model_dir`` holds no whole checkpoint.
        training_jobs.text_vocabulary.VocabularyError: if its text tokenizer cannot be used.
    """
    config, vocabulary = read_json(model_dir / "config.json"), vocabulary_of(model_dir)
    code = {} if code_from is None else _code_files(code_from)
    tensors = stored_tensors(model_dir)
    if missing := sorted(expected_tensors(config).keys() - tensors.keys()):
        raise ExportError(f"{model_dir}: {missing[0]} and maybe more missing from its weights")
    weights: dict[str, str] = {}
    for path in sorted({tensor.file for tensor in tensors.values()}):
        shutil.copyfile(path, target / path.name)
        with (target / path.name).open("rb") as stream:
            weights[path.name] = digest_stream(stream)
    if (model_dir / INDEX_FILE).is_file():
        shutil.copyfile(model_dir / INDEX_FILE, target / INDEX_FILE)
    ids = _control_ids(model_dir)
    modules = modules_of(config)
    schedule = decode_schedule(ratio, modules)
    _write(target / "config.json", _configuration(config, ids, has_code=bool(code)))
    _write(target / "generation_config.json", _generation(ids, schedule))
    shutil.copyfile(model_dir / TOKENIZER_FILE, target / TOKENIZER_FILE)
    _write(target / "tokenizer_config.json", _tokenizer(read_json(model_dir / "tokenizer_config.json")))
    for name, path in code.items():
        shutil.copyfile(path, target / name)
    if tokenizer_dir is not None:
        shutil.copytree(tokenizer_dir, target / AUDIO_TOKENIZER_DIR)
    return Exported(target, modules, schedule, bool(code), weights, vocabulary.audio_codes)


def decode_schedule(ratio: Sequence[int], modules: int) -> tuple[int, ...]:
    """The interleaving's ratio as (backbone, MCTP) steps, with no more MCTP steps in a row than there are modules."""
    if modules == 0:
        return (1, 0)
    return tuple(min(count, modules) if place % 2 else count for place, count in enumerate(ratio))


def _configuration(config: Mapping[str, Any], ids: Mapping[str, int], has_code: bool) -> dict[str, Any]:
    values = {
        **config,
        "model_type": MCTP,
        "architectures": [ARCHITECTURE],
        "num_nextn_predict_layers": modules_of(config),
        "torch_dtype": config.get("torch_dtype") or config.get("dtype"),
        "bos_token_id": ids[_END_OF_TEXT],
        "eos_token_id": ids[_END_OF_TURN],
        "use_cache": True,
    }
    # Newer names of what stands there under the older ones; transformers 4 would keep them as they are.
    for name in ("auto_map", "dtype", "rope_parameters", "layer_types"):
        values.pop(name, None)
    if has_code:
        values["auto_map"] = {
            "AutoConfig": f"configuration_qwen2.{CONFIGURATION}",
            "AutoModelForCausalLM": f"modeling_qwen2.{ARCHITECTURE}",
        }
    return values


def _generation(ids: Mapping[str, int], schedule: Sequence[int]) -> dict[str, Any]:
    return {
        "bos_token_id": ids[_END_OF_TEXT],
        "do_sample": False,
        "eos_token_id": [ids[_END_OF_TURN], ids[_END_OF_TEXT]],
        "mtp_inference_mode": list(schedule),
        "pad_token_id": ids[_END_OF_TEXT],
    }


def _tokenizer(config: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in config.items() if key not in _NEW_KEYS}
    special = config.get("extra_special_tokens")
    if isinstance(special, list):
        values["additional_special_tokens"] = special
    is_qwens = config.get("tokenizer_class") in _SLOW_CLASSES
    values["tokenizer_class"] = "Qwen2Tokenizer" if is_qwens else "PreTrainedTokenizerFast"
    values["chat_template"] = CHAT_TEMPLATE
    return values


def _control_ids(model_dir: Path) -> dict[str, int]:
    added = read_json(model_dir / TOKENIZER_FILE)["added_tokens"]
    ids = {token["content"]: int(token["id"]) for token in added}
    if _END_OF_TEXT not in ids or _END_OF_TURN not in ids:
        raise ExportError(f"{model_dir / TOKENIZER_FILE} lacks {_END_OF_TEXT} or {_END_OF_TURN}")
    return ids


def _code_files(folder: Path) -> dict[str, Path]:
    """Upstream's two files, and those beside them that they import; read, never run."""
    files: dict[str, Path] = {}
    for name, wanted in CODE.items():
        path = folder / name
        if not path.is_file():
            raise ExportError(f"--code-from {folder} has no {name}; upstream's published weights have it")
        tree = _parsed(path)
        classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        if wanted not in classes:
            raise ExportError(f"--code-from: {path} has no class {wanted}; it has {classes[:5]}")
        files[name] = path
    waiting = list(files.values())
    while waiting:
        for name in _neighbours(_parsed(waiting.pop())):
            path = folder / f"{name}.py"
            if not path.is_file():
                raise ExportError(f"--code-from {folder}: its code imports .{name}, which is not there")
            if path.name not in files:
                files[path.name] = path
                waiting.append(path)
    return files


def _neighbours(tree: ast.Module) -> Iterator[str]:
    """Modules of the same folder that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (name.partition(".")[0] for name in names)


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise ExportError(f"--code-from: {path} is no Python: {error}") from error


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
