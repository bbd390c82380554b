"""Peak memory of loading a delta checkpoint and its Llama, as a ratio to what the model takes in memory.

    python benchmarks/loading_memory.py --parameters 1e9 --stored bfloat16 --dtype float32

A synthetic Llama (of zeros: only sizes count) and a delta of the published layout lie in a temporary
folder; a process of its own loads them, so that its peak is the loading's alone. The ratio must not
exceed 1.2. Baseline: the same process just before loading, with torch and transformers imported.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HIDDEN = 2048
VOCABULARY = 32_000


def main() -> None:
    """Write the files, load them in another process, print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=float, default=1e9)
    parser.add_argument("--stored", default="bfloat16")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.load, options.dtype)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), int(options.parameters), options.stored)
        subprocess.run(
            [sys.executable, __file__, "--load", f"{folder}/hub", "--dtype", options.dtype], check=True
        )


def write(folder: Path, parameters: int, stored: str) -> None:
    """Write a Llama of about this many parameters, and a delta that stands on it."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    from NatureLM.models import checkpoint_names as names
    from NatureLM.models.checkpoint import read_llama
    from NatureLM.models.tensor_files import StoredTensor, write_safetensors, write_sharded
    from NatureLM.models.upstream import ARGUMENTS, complete_arguments, to_config
    from NatureLM.models.weight_check import expected_tensors

    llama, hub = folder / "llama", folder / "hub"
    llama.mkdir()
    hub.mkdir()
    words = {f"w{place}": place for place in range(VOCABULARY - 1)} | {"<bos>": VOCABULARY - 1}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0", bos_token="<bos>").save_pretrained(
        llama
    )
    feed_forward = 4 * HIDDEN
    of_layer = 4 * HIDDEN**2 + 3 * HIDDEN * feed_forward
    layers = max(1, round((parameters - 2 * VOCABULARY * HIDDEN) / of_layer))
    LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=16,
        bos_token_id=VOCABULARY - 1,
        eos_token_id=0,
    ).save_pretrained(llama)
    read = read_llama(llama)
    expected = expected_tensors(to_config(complete_arguments({}), read.config, read.tokenizer))

    def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> StoredTensor:
        return StoredTensor(shape, dtype, lambda: torch.zeros(shape, dtype=dtype))

    number = getattr(torch, stored)
    base: dict[str, StoredTensor] = {}
    delta: dict[str, StoredTensor] = {}
    for name, tensor in expected.items():
        shape = tuple(tensor.shape)
        if not names.is_frozen(name):
            dtype = number if name.startswith(names.LANGUAGE_MODEL) else torch.float32
            delta[names.upstream_names(name, 12)[0]] = zeros(shape, dtype)
        if theirs := names.llama_name(name):
            whole = name in (names.EMBEDDINGS, names.OUTPUT_LAYER)
            base[theirs] = zeros((VOCABULARY, *shape[1:]) if whole else shape, number)
    write_sharded(llama, base, 2_000_000_000)
    write_safetensors(hub / "model.safetensors", delta)
    (hub / "config.json").write_text(json.dumps({**ARGUMENTS, "llama_path": str(llama)}))


def load(folder: Path, dtype: str) -> None:
    """Load the model and print peak memory against its size."""
    import peft  # noqa: F401
    import psutil
    import torch
    import transformers  # noqa: F401

    from NatureLM.models.naturelm import NatureLM

    process = psutil.Process()
    before, peak, done = process.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    model = NatureLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    own = sum(math.prod(item.shape) * item.element_size() for item in model.parameters())
    parameters = sum(item.numel() for item in model.parameters())
    used = peak - before
    print(
        f"{parameters / 1e9:.2f} B parameters in {dtype}: {own / 1e9:.2f} GB; peak {used / 1e9:.2f} GB above "
        f"the start, ratio {used / own:.2f}; {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
