# One dropout helper used at both places and the linears called through F.linear.
import torch
import torch.nn as nn
import torch.nn.functional as F


class MLP(nn.Module):
    def __init__(self, d_model, ratio=4, dropout=0.0):
        super().__init__()
        hidden = int(d_model * ratio)
        self.fc1, self.fc2 = nn.Linear(d_model, hidden), nn.Linear(hidden, d_model)
        self.rate = dropout

    def _drop(self, x):
        return F.dropout(x, p=self.rate, training=self.training)

    def forward(self, x):
        hidden = self._drop(gelu(F.linear(x, self.fc1.weight, self.fc1.bias)))
        return self._drop(F.linear(hidden, self.fc2.weight, self.fc2.bias))
