"""Columns of a JSON or JSON Lines file, with every value as the file has it: no type is inferred."""

import json
from pathlib import Path
from typing import Any


class ExactFloat(float):
    """A decimal number whose text has the digits of the file, for example `0.10`."""

    def __new__(cls, text: str) -> "ExactFloat":
        number = super().__new__(cls, text)
        number._text = text
        return number

    def __repr__(self) -> str:
        return self._text


_DECODER = json.JSONDecoder(parse_float=ExactFloat)


def read_json(path: Path) -> dict[str, list[Any]]:
    """
    Return the columns of a file that holds a list of records, or one record per line.

    Integers are exact, decimal numbers are [`ExactFloat`], dates stay text. Blank lines are skipped.

    Returns:
        `dict[str, list]`: one value per record for every key that some record has; `None` where a record lacks it.

    Raises:
        ValueError: for a file that is not UTF-8, a line that is not JSON, or a row that is not a record.
        OSError: where the file cannot be read.
    """
    text = _decode(path.read_bytes(), path)
    if text.lstrip()[:1] == "[":
        records = _parse(text, path)
    else:
        records = [_parse(line, path, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(
                f"row {row} of {path} must be a record of columns and their values, got {type(record).__name__}: "
                'write it as {"prompt": "...", "solution": "..."}'
            )
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")  # with a byte order mark or without
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"the data set {path} must be UTF-8 text, got the byte 0x{error.object[error.start]:02X} in line {line}: "
            "save it as UTF-8"
        ) from None


def _parse(text: str, path: Path, line: int = 1) -> Any:
    """Return the value of a text that begins in this line of the file."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"line {line + error.lineno - 1} of {path} is not valid JSON ({error.msg} at character {error.colno}): the "
            "file must hold one record per line, or one list of records"
        ) from None
    except RecursionError:
        raise ValueError(f"the data set {path} is nested too deeply in line {line} or later: flatten it") from None
    except ValueError:  # Python reads integers of up to 4300 digits
        raise ValueError(
            f"the data set {path} has an integer of too many digits in line {line} or later: write it as text"
        ) from None
