"""An encoder and a head; imported when one of them runs."""

import torch
from torch import nn

from napari_wsi_mil.models.heads import Head, HeadOutput


class ColourStatistics(nn.Module):
    """Mean and spread of red, green and blue of a tile: 6 features, nothing to train."""

    def forward(self, tiles):
        """Map (n, 3, h, w) tiles, normalised as the card says, to (n, 6)."""
        return torch.cat([tiles.mean((2, 3)), tiles.std((2, 3))], 1)


class Vote(Head):
    """Every tile has a score per class; the mean score is the logit, the scores are the map."""

    def __init__(self, *, n_features, n_classes):
        super().__init__(n_features=n_features, n_classes=n_classes)
        self.score = nn.Linear(n_features, n_classes)

    def forward(self, features, yx=None):
        """Classify one bag, see `Head.forward`."""
        self.check_bag(features, yx)
        scores = self.score(features).T
        return HeadOutput(scores.mean(1), scores, torch.softmax(scores, 1))
