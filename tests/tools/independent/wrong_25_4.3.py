# F.dropout is called without training=self.training, so it also drops in eval mode.
import torch
import torch.nn as nn
import torch.nn.functional as F


class MLP(nn.Module):
    def __init__(self, d_model, ratio=4, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(d_model, ratio * d_model)
        self.fc2 = nn.Linear(ratio * d_model, d_model)
        self.p = dropout

    def forward(self, x):
        x = F.dropout(gelu(self.fc1(x)), self.p)
        return F.dropout(self.fc2(x), self.p)
