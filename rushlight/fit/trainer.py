"""The fit loop: one for all jobs and for users' own networks.

A `Trainer` holds a run in memory: model, loss, optimizer, schedule, data, and where in the run we are. It
knows nothing of what is being learnt. Invariant: a run that was interrupted and resumed ends with the same
bits as one that was not, for everything that the next step depends on is in ``state()``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rushlight as rl
from rushlight.autograd.mode import state
from rushlight.fit import randomness
from rushlight.fit.batches import batches_of
from rushlight.fit.callbacks import Callback, wants_each_step
from rushlight.fit.errors import FitError, Interrupted
from rushlight.fit.evaluation import answers, constant_loss, evaluating, predictions
from rushlight.fit.history import History
from rushlight.fit.interrupts import deferred
from rushlight.fit.metrics import Metric, as_metric
from rushlight.fit.mistakes import BLOWN_UP, Mistake
from rushlight.fit.progress import Progress
from rushlight.fit.rates import RateCurve, sweep
from rushlight.fit.rehearsal import BEFORE_TRAINING, BETWEEN_EPOCHS, rehearse
from rushlight.fit.run_folder import RunFolder
from rushlight.fit.step import Snapshot, Step, plain_step
from rushlight.fit.verdict import Verdict, judge
from rushlight.nn import Module
from rushlight.optim import Optimizer
from rushlight.optim.lr_scheduler import ReduceLROnPlateau
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.fit.run_report import Section


@dataclass(frozen=True)
class Wording:
    """How messages name things: a job on the command line says ``--lr 0.01`` where a script says ``lr=0.01``.

    Attributes:
        rate: a learning rate, with ``{}`` for its value.
        resume: how to go on with an interrupted run, with ``{folder}`` for its folder.
        reproduce: the command that began this run; for the report.
    """

    rate: str = "lr={}"
    resume: str = "Trainer(..., folder={folder!r}, resume=True).fit()"
    reproduce: str = ""


class Trainer:
    """Trains a model.

    Args:
        model: called with all tensors of a batch but the last.
        loss_function: takes prediction and target, gives a 0-d tensor; a function or a module.
        optimizer: of the model's parameters.
        train: a DataLoader, a dataset, or tensors ``(inputs, ..., target)`` with samples along dimension 0.
        validation: data of the same kind, evaluated after each epoch.
        epochs: passes over the training data.
        batch_size: for tensors and datasets; a DataLoader has its own.
        shuffle: for tensors and datasets: a new random order each epoch.
        scheduler: a learning-rate schedule.
        scheduler_every: ``"step"`` or ``"epoch"``; ReduceLROnPlateau always goes by epoch.
        metrics: by name, `Metric` objects or functions of prediction and target, on the validation data.
        monitor: the history's column that chooses the best epoch; by default ``validation_loss``.
        higher_is_better: which way is up for `monitor`, where the metric does not say.
        callbacks: `Callback` objects, called in this order.
        clip_norm: shorten longer gradients (all parameters together) to this norm.
        clip_value: hold each element of the gradients within plus and minus this.
        folder: where the run is kept: ``history.csv``, ``model.safetensors`` (the best epoch's) and
            ``last.pt`` (to resume from); None keeps it in memory.
        resume: go on with the run in `folder`, if there is one.
        config: what ``config.json`` in the folder is to hold.
        wording: how messages name options and commands.
        compiled: run the step as a program (`rushlight.compile`).
        evaluation_batch_size: for validation on tensors and datasets, and for `predict`.
        progress: whether to report; where to is found out (terminal, notebook, pipe).
        tensorboard: True or a folder: log the history for TensorBoard; needs tensorboardX.
        watch: look for the classic mistakes in some steps that are run on the side and undone.
        report: write ``report.html`` to the folder at the end (a job with sections of its own calls
            `write_report` itself).

    >>> import rushlight as torch
    >>> from rushlight.fit import Trainer, MeanAbsoluteError
    >>> _ = torch.manual_seed(0)
    >>> x = torch.linspace(-1, 1, 64).reshape(-1, 1)
    >>> model = torch.nn.Linear(1, 1)
    >>> trainer = Trainer(model, torch.nn.MSELoss(), torch.optim.SGD(model.parameters(), lr=0.5),
    ...                   train=(x, 3 * x + 1), validation=(x, 3 * x + 1), epochs=20, batch_size=16,
    ...                   metrics={"mae": MeanAbsoluteError()}, progress=False)
    >>> history = trainer.fit()
    >>> list(history[-1])
    ['epoch', 'train_loss', 'validation_loss', 'validation_mae', 'learning_rate']
    >>> history[-1]["validation_mae"] < 0.01
    True
    """

    def __init__(
        self,
        model: Module,
        loss_function: Callable[..., Tensor],
        optimizer: Optimizer,
        train: Any,
        validation: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 64,
        shuffle: bool = True,
        scheduler: Any = None,
        scheduler_every: str = "step",
        metrics: Mapping[str, Metric | Callable[[Tensor, Tensor], Any]] | None = None,
        monitor: str | None = None,
        higher_is_better: bool | None = None,
        callbacks: Sequence[Callback] = (),
        clip_norm: float | None = None,
        clip_value: float | None = None,
        folder: RunFolder | str | Path | None = None,
        resume: bool = False,
        config: Mapping[str, Any] | None = None,
        wording: Wording | None = None,
        compiled: bool = True,
        evaluation_batch_size: int = 4096,
        progress: bool = True,
        tensorboard: bool | str | Path = False,
        report: bool = True,
        watch: bool = True,
    ) -> None:
        if epochs < 1 or batch_size < 1 or evaluation_batch_size < 1:
            raise FitError("epochs and batch sizes must be at least 1")
        if scheduler_every not in ("step", "epoch"):
            raise FitError(f"scheduler_every is 'step' or 'epoch', not {scheduler_every!r}")
        self.model, self.loss_function, self.optimizer = model, loss_function, optimizer
        self.scheduler = scheduler
        self.by_epoch = scheduler_every == "epoch" or isinstance(scheduler, ReduceLROnPlateau)
        self.epochs, self.evaluation_batch_size = epochs, evaluation_batch_size
        self.train_batches = batches_of(train, batch_size, shuffle)
        self.validation_data = validation
        self.metrics = {name: as_metric(each) for name, each in (metrics or {}).items()}
        if self.metrics and validation is None:
            raise FitError("metrics are computed on the validation data: hand in validation=")
        self.monitor = monitor or ("train_loss" if validation is None else "validation_loss")
        self._higher_is_better = higher_is_better
        self.higher_is_better = self.direction_of(self.monitor)
        self.callbacks = list(callbacks)
        self.wording = wording or Wording()
        self.progress, self.report, self.watch = progress, report, watch
        step_scheduler = None if self.by_epoch else scheduler
        self.plain_step = plain_step(model, loss_function, optimizer, clip_norm, clip_value)
        snapshot = functools.partial(Snapshot, model, optimizer)
        self.step_function = Step(self.plain_step, snapshot, step_scheduler, compiled)
        self.first_rate = max(_full_rate(group) for group in optimizer.param_groups)
        self.epoch = self.step = self.seen = 0
        self.loss_sum = 0.0
        self.first_loss: float | None = None
        self.constant_loss: float | None = None
        self.sample: tuple[Any, ...] = ()
        self.history = History()
        self.best = -math.inf if self.higher_is_better else math.inf
        self.best_epoch = 0
        self.best_model: dict[str, Tensor] = {}
        self.stopped = ""
        self.mistakes: list[Mistake] = []
        self.epoch_random = randomness.capture(self.train_batches.generators)
        self.folder = _opened(folder, resume)
        if tensorboard:
            from rushlight.fit.tensorboard import TensorBoard

            self.callbacks.append(TensorBoard(_log_folder(tensorboard, self.folder)))
        if self.folder is None:
            return
        if resume and self.folder.has_state():
            self.restore(self.folder.read_state(), str(self.folder.path))
        else:
            config = config or {"job": "custom", "version": rl.__version__, "epochs": self.epochs}
            self.folder.write_config(config)

    def direction_of(self, name: str) -> bool:
        """Whether more is better for a column of the history; FitError where nobody said."""
        if name in ("train_loss", "validation_loss"):
            return False
        metric = self.metrics.get(name.removeprefix("validation_"))
        if metric is None:
            known = ["train_loss", "validation_loss", *(f"validation_{each}" for each in self.metrics)]
            raise FitError(f"there is no {name!r} to monitor; an epoch gives {', '.join(known)}")
        up = self._higher_is_better if self._higher_is_better is not None else metric.higher_is_better
        if up is None:
            raise FitError(f"say which way is up for {name}: higher_is_better=True or False")
        return bool(up)

    # -- the state -------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything needed to go on to the same bits."""
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.scheduler is None else self.scheduler.state_dict(),
            "callbacks": [each.state_dict() for each in self.callbacks],
            "epoch": self.epoch,
            "step": self.step,
            "seen": self.seen,
            "epoch_random": self.epoch_random,
            "random": randomness.capture(self.train_batches.generators),
            "loss_sum": self.loss_sum,
            "first_loss": self.first_loss,
            "constant_loss": self.constant_loss,
            "history": list(self.history),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "mistakes": [asdict(each) for each in self.mistakes],
        }

    def restore(self, state: dict[str, Any], where: str = "the run") -> None:
        """Go back to a saved state; FitError if it belongs to another network."""
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler is not None:
                length = getattr(self.scheduler, "total_steps", None)
                self.scheduler.load_state_dict(state["schedule"])
                if getattr(self.scheduler, "total_steps", None) != length:
                    raise ValueError(f"its schedule is not one of {length} steps")
            for each, saved in zip(self.callbacks, state["callbacks"], strict=True):
                each.load_state_dict(saved)
            self.epoch, self.step, self.seen = int(state["epoch"]), int(state["step"]), int(state["seen"])
            self.epoch_random, self.loss_sum = state["epoch_random"], float(state["loss_sum"])
            self.first_loss, self.constant_loss = state["first_loss"], state["constant_loss"]
            self.history, self.best = History(state["history"]), float(state["best"])
            self.best_epoch, self.stopped = int(state["best_epoch"]), str(state["stopped"])
            self.mistakes = [Mistake(**each) for each in state["mistakes"]]
            randomness.restore(state["random"], self.train_batches.generators)
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise FitError(f"{where} cannot be resumed, its saved state does not fit: {error}") from None

    def save(self) -> None:
        """Write the state and the history to the run folder, if there is one."""
        if self.folder is not None:
            self.folder.write_state(self.state())
            self.folder.write_history(self.history)

    def load_best(self) -> int:
        """Give the model the weights of its best epoch, and return that epoch's number (from 1)."""
        if not self.best_epoch:
            raise FitError("there is no best epoch yet: none was finished")
        state = self.best_model if self.folder is None else self.folder.read_model()
        self.model.load_state_dict(state)
        return self.best_epoch

    # -- training --------------------------------------------------------------------------------------------

    def fit(self) -> list[dict[str, Any]]:
        """Train to the last epoch and return the history, a dict per epoch.

        Raises:
            Interrupted: Ctrl-C; what was learnt is saved, and ``fit()`` again (or a run resumed from the
                folder) goes on with the next step.
            FitError: the loss is not finite.
        """
        progress = Progress(self.epochs, self.train_batches.samples, self.describe, self.progress)
        self.model.train()
        with progress, deferred() as pressed:
            self._tell("on_fit_begin")
            if not self.epoch and not self.step:
                self._rehearse(BEFORE_TRAINING, progress)
            while self.epoch < self.epochs and not self.stopped:
                self._run_epoch(progress, pressed)
            if self.stopped:
                progress.message(f"stopped after epoch {self.epoch}: {self.stopped}")
            self._tell("on_fit_end")
            if self.history:
                progress.message(str(self.verdict()))
        if self.report and self.folder is not None:
            self.write_report(self.folder.path.name)
        return self.history

    def verdict(self) -> Verdict:
        """Whether the run over- or underfits, from which epoch, and what to try next."""
        return judge(self.history, self.first_loss, self.constant_loss)

    def write_report(self, title: str, sections: Sequence[Section] = ()) -> Path:
        """Write ``report.html`` to the run folder, with a job's own sections; returns its path."""
        from rushlight.fit.run_report import write_report

        return write_report(self, title, sections)

    def find_lr(self, lowest: float = 1e-7, highest: float = 10.0, steps: int = 100) -> RateCurve:
        """Sweep the learning rate from `lowest` to `highest` over `steps` steps, and undo them.

        Returns:
            The curve; ``curve.suggestion`` is a rate to train with, ``print(curve)`` shows it.

        Raises:
            FitError: the loss fell at none of the rates.
        """
        return sweep(self, lowest, highest, steps)

    def stop(self, reason: str) -> None:
        """End the run after this epoch; for callbacks."""
        self.stopped = reason

    def _tell(self, event: str, *details: Any) -> None:
        for each in self.callbacks:
            getattr(each, event)(self, *details)

    def _start_epoch(self) -> Any:
        """The epoch's remaining batches; after a resume the order is drawn again as it was."""
        generators = self.train_batches.generators
        if not self.step:
            self.epoch_random = randomness.capture(generators)
            self._tell("on_epoch_begin")
            return self.train_batches.epoch()
        now = randomness.capture()
        randomness.restore(self.epoch_random, generators)
        batches = self.train_batches.epoch(skip=self.step)
        randomness.restore(now)
        return batches

    def _run_epoch(self, progress: Progress, pressed: Callable[[], bool]) -> None:
        batches = self._start_epoch()
        progress.start_epoch(self.epoch, self.seen)
        several = state.watcher is None and not any(wants_each_step(each) for each in self.callbacks)
        while taken := self.step_function.take(batches, not self.epoch and not self.step, several):
            if not self.sample:
                self.sample = tuple(each[:2] for each in taken.batch(0)[:-1])
            for place, loss in enumerate(taken.losses):
                if not math.isfinite(loss):
                    raise FitError(self._not_finite(loss, taken.batch(place)))
                if self.first_loss is None:
                    self.first_loss = loss
                self.loss_sum += loss * taken.samples
                self.seen += taken.samples
                self.step += 1
                progress.advance(taken.samples, loss)
                self._tell("on_step_end", loss)
            if pressed():
                self._interrupt()
        if not self.seen:
            raise FitError("the training data has no batches")
        row = {"epoch": self.epoch + 1, "train_loss": self.loss_sum / self.seen, **self._validate(pressed)}
        row["learning_rate"] = float(self.optimizer.param_groups[0]["lr"])
        if self.by_epoch and self.scheduler is not None:
            plateau = isinstance(self.scheduler, ReduceLROnPlateau)
            self.scheduler.step(row[self.monitor]) if plateau else self.scheduler.step()
        self.history.append(row)
        self.epoch, self.step, self.seen, self.loss_sum = self.epoch + 1, 0, 0, 0.0
        self._tell("on_epoch_end", row)
        self._keep_if_best(row[self.monitor])
        self.save()
        progress.end_epoch(row)
        if row["train_loss"] > BLOWN_UP * abs(self.first_loss or math.inf):
            text = f"the learning rate is too large: the loss rose from {self.first_loss:.3g} to "
            self._notice([Mistake("learning rate", f"{text}{row['train_loss']:.3g}.")], progress)
        # after epochs 1, 2, 4, 8, ...: what goes wrong goes wrong early, and the cost stays small
        if self.epoch < self.epochs and not self.epoch & (self.epoch - 1) and not self.stopped:
            self._rehearse(BETWEEN_EPOCHS, progress)
        if pressed() and self.epoch < self.epochs and not self.stopped:
            self._interrupt()

    def _rehearse(self, steps: int, progress: Progress) -> None:
        if self.watch:
            self._notice(rehearse(self, steps), progress)

    def _notice(self, found: Sequence[Mistake], progress: Progress) -> None:
        """Tell of mistakes, each kind once."""
        for each in found:
            if each.kind not in {known.kind for known in self.mistakes}:
                # a job's user has no code of their own to look at
                each = Mistake(each.kind, each.text) if self.wording.reproduce else each
                self.mistakes.append(each)
                progress.message(f"noticed: {each}")

    def _keep_if_best(self, value: float) -> None:
        if not (value > self.best if self.higher_is_better else value < self.best):
            return
        self.best, self.best_epoch = value, self.epoch
        state = self.model.state_dict()
        if self.folder is not None:
            self.folder.write_model(state, {"epoch": str(self.epoch)})
        else:
            self.best_model = {name: each.detach().clone() for name, each in state.items()}

    def _interrupt(self) -> None:
        """Save, and say where and how to go on."""
        self.save()
        place = f"stopped in epoch {self.epoch + 1} of {self.epochs} after {self.step} of "
        place += f"{len(self.train_batches)} steps. "
        if self.folder is None:
            raise Interrupted(place + "The model holds what was learnt: fit() goes on from here.")
        command = self.wording.resume.format(folder=str(self.folder.path))
        raise Interrupted(f"{place}What was learnt is saved: continue with  {command}")

    def _not_finite(self, loss: float, batch: tuple[Any, ...]) -> str:
        """What to say about a loss that is not finite."""
        text = f"the loss became {loss} in epoch {self.epoch + 1}, step {self.step + 1}: "
        bad = [place for place, each in enumerate(batch) if _has_nonfinite(each)]
        if bad:
            what = "target" if bad[0] == len(batch) - 1 else f"input {bad[0] + 1}"
            text += f"the {what} of this batch contains nan or inf. Clean the data first."
        else:
            rate = self.wording.rate.format(f"{self.first_rate / 10:g}")
            text += f"the learning rate is too large for this network. Try {rate}."
        if self.folder is not None:
            text += f" What was saved in {self.folder.path} is untouched."
        return text

    # -- evaluating ------------------------------------------------------------------------------------------

    def _validate(self, pressed: Callable[[], bool]) -> dict[str, float]:
        if self.validation_data is None:
            return {}
        before = randomness.capture(self.train_batches.generators)
        prediction, target = answers(self.model, self.validation_data, self.evaluation_batch_size, pressed)
        if prediction is None:  # interrupted: after a resume the validation is done anew
            randomness.restore(before, self.train_batches.generators)
            self._interrupt()
        if self.constant_loss is None:
            self.constant_loss = constant_loss(self.loss_function, prediction, target)
        return {f"validation_{name}": value for name, value in self._measure(prediction, target).items()}

    def evaluate(self, data: Any) -> dict[str, float]:
        """Loss and metrics of the model as it is on some data, by name; each over all samples at once."""
        return self._measure(*answers(self.model, data, self.evaluation_batch_size))

    def predict(self, data: Any) -> Tensor:
        """The model's output in evaluation mode for a tensor, a tuple of tensors, or batches with targets."""
        if isinstance(data, Tensor):
            return predictions(self.model, (data,), self.evaluation_batch_size)
        return answers(self.model, data, self.evaluation_batch_size)[0]

    def _measure(self, prediction: Tensor, target: Tensor) -> dict[str, float]:
        with evaluating(self.model):
            values = {"loss": self.loss_function(prediction, target).item()}
        for name, metric in self.metrics.items():
            metric.reset()
            metric.update(prediction, target)
            values[name] = metric.compute()
        return values

    def describe(self, row: dict[str, Any]) -> str:
        """An epoch's line of the history as text."""
        parts = [f"loss {row['train_loss']:.4f}"]
        if "validation_loss" in row:
            parts.append(f"validation loss {row['validation_loss']:.4f}")
        parts += [f"{name} {each.text(row[f'validation_{name}'])}" for name, each in self.metrics.items()]
        return "  ".join(parts)


def _full_rate(group: dict[str, Any]) -> float:
    """The learning rate the user asked for: a schedule may begin with less."""
    for name in ("max_lr", "initial_lr"):
        if group.get(name) is not None:
            return float(group[name])
    return float(group["lr"])


def _has_nonfinite(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all())


def _opened(folder: RunFolder | str | Path | None, resume: bool) -> RunFolder | None:
    """The run folder, made if need be."""
    if folder is None and resume:
        raise FitError("resume=True needs the folder of the run to go on with")
    if folder is None or isinstance(folder, RunFolder):
        return folder
    known = (Path(folder) / "config.json").exists()
    return RunFolder.open(folder) if resume and known else RunFolder.create(folder)


def _log_folder(asked: bool | str | Path, folder: RunFolder | None) -> Path:
    if not isinstance(asked, bool):
        return Path(asked)
    if folder is None:
        raise FitError("tensorboard=True logs to the run folder, but there is none: give it a path")
    return folder.path / "tensorboard"
