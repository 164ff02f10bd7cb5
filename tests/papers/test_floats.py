"""The founding paper's networks of floats: damage, repair, and what stays as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.bases import Base, Roles, epoch_order, one_thread, trained
from neurofault.papers.rescue2019.damage import by_importance, decline, random_order
from neurofault.papers.rescue2019.descent import Descent, Optimiser
from neurofault.papers.rescue2019.float_bench import FINE, FloatBench
from neurofault.papers.rescue2019.history import History
from neurofault.papers.rescue2019.network import FloatNetwork, Images, by_layer, fresh, gradients, silence, touches
from neurofault.papers.rescue2019.units import Units
from neurofault.rescue import Budget, Plan, strategies

SIZES = (6, 8, 7, 3)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setenv("NEUROFAULT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def images(samples: int, seed: int) -> Images:
    """Three classes told apart by the sums of pairs of pixels."""
    random = np.random.default_rng(seed)
    x = random.random((samples, 6)).astype(np.float32)
    return Images(torch.from_numpy(x), torch.from_numpy(x.reshape(samples, 3, 2).sum(2).argmax(1)))


@pytest.fixture(scope="module")
def roles() -> Roles:
    return Roles("toy", images(400, 1), images(200, 2), images(200, 3), (6, 3))


@pytest.fixture(scope="module")
def network(roles, _own_cache) -> FloatNetwork:
    return trained(Base("toy", SIZES, 1, epochs=30, batch=10), roles.train)


def bench(network: FloatNetwork, roles: Roles, **changed) -> FloatBench:
    nodes = changed.pop("nodes", np.array([0, 9, 3, 12, 5, 14]))
    kind, rate = changed.pop("kind", "sgd"), changed.pop("rate", 0.05)
    plan, budget = changed.pop("plan", Plan()), changed.pop("budget", Budget(cycles=2))
    return FloatBench(network, nodes, roles, Optimiser(kind, rate), budget, plan, batch=changed.pop("batch", 10), **changed)


def largest_dead_weight(network: FloatNetwork, alive: torch.Tensor) -> float:
    """Return the largest magnitude among the weights and biases of dead nodes; 0 where none is dead."""
    largest = 0.0
    for layer, kept in enumerate(by_layer(network, alive)):
        for part in (network.weights[layer][:, ~kept], network.biases[layer][~kept], network.weights[layer + 1][~kept]):
            if part.numel():
                largest = max(largest, float(part.abs().max()))
    return largest


def test_gradients_are_those_of_autograd(roles):
    model = fresh(SIZES, 5)
    keep = [torch.rand(50, width) for width in SIZES[1:-1]]
    x, y = roles.train.x[:50], roles.train.y[:50]
    for factors in (None, keep):
        leaves = [parameter.clone().requires_grad_() for parameter in model.parameters]
        with torch.enable_grad():
            seen = x
            for layer in range(3):
                seen = seen @ leaves[2 * layer] + leaves[2 * layer + 1]
                if layer < 2:
                    seen = seen.relu() * (1 if factors is None else factors[layer])
            torch.nn.functional.cross_entropy(seen, y).backward()
        for found, leaf in zip(gradients(model, x, y, factors), leaves, strict=True):
            torch.testing.assert_close(found, leaf.grad)


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
def test_optimisers_are_torchs(kind):
    ours = [torch.tensor([1.0, -2.0, 3.0])]
    theirs = ours[0].clone().requires_grad_()
    other = {
        "sgd": lambda: torch.optim.SGD([theirs], 0.1),
        "momentum": lambda: torch.optim.SGD([theirs], 0.1, momentum=0.9),
        "adam": lambda: torch.optim.Adam([theirs], 0.1),
    }[kind]()
    descent = Descent(Optimiser(kind, 0.1))
    for step in range(5):
        gradient = torch.tensor([0.5, -1.0, 0.1 * step])
        theirs.grad = gradient.clone()
        other.step()
        descent.step(ours, [gradient.clone()])
    torch.testing.assert_close(ours[0], theirs.detach())


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("strategy", [strategies.batch, strategies.iterative, strategies.fresh_subnetwork])
def test_dead_nodes_stay_exactly_zero(network, roles, kind, strategy):
    work = bench(network, roles, kind=kind, rate=0.01, plan=Plan(steps=3), budget=Budget(cycles=3))
    strategy(work)
    assert int((~work.alive).sum()) == 6
    assert largest_dead_weight(work.network, work.alive) == 0.0
    assert max(float(w.abs().max()) for w in work.network.weights) > 0


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_each_safeguard_alone_keeps_dead_nodes_dead(network, roles, kind):
    """Buffers from before the damage bring dead nodes back; masking after each step and forgetting each prevent it."""

    def repaired(forget: bool, mask: bool) -> float:
        model, descent = network.copy(), Descent(Optimiser(kind, 0.01))
        alive = torch.ones(15, dtype=torch.bool)
        x, y = roles.train.x[:50], roles.train.y[:50]
        for _ in range(5):
            descent.step(model.parameters, gradients(model, x, y))
        alive[[0, 9]] = False
        silence(model, alive)
        if forget:
            descent.forget()
        for _ in range(5):
            descent.step(model.parameters, gradients(model, x, y))
            if mask:
                silence(model, alive)
        return largest_dead_weight(model, alive)

    assert repaired(False, False) > 0
    assert repaired(True, False) == 0
    assert repaired(False, True) == 0


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
def test_repair_is_learning_with_a_mask_after_every_step_and_a_state_forgotten_at_every_strike(network, roles, kind):
    work = bench(network, roles, kind=kind, rate=0.02, plan=Plan(steps=2), budget=Budget(cycles=2), seed=4)
    model, alive = network.copy(), torch.ones(15, dtype=torch.bool)
    for cycle, nodes in enumerate(([0, 9, 3], [12, 5, 14])):
        work.strike(1)
        work.learn(1)
        alive[nodes] = False
        silence(model, alive)
        descent = Descent(Optimiser(kind, 0.02))
        for chosen in np.split(epoch_order(400, 4, "order", cycle), 40):
            descent.step(model.parameters, gradients(model, roles.train.x[chosen], roles.train.y[chosen]))
            silence(model, alive)
    for found, wanted in zip(work.network.parameters, model.parameters, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("outgoing", ["zero", "random"])
def test_only_new_leaves_every_old_weight_bit_identical(network, roles, kind, outgoing):
    before = network.copy()
    before.weights[0][2, 1] = -0.0  # a bit that adding a zero would change
    work = bench(before, roles, kind=kind, rate=0.02, plan=Plan(outgoing=outgoing))
    strategies.embryonic(work)
    new = torch.zeros(15, dtype=torch.bool)
    new[[0, 9, 3, 12, 5, 14]] = True
    learned = 0
    for old, now, touched in zip(before.parameters, work.network.parameters, touches(network, new), strict=True):
        assert old[~touched].numpy().tobytes() == now[~touched].numpy().tobytes()
        learned += int((now[touched] != 0).sum())
    assert learned > 50


def test_a_plastic_ratio_slows_old_weights_by_that_ratio(network, roles):
    moved = []
    for shift in (0, 3):
        work = bench(network, roles, plan=Plan(old_shift=shift), budget=Budget(cycles=1), batch=400)
        strategies.embryonic(work)
        moved.append(work.network.biases[-1] - network.biases[-1])
    torch.testing.assert_close(moved[1], moved[0] / 8, rtol=1e-3, atol=1e-7)


def test_embryos_have_fresh_weights_and_silent_axons(network, roles):
    work = bench(network, roles)
    work.strike()
    broken = work.network.correct(roles.test)
    work.embryos()
    assert work.network.correct(roles.test) == broken
    assert float(work.network.weights[0][:, 0].abs().min()) > 0
    assert not work.network.weights[1][0][[0, 2, 3, 5]].any()  # to old nodes of the next layer: 9, 12 and 14 are new themselves
    assert bool(work.alive.all())


def test_iterative_and_batch_end_on_the_same_mask_and_shorter_ways_are_prefixes(network, roles):
    long = bench(network, roles, plan=Plan(steps=3), budget=Budget(cycles=3))
    strategies.iterative(long)
    short = bench(network, roles, nodes=np.array([0, 9, 3, 12]), plan=Plan(steps=2), budget=Budget(cycles=2))
    strategies.iterative(short)
    batch = bench(network, roles, plan=Plan(steps=3), budget=Budget(cycles=3))
    strategies.batch(batch)
    assert torch.equal(long.alive, batch.alive)
    assert short.result().test == long.result().test[: len(short.result().test)]


def test_looks_and_budget(network, roles):
    work = bench(network, roles, budget=Budget(cycles=2.5))
    strategies.batch(work)
    done = work.result()
    assert done.cycle == 40
    assert done.steps_taken == (0, 0, *(mark for mark in FINE if mark < 40), 40, 80, 100)
    assert [point.samples for point in done.points] == [10 * step for step in done.steps_taken]
    assert done.learned == done.since_strike == 100
    alive = sum(int((~dead).sum()) for dead in touches(network, ~work.alive))
    assert done.points[-1].spent.updates == 100 * alive


def test_a_tolerance_ends_the_learning_once_it_is_sustained(network, roles):
    work = bench(network, roles, nodes=np.array([2]), plan=Plan(tolerance=1.0), budget=Budget(cycles=5), sustained=3)
    strategies.batch(work)
    assert work.result().steps_taken == (0, 0, 1, 2, 5)


def test_the_healthy_network_is_not_changed(network, roles):
    before = network.vector()
    strategies.batch(bench(network, roles))
    np.testing.assert_array_equal(network.vector(), before)


def test_decline_is_that_of_silenced_networks(network, roles):
    order = random_order(network, "test")
    counts = decline(network, order, roles.test)
    alive = torch.ones(15, dtype=torch.bool)
    for k in range(16):
        broken = network.copy()
        silence(broken, alive)
        assert counts[k] == broken.correct(roles.test)
        if k < 15:
            alive[order[k]] = False


def test_orders(network, roles):
    assert sorted(random_order(network, 1)) == list(range(15))
    assert sorted(random_order(network, 1, layer=1)) == list(range(8, 15))
    least, most = (by_importance(network, roles.validation, first) for first in ("least", "most"))
    assert sorted(least) == list(range(15))
    losses = []
    for node in (least[0], most[0]):
        broken = network.copy()
        silence(broken, torch.arange(15) != int(node))
        losses.append(broken.loss(roles.validation))
    assert losses[0] < losses[1]


def test_a_base_comes_back_from_the_cache_and_depends_on_its_recipe(network, roles):
    again = trained(Base("toy", SIZES, 1, epochs=30, batch=10), roles.train)
    np.testing.assert_array_equal(again.vector(), network.vector())
    other = trained(Base("toy", SIZES, 1, epochs=30, batch=10, dropout=0.5), roles.train)
    assert (other.vector() != network.vector()).any()
    assert network.correct(roles.test) > 170


def test_history_recovers_where_three_evaluations_in_a_row_are_within_tolerance():
    seen = History(
        (0, 0, 1, 2, 5, 10, 20), (0,) * 7, (0, 1, 1, 1, 1, 1, 1), ("healthy", "strike", *("learn",) * 5),
        (100, 50, 99, 80, 99, 99, 100), (90, 40, 80, 70, 85, 86, 88), (0,) * 7, 10, 1, 100, 100,
    )  # fmt: skip
    assert seen.recovered(0.01, 3) == 4
    assert seen.cycles_at(4) == 0.5
    assert seen.recovered(0.0, 3) is None
    assert seen.recovered(0.5, 3) == 1
    assert seen.at_cycle(1) == 0.86
    assert seen.until(0).test == (90,)
    assert (seen.healthy, seen.final, seen.worst) == (0.9, 0.88, 0.4)


def test_mistakes_are_named(network, roles):
    with pytest.raises(UsageError, match=r"^nodes lie in 0 … 15; allowed: 0 to 14$"):
        bench(network, roles, nodes=np.array([0, 15]))
    with pytest.raises(UsageError, match="named twice"):
        bench(network, roles, nodes=np.array([3, 3]))
    with pytest.raises(UsageError, match="batch is 401; allowed: 1 to 400"):
        bench(network, roles, batch=401)
    with pytest.raises(UsageError, match="budget: writes is a chip's"):
        bench(network, roles, budget=Budget(writes=5))
    with pytest.raises(UsageError, match=r"no optimiser 'adan'; optimisers: sgd, momentum, adam \(did you mean 'adam'\?\)"):
        Optimiser("adan")
    with pytest.raises(UsageError, match="learning rate 0; allowed: above 0"):
        Optimiser("sgd", 0)
    with pytest.raises(UsageError, match="layer is 2; hidden layers: 0 to 1"):
        random_order(network, 1, layer=2)
    with pytest.raises(UsageError, match="allowed: least, most"):
        by_importance(network, roles.test, "mots")


def test_a_journal_computes_nothing_twice_and_passes_over_a_torn_line(tmp_path):
    calls = []

    def compute() -> list[int]:
        calls.append(1)
        return [1, 2]

    path = tmp_path / "deep" / "units.jsonl"
    with Units(path) as units:
        assert not path.exists()
        assert units.once({"a": 1, "b": (2, 3)}, compute) == units.once({"b": [2, 3], "a": 1}, compute) == [1, 2]
        with pytest.raises(UsageError, match="another run writes to it"):
            Units(path).once({"a": 2}, compute)
    calls.pop()
    whole = path.read_bytes()
    with path.open("a") as file:
        file.write('0123456789abcdef {"key": {"a": 2}, "val')
    with Units(path) as again:
        assert again.once({"a": 1, "b": [2, 3]}, compute) == [1, 2]
        assert len(calls) == 1
        again.once({"a": 3}, compute)
    assert len(Units(path)) == 2
    assert path.read_bytes().startswith(whole)
    first, last = path.read_bytes().splitlines()
    assert json.loads(last[17:])["key"] == {"a": 3}
    path.write_bytes(first.replace(b"[1, 2]", b"[1, 3]") + b"\n" + last + b"\n")
    assert len(Units(path)) == 1  # a line that does not match its digits is passed over


def test_a_journal_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is a folder, not a file"):
        Units(tmp_path)
