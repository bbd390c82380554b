"""Settings of a run: YAML file, then key=value overrides, then options, checked key by key."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from rapidfuzz import fuzz

from NatureLM.errors import ConfigError

__all__ = [
    "CandidatesConfig",
    "Device",
    "GenerationConfig",
    "InferenceConfig",
    "Section",
    "fill_section",
    "known_keys",
    "load_config",
    "read_yaml",
    "typed_values",
]

Device = Literal["auto", "cpu", "cuda", "mps"]
SectionT = TypeVar("SectionT", bound=BaseModel)


class Section(BaseModel):
    """Base of every configuration and of its parts, for :func:`load_config` to fill.

    Unknown keys, infinities and NaN are errors, and defaults are checked like values that were given.
    Fields that are sections themselves are reached with dotted keys.

    Examples
    --------
    >>> class Schedule(Section):
    ...     steps: int = Field(default=1000, ge=1)
    >>> load_config(Schedule, overrides=["steps=20"]).steps
    20
    """

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


class GenerationConfig(Section):
    """How answers are generated; what is None is left to the model's own default.

    Attributes
    ----------
    num_beams : int or None
        Beams of the search; 1 is greedy.
    max_new_tokens : int or None
        Longest answer in tokens.
    min_evidence : float or None
        Floor in [0, 1] on the encoder's evidence; below it a species is not named (bundled model).
    max_species : int or None
        At most this many species per window, strongest first (bundled model).
    min_confidence : float or None
        Confidence in [0, 1] below which an answer is withheld.
    length_penalty, repetition_penalty, temperature, top_p, seed : float or int or None
        As in :class:`~NatureLM.models.answering.AnswerSettings`.
    merging_alpha : float or None
        Factor in [0, 1] on the LoRA scaling (models with LoRA only).
    """

    num_beams: int | None = Field(default=None, ge=1)
    max_new_tokens: int | None = Field(default=None, ge=1)
    min_evidence: float | None = Field(default=None, ge=0.0, le=1.0)
    max_species: int | None = Field(default=None, ge=0)
    min_confidence: float | None = Field(default=None, ge=0.0, le=1.0)
    length_penalty: float | None = None
    repetition_penalty: float | None = Field(default=None, gt=0.0)
    temperature: float | None = Field(default=None, ge=0.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    seed: int | None = Field(default=None, ge=0, lt=2**43)
    merging_alpha: float | None = Field(default=None, ge=0.0, le=1.0)


class CandidatesConfig(Section):
    """What answers are restricted to: a list, or what to expect at a place in a week.

    Attributes
    ----------
    names : str, list of str or None
        A file with a name a line, or names with commas between; a list holds the names as they are.
    known_names : str, list of str or None
        A list like ``names`` that answers are only held to, without scores (models that spell names).
    ignore_unknown : bool
        Whether names that the model does not know are left out with a warning, instead of being an error.
    top_k : int or None
        At most this many scores come with an answer, the best; None gives all.
    normalise_length : bool
        Whether names that compete are compared by the mean log-probability of their tokens instead of the
        sum (models that spell names).
    latitude, longitude : float or None
        A place in degrees (bundled model only).
    week : int or None
        1 to 48, four a month; -1 for the whole year. None takes each recording's own date.
    date : date or None
        A day in place of a week.
    range_threshold : float
        Probability in [0, 1] from which the range model expects a species.
    """

    names: str | list[str] | None = None
    known_names: str | list[str] | None = None
    ignore_unknown: bool = False
    top_k: int | None = Field(default=None, ge=1)
    normalise_length: bool = False
    latitude: float | None = Field(default=None, ge=-90.0, le=90.0)
    longitude: float | None = Field(default=None, ge=-180.0, le=180.0)
    week: int | None = None
    date: datetime.date | None = None
    range_threshold: float = Field(default=0.03, ge=0.0, le=1.0)

    @field_validator("date", mode="before")
    @classmethod
    def _check_date(cls, value: Any) -> Any:
        if value is None or isinstance(value, datetime.date):
            return value
        try:
            return datetime.datetime.strptime(str(value), "%Y-%m-%d").date()
        except ValueError:
            raise ValueError(f"date {value}: expected a day as YYYY-MM-DD, such as 2024-05-17.") from None

    @field_validator("week")
    @classmethod
    def _check_week(cls, value: int | None) -> int | None:
        if value is None or value == -1 or 1 <= value <= 48:
            return value
        raise ValueError(f"week {value}: expected 1 to 48, four a month, or -1 for the whole year.")


class InferenceConfig(Section):
    """What ``naturelm infer`` and ``Pipeline(cfg_path=...)`` run with.

    Attributes
    ----------
    model : str
        ``bundled``, a hub id or a folder.
    fallback : str or None
        The model that answers when ``model`` cannot be had; None makes that an error.
    llama_path : str or None
        Folder or hub id of the Llama that a published checkpoint stands on, if not the one that it names.
    device : {"auto", "cpu", "cuda", "mps"}
        Where the model runs; ``auto`` takes a GPU where there is one.
    precision : {"bfloat16", "int8"} or None
        What a CPU multiplies: bfloat16 numbers, where the processor has instructions for them, or 8-bit
        integers (the language model alone). Faster, but some answers change. None: float32.
    window_length_seconds : float
        Length of a window.
    hop_length_seconds : float or None
        Distance from one window's start to the next; None takes the window's length, so that nothing is
        left out.
    channel : "mix", "each" or int
        Mean of the channels, every channel by itself, or one channel counted from 1.
    time_expansion : float
        Factor by which recordings are slowed before the model hears them, for ultrasonic calls; lengths of
        windows and hops are those of the slowed sound, times in results those of the recording.
    silence_db : float or None
        Level in dBFS, at most 0, below which a window is answered "None" without the model; None asks the
        model about every window.
    batch_size : int
        Windows that go through the model together.
    calibration : str or None
        File of ``naturelm calibrate`` that gives each detection its probability.
    generation : GenerationConfig
        How answers are generated.
    candidates : CandidatesConfig
        What they are restricted to.
    """

    model: str = "bundled"
    fallback: str | None = None
    llama_path: str | None = None
    device: Device = "auto"
    precision: Literal["bfloat16", "int8"] | None = None
    window_length_seconds: float = Field(default=10.0, gt=0.0)
    hop_length_seconds: float | None = Field(default=None, gt=0.0)
    channel: Literal["mix", "each"] | int = "mix"
    time_expansion: float = Field(default=1.0, gt=0.0)
    silence_db: float | None = Field(default=None, le=0.0)
    batch_size: int = Field(default=16, ge=1)
    calibration: str | None = None
    generation: GenerationConfig = Field(default_factory=GenerationConfig)
    candidates: CandidatesConfig = Field(default_factory=CandidatesConfig)

    @field_validator("channel", mode="before")
    @classmethod
    def _check_channel(cls, value: Any) -> Any:
        from NatureLM.audio.recording import parse_channel

        try:
            return parse_channel(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None


def load_config(
    section: type[SectionT],
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> SectionT:
    """Read a configuration: defaults, then the file, then ``overrides``, then ``options``.

    Parameters
    ----------
    section : type
        The pydantic model to fill, such as :class:`InferenceConfig`.
    path : path, optional
        YAML file; None takes the defaults.
    overrides : sequence of str
        ``key=value`` pairs with dotted keys, such as ``generation.num_beams=1``; values are YAML.
    options : mapping, optional
        Dotted keys to values; None values are left out.

    Raises
    ------
    ConfigError
        Missing or malformed file, unknown key (the nearest known one is named) or value out of range.

    Examples
    --------
    >>> load_config(InferenceConfig, overrides=["generation.num_beams=2"]).generation.num_beams
    2
    """
    return fill_section(
        section, {} if path is None else read_yaml(path), typed_values(overrides, options), path
    )


def fill_section(
    section: type[SectionT], file: Mapping[str, Any], typed: Mapping[str, Any], path: str | Path | None = None
) -> SectionT:
    """Fill a configuration from what :func:`read_yaml` and :func:`typed_values` returned; typed values win.

    Parameters
    ----------
    section : type
    file, typed : mapping
    path : path, optional
        Where ``file`` was read, for messages.

    Raises
    ------
    ConfigError
        Unknown key (the nearest known one is named) or value out of range.
    """
    _check_keys(section, file, str(path))
    _check_keys(section, typed, "command line")
    try:
        return section.model_validate(_merge(file, typed))
    except ValidationError as error:
        raise ConfigError(_first_fault(error, path, typed)) from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds (an empty file: an empty mapping).

    Raises
    ------
    ConfigError
        No such file, not YAML, or not a mapping.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; check --cfg-path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a configuration file ({error}).") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: is not valid YAML ({reason}).") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found a {type(content).__name__}.")
    return content


def typed_values(overrides: Sequence[str] = (), options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return ``key=value`` overrides and options as one nested mapping; options win.

    Raises
    ------
    ConfigError
        An override that is not ``key=value``.
    """
    nested: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{override!r}: expected key=value, for example generation.num_beams=1.")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            value = text
        _set(nested, key.strip(), value)
    for key, value in (options or {}).items():
        if value is not None:
            _set(nested, key, value)
    return nested


def known_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a configuration, sections first."""
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from known_keys(inner, f"{prefix}{name}.")


def _set(nested: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, last = dotted.split(".")
    for name in sections:
        inner = nested.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{dotted}: {name} was given a value and cannot hold keys as well.")
        nested = inner
    nested[last] = value


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _check_keys(section: type[BaseModel], values: Mapping[str, Any], source: str) -> None:
    known = list(known_keys(section))
    for dotted in _dotted_keys(section, values):
        if dotted not in known:
            nearest = max(known, key=lambda candidate: _likeness(dotted, candidate))
            raise ConfigError(f"{source}: unknown key '{dotted}'; the nearest known key is '{nearest}'.")


def _dotted_keys(section: type[BaseModel], values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        field = section.model_fields.get(str(key))
        inner = field.annotation if field else None
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _dotted_keys(inner, value, f"{prefix}{key}.")


def _likeness(key: str, candidate: str) -> float:
    """Compare whole keys and last parts, so that ``num_beams`` finds ``generation.num_beams``."""
    last = fuzz.ratio(key.rpartition(".")[2], candidate.rpartition(".")[2])
    return max(fuzz.ratio(key, candidate), last)


def _first_fault(error: ValidationError, path: str | Path | None, typed: Mapping[str, Any]) -> str:
    fault = error.errors(include_url=False)[0]
    location = [str(part) for part in fault["loc"]]
    known = [part for part in location if part.isidentifier()]
    dotted = ".".join(known)
    inner: Any = typed
    for part in known:
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    source = "command line" if inner is not None or path is None else str(path)
    value = fault["input"]
    shown = "" if isinstance(value, float) and math.isnan(value) else f", got {value!r}"
    if fault["type"] == "value_error":  # said by a validator of ours, with the value in it
        return f"{source}: {fault['msg'].removeprefix('Value error, ')}"
    message = fault["msg"]
    return f"{source}: {dotted}: {message[0].lower()}{message[1:]}{shown}."
