"""Owns the command line: which suites run, with which sizes, and where the results go."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from . import cloud, data, later, machine, memory, names, plot, small, tools
from .place import Place, opened
from .rows import Row, text_of
from .sizes import LONG, ORDINARY, QUICK, Sizes

Suite = Callable[[Place], Iterator[Row]]

SUITES: Mapping[str, Suite] = {
    "requests": tools.measure,
    "cloud": cloud.measure,
    "sequential": data.sequential,
    "random": data.random_reads,
    "small": small.measure,
    "list": names.measure,
    "memory": memory.measure,
    "writeback": later.measure,
}


@dataclass(frozen=True, slots=True)
class Result:
    """What one suite has measured: when (Unix seconds), how long, and beside what load."""

    rows: list[Row]
    began: float
    seconds: float
    load_before: float
    load_after: float

    def as_json(self) -> dict[str, Any]:
        """Return what is written to the file."""
        when = datetime.fromtimestamp(self.began).astimezone().isoformat(timespec="seconds")
        return {
            "began": when,
            "seconds": round(self.seconds, 1),
            "load_before": self.load_before,
            "load_after": self.load_after,
            "rows": [row.as_json() for row in self.rows],
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 0, whatever was measured."""
    options = _parser().parse_args(arguments)
    # As by Ctrl-C: what was mounted and started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    if options.plot is not None and not plot.is_possible():
        print(plot.HOW_TO_GET_IT, file=sys.stderr)
    sizes = QUICK if options.quick else LONG if options.long else ORDINARY
    described = machine.describe()
    print(", ".join(f"{name} {value}" for name, value in described.items() if value))
    results: dict[str, Result] = {}
    for name in options.suites or SUITES:
        results[name] = _run(name, sizes, options.work)
        if options.json is not None:
            _write_json(options.json, described, sizes, results)
    if options.plot is not None and plot.is_possible():
        plot.write(options.plot, {name: result.rows for name, result in results.items()})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.py", description="Measure cosfs on a local server, which is started for it."
    )
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        type=_suite,
        help=f"{', '.join(SUITES)}; by default all, one after the other",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--long", action="store_true", help="more and larger files")
    size.add_argument("--quick", action="store_true", help="tiny ones: does it still run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a PNG there")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="make temporary files there: up to 6 GB"
    )
    return parser


def _suite(name: str) -> str:
    if name not in SUITES:
        raise argparse.ArgumentTypeError(f"no such suite: {name}; there are {', '.join(SUITES)}")
    return name


def _run(name: str, sizes: Sizes, work: Path | None) -> Result:
    before, began, clock = machine.load(), time.time(), time.monotonic()
    title = f"{name} ({cloud.describe(sizes)})" if name == "cloud" else name
    print(f"\n{title}, load {before}", flush=True)
    with _place(sizes, work) as place:
        rows = list(SUITES[name](place))
    result = Result(rows, began, time.monotonic() - clock, before, machine.load())
    print(text_of(rows))
    print(f"{result.seconds:.0f} s, load {result.load_after}", flush=True)
    return result


@contextmanager
def _place(sizes: Sizes, work: Path | None) -> Iterator[Place]:
    """Give a new place; show what its server said if something goes wrong."""
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="cosfs-bench-", dir=work)).resolve()
    try:
        with open(folder / "server.log", "w+", encoding="utf-8") as said:
            try:
                with opened(folder, sizes, said) as place:
                    yield place
            except BaseException:
                _show(said)
                raise
    finally:
        shutil.rmtree(folder)


def _show(said: IO[str]) -> None:
    said.seek(0)
    sys.stderr.write(said.read())


def _write_json(
    file: Path, described: Mapping[str, Any], sizes: Sizes, results: Mapping[str, Result]
) -> None:
    suites = {name: result.as_json() for name, result in results.items()}
    everything = {"machine": described, "sizes": asdict(sizes), "suites": suites}
    file.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")
