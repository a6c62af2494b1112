"""The loss with smoothed and mixed targets, against the model's own loss and against mixing by hand."""

from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from cnn_rnn import CnnRnnForImageClassification
from cnn_rnn.known_labels import sample_known_share
from cnn_rnn.label_rules import LEFT_OUT
from cnn_rnn.training.optimization import Objective
from cnn_rnn.training.run_config import TrainConfig

LABELS = torch.tensor([[1.0, 0, 0], [0, 1, LEFT_OUT], [0, 0, 0], [1, 1, 1]])


def model_of(**fields: Any) -> CnnRnnForImageClassification:
    torch.manual_seed(0)
    settings = {"embedding_size": 8, "hidden_size": 8, "projection_dropout": 0.0} | fields
    model = CnnRnnForImageClassification.from_backbone("test_convnext", id2label=["a", "b", "c"], **settings)
    return model.train()


def batch() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)), "labels": LABELS}


def test_without_options_it_is_the_models_own_loss() -> None:
    model = model_of()
    assert torch.equal(Objective(TrainConfig(), model)(model, batch()), model(**batch()).loss)


@pytest.mark.parametrize("fields", [{}, {"relevance_loss_weight": 0.3}], ids=str)
def test_smoothing_softens_the_relevance_loss_and_leaves_the_path_alone(fields: dict[str, float]) -> None:
    model = model_of(**fields)
    output = model(**batch())
    smoothed = Objective(TrainConfig(label_smoothing=0.2), model)(model, batch())
    counts = LABELS >= 0
    terms = {}
    for name, targets in (("hard", LABELS), ("soft", LABELS * 0.8 + 0.1)):
        losses = binary_cross_entropy_with_logits(output.relevance_logits[counts], targets[counts], reduction="none")
        terms[name] = losses.sum() / len(LABELS)
    expected = output.loss + model.config.relevance_loss_weight * (terms["soft"] - terms["hard"])
    torch.testing.assert_close(smoothed, expected)
    smoothed.backward()
    assert model.path_decoder is not None
    assert all(parameter.grad is not None for parameter in model.path_decoder.parameters())


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_an_image_mixes_as_its_labels_do(name: str) -> None:
    """Images of one value tell their share of every mixture."""
    model = model_of()
    objective = Objective(TrainConfig(mixup=1.0) if name == "mixup" else TrainConfig(cutmix=1.0), model)
    images = torch.eye(4)[:, :, None, None].expand(4, 4, 32, 32)  # channel k is 1 in image k
    torch.manual_seed(3)
    mixed, soft = objective.mix(images.clone(), LABELS)
    shares = mixed.mean(dim=(2, 3))  # (B, B): how much of image k is in mixture i
    assert ((shares > 0).sum(1) == 2).all()
    left_out = shares @ (LABELS < 0).float() > 0
    assert left_out.any()
    assert (soft[left_out] == LEFT_OUT).all()
    torch.testing.assert_close(soft[~left_out], (shares @ LABELS.clamp(min=0))[~left_out])


def test_a_mixture_trains_every_part_on_labels_that_are_seen() -> None:
    model = model_of()
    torch.manual_seed(0)
    loss = Objective(TrainConfig(mixup=0.5, cutmix=0.5, label_smoothing=0.1), model)(model, batch())
    assert loss.isfinite()
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_without_relevance_loss_there_is_nothing_to_soften() -> None:
    with pytest.raises(ValueError, match="relevance loss"):
        Objective(TrainConfig(mixup=0.2), model_of(relevance_loss="none", fusion="path"))


def test_a_model_that_takes_in_known_labels_is_told_some_of_half_of_the_images() -> None:
    model = model_of(known_labels="state", cooccurrence=True)
    told: list[torch.Tensor] = []

    def seen(*arguments: Any, **given: Any) -> Any:
        told.append(given["known_labels"])
        return model(*arguments, **given)

    many = {"pixel_values": torch.zeros(64, 3, 32, 32), "labels": (torch.rand(64, 3) < 0.5).float()}
    Objective(TrainConfig(), model)(seen, many)  # type: ignore[arg-type]
    (known,) = told
    assert 10 < (known != 0).any(dim=1).sum() < 50
    assert (many["labels"][known == 1] == 1).all()
    assert (many["labels"][known == -1] == 0).all()


def test_a_share_of_the_labels_is_told_present_and_absent_alike() -> None:
    torch.manual_seed(0)
    labels = (torch.rand(4000, 30) < 0.15).float()
    labels[:, 0] = LEFT_OUT
    known = sample_known_share(labels, 0.75)
    assert (known[:, 0] == 0).all()
    assert (labels[known == 1] == 1).all()
    assert (labels[known == -1] == 0).all()
    shares = (known[:, 1:] != 0).float().mean(dim=1)
    assert shares.max() < 1
    assert abs(shares.mean() - 0.375) < 0.01
    assert abs((known == 1).sum() / (labels == 1).sum() - (known == -1).sum() / (labels == 0).sum()) < 0.01
    assert not sample_known_share(labels, 0.0).any()


def test_a_share_is_told_to_a_model_that_takes_it_in_alone() -> None:
    Objective(TrainConfig(known_share=0.75, baseline=True), model_of())
    with pytest.raises(ValueError, match=r"train.known_share=0.75 .* set model.known_labels=state"):
        Objective(TrainConfig(known_share=0.75), model_of())
    model, told = model_of(known_labels="state"), []

    def seen(*arguments: Any, **given: Any) -> Any:
        told.append(given["known_labels"])
        return model(*arguments, **given)

    many = {"pixel_values": torch.zeros(64, 3, 32, 32), "labels": torch.zeros(64, 3)}
    Objective(TrainConfig(known_share=0.75), model)(seen, many)  # type: ignore[arg-type]
    assert (told[0] == -1).any()  # of images without labels, from which nothing else would be told


def test_smoothing_leaves_what_is_told_out_too() -> None:
    """With every label of every image told, nothing is left to learn, smoothed or not."""
    model = model_of(known_labels="state", path_loss="none", fusion="relevance")
    objective = Objective(TrainConfig(label_smoothing=0.2), model)
    one = {"pixel_values": torch.zeros(1, 3, 32, 32), "labels": torch.zeros(1, 3)}
    torch.manual_seed(0)
    values = {round(objective(model, dict(one)).item(), 6) for _ in range(12)}
    assert len(values) == 1  # an image without labels has nothing to confirm, and no other image to rule out from
