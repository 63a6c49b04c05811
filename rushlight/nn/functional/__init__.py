"""The layers and losses as functions, under the names of ``torch.nn.functional``.

This file only gathers names: each family has a file of its own beside it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from rushlight.nn.functional.activation import (
    celu_,
    elu_,
    gumbel_softmax,
    hardtanh_,
    leaky_relu_,
    log_softmax,
    relu_,
    rrelu_,
    selu_,
    softmax,
    softmin,
    threshold_,
)
from rushlight.nn.functional.attention import scaled_dot_product_attention
from rushlight.nn.functional.ctc import ctc_loss
from rushlight.nn.functional.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from rushlight.nn.functional.embedding import embedding, embedding_bag
from rushlight.nn.functional.linear import bilinear, linear
from rushlight.nn.functional.loss import cross_entropy, nll_loss
from rushlight.nn.functional.margin import (
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    normalize,
    pairwise_distance,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from rushlight.nn.functional.norm import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from rushlight.nn.functional.probability import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    kl_div,
)
from rushlight.nn.functional.regression import (
    gaussian_nll_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
)
from rushlight.ops.activations import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    prelu,
    relu,
    relu6,
    softshrink,
    threshold,
)
from rushlight.ops.functions import sigmoid, tanh
from rushlight.ops.lookup import one_hot
from rushlight.ops.pad import pad
from rushlight.ops.smooth import (
    celu,
    elu,
    gelu,
    glu,
    logsigmoid,
    mish,
    rrelu,
    selu,
    silu,
    softplus,
    softsign,
    tanhshrink,
)

if TYPE_CHECKING:
    from rushlight.nn.functional.adaptive_pooling import (
        adaptive_avg_pool1d,
        adaptive_avg_pool2d,
        adaptive_avg_pool3d,
        adaptive_max_pool1d,
        adaptive_max_pool1d_with_indices,
        adaptive_max_pool2d,
        adaptive_max_pool2d_with_indices,
        adaptive_max_pool3d,
        adaptive_max_pool3d_with_indices,
        lp_pool1d,
        lp_pool2d,
        lp_pool3d,
        max_unpool1d,
        max_unpool2d,
        max_unpool3d,
    )
    from rushlight.nn.functional.multihead import multi_head_attention_forward
    from rushlight.nn.functional.pooling import (
        avg_pool1d,
        avg_pool2d,
        avg_pool3d,
        max_pool1d,
        max_pool1d_with_indices,
        max_pool2d,
        max_pool2d_with_indices,
        max_pool3d,
        max_pool3d_with_indices,
    )
    from rushlight.nn.functional.resizing import interpolate, upsample, upsample_bilinear, upsample_nearest
    from rushlight.nn.functional.shuffling import (
        channel_shuffle,
        pixel_shuffle,
        pixel_unshuffle,
    )
    from rushlight.ops.convolution import (
        conv1d,
        conv2d,
        conv3d,
        conv_tbc,
        conv_transpose1d,
        conv_transpose2d,
        conv_transpose3d,
    )
    from rushlight.ops.fold import fold, unfold

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_head_attention_forward",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "rrelu_",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]

# By module, the names that come with it when one of them is first used.
LATER = {
    "nn.functional.resizing": "interpolate upsample upsample_bilinear upsample_nearest",
    "nn.functional.shuffling": "channel_shuffle pixel_shuffle pixel_unshuffle",
    "nn.functional.adaptive_pooling": """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
        adaptive_max_pool1d_with_indices adaptive_max_pool2d adaptive_max_pool2d_with_indices
        adaptive_max_pool3d adaptive_max_pool3d_with_indices lp_pool1d lp_pool2d lp_pool3d
        max_unpool1d max_unpool2d max_unpool3d
    """,
    "nn.functional.multihead": "multi_head_attention_forward",
    "nn.functional.pooling": """
        avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool1d_with_indices max_pool2d
        max_pool2d_with_indices max_pool3d max_pool3d_with_indices
    """,
    "ops.convolution": "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d",
    "ops.fold": "fold unfold",
    "ops.matrix_products": "pdist",
}
_MODULE_OF = {name: module for module, names in LATER.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """What comes with its family of ops, when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'rushlight.nn.functional' has no attribute {name!r}")
    function = getattr(importlib.import_module(f"rushlight.{_MODULE_OF[name]}"), name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    """All names, those that come later among them."""
    return sorted({*globals(), *__all__})
