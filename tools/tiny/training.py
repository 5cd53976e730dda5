"""Model, batches and training, which can be continued from a checkpoint."""

import argparse
import time
from pathlib import Path

import torch
from corpus import CONTEXT, VOCABULARY
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel


def batch(stream: Tensor, starts: Tensor, size: int, seed: int, step: int) -> Tensor:
    """Windows of ``CONTEXT + 1`` tokens, a quarter of which start at the start of a document."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    last = len(stream) - CONTEXT - 1
    offsets = torch.randint(last, (size,), generator=generator)
    chosen = starts[torch.randint(len(starts), (size // 4,), generator=generator)]
    offsets[: size // 4] = chosen.clamp(max=last)
    return stream[offsets[:, None] + torch.arange(CONTEXT + 1)]


def new_model(seed: int) -> GPT2LMHeadModel:
    """GPT-2 with 8 blocks of width 128 and 4 heads, without dropout."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=CONTEXT,
            n_embd=128,
            n_layer=8,
            n_head=4,
            activation_function="gelu_pytorch_tanh",  # the fused form of gelu_new
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def optimizers(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    """Muon for matrices of the blocks, AdamW for embeddings, gains and biases."""
    blocks = [p for n, p in model.named_parameters() if ".h." in n and p.ndim == 2]
    others = [p for n, p in model.named_parameters() if not (".h." in n and p.ndim == 2)]
    return [
        torch.optim.Muon(blocks, lr=0.006, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.004, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(step: int, steps: int, cooldown: float) -> float:
    """Learning rate factor: linear warm-up over 50 steps, constant, linear decay to zero."""
    return min(1.0, (step + 1) / 50, (steps - step) / (cooldown * steps))


def train(
    model: GPT2LMHeadModel, stream: Tensor, starts: Tensor, options: argparse.Namespace
) -> None:
    """Minimise next-token cross-entropy, with checkpoints to resume from."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    steppers = optimizers(model)
    rates = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    first = resume(model, steppers, options.checkpoint)
    half = torch.autocast(device.type, torch.bfloat16, enabled=options.bfloat16)
    begun = time.time()
    for step in range(first, options.steps):
        scale = schedule(step, options.steps, options.cooldown)
        for stepper, base in zip(steppers, rates, strict=True):
            for group, rate in zip(stepper.param_groups, base, strict=True):
                group["lr"] = rate * scale
        tokens = batch(stream, starts, options.batch, options.seed, step).to(device)
        with half:
            logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        if step % 20 == 0:
            done = (step - first + 1) * options.batch * CONTEXT
            print(f"{step} {loss.item():.4f} {done / (time.time() - begun):.0f} tok/s", flush=True)
        stays = step < options.steps * (1 - options.cooldown)
        if stays and (step + 1) % options.every == 0:
            save_checkpoint(model, steppers, step + 1, options.checkpoint)


def save_checkpoint(
    model: GPT2LMHeadModel, steppers: list[torch.optim.Optimizer], step: int, path: Path
) -> None:
    """Write model and optimizer states to one file, replaced atomically."""
    state = {"model": model.state_dict(), "steppers": [s.state_dict() for s in steppers]}
    torch.save({**state, "step": step}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def resume(model: GPT2LMHeadModel, steppers: list[torch.optim.Optimizer], path: Path) -> int:
    """Load the checkpoint if it exists; return the next step."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for stepper, saved in zip(steppers, state["steppers"], strict=True):
        stepper.load_state_dict(saved)
    return int(state["step"])


def save(model: GPT2LMHeadModel, out: Path) -> None:
    """Save the model in half precision; `gelu_new` is GPT-2's name of the same activation."""
    model.config.activation_function = "gelu_new"
    model.half().cpu().save_pretrained(out)
