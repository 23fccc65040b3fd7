# Nn.Dropout1d zeroes whole tokens, not single numbers.
class MLP(nn.Module):
    def __init__(self, d_model, ratio=4, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(d_model, ratio * d_model)
        self.fc2 = nn.Linear(ratio * d_model, d_model)
        self.drop = nn.Dropout1d(dropout)

    def forward(self, x):
        x = gelu(self.fc1(x))
        x = self.drop(x)
        x = self.fc2(x)
        return self.drop(x)
