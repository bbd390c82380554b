"""Write ``litert_reference.npz``: what LiteRT answers for the synthetic signals of `test_birdnet.py`.

Needs ai-edge-litert. Run from anywhere: ``python tests/models/encoders/make_litert_reference.py``
"""

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from test_birdnet import REFERENCE, synthetic_segments

from NatureLM.models.encoders.encoder_files import WEIGHTS, find_weights

EMBEDDING_TENSOR = 545
LOGIT_TENSOR = 546
CLASSES = np.arange(0, 6_522, 20)  # a sample keeps the file small


def main() -> None:
    """Run the graph on each signal and store a sample of its outputs."""
    interpreter = Interpreter(
        model_path=str(find_weights()), num_threads=1, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    embeddings, logits = [], []
    signals = synthetic_segments()
    for signal in signals.values():
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], signal[None])
        interpreter.invoke()
        embeddings.append(interpreter.get_tensor(EMBEDDING_TENSOR)[0].copy())
        logits.append(interpreter.get_tensor(LOGIT_TENSOR)[0].copy())
    np.savez_compressed(
        REFERENCE,
        names=np.array(list(signals)),
        sha256=np.array(WEIGHTS.sha256),
        classes=CLASSES,
        logits=np.stack(logits)[:, CLASSES],
        top_five=np.argsort(-np.stack(logits), axis=1)[:, :5],
        embeddings=np.stack(embeddings)[:, :64],
    )
    print(f"{Path(REFERENCE).name}: {len(signals)} signals, {REFERENCE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
