#!/usr/bin/env python3
"""Checks import and export against the programs that they are for: torch, safetensors and onnxruntime.

    pip install torch numpy safetensors onnx onnxruntime
    mvn package -DskipTests
    python scripts/check_interop.py [--seed N]

Each of the six models, TransformerLM with and without its final norm, and the quantized ones:
    in      torch saves a model of random sizes and weights, TransformerLM in every form that there is; the command line
            imports it, and scores a text as torch does, to 1e-5 nats per character
    out     the command line exports it (the quantized ones are trained for a moment first); torch.load(weights_only=True),
            safetensors and ONNX Runtime load it; their logits agree, and give the score of the command line, to 1e-5 (in 16
            bits as far as these reach; of the quantized ones to 1e-3)
Ends with the number of checks, and exit code 1 at the first that fails.
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy
import onnx
import onnxruntime
import safetensors.torch
import torch
import torch.nn.functional as F

from drakegpt_torch import MODELS, Config, LanguageModel

HOME = Path(__file__).resolve().parent.parent
ALPHABET = "\n !'(),-.0123456789?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\u00e9\u4e2d\U0001f600"
TOLERANCE = 1e-5
ROUNDED = 1e-3  # of quantized models, whose activations are rounded to 8 bits: a tie may fall either way
checks = 0


def check(what, difference, tolerance=TOLERANCE):
    """Counts a check; ends the program if it fails, or the difference is no number."""
    global checks
    checks += 1
    if not difference <= tolerance:
        sys.exit(f"{what}: differs by {difference:.3g}, more than {tolerance:g}")
    print(f"{what}: {difference:.2g}", flush=True)


def drakegpt(*args):
    """Runs a command and answers what it prints."""
    command = [HOME / "scripts/drakegpt", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, args))} ends with {done.returncode}: {done.stderr}")
    return done.stdout


def score(run, text):
    return json.loads(drakegpt("score", "--run", run, "--string", text, "--device", "cpu", "--json"))["nll"]


def windows(tokens, context):
    """Answers inputs and targets of the windows that score cuts a text into."""
    for at in range(0, len(tokens) - 1, context):
        inputs = tokens[at:at + context][:len(tokens) - 1 - at]
        yield inputs, tokens[at + 1:at + 1 + len(inputs)]


def nll(logits_of, tokens, context):
    """Answers the mean negative log-likelihood; logits_of takes tokens (1, T) and answers logits (1, T, V)."""
    total = 0
    for inputs, targets in windows(tokens, context):
        logits = torch.as_tensor(logits_of(torch.tensor([inputs]))).double()[0]
        total += F.cross_entropy(logits, torch.tensor(targets), reduction="sum").item()
    return total / (len(tokens) - 1)


def config(name, rng, **more):
    heads = rng.choice([1, 2, 3, 4])
    return Config(name=name, vocab_size=rng.randint(2, len(ALPHABET)), context_length=rng.randint(2, 20),
                  embedding_dim=heads * 4 * rng.randint(1, 4), head_size=heads * rng.randint(1, 9), num_heads=heads,
                  num_layers=rng.randint(1, 4), dropout=0.0, **more)


def model(c):
    """A model with random weights, its norms moved off 1 and 0."""
    made = LanguageModel(c).eval()
    for layer in made.modules():
        if isinstance(layer, torch.nn.LayerNorm) and (c.final_norm or layer is not getattr(made, "ln_f", None)):
            torch.nn.init.normal_(layer.weight, mean=1.0, std=0.1)
            torch.nn.init.normal_(layer.bias, std=0.1)
    return made


def forms(made, folder):
    """Saves a model in each form; answers files and the greatest difference of a score that rounding makes."""
    state = made.state_dict()

    def saved(name, value, **how):
        torch.save(value, folder / name, **how)
        return folder / name

    yield saved("plain.pt", state), TOLERANCE
    yield saved("legacy.pt", state, _use_new_zipfile_serialization=False), TOLERANCE
    safetensors.torch.save_file(state, folder / "plain.safetensors")
    yield folder / "plain.safetensors", TOLERANCE
    if made.config.name != "TransformerLM":
        return
    yield saved("protocol4.pt", state, pickle_protocol=4), TOLERANCE
    with zipfile.ZipFile(folder / "plain.pt") as old, \
            zipfile.ZipFile(folder / "compressed.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    yield folder / "compressed.pt", TOLERANCE
    optimizer = torch.optim.AdamW(made.parameters())
    tokens = torch.zeros(1, made.config.context_length, dtype=torch.long)
    made(tokens, tokens)[1].backward()
    optimizer.step()
    optimizer.zero_grad()
    state = {name: t.clone() for name, t in made.state_dict().items()}  # as it is after that step
    yield saved("checkpoint.pt", {"optimizer": optimizer.state_dict(), "iter_num": 1, "best_val_loss": torch.tensor(1.5),
                                  "model": {"_orig_mod." + name: t for name, t in state.items()}}), TOLERANCE
    wide = {name: torch.stack([t, t + 1], -1)[..., 0] for name, t in state.items()}
    yield saved("strided.pt", {"state_dict": wide, "epoch": 3}), TOLERANCE
    flat = torch.cat([t.flatten() for t in state.values()])
    shared, at = {}, 0
    for name, t in state.items():
        shared[name] = flat[at:at + t.numel()].view(t.shape)
        at += t.numel()
    yield saved("shared.pt", shared, _use_new_zipfile_serialization=False), TOLERANCE
    yield saved("double.pt", {name: t.double() for name, t in state.items()}), TOLERANCE
    masks = {name: t.bool() if name.endswith("tril") else t for name, t in state.items()}
    yield saved("masks.pt", masks), TOLERANCE
    yield saved("half.pt", {name: t.half() for name, t in state.items()}), 1e-2
    yield saved("bfloat16.pt", {name: t.bfloat16() for name, t in state.items()}), 1e-1


def check_export(run, c, text, tokens, folder, what):
    """Exports a run in each format and has each consumer load it."""
    expected = score(run, text)
    loaded = LanguageModel(c).eval()
    tolerance = TOLERANCE if c.quant == "none" else ROUNDED

    drakegpt("export", "--run", run, "--format", "pytorch", "--out", folder / "out.pt")
    loaded.load_state_dict(torch.load(folder / "out.pt", weights_only=True))
    with torch.no_grad():
        check(f"{what} to torch", abs(nll(loaded.logits, tokens, c.context_length) - expected), tolerance)

    session_file = folder / "out.onnx"
    drakegpt("export", "--run", run, "--format", "onnx", "--out", session_file)
    onnx.checker.check_model(onnx.load(session_file), full_check=True)
    session = onnxruntime.InferenceSession(session_file, providers=["CPUExecutionProvider"])

    def logits(batch):
        return session.run(None, {"tokens": batch.numpy()})[0]

    check(f"{what} to onnxruntime", abs(nll(logits, tokens, c.context_length) - expected), tolerance)
    if c.quant == "none":
        for batch, length in ((1, 1), (3, c.context_length), (2, max(1, c.context_length // 2))):
            batch = torch.randint(c.vocab_size, (batch, length))
            with torch.no_grad():
                difference = numpy.abs(logits(batch) - loaded.logits(batch).numpy()).max()
            check(f"{what} to onnxruntime, logits {tuple(batch.shape)}", float(difference))
    properties = session.get_modelmeta().custom_metadata_map
    assert len(json.loads(properties["vocab"])) == c.vocab_size and int(properties["context_length"]) == c.context_length

    for dtype, reach in (("fp32", 0.0), ("bf16", 2.0 ** -8), ("fp16", 2.0 ** -11)):
        file = folder / f"{dtype}.safetensors"
        drakegpt("export", "--run", run, "--format", "safetensors", "--dtype", dtype, "--out", file)
        tensors = safetensors.torch.load_file(file)
        assert tensors.keys() == loaded.state_dict().keys()
        for name, t in loaded.state_dict().items():
            rounded = t.to({"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype])
            assert tensors[name].dtype == rounded.dtype and torch.equal(tensors[name], rounded), name
        check(f"{what} to safetensors in {dtype}", max((tensors[name].float() - t).abs().max().item() / (1 + t.abs().max().item())
                                                       for name, t in loaded.state_dict().items()), reach)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kinds = [(name, {}) for name in MODELS] + [("TransformerLM", {"final_norm": False})]
        for number, (name, more) in enumerate(kinds):
            c = config(name, rng, **more)
            made = model(c)
            characters = sorted(rng.sample(ALPHABET, c.vocab_size))
            (folder / "vocab.json").write_text(json.dumps(characters), encoding="utf-8")
            tokens = [rng.randrange(c.vocab_size) for _ in range(3 * c.context_length + 2)]
            text = "".join(characters[token] for token in tokens)
            label = name + (" without its final norm" if more else "")
            options = ["--final-norm"] if name == "TransformerLM" and c.final_norm else []
            if name == "BigramLM":
                options = ["--set", f"model.context_length={c.context_length}"]
            runs = []
            for file, tolerance in forms(made, folder):
                with torch.no_grad():
                    expected = nll(made.logits, tokens, c.context_length)
                runs.append(folder / f"run-{number}-{file.name}")
                drakegpt("import", file, "--model", name, "--vocab", folder / "vocab.json", "--run", runs[-1], *options)
                check(f"{label} from {file.name}", abs(score(runs[-1], text) - expected), tolerance)
            out = folder / f"out-{number}"
            out.mkdir()
            check_export(runs[0], c, text, tokens, out, label)

        corpus = folder / "corpus.txt"
        corpus.write_text("".join(rng.choice(ALPHABET[:30]) for _ in range(3000)), encoding="utf-8")
        drakegpt("setup", "--source", corpus, "--out", folder / "corpus")
        for quant in ("b1.58", "bitnet"):
            run = folder / quant
            drakegpt("train", "--quant", quant, "--data", folder / "corpus", "--run", run, "--iters", 20, "--device", "cpu",
                     "--set", "train.eval_interval=10", "--set", "train.eval_iters=2")
            settings = json.loads((run / "config.json").read_text())["model"]
            c = Config(**{key: settings[key] for key in Config.__dataclass_fields__})
            characters = json.loads((run / "vocab.json").read_text(encoding="utf-8"))
            tokens = [rng.randrange(c.vocab_size) for _ in range(3 * c.context_length + 2)]
            out = folder / f"out-{quant}"
            out.mkdir()
            check_export(run, c, "".join(characters[token] for token in tokens), tokens, out, quant)
    print(f"{checks} passed, 0 failed")


if __name__ == "__main__":
    main()
