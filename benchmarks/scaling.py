"""Time and memory of heads over bag length: N = 1,000 to 200,000 tiles, defaults of each head, no gradients.

Heads take turns at each length, so that whatever else the machine does hits all alike, and the best of some rounds
counts; memory is the growth of the process' peak in a process of its own. `--clock cpu` counts the processor time of
one thread instead of seconds, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time

import numpy as np
import torch

from napari_wsi_mil.models.registry import build

HEADS = ("sac-mil", "transmil", "abmil", "grid-attention")
LENGTHS = (1_000, 3_000, 10_000, 30_000, 100_000, 200_000)
N_FEATURES = 512


def bag(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and coordinates of `n` tiles that fill a disc, as tissue does, in rows."""
    side = math.ceil(math.sqrt(4 * n / math.pi)) + 2
    cells = np.stack(np.divmod(np.arange(side * side), side), 1)
    inside = np.argsort(((cells - side / 2) ** 2).sum(1), kind="stable")[:n]
    yx = torch.from_numpy(cells[np.sort(inside)].astype(np.float32))
    return torch.rand(n, N_FEATURES, generator=torch.Generator().manual_seed(n)), yx


def head(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(name, n_features=N_FEATURES).eval()


@torch.no_grad()
def times(names: list[str], lengths: list[int], *, rounds: int, clock: str) -> dict[str, list[float]]:
    """Return head -> seconds per length."""
    now = time.thread_time if clock == "cpu" else time.perf_counter
    heads = {name: head(name) for name in names}
    found: dict[str, list[float]] = {name: [] for name in names}
    for n in lengths:
        features, yx = bag(n)
        best = dict.fromkeys(names, math.inf)
        for turn in range(rounds + 1):
            for name, model in heads.items():
                started = now()
                model(features, yx)
                if turn:  # the first is to warm up
                    best[name] = min(best[name], now() - started)
        for name in names:
            found[name].append(best[name])
        print(f"{n:8,d}  " + "  ".join(f"{name} {best[name]:.3f} s" for name in names), file=sys.stderr, flush=True)
    return found


def peak(name: str, n: int) -> float:
    """Return MiB by which one forward pass over `n` tiles raises the peak memory, in a fresh process."""
    code = f"from scaling import *; print(grown({name!r}, {n}))"
    folder = __file__.rpartition("/")[0] or "."
    out = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True)
    return float(out.stdout)


@torch.no_grad()
def grown(name: str, n: int) -> float:
    model, (features, yx) = head(name), bag(n)
    model(*bag(200))
    # The peak starts where we are: what making the bag took must not hide what the head takes.
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = _peak()
    model(features, yx)
    return _peak() - before


def _peak() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def slope(lengths: list[int], seconds: list[float]) -> float:
    """Return the least-squares slope of log seconds over log length."""
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


def table(lengths: list[int], found: dict[str, list[float]], memory: dict[str, list[float]]) -> str:
    first = next(iter(found))
    rows = ["| tiles | " + " | ".join(f"{h} s" for h in found) + " | " + " | ".join(f"{h} MiB" for h in memory) + " |"]
    rows.append("|" + "---:|" * (1 + len(found) + len(memory)))
    for i, n in enumerate(lengths):
        cells = [f"{seconds[i]:.3f} ({seconds[i] / found[first][i]:.2f}x)" for seconds in found.values()]
        rows.append(f"| {n:,} | " + " | ".join([*cells, *(f"{mib[i]:.0f}" for mib in memory.values())]) + " |")
    rows.append(
        "| slope | " + " | ".join(f"{slope(lengths, s):.2f}" for s in found.values()) + " |" + " |" * len(memory)
    )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", nargs="+", default=list(HEADS))
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--memory", action="store_true", help="also the growth of the peak memory (Linux)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1 if args.clock == "cpu" else args.threads)
    found = times(args.heads, args.lengths, rounds=args.rounds, clock=args.clock)
    memory = {name: [peak(name, n) for n in args.lengths] for name in args.heads} if args.memory else {}
    if args.json:
        slopes = {name: slope(args.lengths, seconds) for name, seconds in found.items()}
        print(json.dumps({"lengths": args.lengths, "seconds": found, "slopes": slopes, "peak_mib": memory}))
        return
    print(table(args.lengths, found, memory))


if __name__ == "__main__":
    main()
