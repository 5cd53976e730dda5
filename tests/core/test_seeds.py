import torch

from sdelens.seeds import derive, generator


def test_a_stage_has_the_same_seed_in_every_process():
    # sha256("0\x1ffit\x1fL06"), its first 8 bytes shifted right by one bit
    assert derive(0, "fit", "L06") == 3782812327994898184


def test_stages_and_runs_differ():
    seeds = [derive(run, *stage) for run in range(4) for stage in ((), ("a",), ("a", 1), ("a", 2))]
    assert len(set(seeds)) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_stages_are_not_run_together():
    assert derive(0, "ab", "c") != derive(0, "a", "bc")
    assert derive(1, "1") != derive(11)


def test_a_generator_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    first = torch.randn(3, generator=generator(0, "stage"))
    second = torch.randn(3, generator=generator(0, "stage"))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
