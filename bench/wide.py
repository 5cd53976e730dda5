"""Peak memory of capture, fits and analyzers for states of 4,096 coordinates.

python bench/wide.py            two randomly initialised blocks in the shape of Llama-3.1-8B
python bench/wide.py 512 8000   another width and vocabulary, to try it

Texts are random tokens, fewer than a study would have: memory does not grow with their number.
Each row has the peak of the resident set until its end, in one process.
"""

import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import sdelens

TEXTS, LENGTH = 48, 40


def model_of(width: int, vocabulary: int) -> LlamaForCausalLM:
    """Two blocks with the proportions of Llama-3.1-8B, in bfloat16."""
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=7 * width // 2,
        num_hidden_layers=2,
        num_attention_heads=width // 128,
        num_key_value_heads=max(1, width // 512),
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        return LlamaForCausalLM(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(default)


def peak() -> float:
    """Peak resident set of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(width: int = 4096, vocabulary: int = 128_256) -> list[dict]:
    """Rows with seconds and MiB, in the order of the work."""
    rows, clock = [], time.process_time()

    def done(name: str) -> None:
        nonlocal clock
        rows.append({"step": name, "seconds": time.process_time() - clock, "mebibytes": peak()})
        print(rows[-1], flush=True)
        clock = time.process_time()

    lens = sdelens.attach(model_of(width, vocabulary))
    done("model")
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(2, vocabulary, (TEXTS, LENGTH), generator=random)
    with TemporaryDirectory() as folder:
        lens.capture(ids, layers=1)
        done("capture")
        for probe in ("linear", "low-rank-linear"):
            study = lens.fit(ids, layers=1, probe=probe, basis="pca:256")
            study.save(Path(folder, probe))
            done(f"{probe}, pca:256")
            for name in ("uncertainty", "drift_share"):
                study.analyze(name)
                done(f"{name} of {probe}")
    return rows


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
