"""Examples of every command, for its help."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "fit": (
        "sdelens fit --layer 6 --dry-run",
        "sdelens fit --model gpt2 --layer 0-11 --probe linear --out runs/gpt2",
        "sdelens fit --texts essays.jsonl --column body --set probe.epochs=20",
    ),
    "analyze": (
        "sdelens analyze runs/demo",
        'sdelens analyze runs/demo uncertainty --prompt "The sea was calm"',
        "sdelens analyze runs/demo verdict surprise --set surprise.documents=32",
    ),
    "report": ("sdelens report runs/demo",),
    "compare": ("sdelens compare runs/plain runs/with-hook --out comparison",),
    "simulate": ('sdelens simulate runs/demo --prompt "The sea was" --tokens 40',),
    "generate": (
        'sdelens generate runs/demo --prompt "The sea" --steer drift=0.5,diffusion=0.8',
        "sdelens generate runs/demo --steer drift=remove --seed 1",
    ),
    "reproduce": (
        "sdelens reproduce paper",
        "sdelens reproduce paper --texts helpsteer2.json --column response",
    ),
    "branch": ("sdelens branch runs/demo --branches 4 --every 8",),
    "validate": (
        "sdelens validate --quick",
        "sdelens validate --plugin my_probe.py --system ornstein-uhlenbeck-2",
    ),
    "cache list": ("sdelens cache list",),
    "cache size": ("sdelens cache size",),
    "cache prune": ("sdelens cache prune --limit 20GB",),
    "models list": ("sdelens models list",),
    "models get": ("sdelens models get smollm2-135m-instruct",),
    "models check": ("sdelens models check gpt2 --dtype bfloat16",),
    "plugins list": ("sdelens plugins list",),
    "plugins info": ("sdelens plugins info uncertainty",),
    "plugins new": ("sdelens plugins new speed --kind analyzer",),
    "plugins check": (
        "sdelens plugins check speed.py",
        "sdelens plugins check neural --set probe.epochs=2",
    ),
}
