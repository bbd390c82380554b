from pathlib import Path

import pytest
from pydantic import Field

from NatureLM.config import GenerationConfig, InferenceConfig, Section, load_config, typed_values
from NatureLM.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / "configs"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_bundled_model_in_windows_of_ten_seconds() -> None:
    config = load_config(InferenceConfig)
    assert (config.model, config.fallback, config.device) == ("bundled", None, "auto")
    assert (config.window_length_seconds, config.hop_length_seconds) == (10.0, None)
    assert (config.channel, config.batch_size) == ("mix", 16)
    assert config.generation == GenerationConfig()


def test_published_configuration_names_the_published_model_and_its_fallback() -> None:
    config = load_config(InferenceConfig, CONFIGS / "inference.yml")
    assert config.model == "EarthSpeciesProject/NatureLM-audio"
    assert config.fallback == "bundled"
    assert (config.generation.num_beams, config.generation.max_new_tokens) == (2, 300)
    assert config.generation.merging_alpha == 1.0


def test_bundled_configuration_spells_out_the_defaults() -> None:
    from NatureLM.models.answering import AnswerSettings

    config = load_config(InferenceConfig, CONFIGS / "bundled.yml")
    spelled_out = config.generation.model_dump(exclude_none=True)
    assert AnswerSettings(**spelled_out) == AnswerSettings()
    assert config.model_copy(update={"generation": GenerationConfig()}) == InferenceConfig()


def test_overrides_win_over_the_file_and_options_over_overrides(tmp_path: Path) -> None:
    path = write(tmp_path / "run.yml", "batch_size: 4\ngeneration: {num_beams: 2, max_new_tokens: 50}\n")
    config = load_config(
        InferenceConfig,
        path,
        overrides=["generation.num_beams=3", "batch_size=8", "model=some/model"],
        options={"batch_size": 2, "device": None},
    )
    assert config.batch_size == 2
    assert config.generation.num_beams == 3
    assert config.generation.max_new_tokens == 50
    assert config.model == "some/model"
    assert config.device == "auto"


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("generation.num_beam=3", "generation.num_beams"),
        ("num_beams=3", "generation.num_beams"),
        ("window_length=5", "window_length_seconds"),
        ("generate.max_new_tokens=5", "generation.max_new_tokens"),
    ],
)
def test_unknown_key_names_the_nearest(override: str, nearest: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(
        ConfigError, match=f"unknown key '{key.split('.')[0]}.*nearest.*'{nearest.split('.')[0]}"
    ):
        load_config(InferenceConfig, overrides=[override])


def test_unknown_key_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "run.yml", "generation:\n  min_evidense: 0.5\n")
    with pytest.raises(
        ConfigError, match=r"run\.yml: unknown key 'generation\.min_evidense'.*'generation\.min_ev"
    ):
        load_config(InferenceConfig, path)


@pytest.mark.parametrize(
    "override",
    [
        "generation.min_evidence=1.5",
        "generation.num_beams=0",
        "window_length_seconds=0",
        "window_length_seconds=.nan",
        "window_length_seconds=ten",
        "hop_length_seconds=-1",
        "batch_size=0",
        "device=tpu",
        "channel=0",
        "channel=left",
        "generation=3",
    ],
)
def test_value_out_of_range_names_the_key(override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=f"command line: {key}"):
        load_config(InferenceConfig, overrides=[override])


@pytest.mark.parametrize(("value", "expected"), [("mix", "mix"), ("each", "each"), ("2", 2)])
def test_channel_is_mix_each_or_a_number(value: str, expected: object) -> None:
    assert load_config(InferenceConfig, overrides=[f"channel={value}"]).channel == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n- b\n", "expected 'key: value' lines"),
        ("model: [", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("candidates: {date: 2023-02-29}", "not valid YAML .day is out of range for month"),
    ],
)
def test_malformed_file_is_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        load_config(InferenceConfig, write(tmp_path / "bad.yml", text))
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml: no such configuration file"):
        load_config(InferenceConfig, tmp_path / "none.yml")
    with pytest.raises(ConfigError, match=r"cannot be read as a configuration file .*File name too long"):
        load_config(InferenceConfig, tmp_path / ("x" * 300))
    (tmp_path / "sound.yml").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"sound\.yml: cannot be read"):
        load_config(InferenceConfig, tmp_path / "sound.yml")


def test_any_section_can_be_filled(tmp_path: Path) -> None:
    class Optimiser(Section):
        learning_rate: float = Field(default=0.1, gt=0.0)

    class Training(Section):
        steps: int = Field(default=10, ge=1)
        optimiser: Optimiser = Field(default_factory=Optimiser)

    path = write(tmp_path / "train.yml", "steps: 20\noptimiser: {learning_rate: 0.5}\n")
    settings = load_config(Training, path, ["optimiser.learning_rate=0.25"])
    assert (settings.steps, settings.optimiser.learning_rate) == (20, 0.25)
    with pytest.raises(ConfigError, match=r"'optimiser\.learning_rat'.*'optimiser\.learning_rate'"):
        load_config(Training, overrides=["optimiser.learning_rat=1"])
    with pytest.raises(ConfigError, match=r"command line: optimiser\.learning_rate: .*finite"):
        load_config(Training, overrides=["optimiser.learning_rate=.inf"])
    with pytest.raises(ConfigError, match=r"train\.yml: steps: .*greater than or equal to 1, got 0"):
        load_config(Training, write(path, "steps: 0\n"))


def test_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_config(InferenceConfig, write(tmp_path / "empty.yml", "")) == InferenceConfig()


def test_a_day_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"date 2024-02-30: expected a day as YYYY-MM-DD"):
        load_config(InferenceConfig, overrides=["candidates.date=2024-02-30"])


@pytest.mark.parametrize("override", ["batch_size", "=3"])
def test_override_must_be_key_and_value(override: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        load_config(InferenceConfig, overrides=[override])


def test_typed_values_nest_dotted_keys() -> None:
    typed = typed_values(["generation.num_beams=2"], {"generation.min_evidence": 0.5, "model": None})
    assert typed == {"generation": {"num_beams": 2, "min_evidence": 0.5}}
