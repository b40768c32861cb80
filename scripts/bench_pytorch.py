#!/usr/bin/env python3
"""The same work in PyTorch, on the CPU or an NVIDIA GPU, to set this project's own figures beside. Prints JSON lines.

    pip install torch numpy
    python scripts/bench_pytorch.py train default --way best --threads 2
    python scripts/bench_pytorch.py train scaled --way graph-bf16-cudnn --device cuda
    python scripts/bench_pytorch.py generate laptop --way cache --batch 64
    python scripts/bench_pytorch.py kernels scaled --way compile-bf16 --device cuda
    python scripts/bench_pytorch.py losses input.txt --model TransformerLM
    python scripts/bench_pytorch.py until input.txt 1.47 --config scaled --way graph-bf16 --device cuda

CONFIG is default, laptop or scaled (TransformerLM), or one of the six models in its default configuration (train and
generate, faithful only). A way is words joined by hyphens, of which --device says what there is:
    faithful      as DrakeGPT does it: a Linear per head, batches stacked from slices on the CPU, plain AdamW, ln_f never
                  applied; the whole window is computed again for each character that is generated
    best          one Linear for q, k and v, scaled_dot_product_attention, batches gathered by index, fused AdamW, ln_f
    compile       best, by torch.compile (needs a C++ compiler; the first step takes a minute)
    cache         generates with a cache of keys and values
    graph         compile (generating: and cache), with a whole step, or a character, replayed as one CUDA graph
    eager         of kernels: PyTorch's own softmax and layer norm
    tf32, bf16    TF32 in matrix products; autocast to bfloat16 (generating and kernels: all of it in bfloat16)
    flash, cudnn  attention by that backend only, instead of the one that PyTorch chooses
    autotune      matrix products that torch.compile has chosen by trying (minutes)

train     milliseconds of a training step, the drawing of its batch from a million random ids included. On a GPU so many
          steps are done before the GPU is waited for that the waiting does not count.
generate  milliseconds of drawing one more character for each of --batch texts, while they fill the context.
kernels   microseconds of softmax and layer norm at the sizes of training; on a GPU as one CUDA graph, in turns on so many
          operands that none is left in a cache, where one would not be in training.
losses    trains the faithful model on a text as DrakeGPT's train.py does (seed 42, 90/10 split, an evaluation every 500
          iterations over 200 batches of each split, cyclic learning rate stepped at each) and gives the last evaluation.
until     trains TransformerLM on a text with the settings of RECIPE, below, until the validation loss is as low; a line for
          each evaluation, with the seconds since the program was started.
"""
import time

START = time.perf_counter()

import argparse
import json
import math
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.lr_scheduler import CyclicLR

from drakegpt_torch import MODELS, Config, LanguageModel

SEED = 42
BASE_LR, MAX_LR, BETAS = 1e-3, 5e-3, (0.9, 0.95)
CONFIGS = {  # name: model, batch size
    "default": (Config(), 32),
    "laptop": (Config(context_length=64, embedding_dim=128, num_layers=4, dropout=0.0), 12),
    "scaled": (Config(context_length=256, embedding_dim=384, num_heads=6, num_layers=6, dropout=0.2), 64),
    **{name: (Config(name=name), 32) for name in MODELS},
}
WAYS = {  # suite: device: ways, DrakeGPT's own first
    "train": {
        "cpu": ("faithful", "best", "compile", "compile-bf16"),
        "cuda": ("faithful", "best", "best-bf16", "compile", "compile-bf16", "graph", "graph-tf32", "graph-bf16",
                 "graph-bf16-flash", "graph-bf16-cudnn", "graph-bf16-autotune"),
    },
    "generate": {
        "cpu": ("faithful", "cache"),
        "cuda": ("faithful", "cache", "cache-bf16", "graph", "graph-bf16"),
    },
    "kernels": {
        "cpu": ("eager", "compile"),
        "cuda": ("eager", "eager-bf16", "compile", "compile-bf16"),
    },
}
ATTENTION = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
# What `until` trains with, in this project's settings: those of nanoGPT's Shakespeare examples.
RECIPE = {"model.init": "gpt2", "train.schedule": "cosine", "train.max_lr": 0.001, "train.base_lr": 0.0001,
          "train.warmup_iters": 100, "train.betas": [0.9, 0.99], "train.weight_decay": 0.1, "train.grad_clip": 1.0,
          "train.eval_interval": 250, "train.eval_iters": 20}
ITERS = {"default": 10_000, "laptop": 2_000, "scaled": 5_000}
CACHED_BYTES, ROTATED_BYTES = 16 << 20, 256 << 20  # as `drakegpt bench` times operations
SAMPLE_SECONDS = 0.02  # a GPU is waited for after so long


class MergedAttention(nn.Module):
    """MultiHead with projection and dropout, but q, k and v in one product and PyTorch's own attention."""

    def __init__(self, c, all_heads_size):
        super().__init__()
        self.num_heads, self.weight_dropout = c.num_heads, c.dropout
        self.qkv = nn.Linear(c.embedding_dim, 3 * all_heads_size, bias=False)
        self.proj = nn.Linear(all_heads_size, c.embedding_dim)
        self.dropout = nn.Dropout(c.dropout)

    def heads(self, x):
        """q, k and v, each (B, H, T, C / H)."""
        return (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))

    def forward(self, x):
        q, k, v = self.heads(x)
        p = self.weight_dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.dropout(self.proj(y.transpose(1, 2).flatten(2)))


def stacked_batch(ids, context, batch):
    """Inputs and targets (batch, context), slice by slice as DrakeGPT does it."""
    offsets = torch.randint(len(ids) - context, (batch,))
    x = torch.stack([ids[i:i + context] for i in offsets])
    y = torch.stack([ids[i + 1:i + context + 1] for i in offsets])
    return x, y


def gathered_batch(ids, context, batch):
    """The same in one indexing operation, where the ids are."""
    offsets = torch.randint(len(ids) - context, (batch, 1), device=ids.device)
    windows = ids[offsets + torch.arange(context + 1, device=ids.device)]
    return windows[:, :-1], windows[:, 1:]


def compiled(function, words):
    return torch.compile(function, mode="max-autotune-no-cudagraphs" if "autotune" in words else None)


def captured(work):
    """The work as a CUDA graph: what it returns is overwritten by each replay."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # compiles, makes the optimizer's state, lets the libraries allocate
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay():
        graph.replay()
        return result

    return replay


class Training:
    """A model with its optimizer and its way of doing a step."""

    def __init__(self, config, batch, way, device, ids, recipe=None):
        self.config, self.batch, self.device, self.words = config, batch, device, way.split("-")
        self.faithful, self.graph = "faithful" in self.words, "graph" in self.words
        if "tf32" in self.words:
            torch.set_float32_matmul_precision("high")
        if self.faithful:
            self.draw, model = stacked_batch, LanguageModel(replace(config, final_norm=False))
        else:
            self.draw, model = gathered_batch, LanguageModel(config, MergedAttention)
            ids = ids.to(device)
        if recipe:
            gpt2_init(model, config)
        self.ids, self.model = ids, model.to(device)
        self.clip = recipe["train.grad_clip"] if recipe else 0.0
        self.rate = torch.tensor(BASE_LR, device=device) if self.graph else BASE_LR
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.rate, betas=recipe["train.betas"] if recipe else BETAS,
            weight_decay=recipe["train.weight_decay"] if recipe else 0.01, fused=not self.faithful, capturable=self.graph)
        self.forward = compiled(model, self.words) if self.graph or "compile" in self.words else model
        self.step = captured(self.eager_step) if self.graph else self.eager_step

    def loss(self, forward, ids):
        """The mean loss of a batch that is drawn from the ids."""
        x, y = (part.to(self.device) for part in self.draw(ids, self.config.context_length, self.batch))
        backend = next((ATTENTION[word] for word in self.words if word in ATTENTION), None)
        with torch.autocast(self.device, torch.bfloat16) if "bf16" in self.words else nullcontext():
            with sdpa_kernel(backend) if backend else nullcontext():
                return forward(x, y)[1]

    def eager_step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.forward, self.ids)
        loss.backward()
        if self.clip > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss

    def set_rate(self, rate):
        if self.graph:
            self.rate.fill_(rate)
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = rate

    def evaluation(self, ids, batches):
        """What gives the mean loss over batches of the ids."""
        ids = ids if self.faithful else ids.to(self.device)

        @torch.no_grad()
        def mean_loss():
            self.model.eval()
            total = sum(self.loss(self.model, ids) for _ in range(batches))
            self.model.train()
            return total / batches

        return captured(mean_loss) if self.graph else mean_loss


def gpt2_init(model, config):
    """As this project's model.init: gpt2."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            ends_branch = name.endswith(("proj.weight", "net.2.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.num_layers) if ends_branch else 0.02)


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def timed(work, device, seconds, per_call=1):
    """Milliseconds of work that is done again and again for some seconds, after half as long: 10th, 50th and 90th percentile.

    On a GPU it is waited for after so many calls that the wait takes no part of the time worth mentioning.
    """
    for _ in range(2):
        work()
    synchronize(device)

    def sample(calls):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        synchronize(device)
        return (time.perf_counter() - start) * 1e3 / (calls * per_call)

    calls = 1 if device == "cpu" else max(1, int(SAMPLE_SECONDS * 1e3 / (sample(1) * per_call)))
    begin, ms = time.perf_counter(), []
    while len(ms) < 3 or time.perf_counter() - begin < 1.5 * seconds:
        if time.perf_counter() - begin < 0.5 * seconds:
            ms.clear()  # warms up
        ms.append(sample(calls))
    return torch.tensor(ms, dtype=torch.float64).quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)).tolist()


def result(device, way, **values):
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {"way": way, "device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, **values}


def milliseconds(quantiles, prefix="ms", scale=1):
    p10, median, p90 = (round(scale * q, 6) for q in quantiles)
    return {f"{prefix}_median": median, f"{prefix}_p10": p10, f"{prefix}_p90": p90}


def train(name, way, device, seconds):
    """Answers the time of a training step."""
    config, batch = CONFIGS[name]
    torch.manual_seed(SEED)
    ids = torch.randint(config.vocab_size, (1_000_000,))
    training = Training(config, batch, way, device, ids)
    ms = timed(training.step, device, seconds)
    peak = {"memory_bytes": torch.cuda.max_memory_allocated()} if device == "cuda" else {}
    return result(device, way, config=name, batch=batch, **milliseconds(ms),
                  tokens_per_s=round(batch * config.context_length * 1e3 / ms[1]), **peak)


class Cache:
    """TransformerLM with a cache of keys and values: draws a token a call for each sequence, at a place that counts itself."""

    def __init__(self, model, batch, graph):
        self.model, self.graph = model, graph
        weight = model.lm_head.weight
        c = model.config
        shape = (batch, c.num_heads, c.context_length, c.embedding_dim // c.num_heads)
        self.keys, self.values = ([torch.zeros(shape, dtype=weight.dtype, device=weight.device) for _ in model.blocks]
                                  for _ in range(2))
        self.tokens = torch.zeros(batch, 1, dtype=torch.long, device=weight.device)
        self.place = torch.zeros(1, dtype=torch.long, device=weight.device)  # what a graph reads
        self.number = 0  # the same for what need not be captured
        self.places = torch.arange(c.context_length, device=weight.device)

    def attend(self, attention, keys, values, x):
        q, k, v = attention.heads(x)
        if self.graph:
            keys.index_copy_(2, self.place, k)
            values.index_copy_(2, self.place, v)
            y = F.scaled_dot_product_attention(q, keys, values, attn_mask=(self.places <= self.place)[None, None, None])
        else:
            keys[:, :, self.number], values[:, :, self.number] = k[:, :, 0], v[:, :, 0]
            seen = self.number + 1
            y = F.scaled_dot_product_attention(q, keys[:, :, :seen], values[:, :, :seen])
        return attention.proj(y.transpose(1, 2).flatten(2))

    def logits(self, tokens):
        m = self.model
        place = self.place if self.graph else self.places[self.number:self.number + 1]
        x = m.token_embedding_table(tokens) + m.position_embedding_table(place)  # (B, 1, C)
        for block, keys, values in zip(m.blocks, self.keys, self.values):
            x = x + self.attend(block.sa_head, keys, values, block.ln1(x))
            x = x + block.ffwd(block.ln2(x))
        return m.lm_head(m.ln_f(x))[:, -1].float()

    def draw(self, tokens):
        """A draw from the softmax, without the checks of torch.multinomial."""
        probabilities = F.softmax(self.logits(tokens), dim=-1)
        return (probabilities / torch.empty_like(probabilities).exponential_()).argmax(-1, keepdim=True)

    def restart(self):
        self.place.zero_()
        self.number = 0


@torch.no_grad()
def generate(name, way, device, seconds, batch):
    """Answers the time of drawing one more token for each text, from the first to the end of the context."""
    config, _ = CONFIGS[name]
    torch.manual_seed(SEED)
    words, steps = way.split("-"), config.context_length - 1
    if "faithful" in words:
        model = LanguageModel(replace(config, final_norm=False)).to(device).eval()

        def fill():
            tokens = torch.zeros(batch, 1, dtype=torch.long, device=device)
            for _ in range(steps):
                probabilities = F.softmax(model.logits(tokens[:, -config.context_length:])[:, -1], dim=-1)
                tokens = torch.cat((tokens, torch.multinomial(probabilities, 1)), dim=1)
    else:
        model = LanguageModel(config, MergedAttention).to(device).eval()
        cache = Cache(model.bfloat16() if "bf16" in words else model, batch, "graph" in words)
        draw = compiled(cache.draw, words) if cache.graph else cache.draw

        def step():
            cache.tokens.copy_(draw(cache.tokens))
            cache.place += 1
            cache.number += 1

        if cache.graph:
            step = captured(step)

        def fill():
            cache.restart()
            for _ in range(steps):
                step()

    ms = timed(fill, device, seconds, per_call=steps)
    return result(device, way, config=name, batch=batch, **milliseconds(ms), tokens_per_s=round(batch * 1e3 / ms[1]))


@torch.no_grad()
def kernels(name, way, device, seconds):
    """Answers the times of softmax and layer norm."""
    config, batch = CONFIGS[name]
    torch.manual_seed(SEED)
    words, rows, c = way.split("-"), batch * config.context_length, config.embedding_dim
    dtype = torch.bfloat16 if "bf16" in words else torch.float32
    weight, bias = torch.ones(c, device=device, dtype=dtype), torch.zeros(c, device=device, dtype=dtype)
    operations = {
        "softmax": ((rows * config.num_heads, config.context_length), lambda x: F.softmax(x, dim=-1)),
        "layerNorm": ((rows, c), lambda x: F.layer_norm(x, (c,), weight, bias)),
    }
    results = []
    for operation, (shape, function) in operations.items():
        bytes_moved = 2 * shape[0] * shape[1] * dtype.itemsize
        sets = 1 if bytes_moved <= CACHED_BYTES else 1 + ROTATED_BYTES // bytes_moved
        operands = [torch.rand(shape, device=device, dtype=dtype) for _ in range(sets)]
        function = compiled(function, words) if "compile" in words else function
        repeats = sets if device == "cpu" else max(sets, 64)

        def work():
            kept = [None] * sets  # as many outputs as inputs, so that they take turns as well
            for i in range(repeats):
                kept[i % sets] = function(operands[i % sets])
            return kept

        us = timed(captured(work) if device == "cuda" else work, device, seconds, per_call=repeats)
        results.append({"operation": operation, "shape": str(shape), "dtype": str(dtype).removeprefix("torch."),
                        **milliseconds(us, "us", 1e3), "gb_per_s": round(bytes_moved / us[1] / 1e6, 1)})
    return result(device, way, config=name, results=results)


def split(file):
    """Ids of the training and the validation split, and the size of the vocabulary."""
    text = file.read_text(encoding="utf-8")
    index = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([index[character] for character in text])
    n = int(0.9 * len(ids))
    return ids[:n], ids[n:], len(index)


def losses(file, name, device, iterations):
    """Answers train and validation loss of the faithful model after training on the text."""
    torch.manual_seed(SEED)
    train_ids, val_ids, vocab_size = split(file)
    config, batch = CONFIGS[name]
    training = Training(replace(config, vocab_size=vocab_size), batch, "faithful", device, train_ids)
    evaluations = [training.evaluation(ids, 200) for ids in (train_ids, val_ids)]
    schedule = CyclicLR(training.optimizer, base_lr=BASE_LR, max_lr=MAX_LR, step_size_up=5, cycle_momentum=False)
    for iteration in range(1, iterations + 1):
        training.step()
        if iteration % 500 == 0 or iteration == iterations:
            train_loss, val_loss = (evaluate().item() for evaluate in evaluations)
            schedule.step()
            print(f"iteration {iteration}: train {train_loss:.4f}, val {val_loss:.4f}", file=sys.stderr)
    return result(device, "faithful", model=name, iterations=iterations, train_loss=round(train_loss, 4),
                  val_loss=round(val_loss, 4), seconds=round(time.perf_counter() - START, 1))


def cosine(step, iters):
    """This project's schedule of that name, for RECIPE."""
    low, high, warmup = (RECIPE["train." + key] for key in ("base_lr", "max_lr", "warmup_iters"))
    if step <= warmup:
        return high * step / warmup
    progress = (step - warmup) / max(1, iters - warmup)
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))


def until(file, target, name, way, device):
    """Yields an evaluation at a time, the last of which is as low as the target, or the last that the recipe has."""
    torch.manual_seed(SEED)
    train_ids, val_ids, vocab_size = split(file)
    config, batch = CONFIGS[name]
    training = Training(replace(config, vocab_size=vocab_size), batch, way, device, train_ids, RECIPE)
    evaluations = [training.evaluation(ids, RECIPE["train.eval_iters"]) for ids in (train_ids, val_ids)]
    for step in range(1, ITERS[name] + 1):
        training.set_rate(cosine(step, ITERS[name]))
        training.step()
        if step % RECIPE["train.eval_interval"] == 0:
            train_loss, val_loss = (evaluate().item() for evaluate in evaluations)
            yield result(device, way, config=name, step=step, train_loss=round(train_loss, 4), val_loss=round(val_loss, 4),
                         seconds=round(time.perf_counter() - START, 3))
            if val_loss <= target:
                return


def positive(text):
    if not float(text) > 0:
        raise ValueError
    return float(text)


def whole(text):
    if int(text) < 1:
        raise ValueError
    return int(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for suite, description in (("train", "time a training step"), ("generate", "time generated characters"),
                               ("kernels", "time softmax and layer norm")):
        command = commands.add_parser(suite, help=description)
        command.add_argument("config", choices=CONFIGS)
        command.add_argument("--way", help="default: the first of those that the device has")
        command.add_argument("--seconds", type=positive, default=3, help="how long to measure; default: 3")
        if suite == "generate":
            command.add_argument("--batch", type=whole, default=1, help="texts at once; default: 1")
    command = commands.add_parser("losses", help="train on a text and say how well it was learned")
    command.add_argument("file", type=Path)
    command.add_argument("--model", choices=MODELS, required=True)
    command.add_argument("--iters", type=whole, default=10_000)
    command = commands.add_parser("until", help="train on a text until a validation loss is reached")
    command.add_argument("file", type=Path)
    command.add_argument("loss", type=positive)
    command.add_argument("--config", choices=ITERS, default="scaled")
    command.add_argument("--way", default="best")
    for command in commands.choices.values():
        command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        command.add_argument("--threads", type=whole, help="CPU threads; default: PyTorch's choice")
    args = parser.parse_args()
    if hasattr(args, "file") and not args.file.is_file():
        parser.error(f"{args.file} is not a file: name the text to train on")
    if hasattr(args, "way"):
        ways = WAYS["train" if args.command == "until" else args.command][args.device]
        args.way = args.way or ways[0]
        if args.way not in ways:
            parser.error(f"there is no way '{args.way}' to {args.command} on {args.device}: choose from {', '.join(ways)}")
        if args.config in MODELS and args.way != "faithful":
            parser.error(f"{args.config} is timed with train and generate, faithful only: choose default, laptop or scaled")
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"bench_pytorch.py: PyTorch {torch.__version__} finds no GPU; install one made for CUDA, and see that"
                 " nvidia-smi lists a GPU.")
    return args


def main():
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.command == "until":
        for evaluation in until(args.file, args.loss, args.config, args.way, args.device):
            print(json.dumps(evaluation), flush=True)
        return
    work = {
        "train": lambda: train(args.config, args.way, args.device, args.seconds),
        "generate": lambda: generate(args.config, args.way, args.device, args.seconds, args.batch),
        "kernels": lambda: kernels(args.config, args.way, args.device, args.seconds),
        "losses": lambda: losses(args.file, args.model, args.device, args.iters),
    }
    print(json.dumps(work[args.command]()))


if __name__ == "__main__":
    main()
