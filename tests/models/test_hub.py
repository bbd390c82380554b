"""Models that cannot be had: each reason is one sentence with its remedy, said before any large download."""

from __future__ import annotations

import errno
import fnmatch
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from NatureLM.errors import ModelUnavailableError
from NatureLM.models.loading import load_model
from NatureLM.models.memory import available_memory, check_memory
from NatureLM.models.model_files import LLAMA, PUBLISHED
from NatureLM.models.naturelm import NatureLM


class Hub:
    """A hub of folders that keeps a record of what is fetched."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.repositories: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.fetched: list[str] = []

    def model_info(self, name: str, timeout: float, **_: Any) -> None:
        assert timeout <= 5.0
        if name not in self.repositories:
            raise _hub_error(RepositoryNotFoundError)

    def snapshot_download(
        self, name: str, allow_patterns: list[str], ignore_patterns: list[str], local_files_only: bool
    ) -> str:
        if local_files_only:
            raise _hub_error(LocalEntryNotFoundError)  # nothing was loaded before
        if name in self.gated:
            raise _hub_error(GatedRepoError)
        folder = self.cache / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in self.repositories[name].iterdir():
            if file.is_file() and any(fnmatch.fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copyfile(file, folder / file.name)
                self.fetched.append(f"{name}/{file.name}")
        return str(folder)


def _hub_error(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "refused")
    return error


def kept_in_cache(model: Path, cache: Path) -> Path:
    """Copy a model to where the hub's client keeps ``someone/small``; return the folder."""
    repository = cache / "models--someone--small"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(model, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    return snapshot


@pytest.fixture
def hub(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The published model and its Llama, as their repositories hold them (the first as a delta)."""
    from NatureLM.models.checkpoint import open_checkpoint
    from NatureLM.models.converting import write_upstream

    hub = Hub(tmp_path / "cache")
    delta = tmp_path / "delta"
    write_upstream(open_checkpoint(made.folder), delta, delta=True)
    config = json.loads((delta / "config.json").read_text())
    (delta / "config.json").write_text(json.dumps({**config, "llama_path": LLAMA}))
    hub.repositories |= {PUBLISHED: delta, LLAMA: made.llama}
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda api, *a, **k: hub.model_info(*a, **k))
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    return hub


def test_the_published_model_is_loaded_with_its_llama(hub: Hub) -> None:
    model = NatureLM.from_pretrained(PUBLISHED)
    assert model.config.name == "NatureLM-audio"
    assert model.requested_as == PUBLISHED
    assert hub.fetched.index(f"{LLAMA}/config.json") < hub.fetched.index(f"{PUBLISHED}/model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda hub, patch: hub.gated.add(LLAMA),
            f"stands on the language model '{LLAMA}'. The model '{LLAMA}' cannot be had: it is given only to "
            "those who have accepted its licence, and no one is logged in here; accept the licence at "
            f"https://huggingface.co/{LLAMA}, make a token there and run `hf auth login`.",
        ),
        (
            lambda hub, patch: (
                hub.gated.add(LLAMA),
                patch.setattr("huggingface_hub.get_token", lambda: "hf_x"),
            ),
            f"its owners have not granted your account access; ask for access at https://huggingface.co/{LLAMA}",
        ),
        (
            lambda hub, patch: hub.repositories.pop(PUBLISHED),
            f"The model '{PUBLISHED}' cannot be had: the hub knows no model of that name, or wants a login; "
            "check the name, or run `hf auth login`.",
        ),
        (
            lambda hub, patch: patch.setattr("NatureLM.models.memory.available_memory", lambda device: 1_000),
            f"The model '{PUBLISHED}' needs 0.1 GB of memory but this machine has 0.0 GB free; close other "
            "programs",
        ),
        (
            lambda hub, patch: patch.setattr(
                hub, "model_info", lambda *a, **k: (_ for _ in ()).throw(_hub_error(HfHubHTTPError))
            ),
            "the Hugging Face hub gave an error (HfHubHTTPError); try again later.",
        ),
    ],
    ids=["no token", "no access", "unknown", "no memory", "server"],
)
def test_what_is_missing_is_said_before_weights_are_fetched(
    hub: Hub,
    spoil: Callable[[Hub, pytest.MonkeyPatch], Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(hub, monkeypatch)
    with pytest.raises(ModelUnavailableError) as caught:
        NatureLM.from_pretrained(PUBLISHED)
    assert message in str(caught.value)
    assert not any(name.endswith(".safetensors") for name in hub.fetched)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the disk of the cache folder {} is full; free some",
        ),
        (RuntimeError("Data error: No space left on device (os error 28)"), "folder {} is full; free some"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "the cache folder {} cannot be written in"),
        (FileExistsError(errno.EEXIST, "File exists", "x"), "the cache folder {} cannot be written in"),
    ],
)
def test_a_fault_of_this_machines_disk_is_not_blamed_on_the_hub(
    hub: Hub, fault: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise fault

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ModelUnavailableError) as caught:
        NatureLM.from_pretrained(PUBLISHED)
    message = str(caught.value)
    assert message.startswith(f"The model '{PUBLISHED}' cannot be kept on this machine: ")
    assert reason.format(tmp_path / "kept") in message
    assert message.endswith("or set HF_HOME to another folder.")
    assert "gated" not in message
    with pytest.raises(ModelUnavailableError, match=r"folder /else\b.* or give another `cache_dir`\.$"):
        NatureLM.from_pretrained(PUBLISHED, cache_dir="/else")


def test_what_is_missing_brings_the_fallback(hub: Hub, made: Any, caplog: pytest.LogCaptureFixture) -> None:
    hub.gated.add(LLAMA)
    model = load_model(PUBLISHED, device="cpu", fallback=str(made.folder))
    assert model.requested_as == str(made.folder)
    (message,) = caplog.messages
    assert "run `hf auth login`" in message
    assert "answers instead" in message


def test_without_network_what_is_in_the_cache_is_used(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = kept_in_cache(made.folder, tmp_path)
    assert NatureLM.from_pretrained("someone/small").requested_as == "someone/small"
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(
        ModelUnavailableError, match="only a part of it is on this machine; load it once with"
    ):
        NatureLM.from_pretrained("someone/small")
    config = json.loads((snapshot / "config.json").read_text())
    (snapshot / "config.json").write_text(json.dumps({**config, "llama_path": LLAMA}))
    with pytest.raises(
        ModelUnavailableError, match=f"{LLAMA}' cannot be had: the Hugging Face hub cannot be"
    ):
        NatureLM.from_pretrained("someone/small")


def test_a_hub_that_gives_an_error_is_no_reason_to_leave_the_cache(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overloaded(*_: Any, **__: Any) -> None:
        raise _hub_error(HfHubHTTPError)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", overloaded)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelUnavailableError, match=r"the Hugging Face hub gave an error \(HfHubHTTPError\); try again later"
    ):
        NatureLM.from_pretrained("someone/small")
    kept_in_cache(made.folder, tmp_path)
    assert NatureLM.from_pretrained("someone/small").requested_as == "someone/small"


def test_memory_is_measured_and_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert 0 < available_memory() < 2**50
    for name, text in {"limit": "1500", "used": "700", "memory.stat": "anon 1\ncached 200\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("NatureLM.models.memory.GROUPS", ((str(tmp_path), "limit", "used", "cached"),))
    assert available_memory() == 1000
    (tmp_path / "limit").write_text("max")
    assert available_memory() > 1000
    check_memory("m", 10)
    with pytest.raises(ModelUnavailableError, match=r"needs 32100\.0 GB of memory .* takes half the space"):
        check_memory("m", 32_100_000_000_000)
    with pytest.raises(ModelUnavailableError, match=r"take a machine or GPU with more\.$"):
        check_memory("m", 32_100_000_000_000, halved=True)


def test_a_model_in_half_precision_is_asked_for_half_the_memory(
    made: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "NatureLM.models.checkpoint.check_memory", lambda name, needed, device, halved: asked.append(needed)
    )
    models = [NatureLM.from_pretrained(made.folder, dtype=d) for d in (torch.float32, "bfloat16", "auto")]
    whole, half, auto = asked
    language = sum(item.numel() for item in models[0].language_model.parameters())
    front = sum(item.numel() for item in models[0].parameters()) - language
    assert whole == int(1.1 * (4 * (front + language)))
    assert half == auto == int(1.1 * (4 * front + 2 * language))
    models[0].save_pretrained(tmp_path / "whole")
    stored = NatureLM.from_pretrained(tmp_path / "whole", dtype="auto")
    assert stored.language_model.dtype == torch.float32
    assert asked[-1] == whole
