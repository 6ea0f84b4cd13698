"""Losses equal the reference's, and count every label once and only where it belongs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models import MctpForCausalLM, losses, mctp_parameter_names
from models.packing import IGNORED


def batch(row: dict[str, Any]) -> dict[str, Tensor]:
    keys = ("input_ids", "labels", "position_ids")
    return {key: torch.tensor([row[key]]) for key in keys if key in row}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("attention", ["eager", "sdpa", "windowed"])
@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_losses_equal_the_reference(load_golden: Any, name: str, attention: str, training: bool) -> None:
    model, golden = load_golden(name, attention)
    model.train(training)
    for row in golden["losses"]:
        model.lm_head.requires_grad_(not row["lm_head_frozen"])
        assert model(**batch(row)).loss.item() == pytest.approx(row["loss"], abs=1e-4)


@pytest.mark.parametrize("attention", ["eager", "sdpa", "windowed"])
@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_packed_losses_equal_the_reference(load_golden: Any, name: str, attention: str) -> None:
    model, golden = load_golden(name, attention)
    for row in golden["packed_losses"]:
        assert model(**batch(row)).loss.item() == pytest.approx(row["loss"], abs=1e-4)


def separate_losses(model: MctpForCausalLM, samples: list[tuple[Tensor, Tensor]]) -> list[float]:
    """Backbone's and modules' mean cross entropy over all labels, with each sample run by itself."""
    sums = [0.0] * (1 + len(model.mtp_projs))
    counts = [0] * len(sums)
    for ids_T, labels_T in samples:
        output = model(ids_T[None], labels=labels_T[None])
        for level, loss in enumerate([output.backbone_loss, *output.module_losses]):
            labelled = int((labels_T[level + 1 :] != IGNORED).sum())
            sums[level] += loss.item() * labelled
            counts[level] += labelled
    return [total / max(count, 1) for total, count in zip(sums, counts, strict=True)]


@pytest.mark.parametrize("attention", ["eager", "sdpa", "windowed"])
def test_packing_changes_nothing_even_for_samples_shorter_than_the_modules_reach(
    make_model: Any, attention: str
) -> None:
    model = make_model(modules=3, attention=attention)
    samples = []
    for length, prompt in ((9, 4), (2, 1), (12, 1), (1, 0), (5, 2), (7, 0)):
        ids_T = torch.randint(0, 64, (length,))
        labels_T = ids_T.clone()
        labels_T[:prompt] = IGNORED
        samples.append((ids_T, labels_T))
    padding = torch.zeros(4, dtype=torch.long)
    packed = model(
        torch.cat([ids_T for ids_T, _ in samples] + [padding])[None],
        labels=torch.cat([labels_T for _, labels_T in samples] + [padding + IGNORED])[None],
        position_ids=torch.cat([torch.arange(len(ids_T)) for ids_T, _ in samples] + [torch.arange(4)])[None],
    )
    expected = separate_losses(model, samples)
    assert packed.backbone_loss.item() == pytest.approx(expected[0], abs=1e-5)
    assert [loss.item() for loss in packed.module_losses] == pytest.approx(expected[1:], abs=1e-5)
    assert packed.loss.item() == pytest.approx(expected[0] + sum(expected[1:]) / 3, abs=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa", "windowed"])
def test_no_gradient_flows_from_one_sample_into_another(make_model: Any, attention: str) -> None:
    model = make_model(modules=3, attention=attention)
    ids = torch.arange(20)[None]  # every token once, so that an embedding belongs to one position
    positions = torch.cat((torch.arange(8), torch.arange(12)))[None]
    labels = ids.clone()
    labels[:, :8] = IGNORED
    model(ids, labels=labels, position_ids=positions).loss.backward()
    gradients_V = model.model.embed_tokens.weight.grad.abs().sum(dim=1)
    assert gradients_V[:8].max() == 0
    assert gradients_V[8:19].min() > 0


def test_rows_of_a_batch_are_packed_independently(make_model: Any) -> None:
    model = make_model()
    ids = torch.randint(0, 64, (2, 10))
    positions = torch.stack((torch.arange(10), torch.cat((torch.arange(4), torch.arange(6)))))
    both = model(ids, position_ids=positions).logits_BTV
    for row in range(2):
        alone = model(ids[row : row + 1], position_ids=positions[row : row + 1]).logits_BTV
        torch.testing.assert_close(both[row : row + 1], alone)


def test_a_module_without_labels_costs_nothing_and_still_has_gradients(make_model: Any) -> None:
    model = make_model(modules=3)
    ids = torch.randint(0, 64, (1, 4))
    labels = torch.full_like(ids, IGNORED)
    labels[0, 2] = 7  # within reach of the backbone and of module 0 only
    output = model(ids, labels=labels)
    assert [loss.item() for loss in output.module_losses[1:]] == [0, 0]
    assert output.module_losses[0] > 0
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_row_without_any_label_trains_nothing(make_model: Any) -> None:
    model = make_model()
    ids = torch.randint(0, 64, (1, 3))
    output = model(ids, labels=torch.full_like(ids, IGNORED))
    output.loss.backward()
    assert output.loss.item() == 0
    assert all(parameter.grad.abs().max() == 0 for parameter in model.parameters())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_frozen_backbone_trains_the_modules_as_the_whole_model_would(
    make_model: Any, checkpointing: bool, recwarn: pytest.WarningsRecorder
) -> None:
    frozen, whole = make_model(), make_model()
    names = set(mctp_parameter_names(frozen))
    for name, parameter in frozen.named_parameters():
        parameter.requires_grad_(name in names)
    frozen.train()
    if checkpointing:
        frozen.activation_checkpointing_enable()
    ids = torch.randint(0, 64, (1, 20))
    output, reference = frozen(ids, labels=ids), whole(ids, labels=ids)
    assert output.backbone_loss is None
    assert not output.hidden_BTD.requires_grad
    assert output.loss.item() == pytest.approx(sum(map(float, reference.module_losses)) / 3, abs=1e-6)
    output.loss.backward()
    reference.loss.backward()
    for name, parameter in frozen.named_parameters():
        assert (parameter.grad is not None) == (name in names), name
    # The last module's own layer is reached by its own loss only, so that both models give it the same gradient.
    last = f"model.layers.{frozen.config.num_hidden_layers - 1}.mlp.up_proj.weight"
    torch.testing.assert_close(frozen.get_parameter(last).grad, whole.get_parameter(last).grad)
    assert not [entry for entry in recwarn if "requires_grad" in str(entry.message)]


def test_gradient_checkpointing_leaves_the_gradients_alone(make_model: Any) -> None:
    plain, checkpointed = make_model().train(), make_model().train()
    checkpointed.activation_checkpointing_enable()
    ids = torch.randint(0, 64, (1, 20))
    for model in (plain, checkpointed):
        model(ids, labels=ids).loss.backward()
    for (name, one), (_, two) in zip(plain.named_parameters(), checkpointed.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, msg=name)


def test_the_loss_weight_scales_the_modules_share(make_model: Any) -> None:
    model = make_model(mtp_loss_weight=0.25)
    ids = torch.randint(0, 64, (1, 12))
    output = model(ids, labels=ids)
    modules = sum(map(float, output.module_losses)) / 3
    assert output.loss.item() == pytest.approx(output.backbone_loss.item() + 0.25 * modules, abs=1e-5)


def test_without_modules_a_frozen_head_still_leaves_something_to_train(make_model: Any) -> None:
    model = make_model(modules=0)
    model.lm_head.requires_grad_(False)
    ids = torch.randint(0, 64, (1, 12))
    output = model(ids, labels=ids)
    assert output.loss.requires_grad
    assert output.module_losses == []


def test_long_rows_in_pieces_give_the_same_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "MAX_LOGITS", 5 * 64)
    head = nn.Linear(32, 64, bias=False)
    hidden = torch.randn(2, 20, 32, requires_grad=True)
    targets = torch.randint(0, 64, (2, 20))
    targets[0, :7] = IGNORED
    loss = losses.labelled_cross_entropy(hidden, targets, head)
    expected = functional.cross_entropy(head(hidden).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    torch.testing.assert_close(loss, expected)
    for tensor in (hidden, head.weight):
        (one,) = torch.autograd.grad(loss, tensor, retain_graph=True)
        (two,) = torch.autograd.grad(expected, tensor, retain_graph=True)
        torch.testing.assert_close(one, two)


def test_an_attention_that_cannot_keep_samples_apart_is_refused(make_model: Any) -> None:
    model = make_model()
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match=r"flex_attention.*eager.*sdpa"):
        model(torch.zeros(1, 4, dtype=torch.long))
