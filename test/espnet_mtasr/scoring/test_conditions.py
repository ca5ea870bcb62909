"""The table utt2conditions is read as it was written, and checked."""

import pytest

from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.conditions import Conditions, read_conditions


def test_what_is_written_is_read(tmp_path):
    table = {"u": Conditions(), "v": Conditions(0.5, -3.25, 2, "mixed")}
    path = tmp_path / "utt2conditions"
    write_table(path, {utt: conditions.to_line() for utt, conditions in table.items()})
    assert read_conditions(path) == table


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "utt2conditions: u: not the conditions of a mixture"),
        ("3", "utt2conditions: u: not the conditions of a mixture"),
        ('{"loudness": 1}', "loudness.*remove the file and run stage 13 again"),
        ('{"snr": "loud"}', "snr 'loud' is not a number"),
        ('{"snr": true}', "snr True is not a number"),
        ('{"onset_gap": NaN}', "onset_gap nan is not a number"),
        ('{"onset_gap": -1}', "onset_gap -1 is below 0"),
        ('{"genders": "many"}', "genders 'many'"),
    ],
)
def test_bad_lines(tmp_path, line, message):
    path = tmp_path / "utt2conditions"
    path.write_text(f"u {line}\n")
    with pytest.raises(UserError, match=message) as e:
        read_conditions(path)
    assert "\n" not in str(e.value)
