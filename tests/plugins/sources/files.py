"""Files of texts, written and read."""

TEXTS = ["The cat sat.", "Oh, no! It ran away", "NA", "a é ü", "12", 'He said "so", and left.']


def read(source, model, seed=0):
    return list(source.documents(model, seed=seed))
