"""How command lines report what a user can fix."""

import pytest

from espnet_mtasr.errors import UserError, run_command_line


def test_one_line_and_exit_code_2(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/mtasr_score.py"])

    def main(cmd):
        raise UserError(f"{cmd[0]}: says\n  (a library)  two lines; fix it")

    with pytest.raises(SystemExit) as e:
        run_command_line(main, ["x.yaml"])
    assert e.value.code == 2
    expected = "mtasr_score: error: x.yaml: says (a library) two lines; fix it\n"
    assert capsys.readouterr().err == expected


def test_other_errors_are_ours_to_mend_and_pass():
    def main(cmd):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_command_line(main)
