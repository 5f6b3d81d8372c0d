"""Claims about text files: packed ones, and what encoding they are in."""

import io
import zipfile
from pathlib import Path

import pytest

from rnnlab.data.tables import read_table
from rnnlab.data.text_files import read_text


def packed(**members: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return data.getvalue()


def test_a_table_alone_in_a_zip_archive_is_read_by_its_own_suffix(tmp_path: Path) -> None:
    (tmp_path / "one.zip").write_bytes(packed(data__t_tsv="a\tb\n1,5\t2\n"))
    assert read_table(tmp_path / "one.zip").frame.to_numpy().tolist() == [["1,5", "2"]]


def test_side_files_of_an_archive_do_not_count_and_several_tables_are_named(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("t.csv", "a,b\n1,2\n")
        archive.writestr("__MACOSX/._t.csv", "x")
        archive.writestr(".DS_Store", "x")
    (tmp_path / "t.zip").write_bytes(data.getvalue())
    assert read_text(tmp_path / "t.zip") == ("a,b\n1,2\n", "t.csv", {"byte order mark": 0})
    (tmp_path / "two.zip").write_bytes(packed(a_csv="a\n1\n", b_csv="a\n1\n"))
    with pytest.raises(ValueError, match=r"two\.zip is a zip archive of 2 files \(a\.csv, b\.csv\): unpack it and name one of them"):
        read_text(tmp_path / "two.zip")


def test_a_workbook_is_named_though_it_is_a_zip_archive(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    (tmp_path / "t.xlsx").write_bytes(data.getvalue())
    with pytest.raises(ValueError, match=r"t\.xlsx is an Excel workbook"):
        read_text(tmp_path / "t.xlsx")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("电影太差了,负面\n酒店很好看,正面\n", "gb18030"), ("Ждать,да\nИдти,нет\n", "cp1251"), ("とても良い,はい\n", "shift_jis"),
     ("아주 좋아요,네\n", "euc-kr")],
)  # fmt: skip
def test_an_encoding_that_cannot_be_told_is_asked_for(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes(("text,label\n" + text).encode(encoding))
    with pytest.raises(ValueError, match=r"t\.csv is not UTF-8, .* save it as UTF-8, such as by `iconv -f gb18030 -t utf-8 t\.csv > NEW`"):
        read_text(tmp_path / "t.csv")
    assert read_text(tmp_path / "t.csv", encoding).text == "text,label\n" + text


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_languages_of_western_europe_are_read_as_they_are(tmp_path: Path, encoding: str) -> None:
    text = "text,label\nÜber Öl läßt sich reden,ja\nÀ côté créée naïve,nein\nEl niño mañana ¿sí?,ja\n"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    found = read_text(tmp_path / "t.csv")
    assert (found.text, found.notes["lines not UTF-8 (whole file read as windows-1252)"]) == (text, 3)
