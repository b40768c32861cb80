#!/usr/bin/env python3
"""The same training work in PyTorch on the CPU, to set this project's own figures beside. Prints one line of JSON.

    pip install torch numpy
    python scripts/bench_pytorch.py train default --way best --steps 300 --threads 2
    python scripts/bench_pytorch.py train BigramLM
    python scripts/bench_pytorch.py losses input.txt --model TransformerLM

train CONFIG: milliseconds of a training step, the drawing of its batch from a million random ids included. CONFIG is
    default, laptop or scaled (TransformerLM), or one of the six models in its default configuration (faithful only).
    faithful      DrakeGPT's way: a Linear per head, batches stacked from slices, plain AdamW, ln_f never applied
    best          one Linear for q, k and v, scaled_dot_product_attention, batches gathered by index, fused AdamW, ln_f
    compile       best, by torch.compile (needs a C++ compiler; the first step takes a minute)
    compile-bf16  compile, under bfloat16 autocast
losses FILE: trains the faithful model on a text as DrakeGPT's train.py does (seed 42, 90/10 split, an evaluation every
    500 iterations over 200 batches of each split, cyclic learning rate stepped at each) and gives the last evaluation.
    Progress goes to stderr. Seconds run from reading the text to the end, evaluations included.
"""
import argparse
import json
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CyclicLR

from drakegpt_torch import MODELS, Config, LanguageModel

SEED = 42
BASE_LR, MAX_LR, BETAS = 1e-3, 5e-3, (0.9, 0.95)
WAYS = ("faithful", "best", "compile", "compile-bf16")
CONFIGS = {  # name: model, batch size, steps timed unless --steps says otherwise
    "default": (Config(), 32, 300),
    "laptop": (Config(context_length=64, embedding_dim=128, num_layers=4, dropout=0.0), 12, 50),
    "scaled": (Config(context_length=256, embedding_dim=384, num_heads=6, num_layers=6, dropout=0.2), 64, 3),
    **{name: (Config(name=name), 32, 300) for name in MODELS},
}


class MergedAttention(nn.Module):
    """MultiHead with projection and dropout, but q, k and v in one product and PyTorch's own attention."""

    def __init__(self, c, all_heads_size):
        super().__init__()
        self.num_heads, self.weight_dropout = c.num_heads, c.dropout
        self.qkv = nn.Linear(c.embedding_dim, 3 * all_heads_size, bias=False)
        self.proj = nn.Linear(all_heads_size, c.embedding_dim)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        p = self.weight_dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)  # (B, H, T, C / H)
        return self.dropout(self.proj(y.transpose(1, 2).flatten(2)))


def stacked_batch(ids, context, batch):
    """Inputs and targets (batch, context), slice by slice as DrakeGPT does it."""
    offsets = torch.randint(len(ids) - context, (batch,))
    x = torch.stack([ids[i:i + context] for i in offsets])
    y = torch.stack([ids[i + 1:i + context + 1] for i in offsets])
    return x, y


def gathered_batch(ids, context, batch):
    """The same in one indexing operation."""
    offsets = torch.randint(len(ids) - context, (batch, 1))
    windows = ids[offsets + torch.arange(context + 1)]
    return windows[:, :-1], windows[:, 1:]


def train(name, way, steps):
    """Answers the figures of `steps` training steps, after a fifth as many untimed ones."""
    config, batch, default_steps = CONFIGS[name]
    steps = steps or default_steps
    torch.manual_seed(SEED)
    ids = torch.randint(config.vocab_size, (1_000_000,))
    if way == "faithful":
        draw, model = stacked_batch, LanguageModel(replace(config, final_norm=False))
    else:
        draw, model = gathered_batch, LanguageModel(config, MergedAttention)
    optimizer = torch.optim.AdamW(model.parameters(), lr=BASE_LR, betas=BETAS, fused=way != "faithful")
    forward = torch.compile(model) if way.startswith("compile") else model
    autocast = torch.autocast("cpu", torch.bfloat16) if way == "compile-bf16" else nullcontext()

    def step():
        x, y = draw(ids, config.context_length, batch)
        with autocast:
            _, loss = forward(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(max(2, steps // 5)):
        step()
    ms = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        ms.append((time.perf_counter() - start) * 1e3)
    ms = torch.tensor(ms, dtype=torch.float64)
    p10, median, p90 = (round(q, 3) for q in ms.quantile(ms.new_tensor([0.1, 0.5, 0.9])).tolist())
    return {"config": name, "way": way, "threads": torch.get_num_threads(), "torch": torch.__version__,
            "ms_median": median, "ms_p10": p10, "ms_p90": p90, "steps_per_s": round(1e3 / ms.mean().item(), 3)}


@torch.no_grad()
def mean_loss(model, ids, context, batch, batches=200):
    model.eval()
    total = sum(model(*stacked_batch(ids, context, batch))[1].item() for _ in range(batches))
    model.train()
    return total / batches


def losses(file, name, iterations):
    """Answers train and validation loss of the faithful model after training on the text."""
    start = time.perf_counter()
    torch.manual_seed(SEED)
    text = file.read_text(encoding="utf-8")
    index = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([index[character] for character in text])
    train_ids, val_ids = ids[:int(0.9 * len(ids))], ids[int(0.9 * len(ids)):]

    config, batch, _ = CONFIGS[name]
    T = config.context_length
    model = LanguageModel(replace(config, vocab_size=len(index), final_norm=False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=BASE_LR, betas=BETAS)
    schedule = CyclicLR(optimizer, base_lr=BASE_LR, max_lr=MAX_LR, step_size_up=5, cycle_momentum=False)
    for iteration in range(1, iterations + 1):
        _, loss = model(*stacked_batch(train_ids, T, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if iteration % 500 == 0 or iteration == iterations:
            train_loss, val_loss = mean_loss(model, train_ids, T, batch), mean_loss(model, val_ids, T, batch)
            schedule.step()
            print(f"iteration {iteration}: train {train_loss:.4f}, val {val_loss:.4f}", file=sys.stderr)
    return {"model": name, "iterations": iterations, "threads": torch.get_num_threads(), "torch": torch.__version__,
            "train_loss": round(train_loss, 4), "val_loss": round(val_loss, 4),
            "seconds": round(time.perf_counter() - start, 1)}


def positive(text):
    if int(text) < 1:
        raise ValueError
    return int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    timing = commands.add_parser("train", help="time the training step")
    timing.add_argument("config", choices=CONFIGS)
    timing.add_argument("--way", choices=WAYS, default="faithful")
    timing.add_argument("--steps", type=positive, help="steps to time; default: by configuration")
    training = commands.add_parser("losses", help="train on a text and say how well it was learned")
    training.add_argument("file", type=Path)
    training.add_argument("--model", choices=MODELS, required=True)
    training.add_argument("--iters", type=positive, default=10_000)
    for command in (timing, training):
        command.add_argument("--threads", type=positive, help="CPU threads; default: PyTorch's choice")
    args = parser.parse_args()

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.command == "losses":
        if not args.file.is_file():
            parser.error(f"{args.file} is not a file: name the text to train on")
        print(json.dumps(losses(args.file, args.model, args.iters)))
    elif args.config in MODELS and args.way != "faithful":
        parser.error(f"--way {args.way} is for default, laptop and scaled; {args.config} is timed faithful only")
    else:
        print(json.dumps(train(args.config, args.way, args.steps)))


if __name__ == "__main__":
    main()
