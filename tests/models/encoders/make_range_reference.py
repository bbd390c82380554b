"""Write ``range_reference.npz``: LiteRT's probabilities at the places of `test_birdnet_range.py`.

Needs ai-edge-litert. Run from anywhere: ``python tests/models/encoders/make_range_reference.py``
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from test_birdnet_range import PLACES, REFERENCE

from NatureLM.models.encoders.encoder_files import RANGE_MODEL, find_range_model

CLASSES = np.arange(0, 6_522, 20)  # a sample keeps the file small


def main() -> None:
    """Run the graph at each place and store a sample of its output."""
    interpreter = Interpreter(model_path=str(find_range_model()), num_threads=1)
    interpreter.allocate_tensors()
    probabilities = []
    for place in PLACES:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.float32([place]))
        interpreter.invoke()
        probabilities.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].copy())
    every = np.stack(probabilities)
    np.savez_compressed(
        REFERENCE,
        sha256=np.array(RANGE_MODEL.sha256),
        classes=CLASSES,
        probabilities=every[:, CLASSES],
        top_ten=np.argsort(-every, axis=1)[:, :10],
        expected=(every >= 0.03).sum(axis=1),
    )


if __name__ == "__main__":
    main()
