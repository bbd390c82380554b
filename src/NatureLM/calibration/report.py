"""What ``naturelm calibrate`` says of a calibration, and the files that it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from NatureLM.calibration.calibrating import Calibrated
from NatureLM.calibration.file import Fit, Threshold
from NatureLM.errors import ConfigError, NatureLMError

ENDING = ".calibration.json"


def paths_for(reviewed: Path, output: Path | None, *, overwrite: bool) -> tuple[Path, Path]:
    """Return where the calibration and its picture go.

    Raises
    ------
    ConfigError
        A file is in the way, the name does not end in ``.json``, or its folder does not exist.
    """
    if output is None:
        named = reviewed if reviewed.name not in ("", "..") else reviewed.resolve()
        if not named.name:
            raise ConfigError(f"{reviewed}: has no name to call the calibration by; give --output-path.")
        output = named.with_name(named.stem + ENDING)
    file = output
    if file.suffix.lower() != ".json":
        raise ConfigError(f"--output-path {file}: a calibration is JSON; let the name end in .json.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"--output-path {file}: its folder does not exist; make it, or name another.")
    picture = file.with_suffix(".png")
    for path in (file, picture):
        if path.is_dir() or (path.exists() and not overwrite):
            raise ConfigError(f"{path}: exists already; choose another --output-path, or pass --overwrite.")
    return file, picture


def lines(made: Calibrated) -> Iterator[str]:
    """Yield what people read: the reviews that count, those that do not and why, the thresholds."""
    matched, calibration = made.matched, made.calibration
    right = sum(matched.right)
    yield f"{len(matched.right)} reviews of detections by {calibration.model}: {right} are right."
    for reason, count in sorted(matched.unmatched.items()):
        yield f"Not counted: {count}, {reason} (first: {matched.examples[reason]})."
    if calibration.model_fingerprint is None:
        yield (
            "The record of the run (.run.json) is not beside the scores: only the model's name can be "
            "checked when the calibration is used."
        )
    yield from _fit_lines("All species together", calibration.pooled)
    if calibration.pooled.slope <= 0:
        yield "  Higher scores are not more often right: these reviews give no threshold."
    for each in calibration.species:
        name = each.common_name or each.scientific_name
        if each.fit is not None:
            yield from _fit_lines(name, each.fit)
        else:
            yield f"{name}: {each.right} of {each.reviews} right; the pooled fit holds ({each.why_pooled})."


def save(made: Calibrated, paths: tuple[Path, Path]) -> Iterator[str]:
    """Write the calibration and its picture; yield what was written.

    Raises
    ------
    NatureLMError
        A file cannot be written.
    """
    file, picture = paths
    try:
        made.calibration.write(file)
        yield f"Calibration in {file}."
        if find_spec("matplotlib") is None:
            yield "No picture: matplotlib is not installed (pip install matplotlib)."
            return
        from NatureLM.calibration.picture import draw

        draw(made, picture)
        yield f"Picture in {picture}."
    except OSError as error:
        raise NatureLMError(
            f"cannot write {error.filename or file} ({error.strerror or error}); name another --output-path."
        ) from None


def _fit_lines(name: str, fit: Fit) -> Iterator[str]:
    yield (
        f"{name}: {fit.right} of {fit.reviews} right in {fit.recordings} recordings, scores "
        f"{fit.lowest_score:.3f} to {fit.highest_score:.3f}"
    )
    for threshold in fit.thresholds:
        yield "  " + _threshold_line(threshold)


def _threshold_line(threshold: Threshold) -> str:
    wanted = f"{threshold.probability:.0%}"
    if threshold.score is None:
        reached = f"{wanted} right: at no score"
    else:
        reached = f"{wanted} right: from score {threshold.score:.3f}"
    if threshold.interval is not None:
        low, high = ("none" if end is None else f"{end:.3f}" for end in threshold.interval)
        reached += f" (95 % interval {low} to {high})"
    if threshold.score is not None:
        reached += f"; {threshold.right} of {threshold.reviews} reviews from there on are right"
    if threshold.extrapolated:
        reached += "; outside the reviewed scores"
    return reached
