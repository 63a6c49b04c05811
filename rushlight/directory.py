"""Which module is imported when which name is first used.

``import rushlight`` brings in what every script needs. All else is listed here under the module it comes
from, and that module is imported when one of its names is first asked for: ``name`` stands for a function of
the package that is a method of Tensor too, ``name()`` for a function (or class) only, and ``.name`` for a
method (or attribute) only. Nothing is computed here. Invariant: the list is complete; a test compares it with
what the modules enter into the op table, and says what to write here.
"""

MODULES = {
    "ops.added_products": "addbmm addbmm_ addmm addmm_ addmv addmv_ addr addr_ baddbmm baddbmm_",
    "ops.arrange": "flip fliplr flipud .repeat repeat_interleave roll rot90 tile",
    "ops.bessel": "i0 i0_ logit logit_",
    "ops.buffers": "frombuffer()",
    "ops.clamp": """
        addcdiv addcdiv_ addcmul addcmul_ clamp clamp_ clamp_max clamp_max_ clamp_min clamp_min_
        clip clip_ lerp lerp_
    """,
    "ops.convolution": """
        conv1d() conv2d() conv3d() conv_tbc() conv_transpose1d() conv_transpose2d() conv_transpose3d()
        convolution()
    """,
    "ops.decompose": "cholesky det inverse logdet",
    "ops.distributions": "bernoulli binomial() multinomial normal() poisson()",
    "ops.dropout": """
        alpha_dropout() alpha_dropout_() dropout() dropout_() feature_alpha_dropout()
        feature_alpha_dropout_() feature_dropout() feature_dropout_()
    """,
    "ops.einsum": "einsum() tensordot()",
    "ops.elements": ".apply_ .map2_ .map_",
    "ops.fill": ".bernoulli_ .cauchy_ .exponential_ .geometric_ .log_normal_ .normal_ .random_ .uniform_",
    "ops.histograms": "bincount histc histogram",
    "ops.identity": """
        .as_subclass conj_physical conj_physical_ detach() detach_() imag resolve_conj resolve_neg
        .to_dense
    """,
    "ops.index_dim": "index_add index_add_ index_copy index_copy_ index_fill index_fill_ index_select",
    "ops.index_reduce": "index_reduce index_reduce_",
    "ops.integrate": "cumulative_trapezoid() diff gradient() trapezoid() trapz()",
    "ops.legacy": """
        eig .index lstsq matrix_rank() .name .new .reinforce .resize .resize_as solve symeig .volatile
    """,
    "ops.lookup": "bucketize() embedding() isin() searchsorted()",
    "ops.masks": "argwhere masked_scatter masked_scatter_ masked_select nonzero put put_ take",
    "ops.matrices": "trace",
    "ops.matrix_functions": "cholesky_inverse cholesky_solve matrix_exp",
    "ops.matrix_products": "chain_matmul() cross kron pdist() vander()",
    "ops.memory_layouts": "empty_permuted() empty_strided() .new_empty_strided",
    "ops.norm": "cdist() dist norm renorm renorm_",
    "ops.older_linalg": "matrix_power pinverse qr slogdet svd triangular_solve",
    "ops.pairs": """
        arctan2 arctan2_ atan2 atan2_ copysign copysign_ hypot hypot_ ldexp ldexp_ logaddexp
        logaddexp2 nextafter nextafter_ xlogy xlogy_
    """,
    "ops.places": "nonzero_static unravel_index()",
    "ops.product": "prod",
    "ops.random": "rand() rand_like() randint() randint_like() randn() randn_like() randperm()",
    "ops.recurrent": "gru() lstm() rnn_relu() rnn_tanh()",
    "ops.recurrent_cells": "gru_cell() lstm_cell() rnn_relu_cell() rnn_tanh_cell()",
    "ops.rounding": """
        angle ceil ceil_ conj fix fix_ floor floor_ frac frac_ frexp real round round_ trunc trunc_
    """,
    "ops.scan": "cummax cummin cumprod cumprod_ cumsum cumsum_ logcumsumexp",
    "ops.scatter_reduce": "scatter_reduce scatter_reduce_",
    "ops.scatters": "as_strided_scatter diagonal_scatter select_scatter slice_scatter",
    "ops.smooth": "celu() rrelu() selu()",
    "ops.sort": """
        argsort kthvalue median mode msort nanmedian nanquantile quantile sort topk unique
        unique_consecutive
    """,
    "ops.sparse": """
        .coalesce .dense_dim .indices .is_coalesced sparse_coo_tensor() .sparse_dim spmm()
        .to_sparse .to_sparse_coo .values
    """,
    "ops.special": """
        digamma digamma_ erf erf_ erfc erfc_ erfinv erfinv_ lgamma lgamma_ mvlgamma mvlgamma_
        polygamma .polygamma_
    """,
    "ops.triangle": "diag diag_embed diagflat tril tril_ triu triu_",
    "ops.variance": "corrcoef cov std std_mean() var var_mean()",
    "ops.vector_products": "ger inner vdot",
    "ops.view_copies": """
        alias_copy() as_strided_copy() diagonal_copy() expand_copy() narrow_copy permute_copy()
        select_copy() slice_copy() split_copy() split_with_sizes_copy() squeeze_copy() t_copy()
        transpose_copy() unbind_copy() unfold_copy() unsafe_chunk unsafe_split
        unsafe_split_with_sizes unsqueeze_copy() view_copy()
    """,
    "nn.functional.activation": "celu_() rrelu_() selu_() threshold_()",
    "nn.functional.adaptive_pooling": "adaptive_avg_pool1d()",
    "nn.functional.linear": "bilinear()",
    "nn.functional.margin": "cosine_similarity() pairwise_distance()",
    "nn.functional.native": """
        batch_norm() binary_cross_entropy_with_logits() cosine_embedding_loss() ctc_loss()
        embedding_bag() group_norm() hinge_embedding_loss() instance_norm() kl_div() layer_norm()
        margin_ranking_loss() poisson_nll_loss() triplet_margin_loss()
    """,
    "nn.functional.native_pooling": """
        adaptive_max_pool1d() max_pool1d() max_pool1d_with_indices() max_pool2d() max_pool3d()
    """,
    "nn.functional.norm": "rms_norm()",
    "nn.functional.pooling": "avg_pool1d()",
    "nn.functional.shuffling": "channel_shuffle() pixel_shuffle() pixel_unshuffle()",
    "amp": "autocast() is_autocast_available()",
    "determinism": """
        are_deterministic_algorithms_enabled() is_deterministic_algorithms_warn_only_enabled()
        use_deterministic_algorithms()
    """,
    "precision": "get_float32_matmul_precision() set_float32_matmul_precision()",
    "printing": "get_printoptions() set_printoptions()",
    "random": """
        Generator() default_generator() fork_rng() get_rng_state() initial_seed() manual_seed() seed()
        set_rng_state()
    """,
    "serialize": "load() load_file() save() save_file()",
    "storages": """
        TypedStorage() UntypedStorage() .const_data_ptr .is_pinned .is_set_to .is_shared is_storage()
        .pin_memory .share_memory_ .storage .untyped_storage
    """,
    "autograd.anomaly": "is_anomaly_check_nan_enabled() is_anomaly_enabled()",
}

FUNCTIONS: dict[str, str] = {}  # name -> module
METHODS: dict[str, str] = {}
for _module, _names in MODULES.items():
    for _name in _names.split():
        if not _name.startswith("."):
            FUNCTIONS[_name.removesuffix("()")] = _module
        if not _name.endswith("()"):
            METHODS[_name.removeprefix(".")] = _module
