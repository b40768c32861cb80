#!/usr/bin/env python3
"""Writes files of models as PyTorch leaves them, small, for the tests of `import`.

    pip install torch numpy safetensors
    python scripts/make_interop_fixtures.py [--out src/test/resources/interop]

The weights are those of make_fixtures.py, under its names (weights.NAME in MODEL.safetensors):

    MODEL.pt            torch.save(state_dict) of each of the six models; ln_f of TransformerLM takes part
    no-final-norm.pt    of a TransformerLM that never applies ln_f, as DrakeGPT's own; the others below are of it too
    legacy.pt           as PyTorch before 1.6 wrote it
    compressed.pt       its archive packed again, with compression
    checkpoint.pt       nanoGPT's: a dictionary with the state_dict of a compiled model, the optimizer, and settings
    views.pt            strided tensors, one storage for many tensors, int64 and bool masks; the values are the same
    f64.pt f16.pt bf16.pt   other types, with f16.safetensors and bf16.safetensors: the rounded values as float32
    module.pt           a whole module, which cannot be imported
    meta.pkl            nanoGPT's vocabulary, of 17 characters
"""
import argparse
import pickle
import shutil
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from drakegpt_torch import MODELS, Config, LanguageModel

CHARACTERS = "\n ,.abcdefghijkl\u00fc"  # 17, sorted
SIZES = Config(vocab_size=17, context_length=8, embedding_dim=16, head_size=16, num_heads=4, num_layers=2, dropout=0.0)


def weights(file):
    """Answers the state_dict that make_fixtures.py wrote."""
    prefix = "weights."
    return {name[len(prefix):]: t for name, t in load_file(file).items() if name.startswith(prefix)}


def loaded(file, name):
    """Answers a model with these weights, whose state_dict is PyTorch's own, with its buffers and its metadata."""
    model = LanguageModel(Config(**{**SIZES.__dict__, "name": name}))
    missing = model.load_state_dict(weights(file), strict=False)
    assert not missing.unexpected_keys and all(key.endswith("tril") for key in missing.missing_keys), missing
    return model


def repacked(source, target):
    """Copies an archive with all its entries compressed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry), zipfile.ZIP_DEFLATED)


def checkpoint(model):
    """Answers what nanoGPT's train.py saves."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.zeros(1, SIZES.context_length, dtype=torch.long)
    model(tokens, tokens)[1].backward()
    optimizer.step()
    return {
        "optimizer": optimizer.state_dict(),
        "model_args": dict(n_layer=2, n_head=4, n_embd=16, block_size=8, bias=False, vocab_size=None, dropout=0.0),
        "iter_num": 2000, "best_val_loss": torch.tensor(1.4697), "config": {"dataset": "shakespeare_char", "lr": 1e-3},
    }


def views(state):
    """The same values: every other column of a wider matrix, transposes, and slices of one storage."""
    result = {}
    shared = torch.cat([t.flatten() for t in state.values() if t.dim() == 1])
    at = 0
    for name, t in state.items():
        if name.endswith("tril"):
            result[name] = t.bool() if ".heads.0." in name else t.long()
        elif t.dim() == 1:
            result[name] = shared[at:at + t.numel()]
            at += t.numel()
        elif "key" in name:
            result[name] = t.t().contiguous().t()
        else:
            wide = torch.zeros(t.shape[0], 2 * t.shape[1])
            wide[:, ::2] = t
            result[name] = wide[:, ::2]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, default="src/test/resources/fixtures")
    parser.add_argument("--out", type=Path, default="src/test/resources/interop")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        torch.save(loaded(args.fixtures / f"{name}.safetensors", name).state_dict(), args.out / f"{name}.pt")
    model = loaded(args.fixtures / "TransformerLM-no-final-norm.safetensors", "TransformerLM")
    state = model.state_dict()
    plain = args.out / "no-final-norm.pt"
    torch.save(state, plain)
    torch.save(state, args.out / "legacy.pt", _use_new_zipfile_serialization=False)
    repacked(plain, args.out / "compressed.pt")
    torch.save(views(state), args.out / "views.pt")
    for label, dtype in ("f64", torch.float64), ("f16", torch.float16), ("bf16", torch.bfloat16):
        rounded = {name: t.to(dtype) for name, t in state.items()}
        torch.save(rounded, args.out / f"{label}.pt")
        if label != "f64":
            save_file({name: t.float() for name, t in rounded.items()}, args.out / f"{label}.safetensors")
    torch.save(model, args.out / "module.pt")
    saved = {"model": {"_orig_mod." + name: t.clone() for name, t in state.items()}, **checkpoint(model)}
    torch.save(saved, args.out / "checkpoint.pt")
    itos = dict(enumerate(CHARACTERS))
    meta = {"vocab_size": len(itos), "itos": itos, "stoi": {c: i for i, c in itos.items()}}
    with open(args.out / "meta.pkl", "wb") as file:
        pickle.dump(meta, file)


if __name__ == "__main__":
    main()
