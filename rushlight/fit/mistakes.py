"""The classic mistakes of training: how each shows itself, and what to say about it.

Functions here look at finished things (the tape of a loss, arrays, lists of numbers) and return the sentence
for the user, or an empty text. `rushlight.fit.watch` calls them at the right moments. Invariant: limits leave
room, so that training that goes well is never blamed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rushlight.autograd.node import Node

UNSCALED = 50.0  # a feature of larger root mean square makes first steps useless
DEAD_SHARE = 0.6  # of a layer's units; half of them are silent where all inputs are of one sign
DEAD_SAMPLES = 100  # that a unit must be silent on
VANISHED = 1e-4  # gradient of the first weights over that of the last
EXPLODED = 1e4  # length of the gradient over that of the weights
WILD_UPDATE = 0.5  # share of the weights that one step changes
IDLE_UPDATE = 2e-6
IDLE_RATE = 1e-5
BLOWN_UP = 3.0  # loss over the first loss


@dataclass(frozen=True)
class Mistake:
    """Something noticed: its kind, a sentence with a remedy, and the line of the user's code."""

    kind: str
    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.text} ({self.file}:{self.line})" if self.line else self.text


class MistakeWarning(UserWarning):
    """A classic mistake was noticed in a training loop."""


# -- in the tape of a loss -----------------------------------------------------------------------------------

_VIEWS = (
    "squeeze",
    "unsqueeze",
    "view",
    "reshape",
    "flatten",
    "expand",
    "t",
    "transpose",
    "permute",
    "select",
)


def source_of(node: Node) -> Node | None:
    """The node that made what `node` computes on, past views."""
    source = node.edges[0] if node.edges else None
    while isinstance(source, Node) and source.op.name in _VIEWS:
        source = source.edges[0]
    return source if isinstance(source, Node) else None


def _softmax_by_hand(node: Node) -> bool:
    """Whether a node is ``x.exp() / x.exp().sum(...)``."""
    made = [edge for edge in node.edges if isinstance(edge, Node)]
    if node.op.name != "div" or len(made) < 2:
        return False
    exponential, total = made
    summed = total.edges[0]
    if total.op.name != "sum" or not isinstance(summed, Node) or summed.op.name != "exp":
        return False
    return exponential.op.name == "exp" and exponential.edges[0] is summed.edges[0]


def doubled_softmax(node: Node) -> str:
    """Probabilities handed to a loss that wants scores, or the other way round.

    >>> import rushlight as torch
    >>> scores = torch.randn(2, 3, requires_grad=True)
    >>> loss = torch.nn.functional.cross_entropy(scores.softmax(1), torch.tensor([0, 1]))
    >>> doubled_softmax(loss.grad_fn).split(":")[0]
    'softmax before cross_entropy'
    """
    name = node.op.name
    source = source_of(node)
    made = source.op.name if source is not None else ""
    if source is not None and _softmax_by_hand(source):
        made = "softmax"
    if made not in ("softmax", "sigmoid"):
        return ""
    if name.startswith("cross_entropy") or name == "log_softmax":
        return (
            f"{made} before cross_entropy: the loss applies softmax itself, so gradients are far too small. "
            f"Hand it the scores as they are, without {made}."
        )
    if name.startswith("nll_loss"):
        return (
            f"{made} before nll_loss: it wants logarithms of probabilities. Use log_softmax, or "
            "cross_entropy on the scores."
        )
    if name.startswith("binary_cross_entropy_with_logits"):
        return (
            f"{made} before binary_cross_entropy_with_logits: the loss applies sigmoid itself. Hand it the "
            "scores, or use binary_cross_entropy."
        )
    return ""


def _origin(edge: object, outputs: Container[int]) -> object:
    """What an edge leads to past views, as far as a model's output."""
    while isinstance(edge, Node) and edge.op.name in _VIEWS and id(edge) not in outputs:
        edge = edge.edges[0]
    return edge


def mixed_shapes(nodes: Iterable[Node], outputs: dict[int, tuple[int, ...]]) -> tuple[str, Node | None]:
    """A model's output (N, 1) that met something of shape (N,), or the other way round.

    Args:
        nodes: the tape.
        outputs: shapes by the id of the nodes that made a model's output.
    """
    for node in nodes:
        if node.op.kind != "map" and node.op.name != "expand":
            continue
        for edge in node.edges:
            origin = _origin(edge, outputs)
            if not isinstance(edge, Node) or id(origin) not in outputs:
                continue
            met = [_origin(each, outputs) for each in node.edges if isinstance(each, Node)]
            if met.count(origin) > 1:
                continue  # every sample with every other, on purpose: output - output.T
            count = outputs[id(origin)][0] if outputs[id(origin)] else 0
            if count > 1 and edge.shape in ((count, 1), (count,)) and node.shape == (count, count):
                other = "(N,)" if edge.shape == (count, 1) else "(N, 1)"
                text = (
                    f"the model's output of shape {tuple(edge.shape)} meets a target of shape {other}: "
                    f"together they make {count} x {count} differences, every sample with every other. "
                    "Give both the same shape: output.squeeze(1) or target.unsqueeze(1)."
                )
                return text, node
    return "", None


def samples_summed(loss: Node) -> int:
    """How many samples a loss adds up, whose gradients are therefore that much longer; 1 if it is a mean.

    >>> import rushlight as torch
    >>> answers = torch.ones(8, 1, requires_grad=True)
    >>> samples_summed(answers.square().sum().grad_fn), samples_summed(answers.square().mean().grad_fn)
    (8, 1)
    """
    added = loss.op.name == "sum" or (loss.params or {}).get("reduction") == "sum"
    shape = loss.edges[0].shape if added and loss.edges and loss.edges[0] is not None else ()
    return max(shape[0], 1) if shape else 1


# -- in arrays -----------------------------------------------------------------------------------------------


def accumulated(now: np.ndarray, fresh: np.ndarray, stale: np.ndarray) -> bool:
    """Whether a gradient is what was computed since the last step plus what there was before.

    Args:
        now: the gradient that a step uses.
        fresh: what the backward passes since the last step gave.
        stale: the gradient that the last step used.

    A gradient that was clipped by its length is a part of the sum.

    >>> fresh, stale = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    >>> accumulated(fresh + stale, fresh, stale), accumulated(0.1 * (fresh + stale), fresh, stale)
    (True, True)
    >>> accumulated(fresh, fresh, stale), accumulated(0.1 * fresh, fresh, stale)
    (False, False)
    """
    now, fresh, stale = (each.astype(np.float64) for each in (now, fresh, stale))
    total = stale + fresh
    if not (np.isfinite(now).all() and np.isfinite(total).all()):
        return False

    def is_part_of(whole: np.ndarray) -> bool:
        share = float((now * whole).sum()) / max(float((whole * whole).sum()), 1e-300)
        share = min(share, 1.0) if now.size > 1 else 1.0  # one number is a part of any
        return np.allclose(now, share * whole, rtol=1e-3, atol=1e-3 * abs(now).max() + 1e-12)

    return is_part_of(total) and not is_part_of(fresh)


def unscaled(inputs: np.ndarray) -> str:
    """A feature far from the size of 1.

    >>> unscaled(np.array([[26500.0, 0.1], [26700.0, 0.3]])).split(":")[0]
    'inputs are not scaled'
    >>> unscaled(np.array([[0.1, -2.0], [3.0, 0.3]]))
    ''
    """
    if inputs.dtype.kind != "f" or inputs.size == 0:
        return ""
    columns = inputs.reshape(len(inputs), -1).astype(np.float64)
    with np.errstate(all="ignore"):
        sizes = np.sqrt((columns**2).mean(0))
    if not np.isfinite(sizes).all() or sizes.max() <= UNSCALED:
        return ""
    worst = int(sizes.argmax())
    mean, spread = columns[:, worst].mean(), columns[:, worst].std()
    return (
        f"inputs are not scaled: feature {worst} is {mean:.4g} with a spread of {spread:.2g}. Subtract the "
        "mean and divide by the standard deviation of the training data (or begin with a norm layer)."
    )


def dead_units(silent: np.ndarray, samples: int, layer: int) -> str:
    """Units of a ReLU layer that gave 0 for every sample."""
    share = float(silent.mean())
    if samples < DEAD_SAMPLES or share < DEAD_SHARE or silent.size < 4:
        return ""
    return (
        f"dead units: {int(silent.sum())} of {silent.size} units of ReLU layer {layer} gave 0 for all of "
        f"{samples} samples, so they no longer learn. Centre the inputs, or take a smaller learning "
        "rate, other initial weights or biases, or LeakyReLU."
    )


def bad_gradients(norms: Sequence[float], sizes: Sequence[float], counts: Sequence[int]) -> tuple[str, str]:
    """The kind and the sentence for gradients that explode or vanish.

    Args:
        norms: the gradient's length for each weight matrix, from the first layer to the last.
        sizes: the lengths of the matrices.
        counts: their numbers of elements.
    """
    total, size = float(np.linalg.norm(norms)), float(np.linalg.norm(sizes))
    if not np.isfinite(total) or total > EXPLODED * max(size, 1e-3):
        return "exploding gradients", (
            f"exploding gradients: they are {total:.2g} long, the weights {size:.2g}. Clip them "
            "(nn.utils.clip_grad_norm_), scale inputs and targets, or start from smaller weights."
        )
    if len(norms) < 3:
        return "", ""
    first, last = norms[0] / counts[0] ** 0.5, norms[-1] / counts[-1] ** 0.5
    if last > 1e-8 and first < VANISHED * last:
        return "vanishing gradients", (
            f"vanishing gradients: in the first layer they are {first / last:.0e} of those in the last, so "
            "it hardly learns. Use ReLU instead of sigmoid or tanh, norm layers, or fewer layers."
        )
    return "", ""


# -- in lists of numbers -------------------------------------------------------------------------------------


def bad_rate(losses: Sequence[float], updates: Sequence[float], rate: float) -> str:
    """A learning rate outside the stable range.

    Args:
        losses: of steps so far.
        updates: the share of the weights that each of those steps changed.
        rate: the learning rate now.

    >>> bad_rate([1.0] * 4 + [2.0, 5.0, 9.0, 30.0, 80.0], [0.6] * 9, rate=1.0).split(":")[0]
    'the learning rate is too large'
    >>> bad_rate([1.0, 0.9, 0.8, 0.6, 0.5, 0.4, 0.4, 0.3], [0.01] * 8, rate=0.1)
    ''
    """
    if losses and not np.isfinite(losses[-1]):
        return f"the learning rate is too large: the loss became {losses[-1]}. Divide it by 10."
    if len(losses) < 8 or len(updates) < 5:
        return ""
    now, change = sorted(losses[-5:])[2], sorted(updates[-5:])[2]
    if now > BLOWN_UP * losses[0] > 0:
        grown = f"rose from {losses[0]:.3g} to {now:.3g}"
        return f"the learning rate is too large: the loss {grown}. Divide it by 10."
    if change > WILD_UPDATE and now > 0.9 * losses[0]:
        return (
            f"the learning rate is too large: each step changes the weights by {change:.0%} of their size, "
            f"and the loss does not fall ({losses[0]:.3g} to {now:.3g}). Divide it by 10."
        )
    # where weights have converged updates are small too: then the rate itself is not
    if len(losses) >= 20 and change < IDLE_UPDATE and rate < IDLE_RATE and now > 0.8 * losses[0]:
        return (
            f"the learning rate is too small: each step changes the weights by {change:.0e} of their size, "
            f"and the loss stays at {now:.3g}. Multiply it by 100, or use find_lr."
        )
    return ""
