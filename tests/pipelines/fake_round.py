"""A pipeline of three fake stages, and a command that runs it.

    python -m tests.pipelines.fake_round RUNS [RUN]

The environment tells a stage to misbehave: FAKE_FAIL, FAKE_USER_ERROR, FAKE_FULL_DISK and FAKE_HANG name one.
Every start of a stage appends a line to the file that FAKE_STARTS names.
"""

import sys
from pathlib import Path

from kfp import dsl


@dsl.component(base_image="mathloop/control:0.1.0", packages_to_install=[], install_kfp_package=False)
def first(
    numbers: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics], start: int = 1, round_id: str = ""
) -> None:
    """Writes a number.

    Args:
        numbers: One number.
        metrics: The same.
        start: The number.
        round_id: Kept beside it.
    """
    from pathlib import Path

    from tests.pipelines.fake_stage import act

    act("first")
    Path(numbers.path).write_text(str(start))
    Path(numbers.path + ".round").write_text(round_id)
    metrics.log_metric("start", start)


@dsl.component(base_image="mathloop/control:0.1.0", packages_to_install=[], install_kfp_package=False)
def second(numbers: dsl.Input[dsl.Dataset], doubled: dsl.Output[dsl.Dataset]) -> None:
    """Doubles a number.

    Args:
        numbers: One number.
        doubled: Twice as much.
    """
    from pathlib import Path

    from tests.pipelines.fake_stage import act

    act("second")
    Path(doubled.path).write_text(str(2 * int(Path(numbers.path).read_text())))


@dsl.component(base_image="mathloop/control:0.1.0", packages_to_install=[], install_kfp_package=False)
def third(
    numbers: dsl.Input[dsl.Dataset], doubled: dsl.Input[dsl.Dataset], total: dsl.Output[dsl.Dataset]
) -> None:
    """Adds two numbers.

    Args:
        numbers: One number.
        doubled: Another.
        total: Their sum.
    """
    from pathlib import Path

    from tests.pipelines.fake_stage import act

    act("third")
    Path(total.path).write_text(
        str(int(Path(numbers.path).read_text()) + int(Path(doubled.path).read_text()))
    )


@dsl.pipeline(name="fake-round")
def fake_round(start: int = 1) -> None:
    """Three stages.

    Args:
        start: The number to begin with.
    """
    one = first(start=start, round_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    two = second(numbers=one.outputs["numbers"]).set_display_name("second stage")
    third(numbers=one.outputs["numbers"], doubled=two.outputs["doubled"])


if __name__ == "__main__":
    from rich.console import Console

    from pipelines.local.folder import RunFolder
    from pipelines.local.launcher import Launcher
    from pipelines.local.runner import Job, run_pipelines
    from pipelines.local.tasks import StageFailed

    runs = Path(sys.argv[1])
    run = RunFolder.find(sys.argv[2], runs) if len(sys.argv) > 2 else RunFolder.create({}, runs)
    try:
        with Launcher() as launcher:
            run_pipelines([Job(fake_round, {"start": 5}, run.id)], run, launcher, Console(file=sys.stdout))
    except StageFailed as failure:
        print(f"FAILED {failure.stage} {failure.exit_code} {failure.user_error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
