"""From a model's name to a model ready to answer: the bundled one, a folder, or a model of the hub."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NatureLM.errors import CheckpointError, ModelUnavailableError

if TYPE_CHECKING:
    from NatureLM.models.naturelm import NatureLM

logger = logging.getLogger(__name__)

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parent / "bundled"
PUBLISHED = "EarthSpeciesProject/NatureLM-audio"

HUB_TIMEOUT_SECONDS = 5.0
"""How long the hub may take to answer a question about a small file."""

HUB_FILES = ["*.safetensors", "*.json"]

HOW_TO_GET_PUBLISHED = (
    "This version cannot run it yet; a later one will need the licence of "
    "meta-llama/Meta-Llama-3.1-8B-Instruct (accepted on huggingface.co) and `hf auth login`."
)


def load_model(
    name_or_path: str | os.PathLike[str] = BUNDLED, device: str = "auto", fallback: str | None = None
) -> NatureLM:
    """Load a model and put it on a device, ready to answer.

    Parameters
    ----------
    name_or_path : str or path
        ``"bundled"``, a hub id or a folder.
    device : {"auto", "cpu", "cuda", "mps"} or another torch device
        ``"auto"`` takes CUDA or Apple's GPU where there is one.
    fallback : str or None
        The model to take, with a warning, if the first cannot be had.

    Returns
    -------
    NatureLM
        In evaluation mode; ``requested_as`` says which of the two names it goes by.

    Raises
    ------
    ModelUnavailableError
        If the model cannot be had, and there is no fallback.
    CheckpointError
        If its files do not fit together.
    ConfigError
        If the device does not exist on this machine.
    """
    from NatureLM.models.devices import choose_device
    from NatureLM.models.naturelm import NatureLM

    chosen = choose_device(device)
    try:
        model = NatureLM.from_pretrained(name_or_path)
    except ModelUnavailableError as error:
        if fallback is None:
            raise
        logger.warning("%s The model %r answers instead.", error, fallback)
        model = NatureLM.from_pretrained(fallback)
    return model.eval().to(chosen)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the user's terminal for a while."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Turn what transformers and safetensors raise over damaged files into one sentence.

    Raises
    ------
    CheckpointError
        With the folder and the reason.
    """
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"The model in {folder} cannot be read: {reason}") from error


def locate_model(name_or_path: str | os.PathLike[str], **hub: Any) -> Path:
    """Return the folder that holds a model's files, fetched from the hub if need be.

    Parameters
    ----------
    name_or_path : str or path
        ``"bundled"``, a folder or a hub id.
    **hub
        ``revision``, ``token`` and ``cache_dir``, as the hub's client takes them.

    Raises
    ------
    ModelUnavailableError
        If there is no such folder and the hub does not give the model.
    CheckpointError
        If a folder lacks its files.
    """
    name = os.fspath(name_or_path)
    folder = BUNDLED_FOLDER if name == BUNDLED else Path(name)
    if os.path.isdir(folder):
        return check_folder(folder)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelUnavailableError(
            f"There is no model folder {name!r}; give 'bundled', an existing folder or a hub id "
            f"such as {PUBLISHED!r}."
        )
    return check_folder(fetch_from_hub(name, **hub))


def check_folder(folder: Path) -> Path:
    """Return a folder that holds a model's files.

    Raises
    ------
    CheckpointError
        If it lacks some.
    """
    names = {file.name for file in folder.iterdir()}
    missing = [] if "config.json" in names else ["config.json"]
    if not names & {"model.safetensors", "model.safetensors.index.json"}:
        missing.append("model.safetensors")
    if missing:
        raise CheckpointError(
            f"The model folder {folder} lacks {' and '.join(missing)}; name a folder that "
            "`save_pretrained` or `naturelm train` wrote."
        )
    return folder


def fetch_from_hub(name: str, **hub: Any) -> Path:
    """Return the local folder of a hub model, after a look at its config before any large download.

    Raises
    ------
    ModelUnavailableError
        If the hub does not answer or refuses, or if this version cannot run the model.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        # One question without retries: whoever is offline is told so within seconds.
        asked = {key: value for key, value in hub.items() if key in ("revision", "token")}
        HfApi().model_info(name, timeout=HUB_TIMEOUT_SECONDS, **asked)
        reachable = True
    except HfHubHTTPError as error:
        raise _unavailable(name, error) from error
    except Exception as error:  # the client raises its transport's own errors
        logger.debug("The hub was not reached: %s", error)
        reachable = False
    try:
        config_file = hf_hub_download(name, "config.json", local_files_only=not reachable, **hub)
        config = json.loads(Path(config_file).read_text(encoding="utf-8"))
        if config.get("model_type") == "naturelm":
            # Nothing that could be unpickled is even fetched.
            return Path(
                snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=not reachable, **hub)
            )
    except Exception as error:
        raise _unavailable(name, error) from error
    raise ModelUnavailableError(
        f"The model {name!r} is published in a form that this version cannot run yet; "
        "use the bundled model (--model bundled)."
    )


def _unavailable(name: str, error: Exception) -> ModelUnavailableError:
    """Return the error that says in one sentence why the hub did not give a model."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    reasons: list[tuple[type[Exception], str]] = [
        (GatedRepoError, "its owners have not granted you access"),
        (RepositoryNotFoundError, "the hub knows no model of that name, or wants a login"),
        (
            LocalEntryNotFoundError,
            "the Hugging Face hub cannot be reached from here and no copy is on this machine",
        ),
        (EntryNotFoundError, "it has no config.json"),
        (json.JSONDecodeError, "its config.json is damaged"),
    ]
    reason = next(
        (text for kind, text in reasons if isinstance(error, kind)),
        f"the Hugging Face hub gave an error ({type(error).__name__})",
    )
    advice = " " + HOW_TO_GET_PUBLISHED if name == PUBLISHED else ""
    return ModelUnavailableError(f"The model {name!r} cannot be had: {reason}.{advice}")


def finish_loading(model: NatureLM, folder: Path, loading_info: dict[str, Any]) -> NatureLM:
    """Check that a model was loaded whole, and give it tokenizer, names and frozen encoder.

    Raises
    ------
    CheckpointError
        If keys are missing, unexpected or misshapen, or the tokenizer cannot be read.
    ModelUnavailableError
        If the encoder's own files cannot be had.
    """
    from transformers import PreTrainedTokenizerFast

    from NatureLM.models.processing import NatureLMProcessor
    from NatureLM.models.species import SpeciesTable

    problems = [
        f"{kind.replace('_', ' ')}: {', '.join(sorted(map(str, loading_info.get(kind) or ())))}"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if loading_info.get(kind)
    ]
    if problems:
        raise CheckpointError(f"The weights in {folder} do not fit their config ({'; '.join(problems)}).")
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The tokenizer in {folder} cannot be read: {error}") from error
    model.attach_processor(NatureLMProcessor(tokenizer, model.config))
    model.adapter.attach(tokenizer, SpeciesTable.load())
    model.audio_encoder.load_frozen()
    model.audio_encoder.to(model.device)
    return model.eval()
