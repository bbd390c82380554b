"""Synthetic evidence that the encoder's own head accepts: species implanted into background embeddings.

An embedding ``e`` of a background is moved along ``d_c``, the solution of
``(G + lambda * S^-1) d_c = w_c``, where ``w_c`` is the head's weight vector of class ``c``,
``G = W^T W / classes`` and ``S`` is the covariance of background embeddings; the length of the move is
chosen so that the class's logit hits its target. Moving along ``w_c`` or ``S w_c`` alone raises many other
classes once negative values are clamped (BirdNET's embeddings are never negative); ``G`` keeps them down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

RIDGES = (1.0, 4.0, 15.0)
"""Values of lambda, drawn at random: from sharp to soft implants."""

PEAK_MEAN, PEAK_SPREAD, PEAK_LOW, PEAK_HIGH = 2.5, 2.6, -2.2, 8.0
"""Peak logits as seen on real recordings: a normal distribution, clipped."""

CONFUSER_SHARE = 0.4
"""Share of implanted species that bring a weaker near neighbour with them."""

BISECTION_STEPS = 14
LONGEST_MOVE = 64.0
NEIGHBOURS = 24


@dataclass(frozen=True)
class BackgroundBank:
    """Embeddings of animal-free sound.

    Attributes
    ----------
    embeddings : float32 [windows, segments, 1024]
    """

    embeddings: Array


@dataclass(frozen=True)
class Draw:
    """How many of which classes are implanted.

    Attributes
    ----------
    count_shares : tuple of float
        Share of windows with 0, 1, 2, ... implanted classes, many of which stay below the floor.
    sound_share : float
        Share of implants that are no animals, beside those that chance brings.
    rare_share : float
        Share of the other implants that are frogs, insects or mammals, likewise.
    """

    count_shares: tuple[float, ...] = (0.09, 0.17, 0.16, 0.14, 0.12, 0.1, 0.09, 0.08, 0.05)
    sound_share: float = 0.1
    rare_share: float = 0.2


EVEN = Draw(count_shares=(0.1,) * 10, sound_share=0.0, rare_share=0.0)
"""All classes alike, 0 to 9 a window: many of them stay below the floor."""


class EvidenceMaker:
    """Draws windows of logits with known implants.

    Parameters
    ----------
    head_weight : float32 [classes, 1024]
    head_bias : float32 [classes]
    bank : BackgroundBank
    sound_classes : int64 [count]
        Classes that are no animals.
    rare_classes : int64 [count]
        Classes of the animals that are few beside the birds. Both are implanted more often than their
        numbers would have it, so that questions about kinds are learnt.
    draw : Draw, optional
        How many of which classes are implanted; as in training, unless given.
    """

    def __init__(
        self,
        head_weight: Array,
        head_bias: Array,
        bank: BackgroundBank,
        sound_classes: npt.NDArray[np.int64],
        rare_classes: npt.NDArray[np.int64],
        draw: Draw | None = None,
    ) -> None:
        self.weight = head_weight
        self.bias = head_bias
        self.bank = bank
        self.sound_classes = sound_classes
        self.rare_classes = rare_classes
        self.draw = draw or Draw()
        self.directions = implant_directions(head_weight, bank.embeddings)
        self.neighbours = nearest_classes(head_weight, NEIGHBOURS)

    def windows(self, count: int, rng: np.random.Generator) -> Array:
        """Return logits [count, segments, classes] of freshly made windows."""
        backgrounds = self.bank.embeddings
        embeddings = backgrounds[rng.integers(len(backgrounds), size=count)].copy()
        segments = embeddings.shape[1]
        classes = len(self.weight)
        numbers = rng.choice(len(self.draw.count_shares), p=self.draw.count_shares, size=count)
        for turn in range(numbers.max(initial=0)):
            windows = np.flatnonzero(numbers > turn)
            targets = rng.integers(classes, size=len(windows))
            as_sound = rng.random(len(windows)) < self.draw.sound_share
            targets[as_sound] = rng.choice(self.sound_classes, size=int(as_sound.sum()))
            as_rare = ~as_sound & (rng.random(len(windows)) < self.draw.rare_share)
            targets[as_rare] = rng.choice(self.rare_classes, size=int(as_rare.sum()))
            peaks = rng.normal(PEAK_MEAN, PEAK_SPREAD, size=len(windows)).clip(PEAK_LOW, PEAK_HIGH)
            self._implant(embeddings, windows, targets, peaks.astype(np.float32), rng)
            # A confuser: a near neighbour of the species, weaker than it.
            confused = rng.random(len(windows)) < CONFUSER_SHARE
            rivals = self.neighbours[targets, rng.integers(NEIGHBOURS, size=len(windows))]
            weaker = peaks - rng.uniform(0.3, 4.0, size=len(windows))
            self._implant(
                embeddings,
                windows[confused],
                rivals[confused],
                weaker[confused].astype(np.float32),
                rng,
            )
        flat = embeddings.reshape(count * segments, -1)
        logits = flat @ self.weight.T + self.bias
        return logits.reshape(count, segments, classes)

    def _implant(
        self,
        embeddings: Array,
        windows: npt.NDArray[np.int64],
        targets: npt.NDArray[np.int64],
        peaks: Array,
        rng: np.random.Generator,
    ) -> None:
        """Move some segments of each window so that its target class peaks at the given logit."""
        if not len(windows):
            return
        segments = embeddings.shape[1]
        heard = rng.random((len(windows), segments)) < rng.uniform(0.4, 1.0, size=(len(windows), 1))
        heard[np.arange(len(windows)), rng.integers(segments, size=len(windows))] = True
        rows, places = np.nonzero(heard)
        drop = rng.exponential(1.0, size=len(rows)).astype(np.float32)
        strongest = np.unique(rows, return_index=True)[1]
        drop[strongest] = 0.0
        ridge = rng.integers(len(RIDGES), size=len(windows))
        moved = move_to_logit(
            embeddings[windows[rows], places],
            self.directions[ridge[rows], targets[rows]],
            self.weight[targets[rows]],
            self.bias[targets[rows]],
            peaks[rows] - drop,
        )
        embeddings[windows[rows], places] = moved


def implant_directions(weight: Array, backgrounds: Array) -> Array:
    """Return the moves [ridges, classes, 1024] that raise one class and few others."""
    flat = backgrounds.reshape(-1, backgrounds.shape[-1]).astype(np.float64)
    covariance = np.cov(flat, rowvar=False)
    # Keeps directions in which the backgrounds never vary from being forbidden outright.
    covariance += 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    heads = weight.astype(np.float64)
    gram = heads.T @ heads / len(heads)
    # The two terms are brought to one scale, so that lambda means the same for every bank.
    inverse *= np.trace(gram) / np.trace(inverse)
    moves = []
    for ridge in RIDGES:
        move = np.linalg.solve(gram + ridge * inverse, heads.T).T
        moves.append(move / np.linalg.norm(move, axis=1, keepdims=True))
    return np.stack(moves).astype(np.float32)


def nearest_classes(weight: Array, count: int) -> npt.NDArray[np.int64]:
    """Return for each class the classes whose weight vectors are most like its own, [classes, count]."""
    unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    return np.argpartition(-likeness, count, axis=1)[:, :count]


def move_to_logit(
    embeddings: Array, directions: Array, weights: Array, biases: Array, targets: Array
) -> Array:
    """Move embeddings along their directions, clamped at zero, until their logits hit the targets.

    Parameters
    ----------
    embeddings, directions, weights : float32 [rows, 1024]
    biases, targets : float32 [rows]

    Returns
    -------
    float32 [rows, 1024]
        Rows whose logit already lies above its target are returned as they are.
    """
    low = np.zeros(len(embeddings), dtype=np.float32)
    high = np.full(len(embeddings), LONGEST_MOVE, dtype=np.float32)
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        moved = np.maximum(embeddings + middle[:, None] * directions, 0.0)
        below = np.einsum("rd,rd->r", moved, weights) + biases < targets
        low = np.where(below, middle, low)
        high = np.where(below, high, middle)
    start = np.einsum("rd,rd->r", embeddings, weights) + biases
    length = np.where(start >= targets, 0.0, (low + high) / 2).astype(np.float32)
    return np.maximum(embeddings + length[:, None] * directions, 0.0)
