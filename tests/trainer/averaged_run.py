"""Mixed and averaged trainings on two processes, whole and resumed; their final weights go to a file each.

torchrun --nproc_per_node 2 tests/trainer/averaged_run.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1]))
from conftest import make_args, make_dataset, make_model

from hf_ood import IRM, OODTrainer
from hf_ood.methods.averaging import AVERAGINGS
from hf_ood.methods.mixing import Mixup


def main(folder: Path) -> None:
    found = {}
    for name, averaging in AVERAGINGS.items():

        def trainer(output: Path = folder / name, averaging: Any = averaging, **args: Any) -> OODTrainer:
            settings = {"max_steps": 6, "eval_strategy": "steps", "eval_steps": 2, "ddp_backend": "gloo"}
            settings |= {"per_device_train_batch_size": 12, "load_best_model_at_end": False, **args}
            return OODTrainer(
                make_model(),
                make_args(output, **settings),
                objective=IRM(warmup_steps=1),
                mixing=Mixup(),
                averaging=averaging(),
                train_dataset=make_dataset(),
                eval_dataset=make_dataset((8, 8, 8), seed=1),
            )

        whole = trainer(save_strategy="steps", save_steps=4)
        whole.train()
        resumed = trainer()
        resumed.train(resume_from_checkpoint=str(folder / name / "checkpoint-4"))
        found[name] = whole.model.state_dict(), resumed.model.state_dict()
    torch.save(found, folder / f"{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
