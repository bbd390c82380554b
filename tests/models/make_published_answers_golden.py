"""Write ``published_answers_golden.npz`` and ``published_tokenizer.json``: a small published model's answers.

Everything is copied out of ../shared/parity ("small" and "llama_tiny"; its README tells how the published
code was recorded, with random weights): the language model's weights, the audio tokens that it was given, and
what it made of them. What is text is stored as one JSON string, so nothing needs a pickle.

Run from anywhere: ``python tests/models/make_published_answers_golden.py [PARITY_FOLDER]``
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

GOLDEN = Path(__file__).parent / "published_answers_golden.npz"
TOKENIZER = Path(__file__).parent / "published_tokenizer.json"
POSITIONS = slice(0, None, 7)
"""Which positions' training logits are kept."""

SUBSETS = ("train_logits", "train_logits_merging_alpha_0.5")
ARRAYS = (
    "audio_embeds",
    "train_attention_mask",
    "train_labels",
    "train_loss",
    "train_loss_merging_alpha_0.5",
    "train_loss_merging_alpha_0.0",
    "train_per_example_loss",
    "train_correct_per_sample",
    "train_total_per_sample",
    *(f"gen_first_step_logits_greedy_single{row}{at}" for row in (0, 1) for at in ("", "_alpha0.5")),
)
SETTINGS = ("num_beams", "max_new_tokens", "merging_alpha", "repetition_penalty", "length_penalty")
RECORDED = ("ids", "text", "sequences_scores", "lm_head_rows_swapped_before_run")
ASKED = ("prompts", "full_prompts", "prompt_part_ids", "text_ids_with_end_sym", "audio_chunk_sizes")


def runs(generation: dict[str, Any]) -> dict[str, Any]:
    """Single runs, and those in which an end token comes; other batches show upstream's padding only."""
    return {
        name: {key: run[key] for key in (*SETTINGS, *RECORDED) if key in run}
        for name, run in generation.items()
        if "single" in name or name.startswith("eos_eot")
    }


def main(parity: Path) -> None:
    """Copy and write."""
    small, llama = parity / "small", parity / "llama_tiny"
    golden = json.loads((small / "golden.json").read_text(encoding="utf-8"))
    weights = load_file(small / "state_dict.safetensors")
    texts = {
        "arguments": json.loads((small / "hub_config.json").read_text(encoding="utf-8")),
        "llama": {
            file: json.loads((llama / file).read_text(encoding="utf-8"))
            for file in ("config.json", "generation_config.json", "tokenizer_config.json")
        },
        "tokenizer": json.loads((llama / "tokenizer_expected.json").read_text(encoding="utf-8")),
        "scenarios": {
            scenario: {key: said[key] for key in ASKED} | {"generation": runs(said["generation"])}
            for scenario, said in golden.items()
            if scenario in ("a", "b")
        },
    }
    stored = {name: weight for name, weight in weights.items() if name.startswith("llama_model.")}
    for scenario in texts["scenarios"]:
        arrays = load_file(small / f"golden_{scenario}.safetensors")
        gradients = load_file(small / f"grads_{scenario}.safetensors")
        stored |= {f"{scenario}/{name}": arrays[name] for name in ARRAYS}
        stored |= {f"{scenario}/{name}": arrays[name][:, POSITIONS] for name in SUBSETS}
        stored |= {f"{scenario}/grad/{name}": grad for name, grad in gradients.items() if ".lora_" in name}
    np.savez_compressed(GOLDEN, texts=np.array(json.dumps(texts)), **stored)
    shutil.copyfile(llama / "tokenizer.json", TOKENIZER)
    TOKENIZER.chmod(0o644)
    print(f"{GOLDEN.name}: {len(stored)} arrays, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[3] / "shared" / "parity")
