"""Fuzzes every target guided by coverage: `python -m tests.fuzz --inputs 1000000 --results FILE`.

It needs what infra/locks/fuzz.txt lists; tests/fuzz/test_fuzz.py installs that beside.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

LONGEST = 4096  # bytes of an input
NOISE = ("INFO: ", "WARNING: ", "#")  # libFuzzer's news
ONE_TAKES_S = 20  # an input that takes longer is a finding
SHARES = {"front": 4, "sse": 2, "admission": 2}  # of the inputs; 1 is usual


def main() -> int:
    """Runs each target in a process of its own; 1 where one found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="where to write what came out, as JSON")
    parser.add_argument("--target", help="fuzz this one in this process")
    parser.add_argument("--corpus", type=Path, help="with --target: where its inputs lie")
    options = parser.parse_args()
    if options.target:
        fuzz(options.target, options.corpus, options.inputs, options.seed)
    from tests.fuzz.seeds import SEEDS  # noqa: PLC0415  (whoever fuzzes first watches what is imported)

    shares = {name: SHARES.get(name, 1) for name in SEEDS}
    each = -(-options.inputs // sum(shares.values()))
    found = {name: run(name, SEEDS[name], each * share, options.seed) for name, share in shares.items()}
    told = {
        "tool": f"atheris {version('atheris')}",
        "python": sys.version.split()[0],
        "inputs": sum(one["inputs"] for one in found.values()),
        "targets": found,
    }
    if options.results:
        options.results.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 1 if any(one["found"] for one in found.values()) else 0


def run(name: str, seeds: list[bytes], inputs: int, seed: int) -> dict[str, Any]:
    """One target on its seeds: how many inputs, how much of the code they reached, what broke a rule."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, one in enumerate(seeds):
            (corpus / f"{number:04}").write_bytes(one)
        given = ("--target", name, "--corpus", str(corpus), "--inputs", str(inputs), "--seed", str(seed))
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "tests.fuzz", *given], capture_output=True, check=False
        )
    lines = (ended.stdout + ended.stderr).decode(errors="replace").splitlines()
    edges = [int(word) for line in lines for word in _after(line, "cov:")]
    told = "\n".join(line for line in lines if not line.startswith(NOISE))
    took_s = round(time.monotonic() - began, 1)
    print(f"{name}: {inputs} inputs in {took_s} s, {'' if ended.returncode else 'no '}finding", flush=True)
    if ended.returncode:
        print(told, flush=True)
    return {
        "inputs": inputs,
        "seeds": len(seeds),
        "edges": max(edges, default=0),
        "took_s": took_s,
        "found": told[-2000:] if ended.returncode else None,
    }


def _after(line: str, word: str) -> list[str]:
    words = line.split()
    return words[words.index(word) + 1 :][:1] if word in words else []


def fuzz(name: str, corpus: Path, inputs: int, seed: int) -> None:
    """Fuzzes one target here, and ends the process."""
    import atheris  # noqa: PLC0415  (only this process has a use for it, and it is slow)

    with atheris.instrument_imports(include=["events", "functions", "services"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    flags = (f"-runs={inputs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={ONE_TAKES_S}")
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={corpus.parent}/", str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
