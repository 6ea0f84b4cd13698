"""Losses equal the reference's, and count every label once and only where it belongs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models import MctpForCausalLM, mctp_parameter_names
from models.errors import ModelError
from models.losses import LossHead
from models.packing import IGNORED, segments_of, shifted_labels


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


def test_each_labels_loss_is_told_with_its_place(make_model: Any) -> None:
    model = make_model(modules=2)
    ids = torch.randint(0, 64, (2, 14))
    labels = ids.clone()
    labels[0, 3:6] = labels[1, :7] = IGNORED
    positions = torch.stack((torch.arange(14), torch.cat((torch.arange(9), torch.arange(5)))))
    output = model(ids, labels=labels, position_ids=positions)
    assert len(output.label_losses) == len(output.labelled_BT) == 3
    for losses_N, labelled_BT, mean in zip(
        output.label_losses, output.labelled_BT, [output.backbone_loss, *output.module_losses], strict=True
    ):
        assert len(losses_N) == labelled_BT.sum()
        torch.testing.assert_close(losses_N.mean(), mean)
    targets_BT = shifted_labels(labels, segments_of(positions), 1)
    logits_BTV = model(ids, position_ids=positions).logits_BTV
    assert output.labelled_BT[0].equal(targets_BT != IGNORED)
    expected = functional.cross_entropy(
        logits_BTV[targets_BT != IGNORED], targets_BT[targets_BT != IGNORED], reduction="none"
    )
    torch.testing.assert_close(output.label_losses[0], expected)


def test_weights_of_modules_scale_their_losses_and_leave_none_without_a_gradient(make_model: Any) -> None:
    model = make_model(mtp_loss_weight=0.5)
    ids = torch.randint(0, 64, (1, 12))
    output = model(ids, labels=ids, module_weights=(1.5, 0.25, 0.0))
    modules = sum(
        weight * loss.item() for weight, loss in zip((1.5, 0.25, 0.0), output.module_losses, strict=True)
    )
    assert output.loss.item() == pytest.approx(output.backbone_loss.item() + 0.5 * modules / 3, abs=1e-5)
    output.loss.backward()
    last = model.mtp_projs[2].weight.grad  # the last module has no other loss
    assert last is not None and last.abs().max() == 0
    assert model.mtp_projs[1].weight.grad.abs().max() > 0
    with pytest.raises(ModelError, match="2 module_weights for 3 MCTP modules"):
        model(ids, labels=ids, module_weights=(1.0, 1.0))


def test_embeddings_are_computed_once(make_model: Any) -> None:
    model = make_model().train()
    model.activation_checkpointing_enable()
    calls: list[int] = []
    model.model.embed_tokens.register_forward_hook(lambda *_: calls.append(1))
    ids = torch.randint(0, 64, (1, 12))
    model(ids, labels=ids).loss.backward()
    assert len(calls) == 1


def kept_values(model: MctpForCausalLM) -> int:
    """Values that a forward pass keeps for the backward pass, but for what checkpoints compute again."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    ids = torch.randint(0, 64, (1, 100))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(ids, labels=ids)
    return kept


def test_a_checkpointed_module_keeps_nothing_but_its_inputs_and_runs_once_more(make_model: Any) -> None:
    models = [make_model(modules=modules).train() for modules in (2, 6)]
    for model in models:
        model.activation_checkpointing_enable()
    few, many = (kept_values(model) for model in models)
    state = 100 * 32
    assert (
        many - few
    ) / 4 <= 2 * state + 100  # embeddings, which are the backbone's, states, and where labels are
    runs: list[int] = []
    model = models[0]
    for part in (model.mtp_projs[1], model.model.layers[-1].mlp.up_proj):
        part.register_forward_hook(lambda *_: runs.append(1))
    ids = torch.randint(0, 64, (1, 12))
    model(ids, labels=ids).loss.backward()
    assert len(runs) == 2 * 2
    model.activation_checkpointing_disable()
    assert kept_values(model) > few + 2 * 10 * state


def test_a_head_for_more_words_still_gives_losses(make_model: Any) -> None:
    model = make_model()
    model.resize_token_embeddings(80)
    assert type(model.lm_head) is LossHead
    ids = torch.randint(64, 80, (1, 12))
    model(ids, labels=ids).loss.backward()
    assert model.lm_head.weight.grad.shape == (80, 32)


def test_tied_weights_get_both_gradients(make_model: Any) -> None:
    tied, apart = make_model(tie_word_embeddings=True), make_model()
    apart.load_state_dict(tied.state_dict())
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    ids = torch.randint(0, 64, (1, 12))
    for model in (tied, apart):
        model(ids, labels=ids).loss.backward()
    torch.testing.assert_close(
        tied.lm_head.weight.grad, apart.lm_head.weight.grad + apart.model.embed_tokens.weight.grad
    )


@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_references_boundaries_change_nothing_where_prompts_are_long(load_golden: Any, name: str) -> None:
    model, golden = load_golden(name)
    model.config.reference_boundaries = True
    for row in golden["packed_losses"]:
        assert model(**batch(row)).loss.item() == pytest.approx(row["loss"], abs=1e-4)


def test_references_boundaries_let_a_sample_predict_the_next_ones_first_label(make_model: Any) -> None:
    model = make_model(modules=0)
    ids = torch.randint(0, 64, (1, 8))
    labels = torch.full_like(ids, IGNORED)
    labels[0, 5] = ids[0, 5]
    positions = torch.cat((torch.arange(5), torch.arange(3)))[None]
    assert model(ids, labels=labels, position_ids=positions).loss == 0
    model.config.reference_boundaries = True
    logits_TV = model(ids, position_ids=positions).logits_BTV[0]
    expected = functional.cross_entropy(logits_TV[4:5], ids[0, 5:6])
    torch.testing.assert_close(model(ids, labels=labels, position_ids=positions).loss, expected)
    assert "reference_boundaries" not in model.config.to_dict()
