"""Programs run in this process; checkpoints in the published code's layout, made here or recorded there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: the processes have a core each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

PARITY = Path(__file__).parents[2] / "shared" / "parity"

SPECIAL = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
BEATS = {
    "conv_pos": 8,
    "conv_pos_groups": 2,
    "embed_dim": 16,
    "encoder_attention_heads": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 24,
    "encoder_layers": 2,
    "max_distance": 80,
    "num_buckets": 32,
    "predictor_class": 5,
}


@dataclass(frozen=True)
class Done:
    """What a program has said, and its exit status, by the names of ``subprocess.CompletedProcess``."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Published:
    """A folder in the hub's layout, and the Llama that it stands on."""

    folder: Path
    llama: Path


@dataclass(frozen=True)
class Recorded:
    """A recorded model, and the runs that were recorded of it, by scenario."""

    kind: str
    published: Published
    golden: dict[str, Any]


def make_llama(folder: Path) -> None:
    """Write a Llama with random weights and a tokenizer of words."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", *"abcdefgh", "user", "assistant", "<", "Audio", ">", "</"]
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()  # type: ignore[assignment]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token=SPECIAL[0])
    fast.add_special_tokens({"eos_token": SPECIAL[1], "additional_special_tokens": SPECIAL[2:]})
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        bos_token_id=fast.bos_token_id,
        eos_token_id=[fast.eos_token_id, fast.convert_tokens_to_ids("<|eot_id|>")],
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "LICENSE").write_text("LLAMA COMMUNITY LICENSE (as a test has it)\n")


def make_published(folder: Path) -> Published:
    """Write a model with random weights in the hub's layout, all of its language model included."""
    import torch

    from NatureLM.models.checkpoint import Checkpoint, read_llama
    from NatureLM.models.converting import write_upstream
    from NatureLM.models.naturelm import NatureLM
    from NatureLM.models.tensor_files import stored
    from NatureLM.models.upstream import complete_arguments, to_config

    make_llama(folder / "llama")
    llama = read_llama(folder / "llama")
    arguments = complete_arguments(
        {"llama_path": "llama", "device": "cpu", "lora_rank": 2, "lora_alpha": 4, "beats_cfg": BEATS}
    )
    sizes = {"hidden_size": 48, "intermediate_size": 24, "num_hidden_layers": 2}
    config = to_config(arguments, llama.config, llama.tokenizer, sizes)
    torch.manual_seed(2)
    model = NatureLM(config)
    tensors = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    checkpoint = Checkpoint(
        "made",
        config,
        {name: stored(tensor) for name, tensor in tensors.items()},
        llama.tokenizer,
        llama.generation_config,
    )
    write_upstream(checkpoint, folder / "hub")
    shutil.copytree(folder / "llama", folder / "hub" / "llama")
    return Published(folder / "hub", folder / "llama")


def copy_parity(kind: str, folder: Path) -> Published:
    """Write the recorded model of this kind as the hub would hold it."""
    from safetensors.torch import load_file, save_file

    info = json.loads((PARITY / kind / "state_dict_info.json").read_text())
    tensors = load_file(PARITY / kind / "state_dict.safetensors")
    alias = json.loads((PARITY / kind / "config.json").read_text())["alias"]
    tensors |= {dropped: tensors[kept] for dropped, kept in alias.items()}
    dtypes = {item["key"]: item["dtype"] for item in info["state_dict"]}
    hub = {
        # Some are stored in half the space; nothing is lost (README there).
        name: tensors[name].float() if dtypes[name] == "float32" else tensors[name]
        for name in info["hub_safetensors_keys"]
    }
    folder.mkdir(parents=True)
    save_file(
        hub, folder / "model.safetensors", metadata={"format": "pt", **info["hub_safetensors_metadata"]}
    )
    shutil.copyfile(PARITY / kind / "hub_config.json", folder / "config.json")
    shutil.copytree(PARITY / "llama_tiny", folder / "llama")
    return Published(folder, folder / "llama")


@pytest.fixture
def run_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[Callable[[], object], Path], Done]:
    """Run a program in a folder, without network and without the user's own data and models.

    It runs in this process: one of its own takes seconds to import what is here already.
    """
    home = tmp_path / "home"
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "no-models-here"))

    def run(program: Callable[[], object], folder: Path) -> Done:
        capfd.readouterr()
        with monkeypatch.context() as here:
            here.chdir(folder)
            try:
                status = program()
            except SystemExit as end:
                status = end.code
        said = capfd.readouterr()
        return Done(status if isinstance(status, int) else 0, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A published model of random weights, made here."""
    return make_published(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session", params=["made", "small", "tiny"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Published models: one made here, and the recorded ones where they are at hand."""
    if request.param == "made":
        return request.getfixturevalue("made")
    if not PARITY.is_dir():
        pytest.skip("the recorded checkpoints (../shared/parity) are not on this machine")
    return copy_parity(request.param, tmp_path_factory.mktemp(request.param) / "hub")


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of what was recorded from the published code."""
    if not PARITY.is_dir():
        pytest.skip("the recorded data (../shared/parity) are not on this machine")
    return PARITY


@pytest.fixture(scope="session", params=["small", "tiny"])
def recorded(
    request: pytest.FixtureRequest, parity: Path, tmp_path_factory: pytest.TempPathFactory
) -> Recorded:
    """A recorded model with what was recorded of it."""
    published = copy_parity(request.param, tmp_path_factory.mktemp(request.param) / "hub")
    golden = json.loads((parity / request.param / "golden.json").read_text(encoding="utf-8"))
    return Recorded(request.param, published, golden)
