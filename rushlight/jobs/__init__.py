"""Ready-made jobs: a network trained on files of the user's own, with progress, checkpoints and a report.

The command line (`rushlight.cli`) is a thin shell around this package. `DotProductBias` and its helpers are
here under the names that notebooks use. Invariant: a job's whole state is in its run folder, so it can be
stopped and resumed at any step.

>>> from rushlight.jobs import DotProductBias, Module, create_params, sigmoid_range
>>> DotProductBias(n_users=944, n_movies=1683, n_factors=50).user_factors.shape
torch.Size([944, 50])
"""

from rushlight.jobs.ratings_model import DotProductBias, Module, create_params, sigmoid_range

__all__ = ["DotProductBias", "Module", "create_params", "sigmoid_range"]
