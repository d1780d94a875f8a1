"""Random programs and bad luck on a mount, held against the model (see ``machine``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.vfs.machine.rules import MOUNTS, RULES
from tests.vfs.machine.world import World

#: Lines that the mount logs of what the machine makes fail.
EXPECTED = (
    "not stored|not sent|cannot be sent|could not be|cannot be stored now|has lost its name"
    "|gives it|has it again|putting back metadata|half done|is taken back|keeps its name"
    "|before this one"
)


class Machine(RuleBasedStateMachine):
    """What can happen, in any order."""

    world: World | None = None

    @initialize(**{key: st.sampled_from(list(domain)) for key, domain in MOUNTS.items()})
    def mount(self, **options: Any) -> None:
        self.world = World(**options)
        self.failed = False

    def teardown(self) -> None:
        if self.world is not None:
            self.world.drop() if self.failed else self.world.end()


def _rule(name: str, number: int) -> Callable[..., None]:
    def step(self: Machine, **args: Any) -> None:
        assert self.world is not None
        try:
            self.world.do(name, args)
        except BaseException:
            self.failed = True
            raise

    step.__name__ = name if number == 0 else f"{name}_{number}"
    return step


# What happens often has as many rules.
for _name, (_often, _args) in RULES.items():
    for _number in range(_often):
        _made = rule(**{key: st.sampled_from(list(domain)) for key, domain in _args.items()})
        setattr(Machine, f"{_name}_{_number}", _made(_rule(_name, _number)))


@pytest.mark.timeout(300)
def test_a_few_steps(expect_log: Callable[[str], None]) -> None:
    expect_log(EXPECTED)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=100, stateful_step_count=50, derandomize=True, deadline=None
        ),
    )


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_a_million_steps(expect_log: Callable[[str], None]) -> None:
    expect_log(EXPECTED)
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=10_000, stateful_step_count=100, deadline=None),
    )
