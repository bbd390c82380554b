"""What answers are restricted to: a list of the user's, or the species to expect at a place in a week."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from NatureLM.config import CandidatesConfig
from NatureLM.errors import ConfigError
from NatureLM.infer.candidate_lists import read_names
from NatureLM.models.answering import Candidates
from NatureLM.models.label_trie import tidy_labels
from NatureLM.models.species_range import WHOLE_YEAR, SpeciesRange, week_of

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

logger = logging.getLogger("NatureLM.infer")

UNKNOWN_SHOWN = 5
"""Unknown names that a message shows."""


class ListedCandidates:
    """One list for all recordings.

    Parameters
    ----------
    names : sequence of str
        All of them known to the model.
    top_k, scored, length_normalised : optional
        As in Candidates.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        top_k: int | None = None,
        *,
        scored: bool = True,
        length_normalised: bool = False,
    ) -> None:
        self.candidates = Candidates(names, top_k, scored, length_normalised)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the run's parameters say of it."""
        held = self.candidates
        if not held.scored:
            return {"known_names": list(held.labels)}
        # Only where it is asked for, so that journals of earlier versions are gone on with.
        normalised = {"normalise_length": True} if held.length_normalised else {}
        return {"names": list(held.labels), "top_k": held.top_k, **normalised}

    def of(self, name: str, recorded_at: datetime | None) -> Candidates:
        """Return what may be named of a recording."""
        return self.candidates


class ExpectedCandidates:
    """The species to expect at a place, in one week or in that of each recording.

    Parameters
    ----------
    model : NatureLM
        One with BirdNET's classes.
    latitude, longitude : float
        In degrees.
    week : int or None
        1 to 48, -1 for the whole year; None takes each recording's own, and the year where it states no date.
    threshold : float
        Probability in [0, 1] from which a species is expected.
    top_k : int or None
        As in Candidates.

    Raises
    ------
    ConfigError
        The model has other classes.
    ModelUnavailableError
        The range model is not installed or is damaged.
    """

    def __init__(
        self,
        model: NatureLM,
        latitude: float,
        longitude: float,
        week: int | None,
        threshold: float,
        top_k: int | None = None,
    ) -> None:
        from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter

        is_birdnet = model.config.audio_encoder.get("type") == "birdnet"
        if not is_birdnet or not isinstance(model.adapter, SpeciesTokensAdapter):
            raise ConfigError(
                f"--latitude and --longitude: the model {model.config.name} cannot be held to the species of "
                "a place; only the bundled model can (--model bundled). `naturelm species` prints a place's "
                "list, for --candidates."
            )
        self.latitude, self.longitude = latitude, longitude
        self.week, self.threshold, self.top_k = week, threshold, top_k
        self._range = SpeciesRange(model.adapter.table)
        self._in_week = lru_cache(maxsize=None)(self._list)
        self._warned = False

    @property
    def parameters(self) -> dict[str, Any]:
        """What the run's parameters say of it."""
        names = ("latitude", "longitude", "week", "threshold", "top_k")
        return {name: getattr(self, name) for name in names}

    def of(self, name: str, recorded_at: datetime | None) -> Candidates:
        """Return what may be named of a recording, given its name and when it was made, if known."""
        if self.week is not None:
            return self._in_week(self.week)
        if recorded_at is not None:
            return self._in_week(week_of(recorded_at))
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s states no date of recording (others may not either): it is held to the species of the "
                "whole year; give --week or --date.",
                name,
            )
        return self._in_week(WHOLE_YEAR)

    def _list(self, week: int) -> Candidates:
        expected = self._range.expected(self.latitude, self.longitude, week, self.threshold)
        species = [*(one.species for one in expected), *self._range.without_range]
        return Candidates(tuple(one.common_name for one in species), self.top_k)


CandidateSource = ListedCandidates | ExpectedCandidates


def read_candidates(config: CandidatesConfig) -> tuple[str, ...] | None:
    """Return the names of a configuration's list, of candidates or known names; None without one.

    Raises
    ------
    ConfigError
        The list cannot be read or is empty, or settings contradict one another.
    """
    placed = config.latitude is not None or config.longitude is not None
    if placed and (config.latitude is None or config.longitude is None):
        raise ConfigError("--latitude and --longitude go together; give both.")
    if placed and config.names is not None:
        raise ConfigError(
            "--candidates and --latitude/--longitude exclude each other; `naturelm species` prints the list "
            "of a place, for you to change and to give as --candidates."
        )
    if not placed and (config.week is not None or config.date is not None):
        raise ConfigError("--week and --date need a place; give --latitude and --longitude too.")
    if config.week is not None and config.date is not None:
        raise ConfigError("--week and --date exclude each other; leave one out.")
    if config.range_threshold != CandidatesConfig.model_fields["range_threshold"].default and not placed:
        raise ConfigError("--range-threshold needs a place; give --latitude and --longitude too.")
    if config.ignore_unknown and config.names is None:
        raise ConfigError("--ignore-unknown is for a list of candidates; give --candidates, or leave it out.")
    if config.top_k is not None and not placed and config.names is None:
        raise ConfigError("--top-k is for the scores of candidates; give --candidates, or a place.")
    if config.normalise_length and config.names is None:
        raise ConfigError("candidates.normalise_length is for the scores of candidates; give --candidates.")
    if config.known_names is None:
        return None if config.names is None else read_names(config.names)
    if placed or config.names is not None:
        raise ConfigError(
            "--known-names and other restrictions (--candidates, --latitude/--longitude) exclude each other; "
            "leave one out."
        )
    return read_names(config.known_names, "--known-names")


def candidate_source(
    config: CandidatesConfig, names: tuple[str, ...] | None, model: NatureLM
) -> CandidateSource | None:
    """Return what a model's answers are restricted to, None where they are not.

    Parameters
    ----------
    config : CandidatesConfig
    names : tuple of str or None
        What :func:`read_candidates` returned.
    model : NatureLM

    Raises
    ------
    ConfigError
        A name is unknown, or the model's answers cannot be restricted.
    ModelUnavailableError
        The range model is not installed or is damaged.
    """
    if model.adapter is not None and model.adapter.names_classes:
        _check_classes(config, model)
    elif names is not None:
        names = tuple(tidy_labels(names))
    if names is not None and config.known_names is not None:
        return ListedCandidates(names, scored=False)
    if names is not None:
        return ListedCandidates(
            _known(names, model, config.ignore_unknown),
            config.top_k,
            length_normalised=config.normalise_length,
        )
    if config.latitude is None or config.longitude is None:
        return None
    return ExpectedCandidates(
        model, config.latitude, config.longitude, chosen_week(config), config.range_threshold, config.top_k
    )


def chosen_week(config: CandidatesConfig) -> int | None:
    """Return the week that ``week`` or ``date`` says, None where neither is given."""
    if config.date is None:
        return config.week
    return week_of(config.date)


def _check_classes(config: CandidatesConfig, model: NatureLM) -> None:
    """Refuse what is for models that spell names, where a model names the classes of its encoder."""
    if config.known_names is not None:
        raise ConfigError(
            f"--known-names: {model.config.name} names only species that it knows, so nothing is to be held; "
            "leave the option out, or restrict the answers with --candidates."
        )
    if config.normalise_length:
        raise ConfigError(
            f"candidates.normalise_length: {model.config.name} does not spell names, so their length counts "
            "for nothing; leave it out."
        )


def _known(names: tuple[str, ...], model: NatureLM, ignore_unknown: bool) -> tuple[str, ...]:
    unknown = model.unknown_labels(names)
    if not unknown:
        return names
    shown = [f"{name!r} (nearest: {nearest})" for name, nearest in list(unknown.items())[:UNKNOWN_SHOWN]]
    more = f" and {len(unknown) - len(shown)} more" if len(unknown) > len(shown) else ""
    listed = ", ".join(shown) + more
    if any("," in name for name in unknown):
        listed += " (in a file each line is one name)"
    if not ignore_unknown:
        raise ConfigError(
            f"--candidates: {model.config.name} does not know {listed}; correct the list, or leave unknown "
            "names out with --ignore-unknown."
        )
    known = tuple(name for name in names if name not in unknown)
    if not known:
        raise ConfigError(f"--candidates: {model.config.name} knows none of the names: {listed}.")
    logger.warning("Candidates that %s does not know are left out: %s.", model.config.name, listed)
    return known
