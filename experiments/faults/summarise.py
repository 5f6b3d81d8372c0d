"""Make results.csv of the recorded trials: one row a part.

python experiments/faults/summarise.py     run.py calls it, too
"""

from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
WHAT = {
    "kills_of_studies": "kills of studies, the same command after each, and two last calls",
    "kills_of_runs": "kills of a single run, then taken up again",
    "writers": "eight processes that begin at once in an empty folder",
    "server": "a tracking server that goes away in the middle of a run",
    "full_disks": "a disk that is full, then has space again",
    "damage": "a damaged file, then a command that reads it",
}


def row_of(part: str, trials: pd.DataFrame) -> dict[str, object]:
    """Return the row of one part."""
    sums = {name: int(trials[name].sum()) for name in ("lost", "doubled", "changed")}
    tried = {"part": part, "what": WHAT[part], "tried": len(trials), "survived": int(trials["went"].sum())}
    return tried | sums | {"seconds": round(trials["seconds"].sum())}


def table(folder: Path) -> pd.DataFrame:
    """Return one row for each part that has trials."""
    files = {part: folder / f"trials_{part}.csv" for part in WHAT}
    return pd.DataFrame([row_of(part, pd.read_csv(file)) for part, file in files.items() if file.exists()])


def written(results: pd.DataFrame) -> str:
    """Return the table in Markdown."""
    names = [name for name in results.columns if name != "part"]
    lines = ["| " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) - 1)]
    return "\n".join(lines + [f"| {' | '.join(str(row[name]) for name in names)} |" for row in results.to_dict("records")])


def summarise(folder: Path = HERE) -> None:
    """Write results.csv, and print it."""
    results = table(folder)
    results.to_csv(folder / "results.csv", index=False)
    print(written(results))


if __name__ == "__main__":
    summarise()
