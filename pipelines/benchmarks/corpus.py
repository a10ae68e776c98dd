"""`mathloop benchmark corpus`: recall, precision, near-copies, formulas, speed and memory on known labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mathloop.corpus.pages import text_of
from mathloop.decontamination.minhash import PERMUTATIONS, SHINGLE, signatures
from mathloop.errors import BadData, MathloopError
from mathloop.records import read_documents, read_rows, write_rows
from pipelines.benchmarks.corpus_data import haystack, read_kinds, real_pages
from pipelines.benchmarks.corpus_process import STEPS, check_copies
from pipelines.benchmarks.printing import Progress, aligned, machine

PAGES = Path("/usr/share/doc")
"""Where documentation in HTML is on many machines."""
_SIGNED = 4000
"""Documents for the comparison of signatures."""
_WRITTEN = 2000
"""Pages for the comparison of extraction."""


def run(data: Path | None, pages: Sequence[Path], rows: Sequence[int], model: str | None) -> None:
    """Measures and prints; raises BadData if a folder has no pages or no problems."""
    folders = list(pages) or [PAGES]
    missing = next((folder for folder in pages if not folder.is_dir()), None)
    if missing is not None:
        raise BadData("no such folder; expected one with HTML files", path=missing)
    seeds, kinds = read_kinds(data)
    real = real_pages(folders)
    print(machine())
    print(f"problems: {data or 'generated'}; {len(real):,} real pages in {', '.join(map(str, folders))}")
    for count in rows:
        with Progress() as progress, tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            progress.step(f"{count:,} pages")
            write_rows(folder / "seeds.jsonl", ({"text": text} for text in seeds))
            write_rows(
                folder / "pages.parquet", (page.row() for page in haystack(kinds, real, count)), row_group=500
            )
            measured = {}
            for step in STEPS:
                progress.step(step)
                measured[step] = _measure(step, folder)
            if model is not None:
                progress.step("quality, rated by the model")
                measured["rating"] = _measure("rating", folder, _imported(model, folder))
            _print(folder, count, measured)
            progress.step("signatures and formulas")
            _print_signatures(folder)
            _print_formulas(folder)


def _measure(step: str, folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "pipelines.benchmarks.corpus_process", step, str(folder), *options]
    environment = {**os.environ, "MATHLOOP_PROGRESS": str(folder / "progress")}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise MathloopError(f"{step} failed: {(process.stderr.strip() or 'no message').splitlines()[-1]}")
    measured: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return measured


def _imported(model: str, folder: Path) -> str:
    from mathloop.models import model_import

    model_import.run(source=model, model=folder / "model")
    return str(folder / "model")


def _print(folder: Path, count: int, measured: dict[str, dict[str, Any]]) -> None:
    print(f"\n{count:,} pages, one core")
    lines = [
        (
            step,
            f"{one['inputs']:,}",
            f"{one['kept']:,}",
            f"{one['inputs'] / max(one['cpu'], 1e-9):,.0f}",
            f"{one['mib']:,.0f}",
            f"{one['added']:,.0f}",
        )
        for step, one in measured.items()
    ]
    print(aligned(("step", "documents", "kept", "a CPU second", "peak MiB", "of it data"), lines))
    print("\nrecall of mathematical pages; the seeds are all of one kind")
    iterations = [
        (
            str(number),
            f"{100 * one['recall']:.1f} %",
            f"{100 * one['precision']:.1f} %",
            f"{one['recalled']:,.0f}",
            f"{one['hosts']:.0f}",
        )
        for number, one in enumerate(measured["recall"]["found"], start=1)
    ]
    print(aligned(("iteration", "recall", "precision", "recalled", "mathematical hosts"), iterations))
    copies = check_copies(folder)
    share = 100 * copies["found"] / max(1, copies["pairs"])
    found = f"{copies['found']:,.0f} of {copies['pairs']:,.0f} found ({share:.1f} %)"
    print(f"\nplanted near-copies (Jaccard 0.8): {found}")
    false = 100 * copies["false"] / max(1, copies["documents"])
    print(
        f"of {copies['documents']:,.0f} pages of problems {copies['dropped']:,.0f} were dropped, "
        f"{copies['below 0.8']:,.0f} below Jaccard 0.8, {copies['false']:,.0f} below 0.7 ({false:.2f} %)"
    )
    for name in ("quality", "rating"):
        if name in measured:
            values = measured[name]["values"]
            who = "the model" if name == "rating" else "a unigram model, a stand-in"
            agreement, rated = values["correlation of the linear model"], values["scored by the model"]
            print(
                f"quality of {rated:,.0f} pages rated by {who}: the linear model correlates {agreement:.2f}"
            )


def _print_signatures(folder: Path) -> None:
    """Signatures of the same texts by mathloop and by its peers, where these are installed."""
    texts = [
        one.text for _, one in zip(range(_SIGNED), read_documents(folder / "recall.jsonl"), strict=False)
    ]
    methods: dict[str, Callable[[], object]] = {"mathloop": lambda: signatures(texts)}

    def runs() -> list[list[str]]:
        split = [text.lower().split() for text in texts]
        return [[" ".join(w[i : i + SHINGLE]) for i in range(max(1, len(w) - SHINGLE + 1))] for w in split]

    try:
        from rensa import RMinHash

        def with_rensa() -> None:
            for words in runs():
                one = RMinHash(num_perm=PERMUTATIONS, seed=1)
                one.update(words)
                one.digest()

        methods["rensa"] = with_rensa
    except ImportError:
        print("rensa is not installed: pip install -e '.[benchmark]'")
    try:
        from datasketch import MinHash

        def with_datasketch() -> None:
            for words in runs():
                MinHash(num_perm=PERMUTATIONS).update_batch([word.encode() for word in words])

        methods["datasketch"] = with_datasketch
    except ImportError:
        pass
    print(f"\nsignatures of {PERMUTATIONS} numbers, {len(texts):,} documents")
    for name, method in methods.items():
        method()
        print(f"    {name}: {len(texts) / max(min(_cpu(method) for _ in range(2)), 1e-9):,.0f} a CPU second")


def _print_formulas(folder: Path) -> None:
    """Formulas that were written as MathML or in scripts and whose LaTeX is in the extracted text."""
    from resiliparse.extract.html2text import extract_plain_text

    rows = [row for row in read_rows(folder / "pages.parquet") if row["formulas"]][:_WRITTEN]
    methods: dict[str, Callable[[str], str]] = {
        "mathloop": text_of,
        "resiliparse alone": lambda page: extract_plain_text(page, main_content=True),
    }
    try:
        import trafilatura

        methods["trafilatura"] = lambda page: trafilatura.extract(page) or ""
    except ImportError:
        pass
    total = sum(len(row["formulas"]) for row in rows)
    print(f"\nformulas kept, of {total:,} in MathML without annotation or in scripts, {len(rows):,} pages")
    for name, method in methods.items():
        began, kept = time.process_time(), 0
        for row in rows:
            text = _plain(method(row["html"]))
            kept += sum(_plain(latex) in text for latex in row["formulas"])
        rate = len(rows) / max(time.process_time() - began, 1e-9)
        print(f"    {name}: {kept:,} ({100 * kept / max(1, total):.1f} %), {rate:,.0f} pages a CPU second")


def _plain(latex: str) -> str:
    """LaTeX without what only changes how it looks."""
    for word in (
        "\\left",
        "\\right",
        "\\displaystyle",
        "\\,",
        "\\!",
        "\\;",
        "\\:",
        "\\ ",
        "~",
        "{",
        "}",
        " ",
        "\n",
    ):
        latex = latex.replace(word, "")
    for word in ("\\dfrac", "\\tfrac"):
        latex = latex.replace(word, "\\frac")
    return (
        latex.replace("\\leq", "\\le")
        .replace("\\geq", "\\ge")
        .replace("\\neq", "\\ne")
        .replace("\\dots", "\\ldots")
    )


def _cpu(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began
