"""Ways to damage a file of a run: JSON, lines of JSON, tensors, bytes, and what is no file."""

import json
import os
import struct

import torch
from safetensors.torch import load, save

DEEP = "@deep@"
WORDS = ("", "x", "../../outside", "/etc/passwd", "\ud800", "\x1b[31m", "os:system", "=1+1", DEEP)
NUMBERS = (0, -1, 1, 2, 10**30, -(10**30), 10**400, 0.5, 1e308, float("nan"), float("inf"))
OTHERS = (None, True, False, [], {}, [[]], {"$type": "Popen"}, {"$tensor": "x"}, {"$float": "x"})


def damage(file, random):
    """Damage a file in a random way; returns what was done."""
    ways = [of_bytes, of_bytes, no_file]
    ways += {".json": [of_json] * 9, ".jsonl": [of_lines] * 9, "": [of_json] * 3}.get(
        file.suffix, [of_tensors] * 9
    )
    return f"{random.choice(ways)(file, random)} in {file.name}"


def of_json(file, random):
    """Change one place of a JSON file; DONE may have a digest instead."""
    try:
        value = json.loads(file.read_text())
    except ValueError:
        return of_bytes(file, random)
    value, done = changed(value, random)
    file.write_text(text_of(value))
    return done


def of_lines(file, random):
    """Change one line of a file of JSON lines."""
    lines = file.read_text().splitlines()
    number = random.randrange(len(lines))
    value, done = changed(json.loads(lines[number]), random)
    lines[number] = random.choice((text_of(value), text_of(value), "", "[" * 5000))
    file.write_text("\n".join(lines) + "\n")
    return f"{done} of line {number + 1}"


def text_of(value):
    """JSON, nested deeply where the value says so."""
    return json.dumps(value).replace(f'"{DEEP}"', "[" * 5000 + "]" * 5000)


def changed(value, random):
    """The value with one place replaced, removed, renamed or repeated."""
    places = list(inner(value))
    if not places:
        return random.choice(OTHERS), "another value"
    holder, key = random.choice(places)
    way = random.choice(("word", "number", "other", "other type", "delete", "rename", "near"))
    old = holder[key]
    if way == "delete":
        del holder[key]
    elif way == "rename" and isinstance(holder, dict):
        holder[random.choice(WORDS)] = holder.pop(key)
    elif way == "near" and isinstance(old, int | float):
        holder[key] = old + random.choice((1, -1, 1e-3))
    elif way == "other type":
        holder[key] = str(old) if isinstance(old, int | float) else [old]
    else:
        holder[key] = random.choice({"word": WORDS, "number": NUMBERS}.get(way, OTHERS))
    return value, f"{way} at {key!r} ({str(old)[:30]!r} is now {str(holder)[:60]!r})"


def inner(value):
    """Every place in a JSON value, as its holder and key."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from inner(value[key])


def of_tensors(file, random):
    """Change one tensor of a safetensors file."""
    tensors = load(file.read_bytes())
    name = random.choice(sorted(tensors))
    old = tensors[name]
    ways = {
        "delete": lambda: None,
        "dtype": lambda: old.to(random.choice((torch.float16, torch.int32, torch.bool))),
        "one row less": lambda: old[:-1] if old.dim() else old[None],
        "another axis": lambda: old[None],
        "empty": lambda: old.new_empty(0),
        "transposed": lambda: old.mT if old.dim() > 1 else old.repeat(2),
        "negative": lambda: -1 - old if old.dtype != torch.bool else ~old,
        "NaN": lambda: filled(old, float("nan"), random),
        "infinite": lambda: filled(old, float("inf"), random),
        "huge": lambda: filled(old, 2**62, random),
        "near": lambda: old + 1,
    }
    way = random.choice(sorted([*ways, "rename", "more"]))
    if way == "rename":
        tensors[random.choice(("law.x", "x", "member0.x"))] = tensors.pop(name)
    elif way == "more":
        tensors[random.choice(("basis.x", "member9999.x", "annotation.x"))] = torch.ones(3)
    elif (new := ways[way]()) is None:
        del tensors[name]
    else:
        tensors[name] = new
    file.write_bytes(save({k: t.clone().contiguous() for k, t in tensors.items()}))
    return f"{way} of {name}"


def filled(tensor, value, random):
    """The tensor with one value replaced, in its own type if that has it."""
    if not tensor.is_floating_point() and value != 2**62:
        return torch.full(tensor.shape, value)
    new = tensor.clone().contiguous()
    if new.numel():
        new.view(-1)[random.randrange(new.numel())] = (
            min(value, torch.finfo(new.dtype).max)
            if (value == 2**62 and new.is_floating_point())
            else value
        )
    return new


def of_bytes(file, random):
    """Cut the file, flip a bit, or replace its content."""
    content = file.read_bytes()
    at = random.randrange(len(content)) if content else 0
    flipped = bytearray(content or b"x")
    flipped[at] ^= 1 << random.randrange(8)
    new = {
        "truncated": content[:at],
        "empty": b"",
        "one bit": bytes(flipped),
        "doubled": content * 2,
        "not UTF-8": b"\xff\xfe" + content,
        "deep": b"[" * 10**5,
        "deep object": b'{"a":' * 10**5,
        "long number": b"[" + b"9" * 10**5 + b"]",
        "huge header": struct.pack("<Q", 2**62) + content,
        "zeros": bytes(len(content)),
    }
    way = random.choice(sorted(new))
    file.write_bytes(new[way])
    return way


def no_file(file, random):
    """Put something that is no file in its place."""
    file.unlink()
    way = random.choice(
        ("missing", "folder", "pipe", "link to a device", "link to nothing", "loop")
    )
    if way == "folder":
        file.mkdir()
    elif way == "pipe":
        os.mkfifo(file)
    elif way.startswith("link"):
        file.symlink_to("/dev/zero" if way == "link to a device" else "nowhere")
    elif way == "loop":
        file.symlink_to(file.name)
    return way
