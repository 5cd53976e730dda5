"""What config.json says about a model, before its weights are read."""

from transformers import AutoConfig

from sdelens.origin import ModelCard
from sdelens_plugins.models.catalogue import TEMPLATE, Located
from sdelens_plugins.models.checkpoints import SAFE, one_sentence
from sdelens_plugins.models.words import MANY


def card_of_config(located: Located, dtype: str) -> ModelCard:
    """The card of a model without a fingerprint; the tokenizer may shorten the context.

    Raises `UsageError` for an unknown architecture or missing sizes.
    """
    with one_sentence(located.name):
        found = AutoConfig.from_pretrained(located.folder, **SAFE)
        config = found.get_text_config()
        return ModelCard(
            name=located.name,
            revision=located.revision,
            fingerprint="",
            weights="raw",
            dtype=dtype,
            blocks=int(config.num_hidden_layers),
            width=int(config.hidden_size),
            context=int(getattr(config, "max_position_embeddings", None) or MANY),
            vocabulary=int(config.vocab_size),
            bos=None,
            eos=None,
        )


def has_template_file(located: Located) -> bool:
    """Whether the files of a tokenizer contain a chat template."""
    config = located.folder / "tokenizer_config.json"
    inside = config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8")
    return inside or (located.folder / TEMPLATE).is_file()
