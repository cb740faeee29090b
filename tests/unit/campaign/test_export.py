"""Rows as CSV."""

import numpy as np
import pandas as pd
import pyarrow.csv as pacsv
import pytest
from folders import POINT, fill, names

from rerax.campaign.block import blocks_of
from rerax.campaign.maintain import export_csv
from rerax.campaign.schema import SCHEMA


def test_every_row_and_column_reads_back(folder, tmp_path):
    from dataclasses import replace

    fill(folder, 40)
    fill(folder, 5, replace(POINT, rate=1 / 3, input_bits=None))
    file = tmp_path / "rows.csv"
    assert export_csv(folder, file) == 45
    found = pacsv.read_csv(file).to_pandas()
    expected = pd.read_parquet(folder)
    assert list(found.columns) == SCHEMA.names
    for name in ("chip", "score", "rate", "sa1_share", "point_hash", "degenerate", "stuck_at_0"):
        assert found[name].tolist() == expected[name].tolist(), name
    assert found.input_bits.isna().sum() == 5
    assert [bytes.fromhex(text) for text in found.correct] == expected.correct.tolist()
    scores = [np.array(text.split(), np.float16) for text in found.prediction]
    np.testing.assert_array_equal(np.stack(scores), np.stack(expected.prediction.tolist()))


def test_an_old_file_is_replaced_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    fill(folder, 8)
    file = tmp_path / "rows.csv"
    file.write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        export_csv(folder, file)
    monkeypatch.undo()
    assert file.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["campaign", "rows.csv"]
    assert export_csv(folder, file) == 8
    assert names(folder) == [b.name for b in blocks_of(POINT, 8)]


def test_damaged_blocks_alone_replace_nothing(folder, tmp_path):
    (block,) = fill(folder, 8)
    (folder / block.name).write_bytes(b"PAR1")
    file = tmp_path / "rows.csv"
    file.write_text("old")
    with (
        pytest.warns(UserWarning, match="cut short or garbled"),
        pytest.raises(ValueError, match="has no finished rows: run rerax sweep"),
    ):
        export_csv(folder, file)
    assert file.read_text() == "old"


def test_nothing_to_export(folder, tmp_path):
    with pytest.raises(ValueError, match="has no finished rows: run rerax sweep"):
        export_csv(folder, tmp_path / "rows.csv")
    with pytest.raises(ValueError, match="is no campaign folder"):
        export_csv(tmp_path, tmp_path / "rows.csv")
    assert not (tmp_path / "rows.csv").exists()
