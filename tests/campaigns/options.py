"""Gives options and settings values that nobody expects: a result, or one sentence.

python -m tests.campaigns.options 500 --seed 0
"""

import shutil
from dataclasses import fields
from random import Random

from tests.campaigns.children import run
from tests.campaigns.damage import WORDS
from tests.campaigns.scenarios import FIT as SMALL
from tests.campaigns.texts import left
from tests.campaigns.trials import Trial, main

VALUES = (
    *(w.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for w in WORDS),
    *("0", "-1", "1", "2", "3", "0.5", "1e308", "-0.0", "nan", "inf", "-inf", "NaN", "Infinity"),
    *(str(10**30), str(-(10**30)), str(2**63), str(10**9), "9" * 5000, "1_0", "٣", "0x10"),
    *("null", "true", "false", "[]", "{}", "[1, 2]", '{"a": 1}', '"x"', "[" * 5000, " ", "\n"),
    *("all", "embed", "0-", "2-1", "-1", "0,0", "pca:0", "pca:1000", "whiten:2", "raw", "full"),
    *("correlated:0", "correlated:999999", "euler", "exact", "cuda", "float16", "layer", "auto"),
)
FIT = (*SMALL, "--basis", "pca:8")
ELSEWHERE = ("--out", "--plugin", "--help", "--no-wait")
"""Options that name a place to write to, or code."""
COMMANDS = ("fit", "analyze", "branch", "report", "simulate", "generate", "compare")


def campaign(number, seed, folder):
    """Yield so many commands with odd values, of options and of settings in turn."""
    place, start = folder / "trial", folder / "start"
    made = (*FIT, "--layer", "1-2", "--out", place / "run"), ("analyze", place / "run", "losses")
    for arguments in made:
        ended = run(arguments, place)
        assert ended.code == 0, ended
    shutil.copytree(place, start)
    shutil.rmtree(place)
    for k in range(seed, seed + number):
        random = Random(k)
        shutil.copytree(start, place)
        kind, arguments = (odd_option, odd_setting)[k % 2](random, place)
        ended = run(arguments, place)
        problem = ended.problem
        if arguments[0] == "fit" and "--dry-run" not in arguments:
            problem = problem or left(ended, place / "new")
        yield Trial(kind, f"{k}, {[str(a)[:40] for a in arguments]}", problem)
        shutil.rmtree(place)


def base(command, place, random):
    """A command that works."""
    known = {
        "fit": (*FIT, "--layer", 1, "--no-cache", "--out", place / "new" / "run"),
        "analyze": ("analyze", place / "run", "losses", "-q"),
        "compare": ("compare", place / "run", place / "run", "--out", place / "page"),
        "simulate": ("simulate", place / "run", "--out", place / "paths"),
        "generate": ("generate", "--prompt", "the cat", "--length", 4),
    }
    return known.get(command, (command, place / "run", "-q"))


def odd_option(random, place):
    """A command with a random value of a random option."""
    from typer.main import get_command

    from sdelens_cli.commands import app

    command = random.choice(COMMANDS)
    known = get_command(app).commands[command].params
    options = [p for p in known if p.param_type_name == "option" and p.opts[0] not in ELSEWHERE]
    option = random.choice([p for p in options if p.opts[0].startswith("--")])
    value = () if option.is_flag else (random.choice(VALUES),)
    kind = "odd values of options"
    return kind, (*base(command, place, random), option.opts[0], *value)


def odd_setting(random, place):
    """A fit or an analysis with a random value of a random setting."""
    from sdelens.interfaces import load
    from sdelens.registry import plugins

    kind = random.choice(("probe", "source", "analyzer"))
    name = random.choice(sorted(plugins(kind)))
    known = [field.name for field in fields(load(kind, name)) if field.init]
    setting, value = random.choice([*known, "other"]), random.choice(VALUES)
    label = name if kind == "analyzer" else kind
    assigned = ("--set", f"{label}.{setting}={value}")
    if kind == "analyzer":
        arguments = ("analyze", place / "run", name, *assigned, "-q")
    else:
        arguments = (*base("fit", place, random), f"--{kind}", name, *assigned)
    return "odd values of settings", arguments


if __name__ == "__main__":
    main(campaign, 500)
