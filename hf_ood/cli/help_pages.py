"""`hf-ood train --help`: a page of what one usually sets; `--help TOPIC` has the rest."""

from __future__ import annotations

from argparse import SUPPRESS, Action, ArgumentParser

from ..errors import UsageError, unknown_name
from .funnel import DEBUG_HELP
from .parser import make_parser

ALL = "all"
USUAL = {
    "data": (
        "dataset dataset_config environment_column label_column image_column text_column audio_column "
        "feature_columns test_environments validation"
    ),
    "network": "model from_scratch",
    "method": "method",
    "training": "num_train_epochs max_steps per_device_train_batch_size learning_rate seed",
    "output": "output_dir resume_from_checkpoint report_to push_to_hub hub_model_id",
}
WIDTH = max(len(name) for names in USUAL.values() for name in names.split())  # of a flag, before what it says


def first_page() -> str:
    """The page that `--help` alone prints."""
    parser = make_parser()
    parser.prog = "hf-ood train"
    actions = {string: action for action in parser._actions for string in action.option_strings}
    lines = [f"usage: {parser.prog} [--config RECIPE] [flags]", "", str(parser.description), ""]
    for topic, names in USUAL.items():
        lines.append(f"{topic}:")
        for name in names.split():
            lines.append(f"  --{name:<{WIDTH}}  {_first_sentence(actions[f'--{name}'])}")
        lines.append("")
    topics, own = _topics(parser)
    lines += [
        "More of a topic, a method, a network or a data set: hf-ood train --help NAME",
        f"  topics: {', '.join(topics)}, {ALL}",
        *_folded("  others: ", own),
        f"--debug: {DEBUG_HELP[0].lower()}{DEBUG_HELP[1:]}",
    ]
    return "\n".join(lines) + "\n"


def page(topic: str) -> str:
    """All flags of a topic or a section, or (`all`) of everything. Raises `UsageError` for another name."""
    parser = make_parser()
    for action in parser._actions:
        if action.option_strings[0].startswith("--no_"):
            action.help = SUPPRESS
    if topic == ALL:
        return parser.format_help()
    groups = {str(group.title): group for group in parser._action_groups}
    named = {title.rpartition(" ")[2]: title for title in groups if " " in title}
    title = topic if topic in groups else named.get(topic)
    if title is None:
        topics, own = _topics(parser)
        raise UsageError(unknown_name("topic of --help", topic, [*topics, ALL, *own]))
    formatter = parser._get_formatter()
    formatter.start_section(title)
    formatter.add_arguments(groups[title]._group_actions)
    formatter.end_section()
    return formatter.format_help()


def _topics(parser: ArgumentParser) -> tuple[list[str], list[str]]:
    titles = [str(group.title) for group in parser._action_groups if group._group_actions]
    known = ("method ", "model ", "dataset ", "environments ", "fit ", "adapters ", "samples' ")
    own = [title.rpartition(" ")[2] for title in titles if title.startswith(known)]
    return [title for title in titles if not title.startswith((*known, "options"))], own


def _first_sentence(action: Action) -> str:
    text = str(action.help).replace("%%", "%").replace("%(prog)s", "hf-ood train").split(" Default:")[0]
    sentence = text.split(". ")[0].split(": ")[0] if len(text) > 90 else text
    return sentence.rstrip(".")


def _folded(head: str, names: list[str], width: int = 100) -> list[str]:
    lines, line = [], head
    for name in names:
        if len(line) + len(name) > width:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += f"{name} "
    return [*lines, line.rstrip()]
