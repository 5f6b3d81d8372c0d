"""Compare a classifier that begins with a language model with the same network from scratch, on SST-2; write results.csv.

python experiments/pretraining/run.py texts FOLDER    write the texts and the two tables, from a folder with copies of public data
python experiments/pretraining/run.py train           train; a job that has run before is not run again
python experiments/pretraining/run.py table           write results.csv, and print the table of README.md
"""

import random
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd

from rnnlab.paths import HOME, root
from rnnlab.tracking.store import connect, find_runs

HERE, NAME = Path(__file__).parent, "pretraining"
NUM_REVIEWS = 2_500
SIZES = {"sst500": 500, "sst6920": 6920}
EPOCHS = {"sst500": 12, "sst6920": 5}
LABELS = {"0": "negative", "1": "positive"}
NETWORK = "model=lstm frontend.embedding_size=128 model.recurrence.hidden_size=128 model.recurrence.num_layers=2 trainer.num_threads=1"
COMMON = f"tracking.experiment={NAME} tracking.log_model=false {NETWORK}"
LANGUAGE = (
    "data=language data.prepare.tokens=text_word data.loader.max_size=8000 data.loader.batch_size=20 data.loader.tbptt_steps=60 "
    "data.val_fraction=0.02 frontend.dropout=0.2 model.head.is_tied=true epochs=3 optimizer.lr=0.004"
)
CLASSIFIER = (
    "data=text data.by_size=null data.loader.batch_size=32 data.loader.min_frequency=1 data.loader.word_dropout=0.1 frontend.dropout=0.4 "
    "model.head.dropout=0.4 model.recurrence.dropout=0.2 optimizer.lr=0.002 data.prepare.tokens=word"
)
BEGINNINGS = {
    "from scratch": "",
    "pretrained": "init_from={first}",
    "pretrained, unfrozen by layer": "init_from={first} finetune.unfreeze_every_epochs=1 finetune.rate_decay=2.6",
}


def place() -> Path:
    """Return where texts and tables lie."""
    return root() / "data" / "cache" / NAME


def write_texts(folder: Path) -> None:
    """Write reviews of IMDB's training part, a file each, and the tables of SST-2; say what of SST-2 is also in the reviews."""
    reviews, text = place() / "reviews", ""
    reviews.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "aclImdb.tar.xz") as archive:
        for member in archive:
            if found := re.search(r"/train/(pos|neg)/([0-9]+)_[0-9]+\.txt$", member.name):
                if int(found[2]) >= NUM_REVIEWS / 2:
                    continue
                review = (archive.extractfile(member) or sys.stdin.buffer).read().decode().replace("<br />", " ")
                (reviews / f"{found[1]}{found[2]}.txt").write_text(" ".join(review.split()) + "\n", encoding="utf-8")
                text += " " + review
    parts = {part: read(folder / "sst2" / f"stsa.binary.{part}") for part in ("train", "dev", "test")}
    random.Random(0).shuffle(parts["train"])
    for name, size in SIZES.items():
        taken = {"train": parts["train"][:size], "val": parts["dev"], "test": parts["test"]}
        rows = [(*pair, split) for split, pairs in taken.items() for pair in pairs]
        pd.DataFrame(rows, columns=["text", "label", "split"]).to_csv(place() / f"{name}.csv", index=False)
    letters = re.sub(r"[^a-z0-9]", "", text.lower())
    for part in ("dev", "test"):
        inside = [sentence for sentence, _ in parts[part] if re.sub(r"[^a-z0-9]", "", sentence) in letters]
        longer = [sentence for sentence in inside if len(sentence.split()) >= 6]
        count = f"{len(inside)} of {len(parts[part]):,} sentences are in the reviews, letter by letter"
        print(f"{part}: {count}; {len(longer)} of 6 tokens or more")


def read(file: Path) -> list[tuple[str, str]]:
    """Return sentences and labels."""
    return [(line[2:], LABELS[line[0]]) for line in file.read_text(encoding="utf-8").splitlines()]


def run(words: str) -> None:
    """Run a training, or a study.

    Raises:
        SystemExit: if it failed.
    """
    if code := subprocess.run([sys.executable, str(HOME / "src/train.py"), *COMMON.split(), *words.split()]).returncode:
        raise SystemExit(code)


def language_model() -> str:
    """Return the id of the language model, trained if there is none yet."""
    wanted = f"tags.mlflow.runName = '{NAME}_language' and attributes.status = 'FINISHED'"
    if not (runs := find_runs(connect(None, root()), wanted)):
        run(f"{LANGUAGE} data.source={place() / 'reviews'} name={NAME}_language")
        runs = find_runs(connect(None, root()), wanted)
    return str(runs[0].info.run_id)


def train() -> None:
    """Train the language model, then the classifiers, each of three beginnings with three seeds."""
    first = language_model()
    for table in SIZES:
        for number, words in enumerate(BEGINNINGS.values()):
            source = f"data.source={place() / table}.csv epochs={EPOCHS[table]} seed=0,1,2 study.name={NAME}_{table}_{number}"
            run(f"-m {CLASSIFIER} {source} {words.format(first=first)}")


def read_runs() -> pd.DataFrame:
    """Return what was tracked, one row a run."""
    client, rows = connect(None, root()), []
    for found in find_runs(client, f"tags.study LIKE '{NAME}%' and attributes.status = 'FINISHED'"):
        params, metrics, tags = found.data.params, found.data.metrics, found.data.tags
        if tags.get("kind") == "study":
            continue
        begun = params.get("init_from", "None") != "None"
        is_unfrozen = params.get("finetune.unfreeze_every_epochs", "None") != "None"
        rows.append(
            {
                "set": Path(tags["source"]).stem,
                "beginning": [*BEGINNINGS][begun + is_unfrozen],
                "seed": params.get("seed", "0"),
                "parameters": params.get("num_parameters", ""),
                "validation": metrics["best/accuracy"],
                "test": metrics["test/accuracy"],
                "seconds": round(metrics["time/fit_seconds"], 1),
                "run": found.info.run_id,
                "test_hash": tags["test_hash"],
            }
        )
    return pd.DataFrame(rows).sort_values(["set", "beginning", "seed"], ignore_index=True)


def write_table() -> None:
    """Write results.csv and print means and standard deviations over seeds, in percent."""
    runs = read_runs()
    runs.to_csv(HERE / "results.csv", index=False)
    for (name, beginning), group in runs.groupby(["set", "beginning"]):
        val, test = 100 * group["validation"], 100 * group["test"]
        spreads = " | ".join(f"{values.mean():.1f} ± {values.std():.1f}" for values in (val, test))
        print(f"| {SIZES[str(name)]:,} | {beginning} | {spreads} | {', '.join(f'{value:.1f}' for value in test)} |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["texts", folder]:
            write_texts(Path(folder))
        case ["train"]:
            train()
        case ["table"]:
            write_table()
        case _:
            sys.exit(__doc__)
