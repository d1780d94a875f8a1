"""Random programs and bad luck on a mount, held against the model (see ``machine``)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.conftest import ExpectLog
from tests.vfs.machine.rules import MOUNTS, MOUNTS_BEHIND, RULES, RULES_BEHIND, Rules
from tests.vfs.machine.world import World

#: Lines that the mount logs of what the machine makes fail.
EXPECTED = (
    "not stored|not sent|cannot be sent|could not be|cannot be stored now|has lost its name"
    "|gives it|has it again|putting back metadata|half done|is taken back|keeps its name"
    "|before this one|is tried again and again"
)

#: When changes are made at the server.
KINDS = ["at once", "later"]


class Machine(RuleBasedStateMachine):
    """What can happen, in any order."""

    world: World | None = None

    def teardown(self) -> None:
        if self.world is not None:
            self.world.drop() if self.failed else self.world.end()


def _machine(mounts: Mapping[str, Sequence[Any]], rules: Rules) -> type[Machine]:
    @initialize(**_any_of(mounts))
    def mount(self: Machine, **options: Any) -> None:
        self.world = World(**options)
        self.failed = False

    # What happens often has as many rules.
    steps = {
        f"{name}_{number}": rule(**_any_of(args))(_step(name, number))
        for name, (often, args) in rules.items()
        for number in range(often)
    }
    return type("Machine", (Machine,), {"mount": mount, **steps})


def _any_of(domains: Mapping[str, Sequence[Any]]) -> dict[str, st.SearchStrategy[Any]]:
    return {key: st.sampled_from(list(domain)) for key, domain in domains.items()}


def _step(name: str, number: int) -> Callable[..., None]:
    def step(self: Machine, **args: Any) -> None:
        assert self.world is not None
        try:
            self.world.do(name, args)
        except BaseException:
            self.failed = True
            raise

    step.__name__ = name if number == 0 else f"{name}_{number}"
    return step


AT_ONCE = _machine(MOUNTS, RULES)
LATER = _machine(MOUNTS_BEHIND, RULES_BEHIND)


def _run(machine: type[Machine], number: int, *, examples: int, steps: int) -> None:
    print(f"seed {number}")
    run_state_machine_as_test(
        seed(number)(type("Machine", (machine,), {})),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None
        ),
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("machine, examples", [(AT_ONCE, 100), (LATER, 44)], ids=KINDS)
def test_a_few_steps(
    machine: type[Machine], examples: int, expect_log: ExpectLog
) -> None:
    # Which steps a seed means depends on what is imported.
    expect_log(EXPECTED, must_come=False)
    _run(machine, 1, examples=examples, steps=50)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("machine", [AT_ONCE, LATER], ids=KINDS)
def test_a_million_steps(machine: type[Machine], expect_log: ExpectLog) -> None:
    expect_log(EXPECTED)
    _run(machine, random.randrange(2**32), examples=10_000, steps=100)
