"""DrakeGPT's six language models in PyTorch: what this project is compared with.

Imported by make_fixtures.py and bench_pytorch.py; not run by itself. Modules are registered under DrakeGPT's own names
and in its order, so that a state_dict can be exchanged with it and the same seed draws the same initial weights.
Shapes: B batch, T context, C embedding_dim, H heads, V vocabulary.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

MODELS = ("BigramLM", "SingleHeadAttentionLM", "MultiHeadAttentionLM", "BlocksLM", "ResidualBlocksLM", "TransformerLM")


@dataclass(frozen=True)
class Config:
    """DrakeGPT's default configuration. A model reads only the settings that it has a use for."""
    name: str = "TransformerLM"
    vocab_size: int = 65
    context_length: int = 8
    embedding_dim: int = 32
    head_size: int = 32      # of SingleHeadAttentionLM, and of all heads of MultiHeadAttentionLM together
    num_heads: int = 4
    num_layers: int = 3
    dropout: float = 0.1     # TransformerLM only
    final_norm: bool = True  # TransformerLM only; DrakeGPT creates this layer and never applies it: False
    quant: str = "none"      # TransformerLM only: bitnet or b1.58


def rounded(x, where):
    """Ties to even. Each call of `where` is told how far x keeps away from ties: what float32 may get wrong."""
    where((x - x.floor() - 0.5).abs().min().item())
    return x.round()


class BitLinear(nn.Linear):
    """A linear layer whose weight and input are rounded, while gradients pass as if they were not (BitNet, b1.58)."""

    def __init__(self, c, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.quant = c.quant

    margins = []  # distances from ties since the list was cleared

    def quantized_weight(self):
        w = self.weight
        if self.quant == "bitnet":
            centred = w - w.mean()
            self.margins.append((centred.abs() / w.abs().mean()).min().item())
            return torch.where(centred >= 0, 1.0, -1.0) * w.abs().mean()
        scale = 1 / w.abs().mean().clamp(min=1e-5)
        return rounded(w * scale, self.margins.append).clamp(-1, 1) / scale

    def quantized_input(self, x):
        scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        return rounded(x * scale, self.margins.append).clamp(-128, 127) / scale

    def forward(self, x):
        x = x + (self.quantized_input(x) - x).detach()
        weight = self.weight + (self.quantized_weight() - self.weight).detach()
        return F.linear(x, weight, self.bias)


def linear(c, *args, **kwargs):
    """A linear layer of a block."""
    return nn.Linear(*args, **kwargs) if c.quant == "none" else BitLinear(c, *args, **kwargs)


def sub_norm(c, width):
    """What a quantized model has before the layers that end a residual branch."""
    return nn.Identity() if c.quant == "none" else nn.RMSNorm(width, eps=1e-5)


class Head(nn.Module):
    """One causal attention head: (B, T, C) to (B, T, head_size)."""

    def __init__(self, c, head_size):
        super().__init__()
        self.key = linear(c, c.embedding_dim, head_size, bias=False)
        self.query = linear(c, c.embedding_dim, head_size, bias=False)
        self.value = linear(c, c.embedding_dim, head_size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(c.context_length, c.context_length)))
        self.dropout = nn.Dropout(c.dropout) if c.name == "TransformerLM" else nn.Identity()
        self.scale = head_size ** -0.5

    def forward(self, x):
        T = x.shape[1]
        scores = self.query(x) @ self.key(x).transpose(-2, -1) * self.scale  # (B, T, T)
        weights = F.softmax(scores.masked_fill(self.tril[:T, :T] == 0, float("-inf")), dim=-1)
        return self.dropout(weights) @ self.value(x)


class MultiHead(nn.Module):
    """Heads side by side; inside residual blocks a projection follows, in TransformerLM dropout too."""

    def __init__(self, c, all_heads_size):
        super().__init__()
        self.heads = nn.ModuleList(Head(c, all_heads_size // c.num_heads) for _ in range(c.num_heads))
        self.proj, self.dropout = nn.Identity(), nn.Identity()
        if c.name in ("ResidualBlocksLM", "TransformerLM"):
            self.proj = linear(c, c.embedding_dim, c.embedding_dim)
        if c.name == "TransformerLM":
            self.dropout = nn.Dropout(c.dropout)
        self.sub_norm = sub_norm(c, c.embedding_dim)

    def forward(self, x):
        return self.dropout(self.proj(self.sub_norm(torch.cat([head(x) for head in self.heads], dim=-1))))


class FeedForward(nn.Module):
    """BlocksLM: Linear, ReLU. ResidualBlocksLM: Linear to 4C, ReLU, Linear back. TransformerLM: dropout after that."""

    def __init__(self, c):
        super().__init__()
        C = c.embedding_dim
        if c.name == "BlocksLM":
            self.net = nn.Sequential(nn.Linear(C, C), nn.ReLU())
        else:
            self.net = nn.Sequential(linear(c, C, 4 * C), nn.ReLU(), linear(c, 4 * C, C))
        if c.name == "TransformerLM":
            self.net.append(nn.Dropout(c.dropout))
        self.sub_norm = sub_norm(c, 4 * C)

    def forward(self, x):
        return self.net[2:](self.sub_norm(self.net[:2](x)))


class Block(nn.Module):
    """Attention, then the MLP; ResidualBlocksLM adds each to its input, TransformerLM normalizes that input first."""

    def __init__(self, c, attention):
        super().__init__()
        self.residual = c.name != "BlocksLM"
        self.sa_head = attention(c, c.embedding_dim)
        self.ffwd = FeedForward(c)
        self.ln1, self.ln2 = nn.Identity(), nn.Identity()
        if c.name == "TransformerLM":
            self.ln1, self.ln2 = nn.LayerNorm(c.embedding_dim), nn.LayerNorm(c.embedding_dim)

    def forward(self, x):
        if not self.residual:
            return self.ffwd(self.sa_head(x))
        x = x + self.sa_head(self.ln1(x))
        return x + self.ffwd(self.ln2(x))


class LanguageModel(nn.Module):
    """The model that config.name says. attention: what the blocks attend with, in place of one Linear per head."""

    def __init__(self, config, attention=MultiHead):
        super().__init__()
        c = self.config = config
        V, C = c.vocab_size, c.embedding_dim
        if c.name == "BigramLM":
            self.token_embedding_table = nn.Embedding(V, V)
            return
        self.token_embedding_table = nn.Embedding(V, C)
        self.position_embedding_table = nn.Embedding(c.context_length, C)
        if c.name == "SingleHeadAttentionLM":
            self.sa_head = Head(c, c.head_size)
        elif c.name == "MultiHeadAttentionLM":
            self.sa_head = MultiHead(c, c.head_size)
        else:
            self.blocks = nn.Sequential(*[Block(c, attention) for _ in range(c.num_layers)])
        if c.name == "TransformerLM":
            self.ln_f = nn.LayerNorm(C)
        self.lm_head = nn.Linear(c.head_size if hasattr(self, "sa_head") else C, V)

    def logits(self, tokens):
        x = self.token_embedding_table(tokens)
        if self.config.name == "BigramLM":
            return x
        x = x + self.position_embedding_table(torch.arange(tokens.shape[1], device=tokens.device))
        x = self.sa_head(x) if hasattr(self, "sa_head") else self.blocks(x)
        if hasattr(self, "ln_f") and self.config.final_norm:
            x = self.ln_f(x)
        return self.lm_head(x)

    def forward(self, tokens, targets):
        """tokens and targets (B, T); answers the logits (B, T, V) and their mean cross entropy."""
        logits = self.logits(tokens)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))  # the loss stays float32 under bf16 autocast
        return logits, F.cross_entropy(wide.flatten(0, 1), targets.flatten())
