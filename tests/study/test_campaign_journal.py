import json

import pytest

from neurofault.errors import UsageError
from neurofault.study.campaign.journal import Journal, line_of, read_rows

ROWS = [{"trial": f"{n:032x}", "draw": n, "message": "ü\n" * n, "correct": n / 7} for n in range(6)]


def filled(path):
    with Journal(path) as journal:
        for row in ROWS:
            journal.add(row)
    return path.read_bytes()


def test_what_is_added_is_read(tmp_path):
    filled(tmp_path / "j")
    assert read_rows(tmp_path / "j").rows == tuple(ROWS)
    assert read_rows(tmp_path / "none").rows == ()


def test_cut_at_every_byte_it_gives_the_whole_lines_and_goes_on(tmp_path):
    whole = filled(tmp_path / "j")
    path = tmp_path / "cut"
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        lines = whole[:end].count(b"\n")
        read = read_rows(path)
        assert read.rows == tuple(ROWS[:lines])
        assert (read.damaged, read.torn) == (0, end - (whole[:end].rfind(b"\n") + 1))
        with Journal(path) as journal:
            for row in ROWS[lines:]:
                journal.add(row)
        assert path.read_bytes() == whole


def test_a_changed_byte_costs_its_line_alone(tmp_path):
    whole = filled(tmp_path / "j")
    starts = [0, *[at + 1 for at, byte in enumerate(whole) if byte == 10][:-1]]
    for number, start in enumerate(starts):
        changed = bytearray(whole)
        changed[start + 30] ^= 1
        (tmp_path / "j").write_bytes(changed)
        read = read_rows(tmp_path / "j")
        assert read.rows == tuple(row for at, row in enumerate(ROWS) if at != number)
        assert read.damaged == 1


def test_a_line_is_its_hash_and_json():
    line = line_of({"a": 1})
    assert line.endswith(b' {"a": 1}\n')
    assert len(line.split(b" ", 1)[0]) == 16
    assert json.loads(line[17:]) == {"a": 1}


def test_a_second_writer_is_refused_while_the_first_is_at_work(tmp_path):
    with Journal(tmp_path / "j"), pytest.raises(UsageError, match="another run writes to it"):
        Journal(tmp_path / "j")
    Journal(tmp_path / "j").close()
