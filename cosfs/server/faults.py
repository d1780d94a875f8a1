"""Faults that a test orders.

Owns the plan of latency, bandwidth and rules, reading it from JSON and choosing what happens to a
request; must not know how a fault is carried out.
"""

import asyncio
import random
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

Action = Literal["status", "drop_before", "drop_after", "cut_body", "garbage", "hang"]

ANY_OP = "*"


class FaultError(ValueError):
    """The ordered plan is not one."""


@dataclass(frozen=True)
class Rule:
    """One kind of failure for one operation.

    Of the requests of `op` that reach the rule, the first `skip` are spared, then `times` (None:
    all) fail, each with `probability` (None: surely).
    """

    op: str
    action: Action
    skip: int = 0
    times: int | None = None
    probability: float | None = None
    status: int | None = None
    code: int = -71


@dataclass(frozen=True)
class Plan:
    """What was ordered. `seed` makes probabilities repeatable."""

    latency_ms: float = 0.0
    bytes_per_second_per_connection: float | None = None
    seed: int | None = None
    rules: tuple[Rule, ...] = ()


@dataclass
class _Progress:
    seen: int = 0
    fired: int = 0


@dataclass
class Faults:
    """The plan in force. Belongs to the event loop."""

    known_ops: frozenset[str]
    plan: Plan = field(default_factory=Plan)
    _progress: list[_Progress] = field(default_factory=list)
    _random: random.Random = field(default_factory=random.Random)

    def order(self, value: Any) -> None:
        """Put a plan in force, with all counting at zero.

        Raises:
            FaultError: it is not a plan; the old one stays.
        """
        self.set(read_plan(value, self.known_ops))

    def set(self, plan: Plan) -> None:
        """Put a plan in force, with all counting at zero."""
        self.plan = plan
        self._progress = [_Progress() for _ in plan.rules]
        self._random = random.Random(plan.seed)

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON would spell it, and how often each rule has fired."""
        value = asdict(self.plan)
        value["rules"] = list(value["rules"])
        value["fired"] = [progress.fired for progress in self._progress]
        return value

    def choose(self, op: str) -> Rule | None:
        """Return the rule that applies to a request; the first that fires hides later ones."""
        for rule, progress in zip(self.plan.rules, self._progress):
            if rule.op not in (op, ANY_OP):
                continue
            progress.seen += 1
            if progress.seen <= rule.skip:
                continue
            if rule.times is not None and progress.fired >= rule.times:
                continue
            if rule.probability is not None and self._random.random() >= rule.probability:
                continue
            progress.fired += 1
            return rule
        return None


class Pace:
    """Holds one stream of bytes to a rate; no rate holds nothing."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._moved = 0
        self._began = 0.0

    @property
    def is_unlimited(self) -> bool:
        """Whether there is no rate."""
        return self._rate is None

    @property
    def step(self) -> int:
        """How many bytes to move at a time: those of a twentieth of a second."""
        return 1 << 20 if self._rate is None else max(1, min(1 << 18, int(self._rate / 20)))

    async def wait(self, size: int) -> None:
        """Wait until `size` more bytes may have moved."""
        if self._rate is None:
            return
        now = asyncio.get_running_loop().time()
        if not self._moved:
            self._began = now
        self._moved += size
        ahead = self._began + self._moved / self._rate - now
        if ahead > 0:
            await asyncio.sleep(ahead)


def read_plan(value: Any, known_ops: frozenset[str]) -> Plan:
    """Read a plan; what is missing has its default, what is unknown is an error.

    Raises:
        FaultError: with a sentence that says what is wrong.
    """
    _check_names(value, {item.name for item in fields(Plan)}, "the plan")
    rules = value.get("rules")
    rules = [] if rules is None else rules
    if not isinstance(rules, list):
        raise FaultError("rules is not an array")
    seed = value.get("seed")
    if seed is not None and not _is_integer(seed):
        raise FaultError("seed is not an integer")
    rate = _read_number(value, "bytes_per_second_per_connection", None)
    if rate is not None and rate <= 0:
        raise FaultError("bytes_per_second_per_connection is not positive")
    return Plan(
        latency_ms=_read_number(value, "latency_ms", 0.0) or 0.0,
        bytes_per_second_per_connection=rate,
        seed=seed,
        rules=tuple(_read_rule(rule, known_ops) for rule in rules),
    )


def _read_rule(value: Any, known_ops: frozenset[str]) -> Rule:
    _check_names(value, {item.name for item in fields(Rule)}, "a rule")
    op, action = value.get("op"), value.get("action")
    if op != ANY_OP and op not in known_ops:
        raise FaultError(f"op is none of {', '.join(sorted(known_ops))} and not {ANY_OP}: {op!r}")
    if action not in get_args(Action):
        raise FaultError(f"action is none of {', '.join(get_args(Action))}: {action!r}")
    probability = _read_number(value, "probability", None)
    if probability is not None and probability > 1:
        raise FaultError("probability is above 1")
    status = _read_integer(value, "status", None)
    if status is not None and not 200 <= status <= 599:
        raise FaultError("status is not 200 to 599")
    code = value.get("code")
    if code is not None and not _is_integer(code):
        raise FaultError("code is not an integer")
    return Rule(
        op=op,
        action=action,
        skip=_read_integer(value, "skip", None) or 0,
        times=_read_integer(value, "times", None),
        probability=probability,
        status=status,
        code=-71 if code is None else code,
    )


def _check_names(value: Any, known: set[str], what: str) -> None:
    if not isinstance(value, dict):
        raise FaultError(f"{what} is not an object")
    unknown = sorted(set(value) - known)
    if unknown:
        raise FaultError(f"{what} has no {', '.join(map(repr, unknown))}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_integer(value: dict[str, Any], name: str, default: int | None) -> int | None:
    item = value.get(name)
    if item is None:
        return default
    if not _is_integer(item) or item < 0:
        raise FaultError(f"{name} is not a count")
    return int(item)


def _read_number(value: dict[str, Any], name: str, default: float | None) -> float | None:
    item = value.get(name)
    if item is None:
        return default
    if not isinstance(item, (int, float)) or isinstance(item, bool) or not 0 <= item < 1e15:
        raise FaultError(f"{name} is not a number, 0 or more")
    return item
