"""A training that ends only when it is told to:

torchrun --nproc_per_node 2 tests/reliability/signalled_run.py FOLDER

Each process writes its number into FOLDER/<rank>.txt once it is training.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import make_args, make_dataset, make_model
from transformers import TrainerCallback

from hf_ood import IRM, OODTrainer


class Tells(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            (Path(args.output_dir) / f"{args.process_index}.txt").write_text(f"{os.getpid()}\n")


if __name__ == "__main__":
    args = make_args(
        Path(sys.argv[1]), max_steps=10**6, ddp_backend="gloo", eval_strategy="no", report_to="none"
    )
    OODTrainer(make_model(), args, objective=IRM(), train_dataset=make_dataset(), callbacks=[Tells()]).train()
