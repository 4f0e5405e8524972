"""The gradient, the logged loss and the gradient norm do not depend on how a batch is cut."""

from __future__ import annotations

import pytest

from benchmarks import gradient_exactness as benchmark
from irti_custom import get_lora_model
from tests.one_step import build, parameters, train

TASKS = ("multilabel", "multiclass")
CUTS = ((8, 2), (4, 4), (2, 8), (1, 16))


def assert_cuts_agree(folder, task, options=(), model=build, cuts=CUTS):
    whole = train(folder, task, 16, 1, options, model(task))
    first, log = parameters(model(task)), whole.state.log_history[0]
    update = (parameters(whole.model) - first).abs().max()
    assert update > 0
    for size, accumulation in cuts:
        cut = train(folder, task, size, accumulation, options, model(task))
        assert (parameters(cut.model) - parameters(whole.model)).abs().max() < 1e-6 * update
        for name in ("loss", "grad_norm"):
            assert cut.state.log_history[0][name] == pytest.approx(log[name], rel=1e-3)


@pytest.mark.parametrize("options", [(), ("multiple",), ("checkpointing",), ("ignored",)])
@pytest.mark.parametrize("task", TASKS)
def test_cuts_agree(task, options, tmp_path):
    assert_cuts_agree(tmp_path, task, options)


@pytest.mark.parametrize("task", TASKS)
def test_cuts_agree_compiled(task, compiler, tmp_path):
    assert_cuts_agree(tmp_path, task, ["compiled"], cuts=[(4, 4)])


def test_cuts_agree_with_left_padding_where_the_encoder_counts_from_the_first_real_token(tmp_path):
    assert_cuts_agree(
        tmp_path, "multilabel", ["left"], lambda task: build(task, model_type="roberta")
    )


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("multilabel", {"pos_weight": [0.5, 1.0, 3.0, 9.0]}),
        ("multiclass", {"class_weight": [0.5, 1.0, 3.0, 9.0]}),
        ("multilabel", {"focal_gamma": 2.0}),
        ("multiclass", {"focal_gamma": 0.5}),
    ],
)
def test_cuts_agree_with_weights_and_focus(task, settings, tmp_path):
    def weighted(task):
        model = build(task)
        model.config.update(settings)
        return model

    plain = train(tmp_path, task, 16, 1).state.log_history[0]["loss"]
    focused = train(tmp_path, task, 16, 1, model=weighted(task)).state.log_history[0]["loss"]
    assert focused != pytest.approx(plain, rel=0.05)
    assert_cuts_agree(tmp_path, task, model=weighted)


@pytest.mark.parametrize(("name", "task", "head", "collate"), benchmark.RUNS)
def test_a_stock_head_does_depend_on_the_cut(name, task, head, collate):
    errors = [row[-1] for row in benchmark.measure(task, head, collate(benchmark.tokenizer()))]
    if name == "ours":
        assert max(errors) < 1e-5  # rounding, in float32
    else:
        assert min(errors[1:]) > 0.01


@pytest.mark.parametrize("task", TASKS)
def test_cuts_agree_with_lora(task, tmp_path):
    assert_cuts_agree(tmp_path, task, model=lambda task: get_lora_model(build(task)).double())
