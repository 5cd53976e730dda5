"""What config.json says about a model, before its weights are read."""

from transformers import AutoConfig

from sdelens.errors import UsageError
from sdelens.origin import ModelCard
from sdelens_plugins.models.catalogue import Located
from sdelens_plugins.models.words import MANY


def card_of_config(located: Located, dtype: str) -> ModelCard:
    """The card of a model without a fingerprint; the tokenizer may shorten the context.

    Raises `UsageError` for an unknown architecture or missing sizes.
    """
    try:
        # never run code that comes with a model, and never prompt for it
        found = AutoConfig.from_pretrained(
            located.folder, local_files_only=True, trust_remote_code=False
        )
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
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"{located.name} has no usable config.json ({first}): expected that of a causal "
            "language model of an architecture that transformers knows"
        ) from error
