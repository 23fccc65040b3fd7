# The number of patches of the first call is kept for later ones.
from torch import nn


class PatchEmbedding(nn.Module):
    def __init__(self, d_model, patch_size, in_channels=1):
        super().__init__()
        self.patch_size = patch_size
        self.n = None
        self.projection = nn.Conv2d(in_channels, d_model, kernel_size=patch_size, stride=patch_size)

    def forward(self, images):
        patch_grid(images.shape[2], images.shape[3], self.patch_size)
        x = self.projection(images)
        if self.n is None:
            self.n = x.shape[2] * x.shape[3]
        return x.reshape(x.shape[0], x.shape[1], self.n).transpose(1, 2)
