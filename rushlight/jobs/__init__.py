"""Ready-made jobs: a network trained on files of the user's own, with progress, checkpoints and a report.

The command line (`rushlight.cli`) is a thin shell around this package. Invariant: a job's whole state is in
its run folder, so it can be stopped and resumed at any step.
"""
