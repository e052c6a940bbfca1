"""A training of many steps that prints, every so often, the memory it takes:

python tests/reliability/long_run.py FOLDER STEPS SAVE_EVERY [CLOCK_JUMPS]

Each line: the step, and the resident memory in MB. With CLOCK_JUMPS the time stamps of what was saved are
moved by years, back and forth, as on a machine whose clock is set.
"""

# ruff: noqa: T201

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import TrainerCallback

from hf_ood import IRM, EnvironmentDataset, LinearConfig, LinearForImageClassification, OODConfig, OODTrainer
from hf_ood.methods.averaging import EMA

YEAR = 365 * 24 * 3600


class Watch(TrainerCallback):
    def __init__(self, every: int, jumps: bool):
        self.every, self.jumps = every, jumps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            print(state.global_step, psutil.Process().memory_info().rss / 2**20, flush=True)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.jumps:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            years = (state.global_step % 7) - 3
            os.utime(checkpoint, (1.7e9 + years * YEAR,) * 2)


def main(folder: str, steps: str, save_every: str, *jumps: str) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(300, 8, generator=generator)
    data = EnvironmentDataset(
        None,
        (vectors[:, 0] > 0).long(),
        torch.arange(300) % 3,
        ["no", "yes"],
        ["a", "b", "c"],
        inputs=vectors,
    )
    args = OODConfig(
        folder, max_steps=int(steps), per_device_train_batch_size=30, logging_steps=100,
        eval_strategy="steps",
        eval_steps=int(save_every), save_strategy="steps", save_steps=int(save_every), save_total_limit=2,
        disable_tqdm=True, report_to="none", use_cpu=True,
    )  # fmt: skip
    model = LinearForImageClassification(LinearConfig(num_features=8, num_labels=2))
    watch = Watch(int(steps) // 20, bool(jumps))
    trainer = OODTrainer(
        model,
        args,
        objective=IRM(),
        averaging=EMA(),
        train_dataset=data,
        eval_dataset=data,
        callbacks=[watch],
    )
    trainer.train()
    print("kept", *sorted(path.name for path in Path(folder).glob("checkpoint-*")))


if __name__ == "__main__":
    main(*sys.argv[1:])
