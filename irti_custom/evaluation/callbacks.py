"""Fit a temperature and tune thresholds at the end of a training with the stock `Trainer`.

    trainer.add_callback(ThresholdTuningCallback(trainer))
    trainer.train()  ->  predict the evaluation set  ->  fit, tune  ->  model.config.temperature
                                                                    model.config.thresholds

Import this module explicitly: Transformers' callbacks load PEFT where it is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from .metrics import logits_only
from .temperature_scaling import fit_temperature
from .thresholds import check_settings, tune_thresholds

if TYPE_CHECKING:
    from torch.utils.data import Dataset
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

    from ..configuration_custom import MaskedSeqModelingConfig


class ThresholdTuningCallback(TrainerCallback):
    """Tune `config.thresholds` on the evaluation set at the end of training.

    It runs after ``load_best_model_at_end``, so the thresholds are those of the model that
    ``trainer.save_model()`` then saves, with an adapter in its ``config.json``. Checkpoints that
    the `Trainer` wrote during training keep the thresholds that the model had before, if any.
    Every process of a distributed training predicts its share and gathers all predictions, so all
    arrive at the same thresholds.

    Loggers that upload the model at the end of training run before this callback.

    `trainer.compute_metrics` keeps the thresholds it was built with. Scores on the set that
    thresholds were tuned on are optimistic.

    Args:
        trainer: the trainer; a callback cannot predict by itself.
        eval_dataset: the data set to tune on, or the name of one if the trainer has a dict of them;
            default: the trainer's evaluation set.
        objective: of `tune_thresholds`; None to fit the temperature only, and move the thresholds
            that the model has, if any, along.
        beta: of `tune_thresholds`.
        min_positives: of `tune_thresholds` and `fit_temperature`.
        default: of `tune_thresholds`.
        at_least: of `tune_thresholds`.
        over: of `tune_thresholds`.
        confidence: of `tune_thresholds`.
        fit_temperature: first fit ``config.temperature``, "per_label" for one per label. Thresholds
            are then for calibrated probabilities.

    Raises:
        ValueError: when training begins, for settings that contradict each other or without an
            evaluation set; at its end, for a set without labels.

    Example:
        >>> from types import SimpleNamespace
        >>> callback = ThresholdTuningCallback(SimpleNamespace(eval_dataset=None))
        >>> callback.on_train_begin(None, None, None)
        Traceback (most recent call last):
        ValueError: `eval_dataset` must be given, to tune thresholds on, got None. Pass it to ...
    """

    def __init__(
        self,
        trainer: Trainer,
        eval_dataset: Dataset | str | None = None,
        objective: str | None = "f1",
        beta: float = 1.0,
        min_positives: int = 5,
        default: float | None = None,
        at_least: float | None = None,
        over: str = "label",
        confidence: float | str | None = None,
        fit_temperature: bool | str = False,
    ) -> None:
        self.trainer = trainer
        self.eval_dataset = eval_dataset
        self.fit_temperature = fit_temperature
        self.objective = objective
        self.settings: dict[str, Any] = {
            "beta": beta,
            "min_positives": min_positives,
            "default": default,
            "at_least": at_least,
            "over": over,
            "confidence": confidence,
        }

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Raise now for settings that would fail after the training."""
        self._dataset()
        config, fits = self._config(), self.fit_temperature
        if fits not in (True, False, "per_label") or (fits is False and self.objective is None):
            raise ValueError(
                "`fit_temperature` must be True, False or 'per_label', and not False without an "
                f"`objective`, got {fits!r} with objective={self.objective!r}."
            )
        if fits == "per_label" and config.task == "multiclass":
            raise ValueError(
                "fit_temperature='per_label' is for task='multilabel', got task='multiclass'. Use "
                "fit_temperature=True."
            )
        if self.objective is not None:
            check_settings(task=config.task, objective=self.objective, **self.settings)
        else:  # raises for those that cannot follow
            config.rule.with_(temperature=1.0, thresholds=config.thresholds).at_temperature(2.0)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Predict, fit, tune, and set `config.temperature` and `config.thresholds`."""
        with _logits_only_predictions(self.trainer):
            output = self.trainer.predict(self._dataset())
        if output.label_ids is None:
            raise ValueError(
                "The evaluation set must have labels, to tune thresholds on, got none. Pass a set "
                "with labels to ThresholdTuningCallback as `eval_dataset`."
            )
        config, data = self._config(), (output.predictions, output.label_ids)
        temperature = config.temperature
        if self.fit_temperature:
            per_label, count = self.fit_temperature == "per_label", self.settings["min_positives"]
            temperature = fit_temperature(*data, config, per_label, min_positives=count)
        if self.objective is None:
            config.set_temperature(temperature)
            return
        rule = config.rule.with_(temperature=temperature, thresholds=None)
        thresholds = tune_thresholds(*data, rule, self.objective, **self.settings)
        config.rule = rule.with_(thresholds=thresholds)

    def _config(self) -> MaskedSeqModelingConfig:
        return self.trainer.accelerator.unwrap_model(self.trainer.model).config

    def _dataset(self) -> Dataset:
        trainers, dataset = self.trainer.eval_dataset, self.eval_dataset
        if isinstance(trainers, Mapping) and isinstance(dataset, str):
            dataset = trainers.get(dataset)
        elif dataset is None:
            dataset = trainers
        if dataset is None or isinstance(dataset, (Mapping, str)):
            names = f" with {sorted(trainers)}" if isinstance(trainers, Mapping) else ""
            raise ValueError(
                "`eval_dataset` must be given, to tune thresholds on, got "
                f"{self.eval_dataset!r}{names}. Pass it to the Trainer, or pass a data set, or the "
                "name of one of several, to ThresholdTuningCallback."
            )
        return dataset


@contextmanager
def _logits_only_predictions(trainer: Trainer) -> Iterator[None]:
    """Make the trainer predict logits only, and restore its settings afterwards."""
    handler, training = trainer.callback_handler, trainer.model.training
    settings = [
        (trainer, "compute_metrics", None),
        (trainer, "preprocess_logits_for_metrics", logits_only),
        (trainer.args, "prediction_loss_only", False),
        # Else Transformers 4 casts the model in place for `bf16_full_eval` and saves it like that.
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
