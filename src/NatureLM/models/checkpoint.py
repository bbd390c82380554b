"""From a model's files to a :class:`Checkpoint`: config, tokenizer and every weight by our name, unread.

Read are a folder that `save_pretrained` wrote, the hub's layout of the published code (``config.json`` of
constructor arguments and ``model.safetensors``), and a training checkpoint (``.pth`` with ``model``). A
checkpoint may be a delta: then the frozen weights of the language model come from Llama's own files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from NatureLM.errors import CheckpointError, ModelUnavailableError
from NatureLM.models import checkpoint_names as names
from NatureLM.models.config_values import (
    GENERATION_VALUES,
    LLAMA_VALUES,
    PLACE,
    check_own_values,
    check_values,
)
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.devices import language_dtype
from NatureLM.models.file_faults import one_line, refuse_stand_in
from NatureLM.models.memory import check_memory
from NatureLM.models.model_files import PUBLISHED, HubFiles, ModelFiles, find_files
from NatureLM.models.tensor_files import StoredTensor, open_pickle, open_weights, tensors_of
from NatureLM.models.upstream import (
    PAD_TOKEN,
    complete_arguments,
    is_upstream,
    qformer_sizes,
    to_config,
)
from NatureLM.models.weight_check import WeightCheck, expected_tensors, memory_of

PICKLES = (".pth", ".pt", ".ckpt", ".bin")
"""Endings of files that ``torch.save`` writes."""

PUBLISHED_BEAMS = 2
PUBLISHED_LONGEST = 300
"""Beams, and most new tokens of an answer, that NatureLM-audio answers with (published-model facts)."""

TOKENIZER = "tokenizer"
"""How the names of a tokenizer's files begin."""

CPU = torch.device("cpu")


@dataclass
class Checkpoint:
    """A model in files.

    Attributes
    ----------
    name : str
        What the user knows it by.
    config : NatureLMConfig
    tensors : dict
        Every weight by its name in our state dict.
    tokenizer : PreTrainedTokenizerBase
    generation_config : GenerationConfig
    licences : list of Path
        Licence files that lie beside its weights.
    """

    name: str
    config: NatureLMConfig
    tensors: dict[str, StoredTensor]
    tokenizer: PreTrainedTokenizerBase
    generation_config: GenerationConfig
    licences: list[Path] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        """Number format that the language model is stored in."""
        return self.tensors[names.EMBEDDINGS].dtype


def open_checkpoint(
    name_or_path: str | os.PathLike[str],
    *,
    llama_path: str | os.PathLike[str] | None = None,
    dtype: torch.dtype | str | None = None,
    device: torch.device = CPU,
    fits: bool = True,
    **hub: Any,
) -> Checkpoint:
    """Find a model's files and check that they are whole and fit each other.

    Parameters
    ----------
    name_or_path : str or path
        A folder, a ``.pth`` file or a hub id.
    llama_path : str or path, optional
        Folder or hub id of the Llama that a delta stands on, in place of the one that its config names.
    dtype : torch.dtype or "auto", optional
        Number format that the language model will be loaded in: ``"auto"`` stands for the stored one, None
        for the device's own.
    device : torch.device
        Where the model will be put.
    fits : bool
        Whether to refuse a model that will not fit in the device's memory, before anything large is fetched.
    **hub
        ``revision``, ``token`` and ``cache_dir``, as the hub's client takes them.

    Raises
    ------
    ModelUnavailableError
        If files cannot be had, or the model does not fit in memory.
    CheckpointError
        If files are damaged, or do not fit each other.
    """
    path = Path(name_or_path)

    def check_fit(config: NatureLMConfig) -> None:
        if fits:
            chosen = language_dtype(config, device) if dtype is None else dtype
            number = chosen if isinstance(chosen, torch.dtype) else _said_dtype(config)
            check_memory(
                os.fspath(name_or_path), memory_of(config, number), device, halved=number.itemsize < 4
            )

    if path.is_file():
        if path.suffix.lower() not in PICKLES:
            raise CheckpointError(
                f"{path} is not a model; give its folder, or a training checkpoint ({', '.join(PICKLES)})."
            )
        return _open_training_checkpoint(path, llama_path, check_fit, hub)
    files = find_files(name_or_path, **hub)
    config = files.read_json("config.json")
    if config.get("model_type") == NatureLMConfig.model_type:
        return _open_own(files, check_fit)
    if not is_upstream(config):
        raise CheckpointError(
            f"The model in {files.folder} is no NatureLM (its config.json says "
            f"{config.get('model_type', 'nothing of a model_type')!r})."
        )
    arguments = _standing_on(complete_arguments(config, files.folder / "config.json"), llama_path)
    llama = _llama_of(files.name, files.folder, arguments["llama_path"], hub)
    if isinstance(files, HubFiles):
        check_fit(to_config(arguments, llama.config, llama.tokenizer))
        files.fetch_weights()
    stored = open_weights(files.folder)
    if not isinstance(files, HubFiles):
        check_fit(to_config(arguments, llama.config, llama.tokenizer, qformer_sizes(stored)))
    return _open_upstream(files.name, files.folder, arguments, stored, llama)


def _standing_on(arguments: dict[str, Any], llama_path: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Return arguments that name the Llama that was asked for, if one was."""
    return arguments if llama_path is None else {**arguments, "llama_path": os.fspath(llama_path)}


def _said_dtype(config: NatureLMConfig) -> torch.dtype:
    """Return the number format that the language model is stored in, as configs say, else the published."""
    said = config.dtype or config.text_config.dtype
    return said if isinstance(said, torch.dtype) else torch.bfloat16


def _open_own(files: ModelFiles, check_fit: Callable[[NatureLMConfig], None]) -> Checkpoint:
    """Return the checkpoint in a folder that `save_pretrained` or `naturelm convert` wrote."""
    file = files.folder / "config.json"
    check_own_values(files.read_json(file.name), file)
    config = _read(files.folder, file.name, NatureLMConfig.from_pretrained)
    expected = expected_tensors(config, file)
    check_fit(config)
    files.fetch_weights()
    tensors = open_weights(files.folder)
    check = WeightCheck(str(files.folder))
    check.compare(expected, tensors)
    check.unexpected += sorted(set(tensors) - check.known)
    check.done()
    return Checkpoint(
        files.name,
        config,
        {name: tensors[name] for name in check.known & set(tensors)},
        read_tokenizer(files.folder),
        _read_generation(files.folder, config.text_config),
        licence_files(files.folder),
    )


def _open_training_checkpoint(
    file: Path,
    llama_path: str | os.PathLike[str] | None,
    check_fit: Callable[[NatureLMConfig], None],
    hub: dict[str, Any],
) -> Checkpoint:
    """Return the checkpoint in a file that a training wrote.

    Its constructor arguments are those of a ``config.json`` beside it, else those within it, else the
    published ones.
    """
    content = open_pickle(file)
    if not isinstance(content.get("model"), dict):
        raise CheckpointError(
            f"The file {file} holds no 'model' (it has {', '.join(map(str, content)) or 'nothing'})."
        )
    inner = content.get("config")
    inner = inner.get("model", inner) if isinstance(inner, dict) else None
    given: dict[str, Any] = inner if isinstance(inner, dict) and "llama_path" in inner else {}
    source = file
    if (file.parent / "config.json").is_file():
        beside = ModelFiles(str(file), file.parent).read_json("config.json")
        if is_upstream(beside):
            given, source = beside, file.parent / "config.json"
    arguments = _standing_on(complete_arguments(given, source), llama_path)
    llama = _llama_of(str(file), file.parent, arguments["llama_path"], hub)
    tensors = tensors_of(content["model"], f"The 'model' of {file}")
    check_fit(to_config(arguments, llama.config, llama.tokenizer, qformer_sizes(tensors)))
    return _open_upstream(str(file), file.parent, arguments, tensors, llama)


@dataclass
class Llama:
    """The language model that a checkpoint stands on: its config and tokenizer, and where its weights are."""

    files: ModelFiles
    config: LlamaConfig
    tokenizer: PreTrainedTokenizerBase
    generation_config: GenerationConfig


def read_llama(path: str | os.PathLike[str], **hub: Any) -> Llama:
    """Read the small files of a Llama, a folder or a hub id, and add ``[PAD]`` to its tokenizer.

    Raises
    ------
    ModelUnavailableError
        If it cannot be had.
    CheckpointError
        If it is damaged, or another kind of model.
    """
    files = find_files(path, **hub)
    settings = files.read_json("config.json")
    if settings.get("model_type") != "llama":
        raise CheckpointError(f"The language model in {files.folder} is no Llama.")
    check_values(settings, LLAMA_VALUES, f"The config in {files.folder / 'config.json'}")
    config = _read(files.folder, "config.json", LlamaConfig.from_pretrained)
    tokenizer = read_tokenizer(files.folder)
    tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    return Llama(files, config, tokenizer, _read_generation(files.folder, config))


def _llama_of(model: str, beside: Path, path: str | os.PathLike[str], hub: Mapping[str, Any]) -> Llama:
    """Read the Llama of a model; a relative path may start from the model's folder."""
    file = beside / "config.json"
    where = f"The config in {file if file.is_file() else model}"
    check_values({"llama_path": path}, {"llama_path": PLACE}, where)
    near = beside / path
    here = near if near.is_dir() and not Path(path).is_dir() else path
    try:
        return read_llama(here, **{key: value for key, value in hub.items() if key != "revision"})
    except ModelUnavailableError as error:
        raise ModelUnavailableError(
            f"The model {model!r} stands on the language model {os.fspath(path)!r}. {error} (Where it lies "
            "elsewhere, name its folder: llama_path=FOLDER, or --llama-path of naturelm convert.)"
        ) from error


def _read_generation(folder: Path, text_config: LlamaConfig) -> GenerationConfig:
    """Return a folder's generation config, or what the language model's config says of generation."""
    file = folder / "generation_config.json"
    if file.is_file():
        settings = ModelFiles(str(folder), folder).read_json(file.name)
        check_values(settings, GENERATION_VALUES, f"The config in {file}")
        return _read(folder, file.name, GenerationConfig.from_pretrained)
    return GenerationConfig.from_model_config(text_config)


def _open_upstream(
    name: str,
    folder: Path,
    arguments: Mapping[str, Any],
    stored: dict[str, StoredTensor],
    llama: Llama,
) -> Checkpoint:
    """Return a checkpoint under the published names as ours, completed from Llama's files where a delta."""
    called = "NatureLM-audio" if name in (PUBLISHED, str(folder)) else Path(name).stem
    config = to_config(arguments, llama.config, llama.tokenizer, qformer_sizes(stored), called)
    layers, tied = int(arguments["beats_cfg"]["encoder_layers"]), config.text_config.tie_word_embeddings
    expected = expected_tensors(config)
    check = WeightCheck(name)
    accepted = {ours: names.upstream_names(ours, layers, bool(config.lora), tied) for ours in expected}
    found = check.resolve(accepted, stored)
    delta = not any(names.is_frozen(ours) and ours != names.OUTPUT_LAYER for ours in found)
    completed = {
        ours for ours in expected if delta and names.llama_name(ours) is not None and ours not in found
    }
    check.compare({ours: expected[ours] for ours in expected if ours not in completed}, found, accepted)
    claimed = {theirs for aliases in accepted.values() for theirs in aliases}
    check.unexpected += sorted(set(stored) - claimed - names.unread(stored))
    check.done()
    if completed:
        found |= _from_llama(llama, expected, completed)
    # Whole checkpoints that were made of deltas have a row of zeros in its place.
    pad, output = llama.tokenizer.pad_token_id, found.get(names.OUTPUT_LAYER)
    undefined = names.OUTPUT_LAYER in completed or (
        output is not None and pad is not None and not output[pad].any()
    )
    return Checkpoint(
        name,
        config,
        {ours: found[ours] for ours in expected},
        llama.tokenizer,
        _generation(llama, config, pad_undefined=bool(undefined)),
        licence_files(folder) + licence_files(llama.files.folder),
    )


def _from_llama(
    llama: Llama, expected: Mapping[str, torch.Tensor], wanted: set[str]
) -> dict[str, StoredTensor]:
    """Return Llama's own weights by our names, with rows for the tokens that were added to its own.

    Those rows are zero: nothing was ever learned for them, and the mean of the others (transformers'
    default) would only be an answer that no one gave.
    """
    llama.files.fetch_weights()
    stored = open_weights(llama.files.folder)
    found: dict[str, StoredTensor] = {}
    theirs = {ours: str(names.llama_name(ours)) for ours in wanted}
    for ours, name in theirs.items():
        if name not in stored:
            continue
        found[ours] = stored[name]
        if ours in (names.EMBEDDINGS, names.OUTPUT_LAYER) and stored[name].shape[:1] == (
            llama.config.vocab_size,
        ):
            found[ours] = stored[name].resized(expected[ours].shape[0])
    check = WeightCheck(str(llama.files.folder))
    check.compare({ours: expected[ours] for ours in wanted}, found, {k: (v,) for k, v in theirs.items()})
    check.done()
    return found


def _generation(llama: Llama, config: NatureLMConfig, pad_undefined: bool) -> GenerationConfig:
    """Return how the published model generates: its beams and longest answer, Llama's end tokens."""
    pad = llama.tokenizer.pad_token_id
    return GenerationConfig(
        bos_token_id=llama.generation_config.bos_token_id or config.text_config.bos_token_id,
        eos_token_id=llama.generation_config.eos_token_id or config.text_config.eos_token_id,
        pad_token_id=pad,
        num_beams=PUBLISHED_BEAMS,
        max_new_tokens=PUBLISHED_LONGEST,
        suppress_tokens=[pad] if pad_undefined else None,
    )


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return a folder's tokenizer.

    Raises
    ------
    CheckpointError
        If it is missing or damaged.
    """
    return _read(folder, TOKENIZER, PreTrainedTokenizerFast.from_pretrained)


def licence_files(folder: Path) -> list[Path]:
    """Return the licence files of a folder."""
    found = {file for pattern in ("LICENSE*", "USE_POLICY*", "NOTICE*") for file in folder.glob(pattern)}
    return sorted(file for file in found if file.is_file())


def _read(folder: Path, name: str, reader: Callable[..., Any]) -> Any:
    """Read a config or the tokenizer of a folder; what goes wrong is one sentence."""
    try:
        return reader(folder)
    except CheckpointError:
        raise
    except Exception as error:  # tokenizers raises bare exceptions over damaged files
        for file in sorted(folder.glob(f"{name}*")):
            refuse_stand_in(file)
        if name == TOKENIZER and not (folder / "tokenizer.json").is_file():
            raise CheckpointError(f"The model folder {folder} lacks tokenizer.json.") from error
        raise CheckpointError(f"The {name} in {folder} cannot be read: {one_line(error)}.") from error
