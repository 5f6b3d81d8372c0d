"""Compare the defaults of one's own texts with those for any data and with TF-IDF, on tables of 500 to 60,000 rows; write results.csv.

python experiments/own_texts/run.py tables FOLDER     write the four held-back tables, from a folder with copies of public data
python experiments/own_texts/run.py train             train; a job that has run before is not run again
python experiments/own_texts/run.py table             write results.csv, and print the table of README.md
"""

import csv
import gzip
import json
import random
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rnnlab.paths import HOME, root
from rnnlab.tracking.store import connect, find_runs

Pair = tuple[str, str]
HERE, NAME = Path(__file__).parent, "own_texts"
SETS = {"snips500": 500, "ag5000": 5000, "poems12k": 12000, "sources60k": 60000}
TOPICS = ("World", "Sports", "Business", "SciTech")
NUM_POETS = 12
COMMON = f"data=text tracking.experiment={NAME} tracking.log_model=false"


def distinct(pairs: Iterable[Pair]) -> list[Pair]:
    """Keep the first of texts that are the same."""
    return list({text.casefold(): (text, label) for text, label in reversed(list(pairs)) if text}.values())[::-1]


def shuffled(pairs: Iterable[Pair]) -> list[Pair]:
    """Return distinct pairs in an order that depends on nothing else."""
    found = distinct(pairs)
    random.Random(0).shuffle(found)
    return found


def snips(folder: Path) -> tuple[list[Pair], list[Pair]]:
    """Spoken commands, seven intents."""
    pairs: list[Pair] = []
    for part in ("train", "valid", "test"):
        texts, labels = ((folder / "snips" / part / name).read_text(encoding="utf-8").splitlines() for name in ("seq.in", "label"))
        pairs += [(" ".join(text.split()), label.strip()) for text, label in zip(texts, labels, strict=True)]
    found = shuffled(pairs)
    return found[:500], found[500:3500]


def ag_news(folder: Path) -> tuple[list[Pair], list[Pair]]:
    """News of four topics: a sample of the training set, and of the official test set."""
    with (folder / "ag_news/train_sample5000.csv").open(newline="", encoding="utf-8") as file:
        train = [(row[0], TOPICS[int(row[1])]) for row in csv.reader(file)]
    with (folder / "ag_news/test.csv").open(newline="", encoding="utf-8") as file:
        test = [(f"{row[1]} {row[2]}", TOPICS[int(row[0]) - 1]) for row in csv.reader(file)]
    return shuffled(train), shuffled(test)[:3000]


def poems(folder: Path) -> tuple[list[Pair], list[Pair]]:
    """Who of twelve poets wrote these two lines? Poems of the test are others than those of training."""
    of_poet: dict[str, list[list[str]]] = {}
    with tarfile.open(folder / "poems/songci.tar.xz") as archive:
        for member in archive:
            if member.name.endswith(".json") and (file := archive.extractfile(member)):
                for poem in json.load(file):
                    of_poet.setdefault(poem["author"], []).append(poem["paragraphs"])
    known = [poet for poet in of_poet if poet != "无名氏"]
    parts: tuple[list[Pair], list[Pair]] = ([], [])
    for poet in sorted(known, key=lambda poet: -sum(map(len, of_poet[poet])))[:NUM_POETS]:
        random.Random(0).shuffle(own := of_poet[poet])
        for number, lines in enumerate(own):
            parts[number >= 0.8 * len(own)].extend((lines[i] + lines[i + 1], poet) for i in range(0, len(lines) - 1, 2))
    return shuffled(parts[0])[:12000], shuffled(parts[1])[:2500]


def sources(folder: Path) -> tuple[list[Pair], list[Pair]]:
    """Eight words in a row, out of a novel, a newspaper, film reviews, captions or plays?"""
    texts = {
        "novel": gzip.decompress((folder / "warpeace/warpeace_input.txt.gz").read_bytes()).decode("utf-8-sig"),
        "newspaper": gzip.decompress((folder / "ptb/ptb.train.txt.gz").read_bytes()).decode().replace("<unk>", " ").replace(" N ", " "),
        "captions": gzip.decompress((folder / "multi30k/train.en.gz").read_bytes()).decode(),
        "plays": (folder / "shakespeare/input.txt").read_text(encoding="utf-8"),
        "reviews": "",
    }
    with tarfile.open(folder / "aclImdb.tar.xz") as archive:
        reviews = [member for member in archive if re.search(r"/test/(pos|neg)/[0-9]{1,4}_", member.name)]
        for member in sorted(reviews, key=lambda member: member.name)[:2500]:
            texts["reviews"] += (archive.extractfile(member) or sys.stdin.buffer).read().decode().replace("<br />", " ") + "\n"
    pairs: list[Pair] = []
    for name, text in texts.items():
        words = re.findall(r"[a-z']+", text.lower())
        pairs += shuffled((" ".join(words[i : i + 8]), name) for i in range(0, len(words) - 7, 8))[:17000]
    found = shuffled(pairs)
    return found[:60000], found[60000:64000]


def write_tables(folder: Path) -> None:
    """Write the tables, with the columns text, label and split."""
    makers = {"snips500": snips, "ag5000": ag_news, "poems12k": poems, "sources60k": sources}
    for name, make in makers.items():
        train, test = make(folder)
        rows = [(*pair, "train") for pair in train] + [(*pair, "test") for pair in test]
        file_of(name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=["text", "label", "split"]).to_csv(file_of(name), index=False)
        print(f"{file_of(name)}: {len(train):,} + {len(test):,}")


def file_of(name: str) -> Path:
    """Return where a table lies."""
    return root() / "data" / "cache" / NAME / f"{name}.csv"


def train() -> None:
    """Run the studies: the defaults on all sets, those for any data on the smallest, TF-IDF on all.

    Raises:
        SystemExit: if one failed.
    """
    every, smallest = ",".join(str(file_of(name)) for name in SETS), file_of("snips500")
    parallel = "hydra/launcher=joblib hydra.launcher.n_jobs=4"
    for words in (
        f"model=baseline baseline.kind=tfidf data.source={every} study.name={NAME}_tfidf",
        f"data.source={every} seed=0,1,2 study.name={NAME} {parallel}",
        f"data.source={smallest} data.by_size=null seed=0,1,2 study.name={NAME}_before {parallel}",
    ):
        if code := subprocess.run([sys.executable, str(HOME / "src/train.py"), "-m", *COMMON.split(), *words.split()]).returncode:
            raise SystemExit(code)


def read_runs() -> pd.DataFrame:
    """Return what was tracked, one row a run."""
    client, rows = connect(None, root()), []
    for run in find_runs(client, f"tags.study LIKE '{NAME}%' and attributes.status = 'FINISHED'"):
        if run.data.tags.get("kind") == "study":
            continue
        params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
        suited = params.get("data.suited_to", "None")
        rows.append(
            {
                "set": Path(tags["source"]).stem,
                "what": "tfidf" if tags.get("baseline") else "before" if suited == "None" else "by size",
                "seed": params.get("seed", "0"),
                "epochs": params.get("trainer.max_epochs", "") if not tags.get("baseline") else "",
                "validation": metrics["best/accuracy"] if "best/accuracy" in metrics else metrics["val/accuracy"],
                "test": metrics["test/accuracy"],
                "seconds": round(metrics["time/fit_seconds"], 1),
                "run_id": run.info.run_id,
                "test_hash": tags["test_hash"],
            }
        )
    return pd.DataFrame(rows).sort_values(["set", "what", "seed"], key=lambda column: column.map(_order), ignore_index=True)


def _order(value: str) -> int:
    return [*SETS, "tfidf", "before", "by size"].index(value) if not str(value).isdigit() else int(value)


def table(rows: pd.DataFrame) -> str:
    """Write the table of README.md: accuracy on test in percent."""
    lines = ["| rows | set | TF-IDF | defaults by size, mean ± s.d. | less TF-IDF | each seed |", "|---|---|---|---|---|---|"]
    for name, size in SETS.items():
        own = rows[rows["set"] == name]
        tfidf, found = (100 * own[own["what"] == what]["test"] for what in ("tfidf", "by size"))
        each = ", ".join(f"{value:.1f}" for value in found)
        mean = found.mean()
        gain = mean - tfidf.iloc[0]
        spread = f" ± {found.std():.1f}" if len(found) > 1 else ""
        lines.append(f"| {size:,} | {name} | {tfidf.iloc[0]:.1f} | {mean:.1f}{spread} | {gain:+.1f} | {each} |")
    return "\n".join(lines)


def main() -> None:
    """Run one step."""
    if sys.argv[1:2] == ["tables"] and len(sys.argv) == 3:
        write_tables(Path(sys.argv[2]))
    elif sys.argv[1:] == ["train"]:
        train()
    elif sys.argv[1:] == ["table"]:
        rows = read_runs()
        rows.to_csv(HERE / "results.csv", index=False)
        print(table(rows))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
