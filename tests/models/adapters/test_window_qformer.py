"""The window-level Q-Former against what the published code recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import BPE
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from NatureLM.errors import CheckpointError, RecordingError
from NatureLM.models.adapters import build_adapter
from NatureLM.models.adapters.base import PromptContext
from NatureLM.models.adapters.window_qformer import WindowQFormerAdapter, patches_of
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.encoders.beats import Beats, BeatsConfig, padded_patches
from NatureLM.models.encoders.fbank import beats_filter_bank

LoadBeats = Callable[..., Beats]
LoadAdapter = Callable[..., WindowQFormerAdapter]
Arrays = dict[str, torch.Tensor]

TOLERANCE = 1e-4
KINDS = {"small": {}, "tiny": {"hidden_size": 768, "intermediate_size": 3072}}
VALID_SAMPLES = (160_000, 120_000, 64_000)  # of scenario b
LORA_SCALE = 8 / 4  # alpha / rank (../shared/parity, config.json)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def hear(beats: Beats, parity: Path, scenario: str) -> torch.Tensor:
    """The features of a recorded scenario."""
    waves = torch.from_numpy(np.load(parity / "inputs.npz")["raw_wav"])
    if scenario == "a":
        return beats(beats_filter_bank(waves[:2]))
    padding = torch.arange(160_000) >= torch.tensor(VALID_SAMPLES)[:, None]
    filter_bank = beats_filter_bank(waves.masked_fill(padding, 0.0))
    return beats(filter_bank, padded_patches(padding, filter_bank.shape[1], 496))


@pytest.fixture
def adapter(load_adapter: LoadAdapter) -> WindowQFormerAdapter:
    return load_adapter()


@torch.no_grad()
def test_published_tokens(golden: Arrays, load_beats: LoadBeats, adapter: WindowQFormerAdapter) -> None:
    features = load_beats()(beats_filter_bank(golden["wave"]))
    assert_close(adapter.embed(features), golden["audio_embeds"])


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("scenario", ["a", "b"])
@torch.no_grad()
def test_recorded_stages(
    parity: Path, load_beats: LoadBeats, load_adapter: LoadAdapter, kind: str, scenario: str
) -> None:
    weights = load_file(parity / kind / "state_dict.safetensors")
    adapter = load_adapter(weights, **KINDS[kind])
    expected = load_file(parity / kind / f"golden_{scenario}.safetensors")
    found: Arrays = {}

    def record(name: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            found[name] = output if isinstance(output, torch.Tensor) else output.last_hidden_state

        return hook

    adapter.ln_audio.register_forward_hook(record("ln_audio_out"))
    adapter.qformer.encoder.layer[0].register_forward_hook(record("qformer_layer0_out"))
    adapter.qformer.register_forward_hook(record("qformer_out"))
    found["audio_embeds"] = adapter.embed(hear(load_beats(weights), parity, scenario))
    checked = set(found) & set(expected)
    assert checked >= ({"qformer_out", "audio_embeds"} if kind == "tiny" else set(found))
    for name in checked:
        assert_close(found[name], expected[name])
    assert expected["audio_atts"].shape == found["audio_embeds"].shape[:2]
    assert expected["audio_atts"].all()  # so nothing is masked, padding neither


@pytest.mark.parametrize(
    ("array", "options"),
    [
        *((f"audio_embeds_{samples}", {}) for samples in (16_000, 48_000, 80_000, 99_999, 160_000, 240_000)),
        ("audio_embeds_160000_window0.5_stride0.25", {"seconds_per_window": 0.5, "stride_seconds": 0.25}),
        ("audio_embeds_160000_window0.1_stride0.1", {"seconds_per_window": 0.1, "stride_seconds": 0.1}),
    ],
)
@torch.no_grad()
def test_recorded_lengths_and_windows(
    parity: Path,
    load_beats: LoadBeats,
    load_adapter: LoadAdapter,
    array: str,
    options: dict[str, float],
) -> None:
    weights = load_file(parity / "small" / "state_dict.safetensors")
    samples = int(array.split("_")[2])
    wave = torch.from_numpy(np.load(parity / "inputs.npz")["raw_wav"][:2].reshape(1, -1)[:, :samples])
    tokens = load_adapter(weights, **options).embed(load_beats(weights)(beats_filter_bank(wave)))
    assert_close(tokens, load_file(parity / "small" / "golden_lengths.safetensors")[array])


def merged_llama(parity: Path, weights: Arrays) -> LlamaForCausalLM:
    """The recorded language model, LoRA added to its weights."""
    prefix = "llama_model.base_model.model."
    llama: Arrays = {}
    for name, weight in weights.items():
        if name.startswith(prefix) and ".lora_" not in name:
            llama[name.removeprefix(prefix).replace(".base_layer", "")] = weight.clone()
    for name in [name for name in weights if ".lora_A." in name]:
        change = weights[name.replace("lora_A", "lora_B")] @ weights[name]
        target = name.removeprefix(prefix).replace(".lora_A.default", "")
        llama[target] += LORA_SCALE * change
    model = LlamaForCausalLM.from_pretrained(parity / "llama_tiny", dtype=torch.float32)
    model.resize_token_embeddings(513, mean_resizing=False)
    model.load_state_dict(llama)
    return model.eval()


@pytest.mark.parametrize("scenario", ["a", "b"])
def test_recorded_gradients(
    parity: Path, load_beats: LoadBeats, load_adapter: LoadAdapter, scenario: str
) -> None:
    """The training loss's gradient, through the recorded inputs of the language model."""
    folder = parity / "small"
    weights = load_file(folder / "state_dict.safetensors")
    golden = load_file(folder / f"golden_{scenario}.safetensors")
    beats, adapter = load_beats(weights), load_adapter(weights)
    tokens = adapter.embed(hear(beats, parity, scenario))

    heard = golden["audio_embeds"].flatten(0, 1)
    inputs = golden["train_inputs_embeds"].clone()
    places = [tuple((inputs - token).abs().amax(dim=-1).eq(0).nonzero()[0].tolist()) for token in heard]
    rows, columns = (torch.tensor(place) for place in zip(*places, strict=True))
    inputs = inputs.index_put((rows, columns), tokens.flatten(0, 1))
    output = merged_llama(parity, weights)(
        inputs_embeds=inputs, attention_mask=golden["train_attention_mask"], labels=golden["train_labels"]
    )
    assert_close(output.loss[None], golden["train_loss"])
    output.loss.backward()

    expected = load_file(folder / f"grads_{scenario}.safetensors")
    beats_grads = {f"beats.{name}": weight.grad for name, weight in beats.named_parameters()}
    for name, gradient in beats_grads.items():
        if "predictor" in name:
            assert gradient is None
            assert name not in expected
        else:
            assert_close(gradient, expected.pop(name))
    for name, weight in adapter.named_parameters():
        assert_close(weight.grad, expected.pop(published_name(name)))
    assert all(name.startswith("llama") for name in expected)


def published_name(name: str) -> str:
    """The published name of one of the adapter's weights."""
    name = name.replace("attention.attention.", "attention.self.")
    name = name.replace("qformer.layernorm", "qformer.embeddings.LayerNorm")
    for ours, theirs in {
        "qformer.": "audio_Qformer.bert.",
        "query_tokens": "audio_query_tokens",
        "projection.": "audio_llama_proj.",
    }.items():
        name = theirs + name.removeprefix(ours) if name.startswith(ours) else name
    return name


@pytest.mark.parametrize(
    ("seconds", "patches"),
    [(0.333333, 17), (0.17, 9), (0.25, 12), (0.35, 18), (0.5, 25), (0.1, 5), (1.0, 50)],
)
def test_halves_are_rounded_to_even(seconds: float, patches: int) -> None:
    assert patches_of(seconds) == patches


def test_token_count(adapter: WindowQFormerAdapter, load_adapter: LoadAdapter) -> None:
    assert [adapter.token_count(patches) for patches in (17, 33, 34, 496)] == [1, 1, 2, 29]
    with pytest.raises(RecordingError, match=r"^A recording of 16 patches .* needs 17 \(0\.34 s\)\.$"):
        adapter.token_count(16)
    overlapping = load_adapter(seconds_per_window=0.5, stride_seconds=0.25)
    assert overlapping.token_count(496) == 40


@torch.no_grad()
def test_windows_are_summed_up_one_by_one(load_adapter: LoadAdapter) -> None:
    adapter = load_adapter(seconds_per_window=0.1, stride_seconds=0.06)
    features = torch.randn(2, 12, 64)
    found = adapter.embed(features)
    assert found.shape == (2, 3, 64)
    for token, start in enumerate((0, 3, 6)):
        assert_close(found[:, token], adapter.embed(features[:, start : start + 5])[:, 0], 1e-5)


@torch.no_grad()
def test_several_queries() -> None:
    adapter = WindowQFormerAdapter(
        16, 8, query_tokens=3, hidden_size=24, intermediate_size=8, num_attention_heads=2
    ).eval()
    features = torch.randn(2, 34, 8)
    found = adapter.embed(features)
    assert found.shape == (2, adapter.token_count(34), 16) == (2, 6, 16)
    assert_close(found[:, 3:], adapter.embed(features[:, 17:]), 1e-5)


def contexts(adapter: WindowQFormerAdapter, *prompts: list[torch.Tensor]) -> list[PromptContext]:
    return [adapter.context(prompt, ["What is it?"], AnswerSettings()) for prompt in prompts]


@torch.no_grad()
def test_tokens_of_several_prompts(adapter: WindowQFormerAdapter) -> None:
    embed_tokens = torch.nn.Embedding(3, 64)
    long, short, other = torch.randn(51, 64), torch.randn(20, 64), torch.randn(51, 64)
    made = contexts(adapter, [long, short], [], [other])
    assert [context.lengths for context in made] == [[3, 1], [], [3]]
    found = adapter(made, embed_tokens)
    assert found.shape == (7, 64)
    expected = [adapter.embed(one[None])[0] for one in (long, short, other)]
    assert_close(found, torch.cat(expected), 1e-5)
    assert adapter(made, embed_tokens.bfloat16()).dtype == torch.bfloat16


def test_context_does_not_depend_on_the_question(adapter: WindowQFormerAdapter) -> None:
    features = torch.randn(51, 64)
    one = adapter.context([features], ["Which bird?"], AnswerSettings())
    other = adapter.context([features], ["a", "b", "c"], AnswerSettings(max_species=2))
    assert one.lengths == other.lengths == [3]
    assert one.marks == other.marks == []
    with pytest.raises(RecordingError, match="too short"):
        adapter.context([features[:5]], ["Which bird?"], AnswerSettings())


def test_published_size() -> None:
    """The shapes of the published checkpoint (published-model.md), BEATs included: 112,774,271 parameters."""
    config = NatureLMConfig(audio_encoder={"type": "beats"}, adapter={"type": "window_qformer"})
    config.text_config.hidden_size = 4096
    with torch.device("meta"):
        adapter = build_adapter(config)
        beats = Beats(BeatsConfig())
    count = sum(weight.numel() for part in (adapter, beats) for weight in part.parameters())
    assert count == 112_774_271


def test_built_from_a_config() -> None:
    options = {"type": "window_qformer", "hidden_size": 24, "num_attention_heads": 2, "query_tokens": 2}
    config = NatureLMConfig(
        audio_encoder={"type": "beats", "encoder_embed_dim": 48},
        adapter=options,
        text_config={"hidden_size": 16, "num_attention_heads": 2},
    )
    adapter = build_adapter(config)
    assert isinstance(adapter, WindowQFormerAdapter)
    assert adapter.ln_audio.weight.shape == (48,)
    assert adapter.projection.weight.shape == (16, 24)
    assert adapter.query_tokens.shape == (1, 2, 24)


def test_wrong_configs() -> None:
    with pytest.raises(CheckpointError, match=r"wrong option for the adapter 'window_qformer'.*sponge"):
        build_adapter(NatureLMConfig(adapter={"type": "window_qformer", "sponge": 1}))
    with pytest.raises(CheckpointError, match=r"windows of 0\.01 s every 1\.0 s: at least 0\.02 s each"):
        build_adapter(
            NatureLMConfig(
                adapter={"type": "window_qformer", "seconds_per_window": 0.01, "stride_seconds": 1.0}
            )
        )


def test_answers_lose_spaces_before_punctuation_as_upstreams_do(adapter: WindowQFormerAdapter) -> None:
    """../shared/parity/README.md; transformers itself no longer does it for this kind of tokenizer."""
    text = "a , b . it 's ' c ' do n't ! why ?"
    inner = Tokenizer(BPE({text: 0}, []))
    inner.decoder = Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=True)
    adapter.attach(tokenizer, None)  # type: ignore[arg-type]
    context = PromptContext([])
    assert adapter.text(context, [0]) == "a, b. it's'c'don't! why?"
