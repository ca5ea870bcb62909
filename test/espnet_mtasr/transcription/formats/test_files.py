"""The table of formats, and the files that are written."""

import json
import subprocess
import sys

import pytest
from helpers.transcripts import hard_transcript, make_transcript

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.formats import (
    FORMATS,
    output_paths,
    render,
    write_transcripts,
)

SUFFIXES = {
    "txt": ".txt",
    "json": ".json",
    "jsonl": ".jsonl",
    "seglst": ".seglst.json",
    "stm": ".stm",
    "rttm": ".rttm",
    "ctm": ".ctm",
    "srt": ".srt",
    "vtt": ".vtt",
    "textgrid": ".TextGrid",
}


def files_in(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_formats_are_listed_without_heavy_imports():
    code = (
        "import sys; from espnet_mtasr.transcription.formats import FORMATS; "
        "print(*FORMATS); print({'meeteval', 'praatio', 'pysubs2', 'torch', 'numpy'} "
        "& set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [" ".join(SUFFIXES), "set()"], done.stderr


class TestRender:
    def test_unknown_format(self):
        with pytest.raises(
            UserError, match="'doc': choose from txt, json, jsonl, seglst"
        ):
            render([], "doc")

    @pytest.mark.parametrize("format", ["srt", "vtt", "textgrid"])
    def test_formats_of_one_recording(self, format):
        transcripts = [make_transcript([], recording=name) for name in "ab"]
        only_one = f"{format} can only contain one recording, not 2"
        with pytest.raises(UserError, match=only_one):
            render(transcripts, format)

    @pytest.mark.parametrize("format", ["txt", "json", "seglst", "stm", "rttm", "ctm"])
    def test_two_recordings_of_one_name(self, format):
        with pytest.raises(UserError, match="two recordings are called 'mix'"):
            render([make_transcript([]), make_transcript([("w", 0, 1)])], format)


class TestWriteTranscripts:
    def test_every_format(self, tmp_path):
        transcripts = [hard_transcript(), make_transcript([("w", 0, 1)])]
        written = write_transcripts(transcripts, tmp_path / "new" / "out", FORMATS)
        names = [name + s for name in ("a mix", "mix") for s in SUFFIXES.values()]
        assert [path.name for path in written] == names
        assert files_in(tmp_path / "new" / "out") == sorted(names)
        for path, format in zip(written, SUFFIXES):
            expected = render([hard_transcript()], format)
            assert path.read_text(encoding="utf-8") == expected

    def test_names_with_folders_and_dots(self, tmp_path):
        names = ["a/mix", "b/mix", "mix", "mix.1"]
        transcripts = [make_transcript([("w", 0, 1)], recording=n) for n in names]
        write_transcripts(transcripts, tmp_path, ["txt", "txt"])
        expected = ["a/mix.txt", "b/mix.txt", "mix.1.txt", "mix.txt"]
        assert files_in(tmp_path) == expected
        assert (tmp_path / "b" / "mix.txt").read_text().startswith("b/mix: 1 talker")

    def test_name_that_is_no_utf8(self, tmp_path):
        transcript = make_transcript([("w", 0, 1)], recording="caf\udce9")
        for path in write_transcripts([transcript], tmp_path, FORMATS):
            path.read_text(encoding="utf-8")
        assert b"caf\xe9.TextGrid" in [
            bytes(p.name, "utf-8", "surrogateescape") for p in tmp_path.iterdir()
        ]

    def test_an_earlier_run_is_replaced(self, tmp_path):
        for word in ("old", "new"):
            write_transcripts([make_transcript([(word, 0, 1)])], tmp_path, ["json"])
        said = json.loads((tmp_path / "mix.json").read_text())
        assert said["talkers"][0]["text"] == "new"

    @pytest.mark.parametrize(
        "names, message",
        [
            (["mix", "mix"], "mix.json: two recordings, 'mix' and 'mix'"),
            (["a/mix", "a//mix"], "two recordings, 'a/mix' and 'a//mix'"),
            (["mix", "mix.seglst"], "mix.seglst.json: two recordings"),
            (["../mix"], "'../mix' can't name a file"),
            (["/mix"], "'/mix' can't name a file"),
            ([""], "'' can't name a file"),
        ],
    )
    def test_names_that_would_lose_a_file(self, tmp_path, names, message):
        transcripts = [make_transcript([], recording=name) for name in names]
        with pytest.raises(UserError, match=message):
            write_transcripts(transcripts, tmp_path, ["json", "seglst"])
        with pytest.raises(UserError, match=message):
            output_paths(names, tmp_path, ["json", "seglst"])
        assert files_in(tmp_path) == []

    def test_nothing_is_written_if_a_text_fails(self, tmp_path):
        bad = make_transcript([("two words", 0, 1)], recording="bad")
        with pytest.raises(ValueError):
            write_transcripts([make_transcript([]), bad], tmp_path, ["txt"])
        assert files_in(tmp_path) == []

    def test_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(UserError, match="out is a file: give a folder"):
            write_transcripts([make_transcript([])], tmp_path / "out", ["txt"])

    def test_unknown_format(self, tmp_path):
        with pytest.raises(UserError, match="unknown format 'doc'"):
            output_paths(["mix"], tmp_path, ["txt", "doc"])
