"""Numbers that a page or a program gives: a field may be empty, a program may send anything."""

from __future__ import annotations

import math
from abc import ABCMeta
from typing import Any

import gradio as gr

from NatureLM.errors import ConfigError

FLOOR = "a number from 0 to 1"


def is_number(value: object) -> bool:
    """Whether a value is a number, and finite."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def number_of(value: Any, name: str, expected: str = "a number of seconds") -> float:
    """Return a value as a number.

    Raises
    ------
    ConfigError
        It is none; says what is expected under which name.
    """
    if not is_number(value):
        raise ConfigError(f"{name}: give {expected}.")
    return float(value)


def _lenient(component: Any) -> Any:
    """Return a component that lets what is no number through, for the handler to say what it expects.

    Gradio compares it with the component's limits, which is a fault.
    """

    def preprocess(self: Any, payload: Any) -> Any:
        return component.preprocess(self, payload) if is_number(payload) else payload

    # A class statement would have Gradio write a stub beside this file.
    attributes = {"__module__": __name__, "is_template": True, "preprocess": preprocess}
    return ABCMeta.__new__(type(component), component.__name__, (component,), attributes)


Number = _lenient(gr.Number)
Slider = _lenient(gr.Slider)
