"""Where a model's files are: a folder, or a repository of the Hugging Face hub, small files first."""

from __future__ import annotations

import errno
import logging
import os
import re
from pathlib import Path
from typing import Any

from NatureLM.errors import CheckpointError, ModelUnavailableError
from NatureLM.json_text import parse_json
from NatureLM.models.file_faults import one_line, refuse_stand_in

logger = logging.getLogger(__name__)

PUBLISHED = "EarthSpeciesProject/NatureLM-audio"

LLAMA = "meta-llama/Meta-Llama-3.1-8B-Instruct"
"""The language model that the published one is tuned from."""

PUBLISHED_NEEDS_LLAMA = (
    f"(It also needs the gated {LLAMA}: accept its licence on huggingface.co and run `hf auth login`.)"
)

HUB_TIMEOUT_SECONDS = 5.0
"""How long the hub may take to answer whether it knows a model."""

SMALL_FILES = ["*.json", "LICENSE*", "USE_POLICY*", "NOTICE*"]
"""What is fetched before anything is decided: configs, tokenizer, licences."""

WEIGHT_FILES = ["*.safetensors"]
"""The only weights that are fetched: nothing that could be unpickled."""

ELSEWHERE = ["original/*"]
"""Meta's repositories hold the weights a second time there."""

DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
"""What the operating system says of a disk that takes no more, and of a folder that takes nothing."""


class ModelFiles:
    """A folder of model files.

    Attributes
    ----------
    name : str
        What the user knows it by.
    folder : Path
        Holds the small files.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    def fetch_weights(self) -> None:
        """See to it that the weights lie in the folder, too."""

    def read_json(self, name: str) -> dict[str, Any]:
        """Return what a JSON file of the folder holds.

        Raises
        ------
        CheckpointError
            If it is missing or damaged.
        """
        file = self.folder / name
        try:
            content = parse_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"The model folder {self.folder} lacks {name}.") from None
        except (OSError, ValueError) as error:
            refuse_stand_in(file)
            raise CheckpointError(f"The file {file} is damaged: {one_line(error)}.") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"The file {file} is damaged: it holds no settings.")
        return content


class HubFiles(ModelFiles):
    """A repository of the hub, whose weights are fetched only when they are asked for.

    Parameters
    ----------
    name : str
        Its id.
    **hub
        ``revision``, ``token`` and ``cache_dir``, as the hub's client takes them.

    Raises
    ------
    ModelUnavailableError
        If the hub does not give the small files.
    """

    def __init__(self, name: str, **hub: Any) -> None:
        self.hub = hub
        self.refusal = _hub_refusal(name, **hub)
        """Why the hub does not answer; what the cache has is taken then."""
        super().__init__(name, self._fetch(name, SMALL_FILES))

    def fetch_weights(self) -> None:
        """Download the weights, or find them in the hub's cache.

        Raises
        ------
        ModelUnavailableError
            If the hub does not give them.
        """
        folder = self._fetch(self.name, WEIGHT_FILES)
        if not any(folder.glob("*.safetensors")):
            raise ModelUnavailableError(
                f"The model {self.name!r} cannot be had: "
                + (
                    "its repository holds no safetensors."
                    if self.refusal is None
                    else "the Hugging Face hub cannot be reached from here and only a part of it is on this "
                    "machine; load it once with network."
                )
            )

    def _fetch(self, name: str, patterns: list[str]) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(
                snapshot_download(
                    name,
                    allow_patterns=patterns,
                    ignore_patterns=ELSEWHERE,
                    local_files_only=self.refusal is not None,
                    **self.hub,
                )
            )
        except Exception as error:  # the client raises its transport's own errors
            is_not_here = isinstance(error, LocalEntryNotFoundError)
            reason = self.refusal if is_not_here and isinstance(self.refusal, HfHubHTTPError) else error
            raise unavailable(name, reason, **self.hub) from error


def find_files(name_or_path: str | os.PathLike[str], **hub: Any) -> ModelFiles:
    """Return the files of a folder or of a hub model.

    Raises
    ------
    ModelUnavailableError
        If there is no such folder and the hub does not give the model.
    """
    name = os.fspath(name_or_path)
    if os.path.isdir(name):
        return ModelFiles(name, Path(name))
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelUnavailableError(
            f"There is no model folder {name!r}; give 'bundled', an existing folder, a .pth file or a hub id "
            f"such as {PUBLISHED!r}."
        )
    return HubFiles(name, **hub)


def _hub_refusal(name: str, **hub: Any) -> Exception | None:
    """Ask the hub once, without retries, for a model; return why it does not answer, None where it does.

    Whoever is offline is told so within seconds. A hub that is there but overloaded, or behind a proxy that
    lets nothing through, is no reason not to take what was loaded before.

    Raises
    ------
    ModelUnavailableError
        If it knows no such model, or does not give it to this user.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    asked = {key: value for key, value in hub.items() if key in ("revision", "token")}
    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT_SECONDS, **asked)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:  # the first of gated ones, too
        raise unavailable(name, error, **hub) from error
    except Exception as error:
        logger.debug("The hub does not answer: %s", error)
        return error
    return None


def unavailable(name: str, error: Exception, **hub: Any) -> ModelUnavailableError:
    """Return the error that says in one sentence why a model was not fetched, and what to do."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if local := _local_fault(error, hub.get("cache_dir")):
        return ModelUnavailableError(f"The model {name!r} cannot be kept on this machine: {local}.")
    gated = isinstance(error, GatedRepoError)
    page = f"https://huggingface.co/{name}"
    if gated and not (hub.get("token") or get_token()):
        reason = "it is given only to those who have accepted its licence, and no one is logged in here"
        remedy = f"accept the licence at {page}, make a token there and run `hf auth login`"
    elif gated:
        reason = "its owners have not granted your account access"
        remedy = f"ask for access at {page} (and for a token that may read gated repositories)"
    elif isinstance(error, RevisionNotFoundError):
        reason, remedy = "it has no such revision", "leave out `revision`"
    elif isinstance(error, RepositoryNotFoundError):
        reason = "the hub knows no model of that name, or wants a login"
        remedy = "check the name, or run `hf auth login`"
    elif isinstance(error, LocalEntryNotFoundError):
        reason = "the Hugging Face hub cannot be reached from here and no copy is on this machine"
        remedy = "load it once with network, after `hf auth login` where it is gated"
    else:
        reason = f"the Hugging Face hub gave an error ({type(error).__name__})"
        remedy = "try again later"
    also = f" {PUBLISHED_NEEDS_LLAMA}" if name == PUBLISHED else ""
    return ModelUnavailableError(f"The model {name!r} cannot be had: {reason}; {remedy}.{also}")


def _local_fault(error: Exception, cache_dir: str | os.PathLike[str] | None) -> str | None:
    """Return what is wrong with this machine's disk, and what to do, where that stopped a download."""
    from huggingface_hub import constants

    number = error.errno if isinstance(error, OSError) else None
    if told := re.search(r"\bos error (\d+)\b", str(error)):  # the part of the client that is not Python
        number = int(told[1])
    folder = os.fspath(cache_dir or constants.HF_HUB_CACHE)
    remedy = "give another `cache_dir`" if cache_dir else "set HF_HOME to another folder"
    if number in DISK_FULL:
        return f"the disk of the cache folder {folder} is full; free some of it, or {remedy}"
    if number in NOT_WRITABLE:
        reason = os.strerror(number)
        return f"the cache folder {folder} cannot be written in ({reason}); change its rights, or {remedy}"
    return None
