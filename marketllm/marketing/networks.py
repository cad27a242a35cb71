"""The networks behind `SequenceClassifier`, made from its settings."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from torch import Tensor, nn

from marketllm.batches import MaskedBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.losses import _hidden_token_loss
from marketllm.models import Classifier, MaskedLanguageModel, RecurrentClassifier
from marketllm.training import History, fit

Sequences = Sequence[Sequence[int]]
Kind = Literal["transformer", "rnn", "lstm"]


def _check_settings(settings: Any) -> None:
    """Refuse what neither the model's nor the training's config would refuse."""
    if settings.kind not in get_args(Kind):
        raise ValueError(
            f"kind is {settings.kind!r}; choose 'transformer', 'rnn' or 'lstm'."
        )
    if not settings.embedding_std > 0:
        raise ValueError(
            f"embedding_std is {settings.embedding_std}: give a number above 0."
        )
    if settings.n_pretraining < 0:
        raise ValueError(
            f"n_pretraining is {settings.n_pretraining}: give 0 or a number above it."
        )
    if settings.n_pretraining and settings.kind != "transformer":
        raise ValueError(
            f"n_pretraining is {settings.n_pretraining} with the kind "
            f"{settings.kind!r}: hidden tokens are guessed from both sides, which only "
            "the transformer sees; set it to 0."
        )


def _schedule(settings: Any, n_epochs: int, rate: float) -> TrainingConfig:
    return TrainingConfig(
        n_epochs, rate, settings.weight_decay, schedule="cosine", warmup_share=0.05
    )


def _config(settings: Any) -> ModelConfig:
    attends = settings.kind == "transformer"
    return ModelConfig(
        settings.vocab_size + 1,  # the last id hides tokens in pretraining
        settings.max_len,
        d_model=settings.d_model,
        n_heads=settings.n_heads if attends else 1,
        n_layers=settings.n_layers,
        d_ff=2 * settings.d_model,
        dropout=settings.dropout,
        norm_first=True,
        positions=settings.positions if attends else "none",
    )


def _network(settings: Any) -> nn.Module:
    """Make the network, untrained."""
    config = _config(settings)
    model: Classifier | RecurrentClassifier
    if settings.kind == "transformer":
        model = Classifier(config, n_classes=2)
        embedding = model.encoder.embedding
    else:
        model = RecurrentClassifier(config, n_classes=2, cell=settings.kind)
        embedding = model.embedding
    nn.init.normal_(embedding.tokens.weight, std=settings.embedding_std)
    return model


def _pretrain(settings: Any, reader: Any, sequences: Sequences) -> History:
    """Let the body of a Transformer guess hidden tokens of the training sequences."""
    model = MaskedLanguageModel(_config(settings))
    model.body.load_state_dict(reader.encoder.state_dict())
    mask, n_ids = settings.vocab_size, settings.vocab_size + 1
    batches = MaskedBatches(
        sequences,
        settings.batch_size,
        mask,
        n_ids,
        settings.seed,
        special_ids=(0, mask),
    )
    training = _schedule(settings, settings.n_pretraining, settings.pretraining_rate)
    loss: Callable[..., Tensor] = _hidden_token_loss
    history = fit(model, batches, loss, training)
    reader.encoder.load_state_dict(model.body.state_dict())
    return history
