"""What config.json says about a model, before its weights are read."""

from sdelens.origin import ModelCard
from sdelens_plugins.models.cards import cache_width_of, context_of
from sdelens_plugins.models.checkpoints import one_sentence
from sdelens_plugins.models.configuration import read_config
from sdelens_plugins.models.library_output import quiet
from sdelens_plugins.models.location import TEMPLATE, Located
from sdelens_plugins.models.words import MANY


def card_of_config(located: Located, dtype: str) -> ModelCard:
    """The card of a model without a fingerprint; the tokenizer may shorten the context.

    Raises `UsageError` for an unknown architecture, and for missing or absurd sizes.
    """
    with one_sentence(located.name), quiet():
        found = read_config(located)
        config = found.get_text_config()
        return ModelCard(
            name=located.name,
            revision=located.revision,
            fingerprint="",
            weights="raw",
            dtype=str(found.dtype or dtype).removeprefix("torch.") if dtype == "auto" else dtype,
            blocks=int(config.num_hidden_layers),
            width=int(config.hidden_size),
            context=context_of(config) or MANY,
            vocabulary=int(config.vocab_size),
            bos=None,
            eos=None,
            quantisation=located.quantisation,
            cache_width=cache_width_of(config),
        )


def has_template_file(located: Located) -> bool:
    """Whether the files of a tokenizer contain a chat template, or a GGUF file does."""
    if located.gguf is not None:
        from sdelens_plugins.models.gguf.converted import metadata_of

        return "tokenizer.chat_template" in metadata_of(located.folder / located.gguf)
    config = located.folder / "tokenizer_config.json"
    inside = config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8")
    return inside or (located.folder / TEMPLATE).is_file()
