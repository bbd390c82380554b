"""Published checkpoints: every layout, every fault, and the way back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from NatureLM.errors import CheckpointError
from NatureLM.models import checkpoint_names as names
from NatureLM.models.checkpoint import open_checkpoint
from NatureLM.models.converting import write_upstream
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.tensor_files import open_weights, stored, write_sharded

EMBEDDINGS = "llama_embed_tokens.weight"
WRAPPED = "llama_model.base_model.model."
ALIAS = WRAPPED + "model.embed_tokens.weight"
OUTPUT = WRAPPED + "lm_head.weight"
BIAS = "beats.encoder.layers.{}.self_attn.relative_attention_bias.weight"


@pytest.fixture
def copy(made: Any, tmp_path: Path) -> Path:
    """The made model in a folder of its own, for damaging."""
    shutil.copytree(made.folder, tmp_path / "copy")
    return tmp_path / "copy"


def rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def is_frozen(name: str) -> bool:
    return name.startswith(WRAPPED) and ".lora_" not in name


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert torch.equal(tensor, second[name]), name


def test_every_weight_of_the_hubs_layout_arrives(published: Any) -> None:
    model = NatureLM.from_pretrained(published.folder)
    stored_tensors = load_file(published.folder / "model.safetensors")
    ours = model.state_dict()
    layers = model.config.audio_encoder["encoder_layers"]
    seen = set()
    for name, tensor in ours.items():
        (theirs,) = {key for key in names.upstream_names(name, layers) if key in stored_tensors}
        assert torch.equal(tensor, stored_tensors[theirs]), name
        seen.add(theirs)
    assert set(stored_tensors) - seen == {names.POSITION_IDS}
    assert not model.training
    assert (model.config.sample_rate, model.config.max_window_seconds) == (16_000, 10.0)
    trained = {name for name, item in model.language_model.named_parameters() if item.requires_grad}
    assert trained
    assert all(".lora_" in name for name in trained)


def test_config_and_tokenizer_are_those_of_the_published_code(made: Any) -> None:
    model = NatureLM.from_pretrained(made.folder)
    tokenizer = model.processor.tokenizer
    assert tokenizer.pad_token == "[PAD]"
    assert model.config.text_config.vocab_size == len(tokenizer) == tokenizer.pad_token_id + 1
    prompt = model.processor.prompt("a b")
    assert prompt == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<Audio><AudioHere></Audio> a b"
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    ends = model.language_model.generation_config.eos_token_id
    assert ends == tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    layer = model.language_model.model.layers[0].self_attn.q_proj
    assert layer.scaling["default"] == 2.0
    assert layer.r["default"] == 2


def test_a_training_checkpoint_gives_the_same_model(published: Any, tmp_path: Path) -> None:
    tensors = load_file(published.folder / "model.safetensors")
    tensors |= {ALIAS: tensors[EMBEDDINGS], BIAS.format(1): tensors[BIAS.format(0)]}
    file = tmp_path / "checkpoint_3.pth"
    config = json.loads((published.folder / "config.json").read_text())
    torch.save({"model": tensors, "config": {"model": config, "run": {}}, "epoch": 3}, file)
    model = NatureLM.from_pretrained(file, llama_path=published.llama)
    assert model.config.name == "checkpoint_3"
    assert_equal(model.state_dict(), NatureLM.from_pretrained(published.folder).state_dict())


def test_a_training_checkpoint_takes_the_config_beside_it(made: Any, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "run")
    torch.save({"model": load_file(made.folder / "model.safetensors")}, tmp_path / "run" / "last.pth")
    (tmp_path / "run" / "model.safetensors").unlink()
    model = NatureLM.from_pretrained(tmp_path / "run" / "last.pth")
    assert_equal(model.state_dict(), NatureLM.from_pretrained(made.folder).state_dict())


def test_saved_by_us_and_loaded_again_it_is_the_same(published: Any, tmp_path: Path) -> None:
    model = NatureLM.from_pretrained(published.folder)
    model.save_pretrained(tmp_path / "own")
    again = NatureLM.from_pretrained(tmp_path / "own")
    assert_equal(model.state_dict(), again.state_dict())
    assert again.config.upstream == model.config.upstream
    assert again.config.lora == model.config.lora
    assert again.processor.prompt("a") == model.processor.prompt("a")
    before, after = model.language_model.generation_config, again.language_model.generation_config
    assert (before.eos_token_id, before.pad_token_id) == (after.eos_token_id, after.pad_token_id)
    assert "Built with Llama" in (tmp_path / "own" / "NOTICE").read_text()


def test_any_alias_of_a_shared_tensor_is_taken(copy: Path) -> None:
    expected = NatureLM.from_pretrained(copy).state_dict()
    tensors = load_file(copy / "model.safetensors")
    tensors[ALIAS] = tensors.pop(EMBEDDINGS)
    tensors[BIAS.format(1)] = tensors.pop(BIAS.format(0))
    rewrite(copy, tensors)
    assert_equal(NatureLM.from_pretrained(copy).state_dict(), expected)
    rewrite(copy, {**tensors, EMBEDDINGS: tensors[ALIAS] + 1})
    with pytest.raises(CheckpointError, match=f"contradicting keys: {EMBEDDINGS} and {ALIAS}"):
        NatureLM.from_pretrained(copy)


def test_a_delta_is_completed_from_llama(copy: Path, made: Any, tmp_path: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    rewrite(copy, {name: tensor for name, tensor in tensors.items() if not is_frozen(name)})
    model = NatureLM.from_pretrained(copy)
    llama = load_file(made.llama / "model.safetensors")
    for name, tensor in model.state_dict().items():
        theirs = names.llama_name(name)
        if theirs is None or name == names.EMBEDDINGS:
            (key,) = {key for key in names.upstream_names(name, 2) if key in tensors}
            assert torch.equal(tensor, tensors[key]), name
        elif name == names.OUTPUT_LAYER:
            assert torch.equal(tensor[:-1], llama[theirs])
            assert not tensor[-1].any()
        else:
            assert torch.equal(tensor, llama[theirs]), name
    pad = model.processor.tokenizer.pad_token_id
    assert model.language_model.generation_config.suppress_tokens == [pad]
    with torch.no_grad():
        model.language_model.lm_head.weight[pad] = 0.0
        model.language_model.lm_head.weight[:pad] *= 1e-9
    ids = model.language_model.generate(torch.tensor([[1, 2]]), max_new_tokens=5, do_sample=False)
    assert pad not in ids[0, 2:]
    model.save_pretrained(tmp_path / "own")
    again = NatureLM.from_pretrained(tmp_path / "own")
    assert again.language_model.generation_config.suppress_tokens == [pad]
    write_upstream(open_checkpoint(tmp_path / "own"), tmp_path / "upstream", llama_path=str(made.llama))
    whole = NatureLM.from_pretrained(tmp_path / "upstream")
    assert whole.language_model.generation_config.suppress_tokens == [pad]


def test_a_checkpoint_of_trained_weights_only_takes_the_embeddings_too(copy: Path, made: Any) -> None:
    tensors = load_file(copy / "model.safetensors")
    kept = {name: item for name, item in tensors.items() if not is_frozen(name) and name != EMBEDDINGS}
    rewrite(copy, kept)
    embeddings = NatureLM.from_pretrained(copy).get_input_embeddings().weight
    assert torch.equal(
        embeddings[:-1], load_file(made.llama / "model.safetensors")["model.embed_tokens.weight"]
    )
    assert not embeddings[-1].any()


def test_the_front_end_stays_in_float32(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    llama = {name: item.bfloat16() for name, item in tensors.items() if name.startswith("llama")}
    rewrite(copy, tensors | llama)
    for asked, expected in ((None, torch.float32), ("auto", torch.bfloat16), (torch.float16, torch.float16)):
        model = NatureLM.from_pretrained(copy, **({"dtype": asked} if asked else {}))
        assert {item.dtype for item in model.audio_encoder.parameters()} == {torch.float32}
        assert {item.dtype for item in model.adapter.parameters()} == {torch.float32}
        assert {item.dtype for item in model.language_model.parameters()} == {expected}


def test_every_key_that_does_not_fit_is_named_at_once(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["beats.colour"] = tensors.pop("ln_audio.bias")
    tensors["beats.post_extract_proj.bias"] = torch.zeros(3)
    lora = WRAPPED + "model.layers.1.self_attn.o_proj.lora_B.default.weight"
    tensors["llama_model.extra"] = tensors.pop(lora)
    del tensors[WRAPPED + "model.layers.0.mlp.up_proj.weight"]
    rewrite(copy, tensors)
    with pytest.raises(CheckpointError) as caught:
        NatureLM.from_pretrained(copy)
    message = str(caught.value)
    missing, unexpected, misshapen = message.split("; ")
    assert "missing keys: " in missing
    for name in ("ln_audio.bias", lora, "layers.0.mlp.up_proj.weight"):
        assert name in missing
    assert unexpected == "unexpected keys: beats.colour, llama_model.extra"
    assert "misshapen keys: beats.post_extract_proj.bias [3] instead of [32]" in misshapen


def test_a_llama_that_does_not_fit_is_named(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    rewrite(copy, {name: tensor for name, tensor in tensors.items() if not is_frozen(name)})
    llama = load_file(copy / "llama" / "model.safetensors")
    del llama["model.norm.weight"]
    save_file(llama, copy / "llama" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"llama do not fit .*missing keys: model\.norm\.weight\)"):
        NatureLM.from_pretrained(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_pooling": True}, "sets max_pooling to True; only False can be loaded"),
        ({"colour": 1}, "unknown arguments: colour"),
        ({"prompt_template": "no place"}, "expected text that holds {} once"),
        ({"beats_cfg": {"sponge": 1}}, "wrong option for the audio encoder 'beats'"),
    ],
)
def test_arguments_that_cannot_be_honoured_are_named(
    copy: Path, change: dict[str, Any], message: str
) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=message):
        NatureLM.from_pretrained(copy)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("prompt_template", None, "null; expected text that holds {} once, where the query goes."),
        ("prompt_template", "{} and {query}", '"{} and {query}"; expected text that holds {} once'),
        ("llama_path", None, "null; expected a folder or a hub id."),
        ("llama_path", 5, "5; expected a folder or a hub id."),
        ("lora", 1, "1; expected true or false."),
        ("lora_alpha", -4, "-4; expected a number above 0 and up to 1,000,000."),
        ("lora_alpha", float("nan"), "NaN; expected a number above 0"),
        ("lora_dropout", [0.1], "[0.1]; expected a number from 0 to 1."),
        ("lora_rank", "abc", '"abc"; expected a whole number from 1 to 1,000,000.'),
        ("lora_rank", 0, "0; expected a whole number"),
        ("lora_rank", 10**30, "1000000000000000000000000000000; expected a whole number"),
        ("lora_rank", True, "true; expected a whole number"),
        ("num_audio_query_token", 1.5, "1.5; expected a whole number"),
        ("second_per_window", "0.3", '"0.3"; expected a number above 0'),
        ("second_stride", None, "null; expected a number above 0"),
        ("beats_cfg", "x", '"x"; expected settings in braces, or null.'),
        ("beats_cfg.encoder_layers", "2", '"2"; expected a whole number'),
        ("beats_cfg.conv_pos_groups", 0, "0; expected a whole number"),
        ("beats_cfg.dropout", -0.5, "-0.5; expected a number from 0 to 1."),
        ("beats_cfg.deep_norm", None, "null; expected true or false."),
    ],
)
def test_values_that_mean_nothing_are_named_with_what_was_expected(
    copy: Path, key: str, value: Any, expected: str
) -> None:
    config = json.loads((copy / "config.json").read_text())
    part, _, name = key.rpartition(".")
    (config[part] if part else config)[name] = value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        NatureLM.from_pretrained(copy)
    message = str(caught.value)
    assert str(copy) in message
    assert f"sets {name} to {expected}" in message
    if name == "llama_path":
        assert NatureLM.from_pretrained(copy, llama_path=copy / "llama").config.lora


@pytest.mark.parametrize(
    ("name", "key", "value", "expected"),
    [
        ("config.json", "num_attention_heads", 0, "0; expected a whole number from 1 to 1,000,000."),
        ("config.json", "num_hidden_layers", -3, "-3; expected a whole number"),
        ("config.json", "head_dim", "8", '"8"; expected a whole number from 1 to 1,000,000, or null.'),
        ("generation_config.json", "eos_token_id", ["x"], '["x"]; expected the number of a token'),
        ("generation_config.json", "max_new_tokens", "a", '"a"; expected a whole number'),
    ],
)
def test_values_of_llamas_files_are_named(copy: Path, name: str, key: str, value: Any, expected: str) -> None:
    file = copy / "llama" / name
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(CheckpointError) as caught:
        NatureLM.from_pretrained(copy)
    assert f"The config in {file} sets {key} to {expected}" in str(caught.value)


def test_values_within_a_training_checkpoint_are_named(made: Any, tmp_path: Path) -> None:
    file = tmp_path / "last.pth"
    config = {**json.loads((made.folder / "config.json").read_text()), "lora_rank": None, 5: 5}
    torch.save({"model": {}, "config": {"model": config}}, file)
    with pytest.raises(CheckpointError, match="unknown arguments: 5"):
        NatureLM.from_pretrained(file)
    del config[5]
    torch.save({"model": {}, "config": {"model": config}}, file)
    with pytest.raises(CheckpointError, match=r"last\.pth sets lora_rank to null; expected a whole"):
        NatureLM.from_pretrained(file)


def test_weights_stored_as_integers_are_named(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    lora = WRAPPED + "model.layers.1.self_attn.o_proj.lora_B.default.weight"
    rewrite(copy, {**tensors, lora: tensors[lora].long()})
    with pytest.raises(CheckpointError, match=rf"\(mistyped keys: {lora} int64 instead of float32\)"):
        NatureLM.from_pretrained(copy)


def test_weights_of_a_size_that_no_model_has_are_one_sentence(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    rewrite(copy, {**tensors, "audio_query_tokens": torch.zeros(1, 1, 47)})
    with pytest.raises(CheckpointError, match="No model can be built from the config of NatureLM-audio: "):
        NatureLM.from_pretrained(copy)


def test_damaged_files_are_one_sentence(copy: Path, tmp_path: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        NatureLM.from_pretrained(copy)
    for content in ("{", "[" * 100_000):
        (copy / "config.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
            NatureLM.from_pretrained(copy)
    for name, content, message in (
        ("objects.pth", {"model": {}, "config": Path("x")}, "can run code when read"),
        ("empty.pth", {"weights": {}}, "holds no 'model' \\(it has weights\\)"),
        ("list.pth", [1], "holds a list, not a checkpoint"),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(CheckpointError, match=message):
            NatureLM.from_pretrained(tmp_path / name)
    (tmp_path / "text.pth").write_text("nothing")
    with pytest.raises(CheckpointError, match=r"text\.pth"):
        NatureLM.from_pretrained(tmp_path / "text.pth")
    (tmp_path / "song.wav").write_text("nothing")
    with pytest.raises(CheckpointError, match="is not a model"):
        NatureLM.from_pretrained(tmp_path / "song.wav")


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(True), "c": torch.ones(5).bfloat16()}
    files = write_sharded(tmp_path, {name: stored(tensor) for name, tensor in tensors.items()}, 24)
    assert [file.name for file in files] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    with safe_open(files[0], framework="pt") as shard:
        assert shard.metadata() == {"format": "pt"}
    assert_equal({name: item.read() for name, item in open_weights(tmp_path).items()}, tensors)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    index["weight_map"]["d"] = files[0].name
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"lack tensors that .* lists: d"):
        open_weights(tmp_path)
    index["weight_map"]["d"] = "../elsewhere.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="points out of its folder"):
        open_weights(tmp_path)
    files[1].unlink()
    del index["weight_map"]["d"]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="lacks model-00002-of-00002"):
        open_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"index\.json cannot be read: it is nested too deeply"):
        open_weights(tmp_path)


def test_nothing_is_read_before_it_is_asked_for(made: Any) -> None:
    checkpoint = open_checkpoint(made.folder)
    assert checkpoint.tensors[names.EMBEDDINGS].shape == (checkpoint.config.text_config.vocab_size, 16)
    first, second = (checkpoint.tensors[names.EMBEDDINGS].read() for _ in range(2))
    assert first.data_ptr() != second.data_ptr()
