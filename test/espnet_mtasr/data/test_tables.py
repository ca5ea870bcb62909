"""Data directories: what is read, what is refused, what is written."""

import pytest

from espnet_mtasr.data.tables import (
    check_sot_text,
    read_data_dir,
    read_table,
    write_data_dir,
    write_table,
)
from espnet_mtasr.errors import UserError


def test_tables_survive_writing_and_reading(tmp_path):
    path = tmp_path / "deep" / "text"
    write_table(path, {"b": "x  y", "a": "", "a-1": 3, "Z": "é"})
    # C order, an empty value is an id alone.
    assert path.read_text(encoding="utf-8") == "Z é\na\na-1 3\nb x  y\n"
    assert read_table(path) == {"Z": "é", "a": "", "a-1": "3", "b": "x  y"}
    assert [p.name for p in path.parent.iterdir()] == ["text"]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "table: no such file; run the stage"),
        (b"", "table: is empty"),
        (b"a 1\na 2\n", "table:2: duplicate id a"),
        (b"b 1\na 2\n", "table:2: id a after b is not sorted"),
        (b"a 1\n\nb 2\n", "table:2: empty line"),
        (b"a \xe9\n", "table: is not UTF-8"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    path = tmp_path / "table"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_table(path)


@pytest.mark.parametrize(
    "text, num_spk, message",
    [
        (
            "a <sc> b <sc> c",
            "2",
            "u1 has 3 texts separated by <sc> but utt2num_spk says 2",
        ),
        ("a b", "2", "u1 has 1 texts separated by <sc> but utt2num_spk says 2"),
        ("a", "1", r"u1 has 1 talkers, but --talker_counts is \[2, 3\]"),
        ("a <sc> b <sc> c <sc> d", "4", r"u1 has 4 talkers, but --talker_counts is"),
        ("a <sc>", "2", "u1 has a talker without words in 'a <sc>'"),
        ("<sc> a", "2", "u1 has a talker without words"),
        ("a <sc> <sc> b", "3", "u1 has a talker without words"),
    ],
)
def test_bad_transcripts(text, num_spk, message):
    with pytest.raises(UserError, match=f"data/text: {message}"):
        check_sot_text("data/text", {"u1": text}, [3, 2], {"u1": num_spk})


def write(folder, **tables):
    for name, content in tables.items():
        (folder / name.replace("wav", "wav.scp")).write_text(content)
    return folder


def test_the_talker_count_comes_from_the_text(tmp_path):
    write(tmp_path, wav="a 1.wav\nb 2.wav\n", text="a x <sc> y\nb x <sc> y <sc> z\n")
    tables = read_data_dir(tmp_path, [2, 3])
    assert tables["utt2num_spk"] == {"a": "2", "b": "3"}
    assert set(tables) == {"wav.scp", "text", "utt2num_spk"}


@pytest.mark.parametrize("name", ["text", "utt2num_spk", "onsets", "utt2overlap"])
def test_ids_must_agree(tmp_path, name):
    good = dict(text="a x <sc> y\nb z <sc> y\n", utt2num_spk="a 2\nb 2\n")
    write(tmp_path, wav="a 1.wav\nb 2.wav\n", **good)
    value = "x <sc> y" if name == "text" else "2"
    write(tmp_path, **{name: f"a {value}\n"})
    with pytest.raises(UserError, match=f"{name}: lacks id b of .*wav.scp"):
        read_data_dir(tmp_path)
    write(tmp_path, **{name: f"a {value}\nb {value}\nc {value}\n"})
    with pytest.raises(UserError, match=f"wav.scp: lacks id c of .*{name}"):
        read_data_dir(tmp_path)


def test_other_datas_tables_do_not_stay(tmp_path):
    """Else the next stage would compare the ids of two runs."""
    old = {name: {"a": "1"} for name in ("wav.scp", "onsets", "utt2overlap")}
    write_data_dir(tmp_path, old)
    (tmp_path / "notes").write_text("not ours")
    write_data_dir(tmp_path, {"wav.scp": {"b": "1", "c": "2"}}, keep=["b"])
    assert {p.name for p in tmp_path.iterdir()} == {"wav.scp", "notes"}
    assert read_table(tmp_path / "wav.scp") == {"b": "1"}
