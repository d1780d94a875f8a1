"""Random programs and bad luck on a mount, held against the model (see ``machine``)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.conftest import ExpectLog
from tests.vfs.machine.allowed import NEEDED, Allowed
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
    #: What happens often stands there as many times.
    names: st.SearchStrategy[str]
    #: What a step can be, by its name. All arguments are one choice: each costs as much as a step.
    choices: Mapping[str, st.SearchStrategy[tuple[str, dict[str, Any]]]]
    #: What does not happen this time.
    never: set[str]

    def teardown(self) -> None:
        if self.world is not None:
            self.world.drop() if self.failed else self.world.end()


@st.composite
def _steps(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Return what happens next: its name and its arguments."""
    machine = draw(st.runner())
    while (name := draw(machine.names)) in machine.never:
        pass
    return draw(machine.choices[name])


def _machine(mounts: Mapping[str, Sequence[Any]], rules: Rules) -> type[Machine]:
    never = st.sets(st.sampled_from(sorted(rules)), max_size=len(rules) // 2)
    options = {key: st.sampled_from(list(domain)) for key, domain in mounts.items()}

    @initialize(never=never, **options)
    def mount(self: Machine, never: set[str], **options: Any) -> None:
        self.world = World(**options)
        self.never = never
        self.failed = False

    @rule(what=_steps())
    def step(self: Machine, what: tuple[str, dict[str, Any]]) -> None:
        assert self.world is not None
        try:
            self.world.do(*what)
        except BaseException:
            self.failed = True
            raise

    names = [name for name, (often, _) in rules.items() for _ in range(often)]
    parts = {
        "mount": mount,
        "step": step,
        "names": st.sampled_from(names),
        "choices": {name: _choices(name, args) for name, (_, args) in rules.items()},
    }
    return type("Machine", (Machine,), parts)


def _choices(
    name: str, args: Mapping[str, Sequence[Any]]
) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.sampled_from(
        [(name, dict(zip(args, values, strict=True))) for values in product(*args.values())]
    )


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps(kind: str) -> None:
    # Which steps a seed means depends on what is imported: they are the same in a new process.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    check = f"{__file__}::check_a_few_steps[{kind}]"
    done = subprocess.run(
        [*command, "-o", "python_functions=check_*", check],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("machine, examples", [(AT_ONCE, 100), (LATER, 44)], ids=KINDS)
def check_a_few_steps(
    machine: type[Machine], examples: int, expect_log: ExpectLog
) -> None:
    expect_log(EXPECTED, must_come=False)
    _run(machine, 1, examples=examples, steps=50)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("machine", [AT_ONCE, LATER], ids=KINDS)
def test_a_million_steps(machine: type[Machine], expect_log: ExpectLog) -> None:
    expect_log(EXPECTED)
    _run(machine, random.randrange(2**32), examples=10_000, steps=100)
    if machine is AT_ONCE:
        assert not [one.name for one in Allowed if not NEEDED[one]], "no check needs these"
