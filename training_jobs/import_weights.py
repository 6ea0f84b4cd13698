"""Takes published weights into a home: checked whole, copied, and known by their digest from then on.

Nothing is computed: configuration, tensors' names and shapes (from the files' headers) and tokenizer are looked at, and
bytes are copied, so that this needs no torch and little memory however large the model is.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.published import expected_tensors, modules_of, unsupported, with_modules
from models.tensor_files import (
    INDEX_FILE,
    StoredTensor,
    copy_tensors,
    read_json,
    stored_tensors,
)
from models.tokenizers import load_audio_tokenizer
from training_jobs.imported import (
    AUDIO_TOKENIZER_DIR,
    IMPORTED_FILE,
    UNKNOWN,
    WEIGHTS_DIR,
    Imported,
    read_imported,
)
from training_jobs.model_licence import stated_licence
from training_jobs.spec import STAGES, Stage, load_stage
from training_jobs.text_vocabulary import vocabulary_of
from validation.atomic import write_text
from validation.digests import digest_stream, digest_value
from validation.errors import UserError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Of a published directory: configuration, tokenizer, weights, their card and terms, and upstream's own code.
_KEPT = (".json", ".jinja", ".md", ".model", ".py", ".safetensors", ".txt")
_TERMS = ("license", "licence", "notice")
_TYPES = ("BF16", "F16", "F32")  # a model of integers was quantised, and cannot be trained
_SHOWN = 3
_BLOCK = 1 << 20


class WeightsImportError(UserError):
    """Weights that cannot be imported; names the directory, what was found and what is allowed."""


def import_weights(
    source: Path,
    home: Path,
    name: str,
    modules: int | None = None,
    start_at: Stage | None = None,
    licence: str | None = None,
    audio_tokenizer: Path | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Imported:
    """Copy the checkpoint in ``source`` to ``<home>/weights/<name>/``, with ``imported.json`` beside it.

    Args:
        source: a directory of Qwen2.5, VITA-Audio-Boost or -Balance, or one that ``voxline export`` wrote.
        modules: how many MCTP modules to keep, from the first; ``None``: all.
        start_at: the first stage to train; needed where modules are kept, since the stages before it have fewer.
        licence: of the weights, where their card does not state it.
        audio_tokenizer: directory of the one that made the tokens which the weights know; ``None``: the one beside
            them, as ``voxline export`` lays it there, if there is one.
        log: takes a line per file.

    Raises:
        WeightsImportError: for a name that cannot be, a start that is missing or that the modules do not fit, tensors
            that are or that are not there, a tokenizer of other audio tokens, another import under this name, or no
            room.
        training_jobs.text_vocabulary.VocabularyError: if its text tokenizer cannot be used.
        models.errors.CheckpointError: if it is not a checkpoint of these kinds, or not whole.
        models.tokenizers.interface.TokenizerError: if ``audio_tokenizer`` is none.
    """
    if not _NAME.fullmatch(name):
        raise WeightsImportError(
            f"--as {name!r}: wanted are up to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
        )
    if not source.is_dir():
        raise WeightsImportError(
            f"{source} is {'a file' if source.exists() else 'not there'}; wanted is a directory"
        )
    config = read_json(source / "config.json") if (source / "config.json").is_file() else None
    if config is None:
        raise WeightsImportError(f"{source} holds no checkpoint: it has no config.json")
    if fault := unsupported(config):
        raise WeightsImportError(f"{source / 'config.json'}: {fault}")
    kept = _modules_to_keep(source, config, modules)
    start = _start(source, kept, start_at)
    tensors = stored_tensors(source)
    expected = expected_tensors(config)
    _compare(source, tensors, expected, config)
    vocabulary = vocabulary_of(source)
    if start != STAGES[0] and not vocabulary.audio_codes:
        raise WeightsImportError(
            f"--start-at {start}: {source} has no audio tokens; {STAGES[0]} teaches them"
        )
    if vocabulary.tokens > int(config["vocab_size"]):
        raise WeightsImportError(
            f"{source}: its tokenizer has {vocabulary.tokens} tokens, but the embedding {config['vocab_size']} rows"
        )
    tokenizer = _audio_tokenizer(source, audio_tokenizer, vocabulary.audio_codes)
    smaller = with_modules(config, kept) if kept != modules_of(config) else config
    wanted = {place: tensors[place] for place in expected_tensors(smaller)}
    target = home / WEIGHTS_DIR / name
    present = read_imported(target)
    if present is None and target.exists():
        raise WeightsImportError(f"{target} is there already, and no import: give another name, or remove it")
    _require_room(target, sum(tensor.size for tensor in wanted.values()))
    working = target.with_name(f".{name}")
    shutil.rmtree(working, ignore_errors=True)  # what a killed import left
    working.mkdir(parents=True)
    try:
        files = dict(_write(source, working, smaller, wanted, log))
        if tokenizer is not None:
            files |= _copy_tokenizer(tokenizer[0], working / AUDIO_TOKENIZER_DIR)
        imported = Imported(
            name=name,
            source=str(source.resolve()),
            kind=str(config["model_type"]),
            modules=kept,
            modules_left_out=modules_of(config) - kept,
            start_at=start,
            parameters=sum(math.prod(tensor.shape) for tensor in wanted.values()),
            hidden_size=int(config["hidden_size"]),
            vocabulary_rows=int(config["vocab_size"]),
            tokens=vocabulary.tokens,
            audio_codes=vocabulary.audio_codes,
            audio_tokenizer=None if tokenizer is None else tokenizer[1],
            licence=licence or stated_licence(source) or UNKNOWN,
            digest=digest_value(sorted(files.items())),
            files=files,
        )
        if present is not None and present.digest != imported.digest:
            raise WeightsImportError(
                f"{target} holds other weights already, from {present.source} (digest {present.digest[:16]}, these "
                f"have {imported.digest[:16]}): give another name, or remove the directory"
            )
        if present is None:
            write_text(working / IMPORTED_FILE, imported.model_dump_json(indent=1))
            working.replace(target)
        else:  # the same weights: somebody may be reading them
            write_text(target / IMPORTED_FILE, imported.model_dump_json(indent=1))
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return imported


def _modules_to_keep(source: Path, config: Mapping[str, Any], asked: int | None) -> int:
    present = modules_of(config)
    if asked is not None and not 0 <= asked <= present:
        raise WeightsImportError(
            f"--modules {asked}: {source} has {present} MCTP modules; wanted are 0 to {present}"
        )
    return present if asked is None else asked


def _start(source: Path, modules: int, asked: Stage | None) -> Stage:
    """The first stage to train: one that has room for the modules, and after those that would have made them."""
    own = {stage: load_stage(stage, "7b").mctp_modules for stage in STAGES}
    found = {stage: own[STAGES[place - 1]] if place else 0 for place, stage in enumerate(STAGES)}
    possible = [stage for stage in STAGES if found[stage] <= modules <= own[stage]]
    ways = f"--start-at {' or '.join(possible)}" if possible else "--modules 0 and no --start-at"
    if modules and asked is None:
        raise WeightsImportError(
            f"{modules} MCTP modules of {source} are kept, and the first stage trains without: say which stage is the "
            f"first to be trained ({ways}), or leave all modules out (--modules 0)"
        )
    start = asked or STAGES[0]
    if start not in possible:
        raise WeightsImportError(
            f"--start-at {start}: that stage starts from {found[start]} to {own[start]} MCTP modules, and {modules} of "
            f"{source} are kept; possible with them: {ways}"
        )
    return start


def _audio_tokenizer(source: Path, asked: Path | None, codes: int) -> tuple[Path, str] | None:
    """Directory and digest of the weights' audio tokenizer, where it is known."""
    beside = source / AUDIO_TOKENIZER_DIR
    directory = asked or (beside if beside.is_dir() else None)
    if directory is None:
        return None
    tokenizer = load_audio_tokenizer(directory)
    if (size := tokenizer.vocabulary_size) != codes:
        raise WeightsImportError(
            f"{directory} makes {size} audio tokens, but the text tokenizer of {source} has {codes}"
        )
    return directory, tokenizer.digest


def _copy_tokenizer(source: Path, target: Path) -> dict[str, str]:
    target.mkdir()
    files = sorted(path for path in source.iterdir() if path.is_file())
    return {f"{target.name}/{path.name}": _copied(path, target / path.name) for path in files}


def _compare(
    source: Path,
    tensors: Mapping[str, StoredTensor],
    expected: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
) -> None:
    """Refuse tensors that are missing, of another shape or type, or that the model has no place for."""
    # The first is computed, not learnt; a tied head may be stored all the same.
    ignored = {name for name in tensors if name.endswith("rotary_emb.inv_freq")}
    if config.get("tie_word_embeddings", False):
        ignored.add("lm_head.weight")
    faults = []
    if missing := sorted(expected.keys() - tensors.keys()):
        faults.append(f"{_some(missing)} missing")
    if left := sorted(tensors.keys() - expected.keys() - ignored):
        faults.append(f"no place for {_some(left)}")
    both = sorted(expected.keys() & tensors.keys())
    if shapes := [name for name in both if tensors[name].shape != expected[name]]:
        first = shapes[0]
        faults.append(
            f"{_some(shapes)} of another shape: {first} has {tensors[first].shape}, by its config.json "
            f"{expected[first]}"
        )
    if types := [name for name in both if tensors[name].dtype not in _TYPES]:
        faults.append(f"{_some(types)} stored as {tensors[types[0]].dtype}; allowed are {', '.join(_TYPES)}")
    if faults:
        raise WeightsImportError(f"{source}: {'; '.join(faults)}")


def _write(
    source: Path,
    working: Path,
    config: Mapping[str, Any],
    wanted: Mapping[str, StoredTensor],
    log: Callable[[str], None],
) -> Iterator[tuple[str, str]]:
    """Write the import's files; gives the name and the SHA-256 of each."""
    weights = sorted({tensor.file.name for tensor in wanted.values()})
    is_whole = read_json(source / "config.json") == config
    for path in sorted(source.iterdir()):
        is_kept = path.suffix in _KEPT or path.name.lower().split(".")[0] in _TERMS
        if not path.is_file() or not is_kept or path.name.startswith(".") or path.name == IMPORTED_FILE:
            continue
        is_weights = path.suffix == ".safetensors"
        if is_weights and path.name not in weights:
            log(f"{path.name}: not part of the checkpoint, left out")
            continue
        target = working / path.name
        if is_whole or not (is_weights or path.name in ("config.json", INDEX_FILE)):
            yield path.name, _copied(path, target)
        else:
            if is_weights:
                here = {name: tensor for name, tensor in wanted.items() if tensor.file.name == path.name}
                copy_tensors(here, target)
            else:
                text = config if path.name == "config.json" else _index(wanted)
                target.write_text(json.dumps(text, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            with target.open("rb") as stream:
                yield path.name, digest_stream(stream)
        log(f"{path.name}: {target.stat().st_size:,} bytes")


def _index(wanted: Mapping[str, StoredTensor]) -> dict[str, Any]:
    total = sum(tensor.size for tensor in wanted.values())
    return {
        "metadata": {"total_size": total},
        "weight_map": {name: tensor.file.name for name, tensor in wanted.items()},
    }


def _copied(source: Path, target: Path) -> str:
    """Copy a file; the SHA-256 of what was copied."""
    state = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_BLOCK):
            state.update(block)
            writer.write(block)
    return state.hexdigest()


def _require_room(target: Path, needed: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise WeightsImportError(f"{target.parent}: {needed:,} bytes are to be copied, and {free:,} are free")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
