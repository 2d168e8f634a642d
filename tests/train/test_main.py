import subprocess
import sys

import pytest

from train.__main__ import RUNS, TOOLS, main

CODE = """
import sys
from train.__main__ import main
try:
    main(["--help"])
finally:
    assert not {"keras", "numpy", "pandas"} & set(sys.modules), "slow packages are imported"
"""


def test_the_list_of_commands_comes_at_once() -> None:
    listed = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr
    assert all(f"\n    {name}" in listed.stdout for name in (*RUNS, *TOOLS))


@pytest.mark.parametrize("name", [*RUNS, *TOOLS])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"python -m train {name}" in capsys.readouterr().out


def test_an_option_of_another_command_is_refused(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["pair", "--config", "one.yaml", "--close-up", "other.yaml", "--afterwards"])
    assert stopped.value.code == 2
    assert "unrecognized arguments: --afterwards" in capsys.readouterr().err
