"""No answer hangs, crashes, eats memory or slows its neighbors, from any thread or process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from random import Random

import pytest

from mathloop.answers import prover, verify, verify_response

pytestmark = pytest.mark.timeout(600)  # a hang fails; a busy machine does not

HARD = ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2")
"""Equal, and only the worker can prove it."""

MONSTERS = [
    ",".join(f"\\sqrt{{{n}}}+\\sqrt{{{n + 1}}}" for n in range(2, 60)), "\\pm" * 200 + "1", "5" + "%" * 300,
    "\\textcircled{99999999}", "1" * 4500 + "_{9}", "x^" + "x^" * 300 + "x", "x" + "'" * 300,
    "\\begin{pmatrix}x+1&y\\\\y&x\\end{pmatrix}" * 5, "10^{308}(1.5+1.5i)",
    "9^{9^{9^{9^9}}}", "10^{10^{10}}+1", "(10^{9})!", "((((9!)!)!)!)!", "\\binom{10^9}{10^8}",
    "e^{e^{e^{e^{79}}}}", "\\sum_{k=1}^{1000000000}\\frac1k",
    "\\sum_{k=1}^{900}\\sum_{j=1}^{900}\\sum_{i=1}^{900}\\sqrt{ijk}", "2^{2^{2^{2^{2^{2}}}}}",
    "{" * 1000 + "1" + "}" * 1000, "(" * 1000 + "1" + ")" * 1000, "1" * 100_000, "1+" * 50_000 + "1",
    "x^" * 3000 + "2", "\\sqrt{" * 500 + "2" + "}" * 500, "((((((x+1)^9+1)^9+1)^9+1)^9+1)^9+1)^9",
    "(x+y+z)^{10000000}", "\\frac" * 3000, "1," * 3000, "\\boxed{" * 15_000, "\\[" * 40_000,
    "$" * 100_000, "the answer is " * 8000, "\\text{" * 3000, "|" * 3000 + "x", "0.(" + "1" * 5000 + ")",
    "一" * 3000, "1e9999", "9" * 5000, "\\begin{pmatrix}" * 500, "a_" * 3000, "\\{" * 3000,
    "#### " * 20_000, "**" * 30_000, "<|" * 30_000, "x" * 100_000,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("monster", MONSTERS, ids=lambda monster: monster[:20])
def test_a_monster_gets_a_verdict(monster: str) -> None:
    verify(*HARD)  # a worker is warm
    for gold in ("\\sqrt{2}", monster.replace("9", "8")):
        assert verify(gold, monster).rule != "fault"
        assert verify_response(gold, monster).rule != "fault"


def test_a_monster_is_not_equal_to_its_neighbor() -> None:
    assert not verify("10^{10^{10}}", "10^{10^{10}}+1").correct
    assert not verify("\\sqrt2+10^{-500}", "\\sqrt2").correct
    assert not verify("1+e^{-1000}", "1").correct
    assert not verify("2004!\\sqrt2", "2006!\\sqrt2").correct


def test_killed_worker_is_replaced() -> None:
    assert verify(*HARD).correct
    for worker in prover._pool._idle:
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
    assert verify(*HARD).correct


def test_worker_killed_in_the_middle_is_undecided_then_replaced() -> None:
    verify(*HARD)
    victims = [worker.process.pid for worker in prover._pool._idle]
    killer = threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGKILL) for pid in victims])
    killer.start()
    verdict = verify("9^{9^{9^{9}}}", "8^{9^{9^9}}")
    killer.join()
    assert not verdict.correct
    assert verdict.rule == "undecided"
    assert verify(*HARD).correct


def test_easy_answers_do_not_wait_for_hard_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard answers may have every worker; an easy one asks for none."""
    asked: list[object] = []
    monkeypatch.setattr(prover.Prover, "prove", lambda *question: asked.append(question))
    for number in range(1000):
        assert verify(f"{number}", f"{number}.0").correct
    assert asked == []
    verify(*HARD)
    assert len(asked) == 1


def test_from_many_threads() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for square in range(2, 12):
            right = verify(f"\\sqrt{{{square * square * 7}}}", f"{square}\\sqrt{{7}}").correct
            if not right or verify(f"{square}\\sqrt7", f"{square}\\sqrt8").correct:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _in_child(results: multiprocessing.Queue[bool]) -> None:
    results.put(verify(*HARD).correct and not verify("\\sqrt2", "\\sqrt3").correct)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_from_a_daemonic_child_process(method: str) -> None:
    assert verify(*HARD).correct
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=_in_child, args=(results,), daemon=True)
    child.start()
    assert results.get(timeout=60)
    child.join(timeout=30)
    assert verify(*HARD).correct


def test_workers_end_with_their_parent() -> None:
    code = (
        "from mathloop.answers import verify, prover\n"
        f"assert verify({HARD[0]!r}, {HARD[1]!r}).correct\n"
        "print([worker.process.pid for worker in prover._pool._idle], flush=True)\n"
        "import os; os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    (pid,) = [int(part) for part in done.stdout.strip("[]\n").split(",")]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _running(pid):
        time.sleep(0.05)
    assert not _running(pid)


def _running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


LONG = bool(os.environ.get("MATHLOOP_LONG_TESTS"))
PIECES = [
    *"0123456789xyznkabAB()[]{}^_+-*/=<>,;:.!|%$'~ ", "\\frac", "\\sqrt", "\\sqrt[3]", "\\pi", "\\sin ",
    "\\log", "\\left(", "\\right)", "\\{", "\\}", "\\pm ", "\\le ", "\\cup ", "\\in ", "\\infty ",
    "\\text{", "\\setminus", "\\begin{pmatrix}", "\\end{pmatrix}", "\\begin{cases}", "\\end{cases}",
    "\\\\", "&", "\\boxed{", "^{", "_{", "\\binom", "\\lfloor ", "\\rfloor", "\\pmod", "\\equiv ",
    "\\sum_{k=1}^", "\\overline{", "\\dot", "\\cdot ", "或", "和", "分之", "二", "三", "十", "元", "角",
    "小时", "余", "不", "大于", "是", "为", "根号", "第一空", "象限", "月", "日", "点", "半", "答案是",
    "percent", "cm", "answer is", "\\quad", "\\$", "\n", "and", "°", "sin", "cos", "million",
    "9^{9^{9}}", "99!", "10^{50}", "e^{", "i", "(-2)^{", "0.(3)", "1,000", "####",
]  # fmt: skip


@pytest.mark.slow
def test_fuzz() -> None:
    """Random strings get a verdict in time and leave nothing behind; 100,000 of them in the long tests."""
    random = Random(7)
    verify(*HARD)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100_000 if LONG else 5_000):
        gold = "".join(random.choices(PIECES, k=random.randrange(1, 14)))
        other = gold.replace(random.choice(PIECES), random.choice(PIECES)) if random.random() < 0.5 else None
        prediction = other or "".join(random.choices(PIECES, k=random.randrange(1, 14)))
        verdict = verify(gold, prediction)
        verify_response(gold, prediction)
        assert verdict.rule != "fault", (gold, prediction, verdict)
    assert len(os.listdir("/proc/self/fd")) <= before + 2 * prover.MOST_WORKERS
    children = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "cmd="], capture_output=True, text=True
    )
    assert children.stdout.count("answers.worker") <= prover.MOST_WORKERS


def test_light_to_import() -> None:
    code = "import sys, mathloop.answers, mathloop.answers.grading; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "sympy", "mpmath", "numpy", "pyarrow"} & set(loaded)
