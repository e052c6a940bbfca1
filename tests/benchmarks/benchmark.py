"""Speed as ratios, each of runs that take turns (A B A B ...), so that a machine's drift cancels out.

A run trains a new network from one seed and notes the time between the ends of its steps, after a warm-up:
from fetching a batch to updating the weights. Its figure is the median step; of processes, the mean step. A
line shows the median over rounds of the ratio (or difference) within a round, the extremes, and whether the
median meets its target.
Nothing fails where a target is missed: measure on an idle machine before believing it.
"""

from __future__ import annotations

import argparse
import os
import tempfile

import torch
from sections import ROSTER, SECTIONS, Settings
from steps import WARM_UP, method
from transformers.utils import logging

EXAMPLES = f"""
examples:
  python tests/benchmarks/benchmark.py
      all of it, about twenty minutes on an idle machine
  python tests/benchmarks/benchmark.py --only fixed vit --rounds 9
      what the trainer adds to a step, with more rounds for narrower extremes
  python tests/benchmarks/benchmark.py --only methods --methods dann irm+rsc
      two methods against ERM
  python tests/benchmarks/benchmark.py --rounds 1 --steps 3
      whether everything runs; the figures mean nothing

methods: {" ".join(ROSTER)}"""


def sections_help() -> str:
    return "sections:\n" + "\n".join(f"  {name:13s} {run.__doc__}" for name, run in SECTIONS.items())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{sections_help()}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=SECTIONS, default=list(SECTIONS), help="these sections"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often contenders take turns (default: 5)")
    parser.add_argument(
        "--steps",
        type=int,
        help=f"measured steps of every run, after {WARM_UP} of warm-up (default: each section's own)",
    )
    parser.add_argument(
        "--methods", nargs="+", metavar="NAME", type=known_method, help="of the section methods: only these"
    )
    return parser.parse_args()


def known_method(name: str) -> str:
    try:
        method(name)
    except KeyError as missing:
        raise argparse.ArgumentTypeError(f"there is no method {missing}") from None
    return name


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    settings = Settings(options.rounds, options.steps, options.methods)
    print(f"{options.rounds} rounds: median (least .. most), target")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # empty, as on a new machine
        for name in options.only:
            SECTIONS[name](settings)


if __name__ == "__main__":
    main()
