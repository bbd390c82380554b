"""BEATs (Chen et al. 2022, arXiv 2212.09058): a transformer over patches of a mel spectrogram.

The modules and parameters carry the names of the published checkpoints, so that these load as they are; only
the relative position bias, which they repeat in every layer, is kept once, in the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch.nn.functional import conv1d, dropout, gelu

from NatureLM.errors import CheckpointError, RecordingError
from NatureLM.models.encoders.beats_attention import GatedAttention, RelativePositionBias

HONOURED: dict[str, Any] = {
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
}
"""Options with which every published BEATs was made; other values are refused."""


@dataclass(frozen=True)
class BeatsConfig:
    """Shape of a BEATs, under the names that the ``cfg`` of its checkpoints uses.

    The defaults are those of the published NatureLM-audio (its ``beats_cfg``, and the shapes of its weights).

    Attributes
    ----------
    input_patch_size : int
        Frames and mel bins of a patch.
    embed_dim : int
        Channels of the patch convolution.
    conv_bias : bool
        Whether that has a bias.
    encoder_layers, encoder_embed_dim, encoder_ffn_embed_dim, encoder_attention_heads : int
        Of the transformer.
    conv_pos, conv_pos_groups : int
        Kernel, in patches, and groups of the positional convolution.
    num_buckets, max_distance : int
        Of the relative positions.
    deep_norm : bool
        Whether residuals are scaled by (2 * layers) ** 0.25 (Wang et al. 2022, DeepNorm).
    dropout, attention_dropout, activation_dropout, dropout_input, predictor_dropout : float
        In training only.
    encoder_layerdrop : float
        Probability with which training leaves out a layer.
    layer_wise_gradient_decay_ratio : float
        Factor of the gradient from each layer to the one below.
    finetuned_model : bool
        Whether there is a classifying head.
    predictor_class : int
        Its classes (527: AudioSet).
    activation_fn, layer_norm_first, relative_position_embedding, gru_rel_pos
        One value each is honoured.
    """

    input_patch_size: int = 16
    embed_dim: int = 512
    conv_bias: bool = False
    encoder_layers: int = 12
    encoder_embed_dim: int = 768
    encoder_ffn_embed_dim: int = 3072
    encoder_attention_heads: int = 12
    conv_pos: int = 128
    conv_pos_groups: int = 16
    num_buckets: int = 320
    max_distance: int = 800
    deep_norm: bool = True
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    dropout_input: float = 0.0
    predictor_dropout: float = 0.0
    encoder_layerdrop: float = 0.05
    layer_wise_gradient_decay_ratio: float = 0.6
    finetuned_model: bool = True
    predictor_class: int = 527
    activation_fn: str = "gelu"
    layer_norm_first: bool = False
    relative_position_embedding: bool = True
    gru_rel_pos: bool = True

    def __post_init__(self) -> None:
        for name, value in HONOURED.items():
            if getattr(self, name) != value:
                raise CheckpointError(
                    f"BEATs with {name}={getattr(self, name)!r} is not supported, only {value!r}."
                )
        if self.encoder_embed_dim % self.encoder_attention_heads:
            raise CheckpointError(
                f"BEATs' width {self.encoder_embed_dim} is no multiple of its "
                f"{self.encoder_attention_heads} heads."
            )

    @classmethod
    def from_checkpoint(cls, cfg: Mapping[str, Any]) -> BeatsConfig:
        """Return the configuration in a checkpoint's ``cfg``.

        What it says of pretraining (labels, masking) has no part in hearing and is passed over; weights that
        do not fit the rest are found when they are loaded.

        Raises
        ------
        CheckpointError
            If it names a kind of BEATs that is not supported.
        """
        return cls(**{field.name: cfg[field.name] for field in fields(cls) if field.name in cfg})

    @property
    def residual_scale(self) -> float:
        """DeepNorm's alpha."""
        return (2.0 * self.encoder_layers) ** 0.25 if self.deep_norm else 1.0


class Beats(torch.nn.Module):
    """Filter banks -> features of patches, 16 frames by 16 mel bins each.

    Parameters
    ----------
    config : BeatsConfig
    """

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        size, width = config.input_patch_size, config.encoder_embed_dim
        self.post_extract_proj = (
            torch.nn.Linear(config.embed_dim, width) if config.embed_dim != width else torch.nn.Identity()
        )
        self.patch_embedding = torch.nn.Conv2d(
            1, config.embed_dim, kernel_size=size, stride=size, bias=config.conv_bias
        )
        self.encoder = BeatsTransformer(config)
        self.layer_norm = torch.nn.LayerNorm(config.embed_dim)
        if config.finetuned_model:
            self.predictor = torch.nn.Linear(width, config.predictor_class)

    def forward(self, filter_bank: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """Return the features of patches, frames first: 8 patches of 16 bins for each 16 frames.

        Parameters
        ----------
        filter_bank : [batch, frames, mel bins]
            As :func:`~NatureLM.models.encoders.fbank.beats_filter_bank` returns it; frames that fill no
            patch are dropped.
        padding : bool [batch, patches], optional
            True for patches without sound, as :func:`padded_patches` finds them: nothing attends to them.

        Returns
        -------
        [batch, patches, width]

        Raises
        ------
        RecordingError
            If there are fewer frames than a patch has.
        """
        frames, size = filter_bank.shape[1], self.config.input_patch_size
        if frames < size:
            raise RecordingError(f"{frames} frames are too few to be heard: BEATs needs {size} (0.18 s).")
        patches = self.patch_embedding(filter_bank[:, None])
        features = self.post_extract_proj(self.layer_norm(patches.flatten(2).transpose(1, 2)))
        features = dropout(features, self.config.dropout_input, self.training)
        return self.encoder(features, padding)

    def patch_count(self, frames: int, mel_bins: int = 128) -> int:
        """Return the number of patches of a filter bank."""
        size = self.config.input_patch_size
        return (frames // size) * (mel_bins // size)

    def classify(self, features: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """Return the probability of each class, [batch, classes]: the mean over the patches with sound.

        Parameters
        ----------
        features : [batch, patches, width]
            As :meth:`forward` returned them.
        padding : bool [batch, patches], optional

        Raises
        ------
        CheckpointError
            If the model has no classifying head.
        """
        if not self.config.finetuned_model:
            raise CheckpointError("This BEATs was not fine-tuned: it has no classes.")
        features = dropout(features, self.config.predictor_dropout, self.training)
        logits = self.predictor(features)
        if padding is None:
            return torch.sigmoid(logits.mean(dim=1))
        heard = (~padding)[..., None]
        return torch.sigmoid((logits * heard).sum(dim=1) / heard.sum(dim=1))


class BeatsTransformer(torch.nn.Module):
    """The layers over the patches, and the convolution that tells them their places."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        width, heads = config.encoder_embed_dim, config.encoder_attention_heads
        convolution = PositionalConvolution(width, config.conv_pos, config.conv_pos_groups)
        self.pos_conv = torch.nn.Sequential(convolution, torch.nn.GELU())
        bias = RelativePositionBias(config.num_buckets, config.max_distance, heads)
        self.layers = torch.nn.ModuleList(
            BeatsLayer(config, None if number else bias) for number in range(config.encoder_layers)
        )
        self.layer_norm = torch.nn.LayerNorm(width)

    def forward(self, features: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """Return the output of the last layer, [batch, patches, width] as the features."""
        if padding is not None:
            features = features.masked_fill(padding[..., None], 0.0)
        features = self.layer_norm(features + self.pos_conv(features.transpose(1, 2)).transpose(1, 2))
        features = dropout(features, self.config.dropout, self.training)
        first = cast(BeatsLayer, self.layers[0])
        bias = first.self_attn.relative_attention_bias.between(features.shape[1])
        for layer in self.layers:
            features = scale_gradient(features, self.config.layer_wise_gradient_decay_ratio)
            if self.training and torch.rand(()).item() < self.config.encoder_layerdrop:
                continue
            features = layer(features, bias, padding)
        return features


class BeatsLayer(torch.nn.Module):
    """Attention, then two linear maps, each added to its scaled input and then normalised."""

    def __init__(self, config: BeatsConfig, position_bias: RelativePositionBias | None) -> None:
        super().__init__()
        width, inner = config.encoder_embed_dim, config.encoder_ffn_embed_dim
        self.residual_scale = config.residual_scale
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout
        self.self_attn = GatedAttention(
            width, config.encoder_attention_heads, config.attention_dropout, position_bias
        )
        self.self_attn_layer_norm = torch.nn.LayerNorm(width)
        self.fc1 = torch.nn.Linear(width, inner)
        self.fc2 = torch.nn.Linear(inner, width)
        self.final_layer_norm = torch.nn.LayerNorm(width)

    def forward(
        self, features: torch.Tensor, position_bias: torch.Tensor, padding: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return features [batch, patches, width]; the arguments are those of :class:`GatedAttention`."""
        gathered = self.self_attn(features, position_bias, padding)
        features = self.self_attn_layer_norm(self._add(gathered, features))
        inner = dropout(gelu(self.fc1(features)), self.activation_dropout, self.training)
        return self.final_layer_norm(self._add(self.fc2(inner), features))

    def _add(self, change: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        change = dropout(change, self.dropout, self.training)
        return torch.add(change, features, alpha=self.residual_scale)


class PositionalConvolution(torch.nn.Module):
    """Grouped convolution along the patches, whose weight is a length times a direction for each tap.

    Parameters
    ----------
    width : int
        Size of the features.
    kernel : int
        Patches that it spans; an even kernel's last output is trimmed.
    groups : int
    """

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        # wav2vec 2.0's initialisation, which BEATs keeps: deviation sqrt(4 / (kernel * width)).
        direction = torch.randn(width, width // groups, kernel) * math.sqrt(4.0 / (kernel * width))
        self.bias = torch.nn.Parameter(torch.zeros(width))
        self.weight_g = torch.nn.Parameter(direction.norm(dim=(0, 1), keepdim=True))
        self.weight_v = torch.nn.Parameter(direction)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return [batch, width, patches] of features of that shape."""
        kernel = self.weight_v.shape[-1]
        length = self.weight_v.norm(dim=(0, 1), keepdim=True)
        weight = self.weight_v * (self.weight_g / length)
        convolved = conv1d(features, weight, self.bias, padding=kernel // 2, groups=self.groups)
        return convolved[..., : features.shape[-1]]


def padded_patches(padding: torch.Tensor, frames: int, patches: int) -> torch.Tensor:
    """Return which patches hold nothing but padding.

    Samples are taken in equal stretches for the frames, frames in equal stretches for the patches, and what
    is left over is dropped: so did the code with which the published model was trained, which counts the
    8 patches of 16 frames as if they followed one another in time.

    Parameters
    ----------
    padding : bool [batch, samples]
        True where the waveform was padded.
    frames, patches : int

    Returns
    -------
    bool [batch, patches]
    """
    for count in (frames, patches):
        stretch = padding.shape[1] // count
        padding = padding[:, : stretch * count].unflatten(1, (count, stretch)).all(dim=-1)
    return padding


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: torch.Tensor, scale: float) -> torch.Tensor:
        context.scale = scale
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0] * context.scale, None


def scale_gradient(features: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the features as they are; the gradient that comes back through them is scaled."""
    if scale == 1.0 or not features.requires_grad:
        return features
    return _ScaledGradient.apply(features, scale)
