"""Speed at the published model's shape: this engine beside the published code's way of running it.

Random weights: BEATs and the Q-Former at full size, a Llama of 135 million parameters in place of 8 billion
(hidden size 576, 30 layers, 9 heads of which 3 for keys, feed-forward size 1536, vocabulary 49,152), LoRA of
rank 32. Windows of 10 s, two beams, 32 new tokens; CPU seconds a window, one thread, all in one run::

    OMP_NUM_THREADS=1 python benchmarks/published_shape.py

The reference is the loop that the published code runs: one window at a time, LoRA beside the weights, all of
it under bfloat16 autocast (it calls for that on every device), and the same without autocast.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

from NatureLM.models.answering import AnswerSettings, ModelAnswer, Precision
from NatureLM.models.devices import multiplies_bfloat16
from NatureLM.models.encoders.fbank import beats_filter_bank
from NatureLM.models.lora import set_lora_strength
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.processing import NatureLMProcessor
from NatureLM.models.upstream import complete_arguments, to_config

VOCABULARY = 49_152
NEW_TOKENS = 32
BEAMS = 2
QUERY = "".join(f"{letter} " for letter in "what is the common name")
SETTINGS = AnswerSettings(num_beams=BEAMS, max_new_tokens=NEW_TOKENS)

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
SMALL = {**SHAPE, "num_hidden_layers": 2}


def build(shape: dict[str, int], beats: dict[str, int]) -> NatureLM:
    """Return a model of random weights that never ends an answer early."""
    words = {f"w{place}": place for place in range(256, VOCABULARY - 1)}
    words |= {chr(code): code for code in range(256)}
    inner = Tokenizer(WordLevel(words, unk_token="w256"))
    inner.pre_tokenizer = Split("", "isolated")  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="w256", pad_token="w257")
    arguments = complete_arguments({"beats_cfg": {**complete_arguments({})["beats_cfg"], **beats}})
    # One row is left for [PAD]; no token ends an answer.
    config = to_config(arguments, LlamaConfig(**{**shape, "eos_token_id": None}), tokenizer)
    torch.manual_seed(0)
    model = NatureLM(config).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    model.generation_config = GenerationConfig(pad_token_id=tokenizer.pad_token_id)
    model.language_model.generation_config = model.generation_config
    model.attach_processor(NatureLMProcessor(tokenizer, config))
    model.adapter.attach(tokenizer, None)  # type: ignore[arg-type]
    return model


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU time that a call takes (other processes do not count), and its result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


@torch.inference_mode()
def reference(model: NatureLM, wave: np.ndarray, autocast: bool) -> None:
    """Answer one window as the published code does."""
    lm = model.language_model
    context = torch.autocast("cpu", dtype=torch.bfloat16) if autocast else contextlib.nullcontext()
    with context:
        heard = model.audio_encoder.beats(beats_filter_bank(torch.from_numpy(wave)[None]))
        tokens = model.adapter.embed(heard)[0]
        before, after = (
            lm.get_input_embeddings()(torch.tensor(piece.ids)) for piece in model.processor.pieces(QUERY)
        )
        inputs = torch.cat([before, tokens.to(before.dtype), after])[None]
        lm.generate(
            inputs_embeds=inputs,
            attention_mask=torch.ones(inputs.shape[:2], dtype=torch.long),
            max_new_tokens=NEW_TOKENS,
            num_beams=BEAMS,
            do_sample=False,
        )


def ours(model: NatureLM, waves: list[np.ndarray], batch: int) -> tuple[float, float, list[ModelAnswer]]:
    """Return seconds a window for encoding and for answering, and the answers."""
    encoding = answering = 0.0
    answers: list[ModelAnswer] = []
    for first in range(0, len(waves), batch):
        part = waves[first : first + batch]
        spent, features = seconds(lambda part=part: model.encode_audio(part))
        encoding += spent
        spent, given = seconds(
            lambda features=features, part=part: model.answer(features, [QUERY] * len(part), SETTINGS)
        )
        answering += spent
        answers += given
    return encoding / len(waves), answering / len(waves), answers


def agreement(one: list[ModelAnswer], other: list[ModelAnswer]) -> float:
    """Return the share of characters (here: tokens) before which two answers part, in the mean."""
    shares = []
    for left, right in zip(one, other, strict=True):
        pairs = list(zip(left.text.split(), right.text.split(), strict=False))
        same = next((place for place, (a, b) in enumerate(pairs) if a != b), len(pairs))
        shares.append(same / max(len(left.text.split()), 1))
    return float(np.mean(shares))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=16, help="of batches; fewer go one at a time")
    parser.add_argument("--single", type=int, default=4, help="windows that go one at a time")
    parser.add_argument("--small", action="store_true", help="two layers each, to try the script")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shapes = (SMALL, {"encoder_layers": 2}) if options.small else (SHAPE, {})
    model = build(*shapes)
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, 160_000).astype(np.float32) for _ in range(options.windows)]
    few = waves[: options.single]

    set_lora_strength(model.language_model, 1.0)
    figures: dict[str, float] = {}
    for name, autocast in (("reference, bfloat16 autocast", True), ("reference, float32", False)):
        reference(model, few[0], autocast)
        spent = [seconds(lambda wave=wave, on=autocast: reference(model, wave, on))[0] for wave in few[:3]]
        figures[name] = float(np.median(spent))
    ours(model, few[:1], 1)
    encode_one, answer_one, alone = ours(model, few, 1)
    encode_all, answer_all, together = ours(model, waves, options.windows)
    figures["ours, float32, batch 1"] = encode_one + answer_one
    figures[f"ours, float32, batch {options.windows}"] = whole = encode_all + answer_all
    same = sum(one.text == other.text for one, other in zip(alone, together, strict=False))
    wholes, answering, agreeing = {"float32": whole}, {"float32": answer_all}, {}
    precisions: list[Precision] = ["bfloat16", "int8"] if multiplies_bfloat16() else ["int8"]
    for precision in precisions:
        model = build(*shapes).to_precision(precision)
        ours(model, waves[:2], 2)
        encoding, answering[precision], coarse = ours(model, waves, options.windows)
        figures[f"ours, {precision}, batch {options.windows}"] = wholes[precision] = (
            encoding + answering[precision]
        )
        agreeing[precision] = agreement(together, coarse)

    for name, value in figures.items():
        print(f"{name:32s} {value:7.3f} CPU s a window")
    print(
        f"encoding {encode_all:.3f} s a window; answering {answer_one:.3f} s alone, "
        f"{answer_all:.3f} s in a batch"
    )
    print(f"same text alone and in the batch: {same} of {len(alone)}")
    # Like with like: autocast gains as much as ours does where the processor multiplies in bfloat16.
    half = "bfloat16" if "bfloat16" in wholes else "float32"
    ratios = {
        "answering, batch against one at a time": (answer_one / answer_all, 3.0),
        f"whole, {half} against the bfloat16 reference": (
            figures["reference, bfloat16 autocast"] / wholes[half],
            3.5,
        ),
        "whole, float32 against the float32 reference": (figures["reference, float32"] / whole, 1.7),
        "answering, int8 against float32": (answer_all / answering["int8"], 1.8),
    }
    for name, (ratio, bound) in ratios.items():
        print(f"{name:45s} {ratio:5.2f} (at least {bound})")
    for precision, share in agreeing.items():
        print(f"tokens before {precision} parts from float32: {share:.2f} of an answer")
    if options.json:
        options.json.write_text(json.dumps(figures | {k: v[0] for k, v in ratios.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
