"""What the stock `Trainer` does at the end of a training.

    trainer.add_callback(ThresholdTuningCallback(trainer))
    trainer.train()  ->  predict the evaluation set  ->  tune  ->  model.config.thresholds

Imported by those who use it: Transformers' callbacks load PEFT where it is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from .metrics import logits_only
from .thresholds import check_settings, tune_thresholds


class ThresholdTuningCallback(TrainerCallback):
    """Tune `config.thresholds` on the evaluation set at the end of training.

    It comes after ``load_best_model_at_end``, so the thresholds are those of the model that
    ``trainer.save_model()`` then saves; of an adapter, in its ``config.json``. Checkpoints that the
    `Trainer` wrote on the way are older: they hold the thresholds that the model had before, if
    any. Every process of a distributed training predicts its share, gathers all and so arrives at
    the same thresholds.

    Loggers that upload the model at the end of training do so before the callbacks of the caller.

    Metrics do not follow by themselves: `trainer.compute_metrics` goes on with the thresholds it
    was built with. Scores on the set that thresholds were tuned on flatter them.

    Args:
        trainer: the trainer, as a callback by itself cannot predict.
        eval_dataset: what to tune on; default: the trainer's evaluation set. The name of one, where
            the trainer has a dict of them.
        objective: of `tune_thresholds`.
        beta: of `tune_thresholds`.
        min_positives: of `tune_thresholds`.
        default: of `tune_thresholds`.

    Raises:
        ValueError: when training begins, for settings that do not fit or without an evaluation set;
            at its end for a set without labels.

    Example:
        >>> from types import SimpleNamespace
        >>> callback = ThresholdTuningCallback(SimpleNamespace(eval_dataset=None))
        >>> callback.on_train_begin(None, None, None)
        Traceback (most recent call last):
        ValueError: `eval_dataset` must be given, to tune thresholds on, got None. Pass it to ...
    """

    def __init__(
        self,
        trainer: Any,
        eval_dataset: Any = None,
        objective: str = "f1",
        beta: float = 1.0,
        min_positives: int = 5,
        default: float | None = None,
    ) -> None:
        self.trainer = trainer
        self.eval_dataset = eval_dataset
        self.settings: dict[str, Any] = {
            "objective": objective,
            "beta": beta,
            "min_positives": min_positives,
            "default": default,
        }

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse now what would fail after the training."""
        self._find_dataset()
        check_settings(self._config().task, **self.settings)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Predict, tune, and set `config.thresholds`."""
        with _plain_predictions(self.trainer):
            output = self.trainer.predict(self._find_dataset())
        if output.label_ids is None:
            raise ValueError(
                "The evaluation set must have labels, to tune thresholds on, got none. Pass a set "
                "that has some to ThresholdTuningCallback as `eval_dataset`."
            )
        config = self._config()
        arrays = output.predictions, output.label_ids
        config.thresholds = tune_thresholds(*arrays, config.task, **self.settings)

    def _config(self) -> Any:
        return self.trainer.accelerator.unwrap_model(self.trainer.model).config

    def _find_dataset(self) -> Any:
        known, wanted = self.trainer.eval_dataset, self.eval_dataset
        if isinstance(known, Mapping) and isinstance(wanted, str):
            wanted = known.get(wanted)
        elif wanted is None:
            wanted = known
        if wanted is None or isinstance(wanted, (Mapping, str)):
            names = f" with {sorted(known)}" if isinstance(known, Mapping) else ""
            raise ValueError(
                "`eval_dataset` must be given, to tune thresholds on, got "
                f"{self.eval_dataset!r}{names}. Pass it to the Trainer, or pass a data set, or the "
                "name of one of several, to ThresholdTuningCallback."
            )
        return wanted


@contextmanager
def _plain_predictions(trainer: Any) -> Iterator[None]:
    """Have the trainer predict logits and nothing else; afterwards it is as it was."""
    handler, training = trainer.callback_handler, trainer.model.training
    settings = [
        (trainer, "compute_metrics", None),
        (trainer, "preprocess_logits_for_metrics", logits_only),
        (trainer.args, "prediction_loss_only", False),
        # Else Transformers 4 casts the model in place for `bf16_full_eval`, and so is it saved.
        (trainer, "is_in_train", True),
        (handler, "eval_dataloader", handler.eval_dataloader),  # predicting replaces it
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
    try:
        for owner, name, value in settings:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        trainer.model.train(training)
