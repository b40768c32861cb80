#!/usr/bin/env python3
"""Puts run folders into Weights & Biases: settings, curves, samples, and the lowest validation loss.

    pip install wandb
    python scripts/wandb_import.py runs/journey
    python scripts/wandb_import.py runs/TransformerLM-20261123-093000 --project lyrics --entity my-team
    python scripts/wandb_import.py runs/journey --offline

RUN is a run folder, or a folder of run folders, all of which are meant. Each becomes a W&B run that has its folder's name;
which one it is follows from its settings and its first recorded step, so that importing a folder again, after more
training, adds what is new to the same run, wherever the folder lies by then.

Needs an account: `wandb login`, or WANDB_API_KEY. With --offline everything stays below ./wandb, and `wandb sync` of the
folder that is printed puts it online later: of the last such folder of a run, which has all of it. WANDB_MODE, WANDB_DIR
and wandb's other variables mean what they always do.

    loss/batch, loss/train, loss/val               nats per token; the latter two are an evaluation's estimates
    loss/final_val                                 over the whole validation split, when training has ended
    train/lr, train/grad_norm, train/tokens_per_s  of the step that was recorded
    train/peak_memory_bytes, elapsed_s             the most of the device's memory; seconds of the whole run so far
    samples                                        a table: what the model wrote at each evaluation
The step is the training step. Summary: best_val_loss, best_step. Config: config.json, and below `machine` machine.json.
"""
import argparse
import hashlib
import json
import math
import sys
from pathlib import Path

TAGS = {  # key in metrics.jsonl: name in W&B, as in TensorBoard
    "loss": "loss/batch",
    "train_loss": "loss/train",
    "val_loss": "loss/val",
    "final_val_loss": "loss/final_val",
    "lr": "train/lr",
    "grad_norm": "train/grad_norm",
    "tokens_per_s": "train/tokens_per_s",
    "peak_memory_bytes": "train/peak_memory_bytes",
    "elapsed_s": "elapsed_s",
}


def is_run(folder):
    return all((folder / name).is_file() for name in ("config.json", "metrics.jsonl"))


def run_folders(path):
    """The run folder that this is, or those in it."""
    if is_run(path):
        return [path]
    return sorted(folder for folder in path.iterdir() if is_run(folder)) if path.is_dir() else []


def read_object(file):
    """The JSON object that a file is; {} if there is no such file."""
    if not file.exists():
        return {}
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{file} is damaged: it is no JSON object; take the file from a backup, or make it again.")
    return value


def number(value):
    """A value that is no number raises ValueError or TypeError."""
    return value if isinstance(value, int) else float(value)


def read_metrics(file):
    """Lines of metrics.jsonl by ascending steps, but for those that were not written to their end, or are no metrics."""
    metrics = {}
    for line in file.read_bytes().split(b"\n"):
        try:
            value = json.loads(line)
            if isinstance(value, dict) and isinstance(value.get("step"), int) and value["step"] > 0:
                value.update((key, number(value[key])) for key in TAGS if value.get(key) is not None)
                metrics[value["step"]] = value
        except (ValueError, TypeError):
            continue
    return [metrics[step] for step in sorted(metrics)]


def run_id(config, metrics):
    """The same for the same run, however far it is; another for each training of the same settings, by its times."""
    identity = json.dumps([config, metrics[0]], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def import_run(wandb, folder, project, entity, offline):
    config = read_object(folder / "config.json")
    machine = read_object(folder / "machine.json")
    metrics = read_metrics(folder / "metrics.jsonl")
    if not metrics:
        print(f"{folder}: nothing is recorded yet")
        return
    run = wandb.init(
        project=project,
        entity=entity,
        name=folder.resolve().name,
        id=run_id(config, metrics),
        config={**config, **({"machine": machine} if machine else {})},
        mode="offline" if offline else None,
        resume=None if offline else "allow",
        # what W&B would record by itself is of this process, not of the training
        settings=wandb.Settings(console="off", disable_git=True, disable_code=True, x_disable_meta=True,
                                x_disable_stats=True, x_save_requirements=False),
    )
    with run:
        run.define_metric("loss/val", summary="min,last")
        run.define_metric("loss/train", summary="min,last")
        new = [line for line in metrics if line["step"] >= run.starting_step]  # W&B's steps only ascend
        for line in new:
            values = {tag: line[key] for key, tag in TAGS.items() if line.get(key) is not None}
            if line is new[-1]:
                samples = [[line["step"], line["sample"]] for line in metrics if line.get("sample") is not None]
                values["samples"] = wandb.Table(columns=["step", "sample"], data=samples)
            run.log(values, step=line["step"])
        losses = [(line["val_loss"], line["step"]) for line in metrics if line.get("val_loss") is not None]
        losses = [(loss, step) for loss, step in losses if math.isfinite(loss)]
        if losses:
            run.summary["best_val_loss"], run.summary["best_step"] = min(losses)
        where = Path(run.dir).parent if run.offline else run.url
        print(f"{folder}: {len(new)} of {len(metrics)} recorded steps are new in {where}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run folder, or a folder of run folders")
    parser.add_argument("--project", default="drakegpt", help="W&B project; default: drakegpt")
    parser.add_argument("--entity", help="W&B user or team; default: yours")
    parser.add_argument("--offline", action="store_true", help="write below ./wandb only, for `wandb sync`")
    args = parser.parse_args()
    args.folders = []
    for path in args.runs:
        try:
            folders = run_folders(path)
        except OSError as e:
            parser.error(f"{path} cannot be read: {e.strerror}; mend that, or name another folder")
        if not folders:
            parser.error(f"{path} is no run folder (with config.json and metrics.jsonl) and has none in it: name one that"
                         " `drakegpt train` wrote")
        args.folders += folders
    return args


def main():
    args = arguments()
    try:
        import wandb
    except ModuleNotFoundError as e:
        if e.name != "wandb":
            raise
        sys.exit("wandb_import.py: The package wandb is missing; pip install wandb.")
    try:
        for folder in args.folders:
            import_run(wandb, folder, args.project, args.entity, args.offline)
    except (OSError, ValueError, wandb.errors.Error) as e:
        sys.exit(f"wandb_import.py: {e}")


if __name__ == "__main__":
    main()
