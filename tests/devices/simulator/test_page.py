"""docs/simulator.md: every scenario and fault is there, and its example runs."""

import re
from typing import Any

from devices.simulator import FAULTS, SCENARIOS
from tests.conftest import REPO

PAGE = (REPO / "docs" / "simulator.md").read_text()


def test_every_scenario_and_fault_is_on_the_page() -> None:
    for name in (*SCENARIOS, *FAULTS):
        assert f"`{name}`" in PAGE, name


def test_the_example_scores_a_detector() -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(compile(example, "docs/simulator.md", "exec"), scope)
    assert scope["found"] >= 118
    assert scope["missed"] <= 2
    assert scope["false"] <= 4
