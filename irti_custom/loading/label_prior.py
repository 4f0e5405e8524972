"""Start a new head where labels are as frequent as they are, before it has learned anything.

{"person": 0.3, "place": 0.01}  ->  the bias of the last layer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..labels import Thresholds, as_floats
from ..rule import Rule, columns

_RAREST = 1e-3  # how often "none of a group" is expected at least


def check_prior(prior: Thresholds, rule: Rule) -> list[float]:
    """Check how probable labels are beforehand; a head could never leave a 0 or 1.

    Args:
        prior: L probabilities, or a dict of all label names; for "multilabel" also one for all.
        rule: gives the task and the names.
    """
    names, multilabel = rule.label_names or (), rule.task == "multilabel"
    if isinstance(prior, Mapping) and set(prior) == set(names):
        prior = [prior[name] for name in names]
    values = as_floats(prior)
    if multilabel and not values.ndim:
        values = np.full(len(names), values)
    if values.shape != (len(names),) or not ((values > 0) & (values < 1)).all():
        raise ValueError(
            f"`label_prior` must hold {len(names)} probabilities above 0 and below 1, one per label"
            f"{' or one for all' * multilabel}, got {prior!r:.200}. `label_frequencies` computes "
            "them from labels."
        )
    return values.tolist()


def best_constant(
    prior: Sequence[float],
    task: str,
    weight: Sequence[float] | None = None,
    groups: Sequence[Sequence[int]] = (),
) -> torch.Tensor:
    """Return the logits with the least loss for a head that knows only how frequent labels are.

    A head that starts there spends no training on learning it (Lin et al. 2017, section 4.1).

    Args:
        prior: L probabilities.
        task: "multilabel": their log-odds; "multiclass": their logarithms.
        weight: L factors, the `pos_weight` or `class_weight` of the loss. A label that counts w
            times is as if it were w times as frequent.
        groups: see `multilabel_loss`: the log-odds of a label against "none".

    Returns:
        ``(L,)`` float32.
    """
    frequent = torch.tensor(prior, dtype=torch.float64)
    logits = torch.logit(frequent) if task == "multilabel" else torch.log(frequent)
    for ids in groups:
        own = columns(frequent, ids)
        logits[ids] = torch.log(own / (1 - own.sum()).clamp(min=_RAREST))
    if weight is not None:  # a weight of 0 leaves nothing to learn
        logits += torch.tensor(weight, dtype=torch.float64).clamp(min=1e-6).log()
    return logits.float()
