"""Write ``published_golden.npz``: what the published code made of 3 s of sound, at a small size.

Everything but the last part is copied out of ../shared/parity (its README tells how that was recorded). The
weights are not stored: they were drawn from one stream of random numbers, which the tests draw anew
(``recorded_weights`` in ``tests/models/conftest.py``); that they come out the same is checked here. The last
part (padding, classes, gradients), of which no short recording exists, is what our own code says; it is
written only if our code meets the recordings of these things for 10 s.

Run from anywhere: ``python tests/models/encoders/make_published_golden.py [PARITY_FOLDER]``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import GOLDEN, RECORDED_BEATS, beats_part, recorded_weights

from NatureLM.models.encoders.beats import Beats, BeatsConfig, padded_patches
from NatureLM.models.encoders.fbank import beats_filter_bank

SAMPLES = 48_000
VALID_SAMPLES = 30_000
FRAMES = slice(0, 298, 12)  # of the 298 in 3 s
PATCHES = slice(0, 128, 9)  # of the 144 in 3 s; the convolution at these hears nothing later
SET_OTHERWISE = ("base_layer", "llama_model.base_model.model.model.norm", "mlp", "layernorm.weight")


def drawn(info: dict) -> list[tuple[str, list[int]]]:
    """Names and shapes of what was drawn, in its order: not the base of the language model."""
    aliases = {group[1] for group in info["shared_storage_groups"]}
    return [
        (item["key"], item["shape"])
        for item in info["state_dict"]
        if item["dtype"] == "float32"
        and item["key"] not in aliases
        and not ("llama_model" in item["key"] and any(part in item["key"] for part in SET_OTHERWISE))
    ]


def own_numbers(beats: Beats, filter_bank: torch.Tensor) -> dict[str, torch.Tensor]:
    """What our code says of padding, classes and gradients."""
    padding = torch.zeros(1, SAMPLES, dtype=torch.bool)
    padding[:, VALID_SAMPLES:] = True
    frames = filter_bank.shape[1]
    patches = padded_patches(padding, frames, beats.patch_count(frames))
    features = beats(filter_bank, patches)
    probabilities = beats.classify(features, patches)
    (features.square().sum() / features.numel()).backward()
    return {
        "own_padding": patches,
        "own_features": features[:, PATCHES].detach(),
        "own_probabilities": probabilities.detach(),
        "own_gradient_proj": beats.post_extract_proj.bias.grad,
        "own_gradient_gates": torch.cat([layer.self_attn.grep_a.grad for layer in beats.encoder.layers]),
        "own_gradient_bias": beats.encoder.layers[0].self_attn.relative_attention_bias.weight.grad[::8],
    }


def main(parity: Path) -> None:
    """Copy, check and write."""
    small = parity / "small"
    order = drawn(json.loads((small / "state_dict_info.json").read_text()))
    recorded = load_file(small / "state_dict.safetensors")
    weight_g = recorded["beats.encoder.pos_conv.0.weight_g"]
    weights = recorded_weights([name for name, _ in order], [shape for _, shape in order], weight_g)
    for name, weight in weights.items():
        if not name.startswith("llama_model."):
            torch.testing.assert_close(
                weight, recorded[name], atol=2e-7, rtol=0, msg=f"{name} is drawn otherwise"
            )

    beats = Beats(BeatsConfig(**RECORDED_BEATS)).eval()
    beats.load_state_dict(beats_part(weights))
    three, two = load_file(small / "golden_b.safetensors"), load_file(small / "golden_a.safetensors")
    with torch.no_grad():
        padding = three["beats_padding_mask"].bool()
        features = beats(three["fbank"], padding)
        torch.testing.assert_close(features, three["beats_out"], atol=1e-5, rtol=0)
        probabilities = beats.classify(features, padding)
        torch.testing.assert_close(probabilities, three["beats_predictor_probs"], atol=1e-6, rtol=0)

    wave = torch.from_numpy(np.load(parity / "inputs.npz")["raw_wav"][:1, :SAMPLES])
    lengths = load_file(small / "golden_lengths.safetensors")
    stored = {
        "weight_g": weight_g,
        "sums": torch.tensor([weight.double().sum() for weight in weights.values()]),
        "wave": wave,
        "fbank": two["fbank"][:1, FRAMES],
        "fbank_from_float64_wav": two["fbank_from_float64_wav"][:1, FRAMES],
        **{
            name: two[name][:1, PATCHES]
            for name in ("beats_patch_layernorm", "beats_post_extract_proj", "beats_pos_conv")
        },
        "beats_out": lengths[f"beats_out_{SAMPLES}"],
        "audio_embeds": lengths[f"audio_embeds_{SAMPLES}"],
        "beats_padding_mask": padding,
        **own_numbers(beats, beats_filter_bank(wave)),
    }
    np.savez_compressed(
        GOLDEN,
        names=np.array([name for name, _ in order]),
        shapes=np.array([" ".join(map(str, shape)) for _, shape in order]),
        **{name: tensor.numpy() for name, tensor in stored.items()},
    )
    print(f"{GOLDEN.name}: {len(stored)} arrays, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[4] / "shared" / "parity")
