"""Runs plugins that do what no plugin should, and the plugins after them.

python -m tests.campaigns.hostile 200 --seed 0
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.campaigns.children import run
from tests.campaigns.scenarios import FIT, content
from tests.campaigns.trials import Trial, main

PLUGIN = Path(__file__).with_name("hostile_plugin.py")
"""What it does is in the variable HOSTILE."""
ENDS = {
    "sys.exit": "sys.exit(0)",
    "exit": "exit()",
    "os._exit": "os._exit(0)",
    "os.execv": "os.execv('/bin/true', ['true'])",
    "os.abort in a child": "os.fork() or os.abort()\nraise ValueError",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "SystemExit": "raise SystemExit(0)",
    "GeneratorExit": "raise GeneratorExit",
    "StopIteration": "raise StopIteration",
    "an exception of its own": "raise type('Own', (BaseException,), {})",
    "asyncio.CancelledError": "raise __import__('asyncio').CancelledError",
    "a group": "raise BaseExceptionGroup('both', [SystemExit(0), KeyboardInterrupt()])",
    "a message that fails": "raise type('Own', (Exception,), {'__str__': lambda _: sys.exit(0)})",
    "RecursionError": "f = lambda: f()\nf()",
    "atexit": "atexit.register(os._exit, 0)\nraise ValueError",
    "a finalizer": "weakref.finalize(kept, os._exit, 0)\nraise ValueError",
    "an object left": "Leaving.kept = Leaving()\nraise ValueError",
    "a hook of exceptions": "sys.excepthook = lambda *_: os._exit(0)\nraise ValueError",
    "a thread that exits": "late(os._exit, 0)\nraise ValueError",
    "sys.stdout": "sys.stdout.close()",
    "no finding": "answer = None",
    "a number": "answer = 42",
    "a view elsewhere": "answer = Finding('../../x', 'Odd.', '')",
    "no headline": "answer = Finding(view, None, '')",
    "an estimate that is a text": "answer = Finding(view, 'x', '', (Estimate('a', 'b'),))",
    "estimates that are none": "answer = Finding(view, 'x', '', (object(),))",
}
"""After these the exit code is that of a failure."""
CHANGES = {
    "random.seed": "random.seed(1)",
    "np.random": "np.random.seed(1)",
    "torch.manual_seed": "torch.manual_seed(1)",
    "default type": "torch.set_default_dtype(torch.float64)",
    "threads": "torch.set_num_threads(2)",
    "gradients": "torch.set_grad_enabled(False)",
    "inference mode": "kept.append(torch.inference_mode())\nkept[-1].__enter__()",
    "autocast": "torch.autocast('cpu').__enter__()",
    "type of autocast": "torch.set_autocast_dtype('cpu', torch.float16)",
    "deterministic": "torch.use_deterministic_algorithms(True)",
    "precision": "torch.set_float32_matmul_precision('medium')",
    "precision of a backend": "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "mkldnn": "torch.backends.mkldnn.set_flags(False)",
    "hooks": "torch.nn.modules.module.register_module_forward_hook(lambda *_: _[2] * 0)",
    "denormal numbers": "torch.set_flush_denormal(True)",
    "np.seterr": "np.seterr(all='raise')",
    "environment": "os.environ['OMP_WAIT'] = 'x'\nos.environ.pop('PATH', None)\n"
    "os.environ['SDELENS_CACHE'] = '/'",
    "folder": "os.chdir('/')",
    "umask": "os.umask(0o777)",
    "signal handler": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "alarm": "signal.alarm(1)",
    "limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (8, 64))\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))",
    "warnings": "warnings.simplefilter('error')",
    "logging": "logging.disable(50)",
    "recursion": "sys.setrecursionlimit(100)",
    "gc": "gc.disable()",
    "builtins": "builtins.sorted = lambda x, **_: [*x]",
    "sys.path": "sys.path[:] = []",
    "sys.modules": "sys.modules['json'] = sys.modules['logging']\ndel sys.modules['math']",
    "torch.exp": "torch.exp = torch.sin",
    "np.mean": "np.mean = np.sum",
    "math.sqrt": "math.sqrt = abs",
    "F.linear": "torch.nn.functional.linear = lambda *_: 0",
    "Tensor.sum": "torch.Tensor.sum = torch.Tensor.prod",
    "seeds": "sdelens.seeds.derive = lambda *_: 0",
    "matplotlib": "__import__('matplotlib').rcParams['font.size'] = 3",
    "tensors": "[t.add_(1) for t in tensors]",
    "sys.stdout taken": "sys.stdout = None",
    "tracing": "sys.settrace(lambda *_: None)",
    "profiling": "sys.setprofile(lambda *_: None)",
}
"""These are restored, and named in one line."""
SILENT = {
    "print": "print('loud')\nos.write(1, b'loud')\nos.system('echo loud')",
    "a thread": "late(print, 'late')",
    "a thread without end": "threading.Thread(target=time.sleep, args=(99,)).start()",
    "a child left": "os.fork() or os._exit(0)",
    "files left open": "kept.extend(open('/dev/null') for _ in range(50))",
    "atexit without failure": "atexit.register(print, 'late')",
}
"""These are allowed, and change nothing for others."""
ACTS = ENDS | CHANGES | SILENT


@dataclass(frozen=True)
class Act:
    """What a plugin does: one or two things of the tables, the last of which may be an end."""

    names: tuple[str, ...]

    @property
    def code(self):
        """Its statements."""
        return "\n".join(ACTS[name] for name in self.names)

    @property
    def ends(self):
        return any(name in ENDS for name in self.names)

    @property
    def changes(self):
        return any(name in CHANGES for name in self.names)

    @property
    def of_source(self):
        """Whether a source can do it too, which has no study and returns no finding."""
        return not any(word in self.code for word in ("answer", "tensors"))


def acts(number, random):
    """Each act once in random order, then random pairs."""
    for name in random.sample(sorted(ACTS), min(number, len(ACTS))):
        yield Act((name,))
    for _ in range(number - len(ACTS)):
        yield Act((random.choice(sorted(CHANGES)), random.choice(sorted(ACTS))))


def campaign(number, seed, folder):
    """Yield so many plugins, as analyzers and every third time as a source."""
    random, place = Random(seed), folder / "trial"
    start = folder / "start"
    ended = run((*FIT, "--layer", "1-2", "--out", place / "run"), place)
    assert ended.code == 0, ended
    shutil.copytree(place, start)
    analyze = ("analyze", place / "run", "hostile", "sensitive", "--plugin", PLUGIN, "--json")
    fit = (*FIT, "--layer", "1", "--source", "hostile", "--plugin", PLUGIN, "--json")
    fit = (*fit, "--no-cache", "--out", place / "new")
    right = {}
    for work in (analyze, fit):
        right |= after(start, place, work, "pass")[1]
    assert any(name.startswith("new/") for name in right)
    assert any(name.startswith("run/") for name in right)
    for k, act in enumerate(acts(number, random)):
        of_source = k % 3 == 0 and act.of_source
        kind, work = ("a source", fit) if of_source else ("an analyzer", analyze)
        ended, found = after(start, place, work, act.code)
        problem = judged(ended, act, place) or differing(found, right, ended, act, kind)
        yield Trial(f"{kind} that ends, changes or prints", ", ".join(act.names), problem)


def after(start, place, work, code):
    """How a command ends with a plugin that does so, and the files of later plugins."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(start, place)
    os.environ["HOSTILE"] = code
    ended = run(work, place)
    shown = ("run/analysis/sensitive", "new/fits", "new/documents")
    files = {k: v for k, v in content(place).items() if k.startswith(shown)}
    return ended, files


def judged(ended, act, place):
    """What is wrong with the end of a command, its streams and its manifests."""
    states = [json.loads(f.read_text())["state"] for f in place.rglob("manifest.json")]
    wanted = range(2, 8) if act.ends else (0,)
    # a change that cannot be restored is an error
    wanted = (*wanted, 6) if act.changes else wanted
    if ended.code not in wanted or ended.late or ended.outside or "running" in states:
        return f"exit {ended.code}, {states}, {ended.seconds:.0f} s, {ended.outside}: {ended.err}"
    named = any("hostile" in line and " changed " in line for line in ended.err.splitlines())
    if act.changes and not named:
        return f"not named: {ended.err}"
    try:
        return None if ended.code else not isinstance(json.loads(ended.out), dict) or None
    except ValueError:
        return f"stdout: {ended.out[:200]!r}"


def differing(found, right, ended, act, kind):
    """Which files of later plugins differ from those without a hostile one."""
    if "cannot be restored" in ended.err:
        return None
    if kind == "a source":
        names = [] if act.ends else [name for name in right if name.startswith("new/")]
    else:
        names = [name for name in right if name.startswith("run/")]
    wrong = [name for name in names if found.get(name) != right[name]]
    return f"other bytes in {wrong}: {ended.err}" if wrong else None


if __name__ == "__main__":
    main(campaign, 200)
