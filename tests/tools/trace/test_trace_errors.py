"""What a trace says of the shape errors of every day: the learner's own line, and which axes disagree."""

import importlib

import einops
import pytest
import torch
import torch.nn.functional as F
from einops.layers.torch import Rearrange
from torch import nn

from vitcourse.trace import trace


def rand(*shape):
    return torch.rand(shape)


def whole(*shape, below):
    return torch.arange(torch.Size(shape).numel()).view(shape) % below


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 5)

    def forward(self, ids):
        return self.table(ids)


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(15, 3)

    def forward(self, x):
        return self.attend(x, x, x)


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.chain = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(3, 2))

    def forward(self, x):
        return self.chain(x)


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 7, 3), nn.Linear(11, 2)

    def forward(self, images):
        x = nn.functional.max_pool2d(self.conv(images), 2)
        return self.head(x.flatten(1))


def in_a_list(*given):
    both = [one + 1 for one in given]
    return torch.stack(both)


def taken_apart(x):
    b, t, d = x.shape
    return b, t, d


def set_to_nothing(x):
    x[:, 7] = 0.0


def added(x, y):
    x += y
    return x


CASES = [
    ("no such row", Table(), {"ids": whole(2, 13, below=13)}, "B T",
     "ids contains 12, self.table has 11 rows: 0 to 10"),
    ("below zero", Table(), {"ids": torch.tensor([3, -1])}, "T", "ids contains -1, self.table has 11 rows: 0 to 10"),
    ("attention", Attending(), {"x": rand(2, 3, 7)}, "T B D",
     "x's last axis is 7 = D, self.attend takes 15 = embed_dim"),
    ("chain", Chain(), {"x": rand(2, 7)}, "B D", "[1] ReLU's last axis is 5, self.chain.2 takes 3"),
    ("a batch is missing", nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), {"x": rand(3, 11, 13)}, "C H W",
     "[0] Conv2d has 3 axes (5, H-2, W-2), self.1 takes 4"),
    ("mask", lambda x, m: x.masked_fill(m, 0.0), {"x": rand(2, 5, 3), "m": rand(2, 5) > 0}, ["B T D", "B T"],
     "x's last axis is 3 = D, m's last is 5 = T, and axes match from the last one"),
    ("choice", lambda x, y: torch.where(x > 0, x, y), {"x": rand(2, 3), "y": rand(7)}, ["B D", "E"],
     "x > 0's last axis is 3 = D, y's first is 7 = E, and axes match from the last one"),
    ("in place", added, {"x": rand(2, 1), "y": rand(2, 3)}, ["B 1", "B D"],
     "y's last axis is 3 = D, x keeps its shape and takes 1"),
    ("expand", lambda x: x.expand(2, 7, 3), {"x": rand(2, 5, 3)}, "B T D",
     "x's second axis is 5 = T, expand takes 7 or 1"),
    ("made of axes", Pooled(), {"images": rand(2, 3, 13, 15)}, "B C H W",
     "x.flatten(1)'s last axis is 210 = 7·((H-2)//2)·((W-2)//2), self.head takes 11"),
    ("heads", lambda x: x.view(2, 5, 3, 4), {"x": rand(2, 5, 13)}, "B T D",
     "x's last axis is 13 = D, (3, 4) needs 12"),
    ("heads in front", lambda x: x.view(3, -1, 5, 13), {"x": rand(2, 5, 13)}, "B T D",
     "x's first axis is 2 = B, (3, -1) needs a multiple of 3"),
    ("tokens", lambda x: x.reshape(2, 7, 13), {"x": rand(2, 5, 13)}, "B T D",
     "x's second axis is 5 = T, and 7 is asked"),
    ("several axes", lambda x: x.reshape(-1, 7), {"x": rand(2, 5, 13)}, "B T D",
     "x (B, T, D) has 130 numbers, (-1, 7) needs a multiple of 7"),
    ("unflattened", lambda x: x.unflatten(1, (2, 3)), {"x": rand(2, 5, 13)}, "B T D",
     "x's second axis is 5 = T, (2, 3) needs 6"),
    ("view", lambda x: x.mT.view(2, -1), {"x": rand(2, 5, 3)}, "B T D",
     "x.mT's numbers don't lie in memory in that order: reshape copies them, view can't"),
    ("column of targets", lambda x, y: F.cross_entropy(x, y), {"x": rand(7, 3), "y": whole(7, 1, below=3)},
     ["B K", "B 1"], "x (B, K) has its classes on the second axis, 3 = K: y should be (B), and is (B, 1)"),
    ("classes last", lambda x, y: F.cross_entropy(x, y), {"x": rand(2, 5, 3), "y": whole(2, 5, below=3)},
     ["B T K", "B T"], "x (B, T, K) has its classes on the second axis, 5 = T: y should be (B, K), and is (B, T)"),
    ("no such class", lambda x, y: F.cross_entropy(x, y), {"x": rand(7, 3), "y": whole(7, below=5)}, ["B K", "B"],
     "y contains 4, x has 3 = K classes: 0 to 2"),
    ("one shape", lambda x, y: F.binary_cross_entropy_with_logits(x, y), {"x": rand(7, 1), "y": rand(7)},
     ["B 1", "B"], "x is (B, 1), y (B): they must have one shape"),
    ("attention mask", lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
     {"q": rand(2, 3, 5, 7), "m": rand(2, 5)}, ["B h T dh", "B T"],
     "q's third axis is 5 = T, m's first is 2 = B, and axes match from the last one"),
    ("groups", nn.Conv2d(12, 24, 3, groups=4), {"x": rand(2, 3, 7, 11)}, "B C H W",
     "input's second axis is 3 = C, Conv2d takes 12"),
    ("transposed", nn.ConvTranspose2d(13, 5, 3), {"x": rand(2, 7, 5, 11)}, "B C H W",
     "input's second axis is 7 = C, ConvTranspose2d takes 13"),
    ("normalised axes", nn.LayerNorm((7, 3)), {"x": rand(2, 5, 3)}, "B T D",
     "input's second axis is 5 = T, LayerNorm takes 7"),
    ("groups of channels", nn.GroupNorm(2, 10), {"x": rand(3, 7, 5)}, "B D T",
     "input's second axis is 7 = D, GroupNorm takes 10"),
    ("recurrent", nn.LSTM(5, 3), {"x": rand(2, 7, 11)}, "B T D",
     "input's last axis is 11 = D, LSTM takes 5 = input_size"),
    ("batch first", lambda q, k: nn.MultiheadAttention(6, 2)(q, k, k), {"q": rand(2, 7, 6), "k": rand(2, 5, 6)},
     ["B T D", "B S D"], "q's second axis is 7 = T, k's second is 5 = S: both are the batch"),
    ("columns chosen", lambda x, m: x[m], {"x": rand(2, 5), "m": rand(5, 2) > 0}, ["B T", "T B"],
     "x's first axis is 2 = B, m's first is 5 = T: a mask has the axes that it chooses from"),
    ("picked", lambda x, i: x.gather(1, i), {"x": rand(2, 5), "i": whole(2, below=5)}, ["B K", "B"],
     "x has 2 axes (B, K), i 1 (B): both need the same number"),
    ("no such axis", lambda x: x.transpose(1, 3), {"x": rand(2, 5, 3)}, "B T D",
     "x has 3 axes (B, T, D), 0 to 2: there is no 3"),
    ("named axes", lambda x: x.permute(0, 2, 1, 3), {"x": rand(2, 5, 3)}, "B T D",
     "x has 3 axes (B, T, D), permute names 4"),
    ("its place", lambda x: torch.zeros(2, 7).__setitem__(slice(2), x), {"x": rand(2, 5)}, "B T",
     "x's last axis is 5 = T, its place takes 7 or 1"),
    ("dtypes", lambda x: nn.Linear(3, 5)(x), {"x": rand(2, 3).double()}, "B D",
     "x is float64, weight float32: they must be alike"),
    ("devices", lambda x, y: x + y, {"x": rand(2, 3), "y": torch.empty(3, device="meta")}, ["B D", "D"],
     "x is on cpu, y on meta: they must be alike"),
    ("divergence", lambda x, y: F.kl_div(x, y, reduction="sum"), {"x": rand(2, 5), "y": rand(2, 3)}, ["B K", "B E"],
     "x's last axis is 5 = K, y's last is 3 = E, and axes match from the last one"),
    ("one letter", lambda x, w: torch.einsum("...td,dm->...tm", x, w), {"x": rand(2, 5, 3), "w": rand(7, 11)},
     ["B T D", "E M"], "x's last axis is 3 = D, w's first is 7 = E: in the equation they are one"),
    ("letters", lambda q, k: torch.einsum("bhqd,bhkd->bhqk", q, k), {"q": rand(2, 3, 5, 7), "k": rand(2, 5, 7)},
     ["B h T dh", "B T dh"], "k has 3 axes (B, T, dh), the equation names 4"),
    ("operands", lambda x: torch.einsum("btd->bdt", x, x), {"x": rand(2, 5, 3)}, "B T D",
     "2 tensors are given, the equation is of 1"),
    ("patches", lambda x: einops.rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=7, q=5),
     {"x": rand(2, 3, 14, 13)}, "B C H W", "x's last axis is 13 = W, (w q) needs a multiple of 5"),
    ("patches of what came before", lambda x: einops.reduce(x + 1, "... (t s) d -> ... t d", "mean", s=2),
     {"x": rand(2, 5, 3)}, "B T D", "x + 1's second axis is 5 = T, (t s) needs a multiple of 2"),
    ("a layer of einops", Rearrange("b c h w -> b (h w) c"), {"x": rand(2, 5, 3)}, "B T D",
     "input has 3 axes (B, T, D), the pattern names 4"),
    ("names of a shape", taken_apart, {"x": rand(2, 3, 5, 7)}, "B C H W",
     "x has 4 axes (B, C, H, W), 3 names are given"),
    ("no such place", lambda x: x[..., None, -8, 0], {"x": rand(2, 7, 3)}, "B T D",
     "x's second axis is 7 = T, 0 to 6: there is no -8"),
    ("no such places", lambda x: x[:, [2, 7]], {"x": rand(2, 7, 3)}, "B T D",
     "x's second axis is 7 = T, 0 to 6: there is no 7"),
    ("after a mask", lambda x, m: x[m, 3], {"x": rand(2, 7, 3), "m": rand(2, 7) > 0}, ["B T D", "B T"],
     "x's last axis is 3 = D, 0 to 2: there is no 3"),
    ("too many places", lambda x: x[:, 0, 0, 0], {"x": rand(2, 7, 3)}, "B T D",
     "x has 3 axes (B, T, D), the brackets ask for 4"),
    ("a place to set", set_to_nothing, {"x": rand(2, 7, 3)}, "B T D",
     "x's second axis is 7 = T, 0 to 6: there is no 7"),
    ("picked beyond", lambda x, i: x.gather(1, i), {"x": rand(2, 5), "i": whole(2, 3, below=6)}, ["B K", "B E"],
     "i contains 5, x's last axis has 5 = K: 0 to 4"),
    ("parts", lambda x: x.split([3, 5], dim=1), {"x": rand(2, 7, 3)}, "B T D",
     "x's second axis is 7 = T, the parts (3, 5) are 8 together"),
    ("side by side", lambda x, y: torch.hstack([x, y]), {"x": rand(2, 7, 3), "y": rand(2, 5, 11)},
     ["B T D", "B S E"], "x's last axis is 3 = D, y's last is 11 = E: only the second may differ"),
    ("a kernel too large", lambda x: F.max_pool2d(x, 7), {"x": rand(2, 3, 11, 5)}, "B C H W",
     "x's last axis is 5 = W, and the kernel goes over 7"),
    ("a patch too large", nn.Conv2d(3, 5, (7, 13)), {"x": rand(2, 3, 11, 5)}, "B C H W",
     "input's last axis is 5 = W, and the kernel goes over 13"),
    ("products of three axes", lambda x, w: torch.bmm(x, w), {"x": rand(2, 5, 3), "w": rand(3, 7)}, ["B T D", "D M"],
     "w has 2 axes (D, M), bmm takes 3"),
    ("a sum of products", lambda b, x, w: torch.addmm(b, x, w), {"b": rand(7), "x": rand(2, 3), "w": rand(5, 7)},
     ["M", "B D", "E M"], "x's last axis is 3 = D, w's first is 5 = E: they must be equal"),
    ("spread in place", lambda x, y: x.add_(y), {"x": rand(2, 3), "y": rand(5, 2, 3)}, ["B D", "T B D"],
     "y has 3 axes (T, B, D), x keeps its shape and takes 2"),
    ("classes", lambda y: F.one_hot(y, 5), {"y": whole(7, below=6)}, "B",
     "y contains 5, one_hot has 5 classes: 0 to 4"),
    ("as another", lambda x, y: x.view_as(y), {"x": rand(2, 7), "y": rand(3, 5)}, ["B D", "C E"],
     "x (B, D) has 14 numbers, (3, 5) needs 15"),
    ("another axis may grow", lambda x: x.expand(3, 7), {"x": rand(5, 1)}, "T 1",
     "x's first axis is 5 = T, expand takes 3 or 1"),
    ("more axes, and one too large", lambda x: x.expand(2, 3, 11), {"x": rand(3, 7)}, "T D",
     "x's last axis is 7 = D, expand takes 11 or 1"),
    ("a place of more axes", lambda x, v: x.__setitem__(slice(2), v), {"x": rand(3, 5, 7), "v": rand(5, 11)},
     ["B T D", "T E"], "v's last axis is 11 = E, its place takes 7 or 1"),
    ("no place for an axis", lambda x: x.expand(2, -1), {"x": rand(2, 5, 7)}, "B T D",
     "x has 3 axes (B, T, D), expand takes 2"),
    ("a place with fewer axes", lambda x, v: x.__setitem__(0, v), {"x": rand(2, 5, 7), "v": rand(3, 5, 7)},
     ["B T D", "C T D"], "v has 3 axes (C, T, D), its place takes 2"),
    ("masked places", lambda x, m, v: x.__setitem__((0, m), v), {"x": rand(2, 5, 7), "m": torch.arange(5) < 3,
     "v": rand(4, 7)}, ["B T D", "T", "M D"], "v's first axis is 4 = M, its place takes 3 or 1"),
    ("nothing goes with everything", lambda e, x, y: torch.cat([e, x, y], dim=1),
     {"e": rand(0), "x": rand(2, 5, 7), "y": rand(2, 5, 3)}, ["Z", "B T D", "B T K"],
     "x's last axis is 7 = D, y's last is 3 = K: only the second may differ"),
    ("heads shared", lambda q, k: F.scaled_dot_product_attention(q, k, k),
     {"q": rand(3, 4, 5, 7), "k": rand(3, 2, 11, 7)}, ["B h Tq dh", "B n Tk dh"],
     "q's second axis is 4 = h, k's second is 2 = n, and axes match from the last one"),
    ("named in another order", lambda x, w, b: F.linear(bias=b, weight=w, input=x),
     {"x": rand(5, 7), "w": rand(3, 11), "b": rand(3)}, ["T D", "K E", "K"],
     "x's last axis is 7 = D, w's last is 11 = E: they must be equal"),
    ("widths of keys", lambda q, k: nn.MultiheadAttention(8, 2, kdim=6, vdim=6)(q, k, k),
     {"q": rand(5, 2, 9), "k": rand(3, 2, 6)}, ["T B D", "S B E"],
     "q's last axis is 9 = D, MultiheadAttention takes 8 = embed_dim"),
    ("a window without a batch", nn.MaxPool2d(6), {"x": rand(3, 5, 7)}, "C H W",
     "input's second axis is 5 = H, and the kernel goes over 6"),
    ("on the way", lambda x, y: sum([x, y]), {"x": rand(5, 7), "y": rand(5, 3)}, ["T D", "T K"],
     "operand 1's last axis is 7 = D, y's last is 3 = K, and axes match from the last one"),
    ("a mask behind a slice", lambda x, m: x[:, m], {"x": rand(2, 5, 11), "m": rand(5, 7) > 0}, ["B T D", "T K"],
     "x's last axis is 11 = D, m's last is 7 = K: a mask has the axes that it chooses from"),
    ("a mask behind dots", lambda x, m: x.__setitem__((..., m), 0.0), {"x": rand(5, 7, 3), "m": rand(5) > 0},
     ["B T D", "B"], "x's last axis is 3 = D, m's first is 5 = B: a mask has the axes that it chooses from"),
    ("indices apart", lambda x, i, j: x[i, j], {"x": rand(2, 7), "i": whole(3, below=2), "j": whole(2, below=9) + 7},
     ["B T", "C", "B"], "i's first axis is 3 = C, j's first is 2 = B, and axes match from the last one"),
    ("names in einops", lambda x, w: einops.einsum(x, w, "b t d, d k -> b t k"),
     {"x": rand(2, 5, 7), "w": rand(11, 3)}, ["B T D", "E K"],
     "x's last axis is 7 = D, w's first is 11 = E: in the equation they are one"),
    ("another fault of a pattern", lambda x: einops.rearrange(x, "b (h d) -> b h", h=7), {"x": rand(2, 30)}, "B D", ""),
    ("no such reduction", lambda x: einops.reduce(x, "b (h d) -> b h", "avg", h=7), {"x": rand(2, 30)}, "B D", ""),
    ("dots may be nothing", lambda x: einops.rearrange(x, "b ... (h d) -> b h ... d", h=2), {"x": rand(7)}, "D",
     "x has 1 axis (D), the pattern names at least 2"),
    ("an unknown letter", lambda x, w: torch.einsum("btd,dk->btz", x, w), {"x": rand(2, 5, 7), "w": rand(11, 3)},
     ["B T D", "E K"], ""),
    ("no minus", lambda x, y: x - y, {"x": rand(2, 5) > 0, "y": rand(2, 3) > 0}, ["B T", "B K"], ""),
    ("probabilities", lambda x, y: F.cross_entropy(x, y), {"x": rand(2, 7), "y": rand(2, 5)}, ["B K", "B T"],
     "x is (B, K), y (B, T): they must have one shape"),
    ("no row", lambda x: x[0], {"x": rand(0, 7)}, "B T", "x's first axis is 0 = B: there is no 0"),
    ("a kernel with holes", lambda x: F.conv2d(x, rand(2, 3, 3, 3), padding=(1, 0), dilation=(2, 5)),
     {"x": rand(2, 3, 5, 7)}, "B C H W", "x's last axis is 7 = W, and the kernel goes over 11"),
    ("leading ones", lambda x, v: x.__setitem__(0, v), {"x": rand(2, 5, 7), "v": rand(1, 1, 3, 7)},
     ["B T D", "1 1 S D"], "v's third axis is 3 = S, its place takes 5 or 1"),
    ("a weight of another kind", lambda x, w: F.conv2d(x, w), {"x": rand(2, 3, 5, 7), "w": rand(3, 3, 3)},
     ["B C H W", "K C P"], "w has 3 axes (K, C, P), conv2d takes 4"),
    ("another kind of argument", lambda x: x.view(2, None), {"x": rand(2, 5, 7)}, "B T D", ""),
    ("parts that are enough", lambda x: x.split([-1, 6], dim=1), {"x": rand(2, 5)}, "B T", ""),
    ("a mask of another length", lambda x, m: nn.MultiheadAttention(6, 2, batch_first=True)(x, x, x, attn_mask=m),
     {"x": rand(3, 5, 6), "m": rand(7, 7) > 2}, ["B T D", "S S"],
     "x's second axis is 5 = T, m's first is 7 = S: they must be equal"),
    ("a mask for each of a batch", lambda x, m: nn.MultiheadAttention(6, 2, batch_first=True)(x, x, x, attn_mask=m),
     {"x": rand(3, 5, 6), "m": rand(3, 5, 5)}, ["B T D", "B T T"],
     "m's first axis is 3 = B, MultiheadAttention takes 6 = B·num_heads"),
    ("padding that lies down", lambda x, m: nn.MultiheadAttention(6, 2)(x, x, x, key_padding_mask=m),
     {"x": rand(5, 3, 6), "m": rand(5, 3) > 2}, ["T B D", "T B"],
     "x's second axis is 3 = B, m's first is 5 = T: both are the batch"),
    ("a state for each layer", lambda x, h: nn.GRU(5, 3, num_layers=2, bidirectional=True)(x, h),
     {"x": rand(7, 11, 5), "h": rand(2, 11, 3)}, ["T B D", "L B E"],
     "h's first axis is 2 = L, GRU takes 4 = 2·num_layers"),
    ("two states", lambda x, h, c: nn.LSTM(5, 3, batch_first=True)(x, (h, c)),
     {"x": rand(7, 11, 5), "h": rand(1, 7, 3), "c": rand(1, 7, 13)}, ["B T D", "L B E", "L B F"],
     "c's last axis is 13 = F, LSTM takes 3 = hidden_size"),
    ("a state without layers", lambda x, h: nn.RNN(5, 3)(x, h), {"x": rand(7, 11, 5), "h": rand(11, 3)},
     ["T B D", "B E"], "h has 2 axes (B, E), RNN takes 3"),
    ("a bias", lambda x, w, b: F.linear(x, w, b), {"x": rand(2, 5), "w": rand(7, 5), "b": rand(3)},
     ["B D", "E D", "K"], "w's first axis is 7 = E, b's first is 3 = K, and axes match from the last one"),
    ("a bias of channels", lambda x, w, b: F.conv1d(x, w, b), {"x": rand(2, 3, 7), "w": rand(5, 3, 2), "b": rand(3)},
     ["B C T", "K C P", "C"], "b's first axis is 3 = C, conv1d takes 5"),
    ("indices in pairs", lambda x, m, i: x[m, i], {"x": rand(5, 7), "m": torch.arange(5) < 3, "i": whole(2, below=7)},
     ["B T", "B", "N"], "m.nonzero()'s first axis is 3, i's first is 2 = N, and axes match from the last one"),
    ("what is put there is no index", lambda x, i, j, k, v: x.__setitem__((i, j, k), v),
     {"x": rand(7, 5, 11), "i": whole(13, 1, below=7), "j": whole(2, below=5), "k": whole(3, below=11),
      "v": rand(17, 1)},
     ["B T D", "C 1", "N", "M", "E 1"],
     "j's first axis is 2 = N, k's first is 3 = M, and axes match from the last one"),
    ("a place of two", lambda x: F.interpolate(x, size=(7, 7)), {"x": rand(2, 3, 5)}, "B T D",
     "x has 3 axes (B, T, D), (7, 7) is for 4"),
    ("a mode for images", lambda x: F.interpolate(x, size=7, mode="bilinear"), {"x": rand(2, 3, 5)}, "B T D",
     "x has 3 axes (B, T, D), interpolate takes 4"),
    ("more than there are", lambda x: x.topk(7), {"x": rand(2, 5)}, "B K", "x's last axis is 5 = K, and 7 are asked"),
    ("weights of classes", lambda x, y, w: F.cross_entropy(x, y, w), {"x": rand(3, 5), "y": whole(3, below=5),
     "w": rand(7)}, ["B K", "B", "E"], "x's last axis is 5 = K, w's first is 7 = E: they must be equal"),
    ("targets that are no classes", lambda x, y: F.cross_entropy(x, y), {"x": rand(3, 5), "y": rand(3)}, ["B K", "B"],
     "y is float32: classes are whole numbers, int64"),
    ("a mask of numbers", lambda x, m: x.masked_fill(m, 0), {"x": rand(3, 5), "m": rand(3, 5)}, ["B T", "B T"],
     "m is float32: a mask is of true and false, bool"),
    ("no batch is spread", lambda x, y: torch.bmm(x, y), {"x": rand(1, 5, 7), "y": rand(3, 7, 2)}, ["L T D", "B D K"],
     "x's first axis is 1 = L, y's first is 3 = B: both are the batch"),
    ("heads that are spread, and widths", lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True),
     {"q": rand(3, 4, 5, 7), "k": rand(3, 2, 11, 13)}, ["B h Tq dh", "B n Tk E"],
     "q's last axis is 7 = dh, k's last is 13 = E: they must be equal"),
    ("a weight of one column", lambda x, w: F.linear(x, w), {"x": rand(2, 5), "w": rand(7, 1)}, ["B D", "E 1"],
     "x's last axis is 5 = D, w's last is 1: they must be equal"),
    ("a mode that isn't there", lambda x: F.interpolate(x, size=7, mode="cubic"), {"x": rand(2, 3, 5)}, "B T D", ""),
    ("sequences of unlike lengths", lambda x: nn.LSTM(7, 3)(nn.utils.rnn.pack_sequence([x, x[1:]])), {"x": rand(5, 11)},
     "T D", "nn.utils.rnn.pack_sequence([x, x[1:]])'s last axis is 11 = D, LSTM takes 7 = input_size"),
    ("another fault of a mask", lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m.double()),
     {"q": rand(2, 5, 7), "m": rand(5, 3)}, ["B T D", "T S"], ""),
    ("the items of a list", in_a_list, {"x": rand(5, 7), "y": rand(3, 7)},
     ["T D", "S D"], "both[0]'s first axis is 5 = T, both[1]'s first is 3 = S: they must be equal"),
    ("a name of the caller's alone", lambda *xs: torch.stack(xs), {"x": rand(5, 7), "y": rand(5, 7), "z": rand(3, 7)},
     ["T D", "T D", "S D"], "xs[0]'s first axis is 5 = T, xs[2]'s first is 3 = S: they must be equal"),
    ("inside a layer that was called itself", nn.TransformerEncoderLayer(10, 2), {"x": rand(2, 3, 7)}, "T B D",
     "src's last axis is 7 = D, self.self_attn takes 10 = embed_dim"),
    ("a new axis", lambda x: x.unsqueeze(4), {"x": rand(2, 7, 3)}, "B T D",
     "x has 3 axes (B, T, D), a new one can be 0 to 3: there is no 4"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "names", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_an_error_says_which_axes_disagree(function, inputs, names, said):
    traced = trace(function, *inputs.values(), names=names)
    assert traced.failure.explanation == said


def test_a_place_that_is_added_to_is_called_what_it_is():
    def grown(x, c):
        x[:, 0] += c

    failure = trace(grown, rand(2, 5, 7), rand(3, 7), names=["B T D", "C D"]).failure
    assert failure.explanation == "x[:, 0]'s first axis is 2 = B, c's first is 3 = C, and axes match from the last one"


def test_a_size_that_a_shape_lacks_is_told():
    failure = trace(lambda x: x.shape[3], rand(2, 5, 7), names={"x": "B T D"}).failure
    assert failure.explanation == "x has 3 axes (B, T, D), 0 to 2: there is no 3"


def test_an_assertion_is_shown_whole_whichever_part_of_it_failed():
    def cut(x, p):
        assert x.shape[2] % p == 0 and x.shape[3] % p == 0, "no whole patches"  # noqa: PT018
        return x

    failure = trace(cut, rand(2, 3, 13, 15), 5, names="B C H W").failure
    assert failure.expression == "x.shape[2] % p == 0 and x.shape[3] % p == 0"


@pytest.mark.parametrize("line", ["b,n=x.shape", "[b, n] = x.size()", "(b, n,) = x.shape"])
def test_names_for_a_shape_are_counted_however_they_are_written(tmp_path, line):
    file = tmp_path / "code.py"
    file.write_text(f"def run(x):\n    first, = [1]; {line}\n", encoding="utf-8")
    scope = {}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), scope)
    failure = trace(scope["run"], rand(2, 5, 7), names="B T D").failure
    assert (failure.expression, failure.explanation) == (line, "x has 3 axes (B, T, D), 2 names are given")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c, h = x.shape[1:]", "x.shape[1:] has 1 axis (T), 2 names are given"),
        ("q, k = x.chunk(3, dim=1)", "x.chunk(3, dim=1) gives 3: 2 names are given"),
        ("q, k, v = x.view(2, 5, 7)", "x.view(2, 5, 7)'s first axis is 2, 3 names are given"),
        ("q, k = x", "x's first axis is 10 = B, 2 names are given"),
        ("q, k = x.split(3)", "x.split(3) gives 4: 2 names are given"),
        ("q, k = pair", "pair gives 3: 2 names are given"),
        ("q, k, v, *w = x.split(5)", "x.split(5) gives 2: at least 3 names are given"),
        ("q, k, b, *v = x.shape", "x has 2 axes (B, T), at least 3 names are given"),
        ("q, k = both(x)", ""),
        ("q, (k, v) = x.chunk(2)", ""),
        ("q, (k, v) = sizes", ""),
        ("q, k = helped(x.chunk(2))", ""),
    ],
)
def test_what_does_not_go_into_its_names_is_counted(tmp_path, line, said):
    file = tmp_path / "code.py"
    file.write_text(
        f"def helped(parts):\n    a, b, c = [*parts]\n\ndef both(x):\n    return x + 1, 3, None\n\n"
        f"def run(x, sizes=(3, 5)):\n    pair = (x, 3, None)\n    {line}\n",
        encoding="utf-8",
    )
    scope = {}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), scope)
    failure = trace(scope["run"], rand(10, 7), names="B T").failure
    assert failure is not None
    assert failure.explanation == said


def test_one_tensor_by_two_names_is_called_by_each_in_its_turn():
    def run(x):
        query = key = x
        return query @ key

    failure = trace(run, rand(2, 5, 7), names="B T D").failure
    assert failure.explanation == "query's last axis is 7 = D, key's second is 5 = T: they must be equal"
    assert [word for word, _ in failure.operands] == ["query", "key"]


def test_a_list_that_holds_itself_takes_no_line_from_an_error():
    def run(x):
        both = [x, x[:1]]
        both.append(both)
        return torch.stack(both[:2])

    failure = trace(run, rand(5, 7), names="B D").failure
    assert failure.expression == "torch.stack(both[:2])"
    assert failure.explanation == "x's first axis is 5 = B, both[1]'s first is 1: they must be equal"


def test_what_a_layer_was_given_is_called_as_its_line_calls_it():
    def run(x, pad):
        return nn.MultiheadAttention(6, 2, batch_first=True)(x.tanh(), x, x, key_padding_mask=pad)

    failure = trace(run, rand(3, 5, 6), rand(3, 7) > 2, names=["B T D", "B S"]).failure
    assert failure.explanation == "x's second axis is 5 = T, pad's last is 7 = S: they must be equal"
    assert [word for word, _ in failure.operands][:4] == ["x.tanh()", "x", "x", "pad"]


def test_an_error_that_cannot_say_what_it_is_ends_the_trace_as_others_do():
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError

    def run(x):
        raise MuteError

    assert "MuteError" in str(trace(run, rand(2, 5), names="B D").failure)


class Turned(nn.GRU):
    def forward(self, input):
        return super().forward(input.mT, torch.zeros(1, 2, 11))


def test_what_is_done_in_a_layer_of_ones_own_is_not_known():
    failure = trace(Turned(5, 3, batch_first=True), rand(2, 5, 7), names="B D T").failure
    assert "takes 5" not in str(failure)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(7, 3, batch_first=True), nn.Linear(3, 11)

    def forward(self, x, use):
        return use(self, x)


def kept(self, x):
    pads = (1, 1)
    out = self.lstm(x)
    return nn.functional.pad(out, pads)


def listed(self, x):
    parts = [x, *self.lstm(x)[1]]
    return parts + x.sum(1)


def forgotten(self, x):
    result = print(end="")
    return self.head(result)


@pytest.mark.parametrize(
    ("use", "explanation"),
    [
        (kept, "out is a tuple: ((B, T, 3), ((1, B, 3), (1, B, 3)))"),
        (lambda self, x: self.head(self.lstm(x)), "self.lstm(x) gives a tuple: (B, T, 3), (1, B, 3), (1, B, 3)"),
        (
            lambda self, x: torch.cat([self.lstm(x), x.relu()]),
            "self.lstm(x) gives a tuple: (B, T, 3), (1, B, 3), (1, B, 3)",
        ),
        (lambda self, x: self.lstm(x).mean(1), "self.lstm(x) gives a tuple: (B, T, 3), (1, B, 3), (1, B, 3)"),
        (listed, "parts is a list: [(B, T, D), (1, B, 3), (1, B, 3)]"),
        (forgotten, "result is None"),
        (lambda self, x: x.mean().means(), ""),
        (lambda self, x: x.sum(dims=1), ""),
    ],
)
def test_what_stands_where_a_tensor_is_asked_for_is_told_with_what_it_holds(use, explanation):
    failure = trace(Recurrent(), rand(2, 5, 7), use, names={"x": "B T D"}).failure
    assert failure.explanation == explanation


def test_an_error_in_a_sequential_has_the_line_that_calls_it():
    traced = trace(Chain(), rand(2, 7), names="B D")
    assert (traced.failure.expression, traced.failure.line > 0) == ("self.chain(x)", True)


def test_an_error_in_another_file_than_the_traced_codes_says_in_which(tmp_path, monkeypatch):
    (tmp_path / "parts.py").write_text("def double(x):\n    return x @ x\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    double = importlib.import_module("parts").double
    there = trace(lambda x: double(x), rand(2, 5), names="B D").failure
    assert str(there).startswith("parts.py, line 2: x @ x\n")
    assert str(trace(double, rand(2, 5), names="B D").failure).startswith("line 2: x @ x\n")


def test_an_error_in_a_line_of_torch_has_no_line():
    failure = trace(nn.Linear(5, 3), rand(2, 7), names="B D").failure
    assert (failure.file, failure.line) == ("", 0)


def apart(x, y):
    places = torch.arange(len(y))
    return places.unsqueeze(1) - places, torch.arange(len(y))[:, None] >= torch.arange(len(y)), y[:, None] - y


def taken(x, y):
    return x.sum(1, keepdim=True) - y


@pytest.mark.parametrize(("function", "notes"), [(apart, 0), (taken, 1)])
def test_a_tensor_set_against_itself_is_meant(function, notes):
    traced = trace(function, rand(5, 3), rand(5), names=["B D", "B"])
    assert sum(row.warning != "" for row in traced.steps) == notes


def test_a_number_that_decides_what_is_done_is_no_size():
    def some(x, how):
        if how == 2:
            return x * x
        return x.sum(2) + x.transpose(-2, -1)

    assert not trace(some, rand(5, 3, 7), 2, names={"x": "B T D"}).findings


@pytest.mark.parametrize("depth", [0, "all"])
def test_a_depth_that_would_show_nothing_is_refused(depth):
    with pytest.raises(ValueError, match=f"1 or more, and not {depth!r}"):
        trace(nn.Linear(5, 3), rand(2, 5), depth=depth)
