"""A model small enough to be made by a test, and a job small enough to be done by one."""

import random
import sys

TEXT = (
    "the cat sat on the mat and the dog ran to the door",
    "a bird sang in the tree while the wind moved the leaves",
    "she opened the book and read about the sea and the ships",
    "he walked along the river until the sun was low and red",
)
WORDS = "One day a little girl went out to play in the park. She saw a big red ball and was glad. "
COMMAND = (sys.executable, "-c", "from sdelens_cli.main import main; main()")
QUICK = ("--set", "probe.epochs=2", "--set", "probe.least_steps=2", "--set", "probe.width=16")


def sentences(count):
    """Texts of ten words of `TEXT` in different orders, no two of which are near-duplicates."""
    words = " ".join(TEXT).split()
    return [" ".join(random.Random(i).sample(words, 10)) for i in range(count)]


TURNS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] not in ('system', 'user', 'assistant') %}"
    "{{ raise_exception('unknown role ' + m['role']) }}{% endif %}"
    "{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def small_model(folder, template=None, positions=48):
    """A GPT-2 of three blocks with drawn weights and a tokenizer of its own.

    With a chat `template`, each message ends with ``<|end|>``.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", *(TURNS if template else ())],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=end, eos_token=end, chat_template=template
    ).save_pretrained(folder)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=positions,
        n_embd=16,
        n_layer=3,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def of_tokens(model, count):
    """A text that fills so many positions."""
    from sdelens.states.capturing import with_bos

    text = WORDS * (1 + count // 8)
    ids = model.encode(text)
    for size in range(count - 2, count + 2):
        part = "".join(model.decode(ids[:size]))
        if len(with_bos(model, part)) == count:
            return part
    raise AssertionError(f"no text has {count} tokens")
