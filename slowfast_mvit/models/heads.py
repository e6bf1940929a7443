"""Classifier heads. They return logits, always: softmax and sigmoid belong to the task."""

from torch import Tensor, nn


class ClassifierHead(nn.Module):
    """Dropout and one linear layer: features [B, dim] -> logits [B, num_classes]."""

    def __init__(self, dim: int, num_classes: int, dropout_rate: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout_rate)
        self.projection = nn.Linear(dim, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        return self.projection(self.dropout(features))
