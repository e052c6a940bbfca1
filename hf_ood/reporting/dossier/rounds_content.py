"""What a dossier says of a sweep or a bench, every number with where it is from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from . import known as facts
from .content import of_environments, too_few
from .environments import Left
from .known import known
from .numbers import Number, count, interval, share
from .rounds import Choice, Round, Rounds, played, rule


def rounds_content(rounds: Rounds, method: str | None = None, protocol: str | None = None) -> dict[str, Any]:
    """Everything that the page shows; `method` and `protocol` as of `played` and `rule`, whose errors it
    raises."""
    protocol = rule(rounds, protocol)
    found = played(rounds, method, protocol)
    environments = [left for each in found for left in left_of(each.shown)]
    shown = [each.shown for each in found]
    further = {
        facts.CLASSES: bool(rounds.classes),
        facts.IN_TURN: rounds.in_turn,
        facts.FINGERPRINT: bool(rounds.fingerprint),
        facts.COMMIT: all(choice.commit or rounds.commit for choice in shown),
    }
    facts_known = known(environments, [name for name, is_known in further.items() if is_known])
    return {
        "name": rounds.name,
        "use": rounds.use,
        "classes": rounds.classes,
        "by": method or f"the method that {protocol} chose",
        "data": rounds.title,
        "trained_on": rounds.environments,
        "in_turn": rounds.in_turn,
        "kind": rounds.kind,
        "in_domain": in_domain(shown),
        "sources": sources(rounds, protocol),
        "forecasts": [],
        "warnings": warnings(rounds, shown, environments),
        "protocol": protocol,
        "asked": method,
        "trials": count(rounds.trials, f"trials of each method in each round of the {rounds.kind}"),
        "methods": rounds.methods,
        "chosen": [chosen_row(each) for each in found],
        "seeds": [seed_row(each) for each in found if len(each.choices) > 1],
        **of_environments(environments, facts_known),
    }


def left_of(choice: Choice) -> list[Left]:
    """The environments that were held out in a round."""
    run = {"folder": choice.run, "seed": choice.seed, "commit": choice.commit, "selection": choice.checkpoint}
    return [
        Left.of(
            name,
            entry,
            choice.path[name],
            run,
            in_domain=choice.in_domain,
            counted=choice.counted.get(name),
        )
        for name, entry in choice.tested.items()
    ]


def in_domain(choices: Sequence[Choice]) -> Number | None:
    """The mean over rounds, where every one knows it."""
    known_ones = [choice.in_domain.value for choice in choices if choice.in_domain is not None]
    if len(known_ones) < len(choices):
        return None
    return share(sum(known_ones) / len(known_ones), f"mean over {len(known_ones)} rounds")


def chosen_row(each: Round) -> dict[str, Any]:
    shown = each.shown
    return {
        "held_out": shown.held_out,
        "method": shown.method,
        "values": json.dumps(dict(shown.values)).strip("{}").replace('"', ""),
        "trial": shown.trial,
        "score": shown.score,
        "in_domain": shown.in_domain,
        "seed": shown.seed,
        "run": shown.run,
        "commit": shown.commit,
        "checkpoint": shown.checkpoint,
    }


def seed_row(each: Round) -> dict[str, Any]:
    """How far the seeds of a round differ: the mean of all, the lowest and the highest."""
    held_out = each.shown.held_out
    accuracies = [
        sum(entry["accuracy"] for entry in choice.tested.values()) / len(choice.tested)
        for choice in each.choices
    ]
    source = f"accuracy in {held_out} over {len(accuracies)} seeds"
    return {
        "held_out": held_out,
        "count": count(len(accuracies), source),
        "mean": share(sum(accuracies) / len(accuracies), f"{source}, mean"),
        "range": interval((min(accuracies), max(accuracies)), source),
    }


def sources(rounds: Rounds, protocol: str) -> dict[str, str]:
    """Where all numbers are from, by what is told."""
    return {
        rounds.kind: f"{rounds.name}, seeds {', '.join(map(str, rounds.seeds))}",
        "chosen by": protocol,
        "commit": rounds.commit or "unknown",
        "data fingerprint": rounds.fingerprint or "unknown",
        "versions": ", ".join(f"{package} {version}" for package, version in rounds.versions.items()),
        "settings of all runs": json.dumps(dict(rounds.settings)),
    }


def warnings(rounds: Rounds, shown: Sequence[Choice], environments: Sequence[Left]) -> list[str]:
    """What has to be read before the numbers."""
    found = []
    if any(choice.oracle for choice in shown):
        found.append(
            "The held-out environments chose their hyper-parameters themselves (the oracle): every accuracy "
            "here is an upper bound, and too high."
        )
    if not rounds.in_turn:
        found.append("These environments were held out together, by one model, and not in turn.")
    return found + too_few(environments)
