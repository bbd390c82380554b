"""From a user's verified detections to the probability that a detection is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from NatureLM.calibration.file import Calibration, read_calibration

if TYPE_CHECKING:
    from NatureLM.calibration.calibrating import Calibrated, calibrate

__all__ = ["Calibrated", "Calibration", "calibrate", "read_calibration"]


def __getattr__(name: str) -> Any:
    """Import what makes calibrations on first use: applying one needs no NumPy."""
    if name in ("Calibrated", "calibrate"):
        from NatureLM.calibration import calibrating

        return getattr(calibrating, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
