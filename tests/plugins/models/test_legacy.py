"""TransformerLens before 4, in a Python of its own that SDELENS_LEGACY_PYTHON names: an
environment with transformer-lens<4 and what else sdelens needs."""

import json
import os
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file

import sdelens
from tests.hub import Repository, serving

LEGACY = os.environ.get("SDELENS_LEGACY_PYTHON")
LARGEST = 1e-4
"""Of the differences between versions, over the root mean square of their dimension."""

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
from importlib.metadata import version
from safetensors.torch import save_file
from transformer_lens import HookedTransformer
import sdelens
from sdelens.errors import UsageError
from sdelens.models import language_model

texts, folder = json.loads(sys.argv[1]), sys.argv[2]
raw = HookedTransformer.from_pretrained_no_processing("gpt2", device="cpu")
usual = HookedTransformer.from_pretrained("gpt2", device="cpu")
loaded = language_model("gpt2", device="cpu")
models = {"raw": raw, "usual": usual, "loaded": loaded, "bridge": loaded.bridge}
told, states = {"version": version("transformer-lens")}, {}
for name, model in models.items():
    lens = sdelens.attach(model)
    recording = lens.capture(texts, layers="embed,all")
    told[name] = lens.model.card.weights
    for site in recording.sites:
        (block,) = recording.view(site)
        states[f"{name}.{site}"] = block.states[block.mask].clone()
save_file(states, f"{folder}/states.safetensors")

# hooks: the user's own stays active, none of ours is left
lens = sdelens.attach(raw)
def hooks():
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in raw.modules()]
def half(value, hook):
    return 0.5 * value
before, random = hooks(), torch.random.get_rng_state()
plain = lens.capture(texts, layers=2)
with raw.hooks(fwd_hooks=[("blocks.0.hook_resid_post", half)]):
    halved = lens.capture(texts, layers=2)
(one,), (two,) = plain.view(2), halved.view(2)
told["ablation"] = float((one.states - two.states).abs().max())
told["repeatable"] = [plain.origin.repeatable, halved.origin.repeatable]

# a tape while it generates, and its states captured again
with lens.record(layers=2) as tape, torch.no_grad():
    ids = raw.to_tokens(texts[0])
    out = raw.generate(ids, max_new_tokens=5, do_sample=False, verbose=False, stop_at_eos=False)
(one,), (two,) = tape.recording.view(2), lens.capture(tape.documents, layers=2).view(2)
told["taped"] = [int(tape.documents.lengths), out.shape[1]]
told["apart"] = float((one.states - two.states).abs().max() / one.states.abs().max())

# fit, save, load; the same weights folded are another model
study = lens.fit(texts, layers=2, probe="linear")
study.save(f"{folder}/run")
told["headline"] = sdelens.load(f"{folder}/run", model=raw).analyze("losses").headline
told["opened"] = [
    bool(sdelens.load(f"{folder}/run", model=model).steer("a", drift=0.5, tokens=2))
    for model in (raw, loaded, loaded.bridge, "gpt2")
]
try:
    sdelens.load(f"{folder}/run", model=usual)
except UsageError as error:
    told["refused"] = str(error)
told["same"] = hooks() == before and bool(torch.equal(torch.random.get_rng_state(), random))
print(json.dumps(told))
"""
TEXTS = [f"{chr(97 + i)} what light {'through ' * (i % 3)}yonder window" for i in range(24)]


@pytest.fixture(scope="module")
def told(root, shared, tmp_path_factory):
    if not LEGACY:
        pytest.skip("SDELENS_LEGACY_PYTHON names no Python with transformer-lens<4")
    folder = tmp_path_factory.mktemp("legacy")
    parts = (root, root / "cli", root / "plugins")
    rest = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    # what is called gpt2 there is a small one, so that the library's own loading is what is tried
    served = shutil.copytree(shared / "models" / "char-gpt2-shakespeare", folder / "served")
    config = json.loads((served / "config.json").read_text())
    named = {"n_ctx": config["n_positions"]}  # as GPT-2's own config has it
    (served / "config.json").write_text(json.dumps(config | named))
    with serving({"gpt2": Repository(served)}) as hub:
        done = subprocess.run(
            [LEGACY, "-c", SCRIPT, json.dumps(TEXTS), str(folder)],
            env=rest
            | {
                "PYTHONPATH": os.pathsep.join(map(str, parts)),
                "HF_ENDPOINT": hub.endpoint,
                "HF_HOME": str(folder / "home"),
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]) | {"folder": folder}


def apart(one, two):
    """The largest difference, in root mean squares of its dimension."""
    size = two.square().mean(0).sqrt()
    return float(((one - two).abs() / size).max())


def test_both_versions_give_equal_states_for_the_same_model(told, char_gpt2, record_property):
    theirs = load_file(told["folder"] / "states.safetensors")
    recording = sdelens.capture(char_gpt2, TEXTS, layers="embed,all")
    bridge = sdelens.attach(char_gpt2.bridge).capture(TEXTS, layers="embed,all")
    largest = 0.0
    for site in recording.sites:
        for ours in (recording, bridge):
            (block,) = ours.view(site)
            states = block.states[block.mask]
            for name in ("raw", "loaded", "bridge"):
                largest = max(largest, apart(theirs[f"{name}.{site}"], states))
    record_property("largest", largest)
    print(f"largest difference over RMS: {largest:.2e}")
    assert largest <= LARGEST
    assert not told["version"].startswith("4")


def test_usual_weights_are_recorded_as_centred_and_differ_by_the_mean_alone(told):
    theirs = load_file(told["folder"] / "states.safetensors")
    assert (told["raw"], told["usual"]) == ("raw", "centred")
    raw, usual = theirs["raw.block3"], theirs["usual.block3"]
    assert apart(usual, raw) > LARGEST
    assert torch.allclose(raw - raw.mean(-1, keepdim=True), usual, atol=1e-4)


def test_a_users_hook_stays_active_and_nothing_is_left_behind(told):
    assert told["ablation"] > 0.1
    assert told["repeatable"] == [True, False]
    assert told["same"]


def test_generation_with_its_cache_is_recorded(told):
    recorded, made = told["taped"]
    assert recorded == made - 1
    assert told["apart"] <= 1e-5


def test_a_fit_opens_on_every_other_model_and_centred_weights_are_refused(told):
    assert told["headline"]
    assert told["opened"] == [True] * 4
    assert "weights raw there, centred here" in told["refused"]
