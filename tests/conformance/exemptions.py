"""What the op matrix does not check, each with its reason. Everything not listed here is checked."""

# Entries without samples: their results are random, so the tests of the random stream cover them.
WITHOUT_SAMPLES: dict[str, str] = dict.fromkeys(
    (
        "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal",
        "bernoulli", "multinomial", "poisson", "binomial", "dropout", "dropout_",
        "feature_dropout", "feature_dropout_", "alpha_dropout", "alpha_dropout_",
        "feature_alpha_dropout", "feature_alpha_dropout_",
    ),
    "random: compared from equal seeds in test_random and test_random_samples",
)  # fmt: skip

WITHOUT_SAMPLES |= dict.fromkeys(
    ("linalg.eigh", "linalg.svd", "linalg.qr", "svd", "qr"),
    "the signs of their vectors are LAPACK's choice: compared in test_factors by what does not depend on "
    "them",
)

# Entries offered as methods otherwise than PyTorch does.
METHODS: dict[str, str] = {}

# Entries whose grad_fn has another name than PyTorch's.
NODES: dict[str, str] = {
    "lstm_cell": "one node makes both states, under the name of that of the first",
    "special_ndtr": "PyTorch composes it of other ops; here it is one",
    "copy_": "PyTorch's name() is the C++ class, torch::autograd::CopyBackwards; both print CopyBackwards",
}
