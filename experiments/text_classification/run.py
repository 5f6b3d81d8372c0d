"""Make word vectors from prepared texts, without their labels: co-occurrence, positive PMI, SVD (Levy, Goldberg & Dagan 2015).

python experiments/text_classification/run.py FILE [DATA ...]     e.g. data/cache/vectors.txt imdb

Only training texts are read, tokens as `data.prepare.tokens=word` cuts them; FILE gets GloVe's text format (for data.loader.vectors).
"""

import sys
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd

from rnnlab.cli import compose_config
from rnnlab.settings import TrainSettings

NUM_WORDS, SIZE, WINDOW = 30_000, 128, 5
SMOOTHING, EIGENVALUE_WEIGHT = 0.75, 0.5


def read(names: list[str]) -> tuple[list[str], list[np.ndarray]]:
    """Return the most frequent words of all training texts, and each text as their numbers (-1 for other words)."""
    types: dict[str, int] = {}
    texts: list[np.ndarray] = []
    for name in names:
        settings = TrainSettings.of(compose_config("config", [f"data={name}"]))
        data = settings.data.recipe()(settings.paths, 0)
        data.setup()
        numbers = np.array([types.setdefault(word, len(types)) for word in data.types])
        for row in data.rows["train"]:
            texts.append(numbers[data.data.values[data.data.offsets[row] : data.data.offsets[row + 1]]])
    counts = np.bincount(np.concatenate(texts), minlength=len(types))
    chosen = np.argsort(-counts, kind="stable")[:NUM_WORDS]
    places = np.full(len(types), -1)
    places[chosen] = np.arange(len(chosen))
    words = list(types)
    return [words[number] for number in chosen], [places[text] for text in texts]


def cooccurrence(texts: list[np.ndarray], num_words: int) -> csr_matrix:
    """Count pairs within a window, nearer ones for more (1 / distance), in both directions."""
    gap = np.full(WINDOW, -1)
    stream = np.concatenate([part for text in texts for part in (text, gap)])
    total = csr_matrix((num_words, num_words))
    for distance in range(1, WINDOW + 1):
        left, right = stream[:-distance], stream[distance:]
        is_pair = (left >= 0) & (right >= 0)
        ones = np.full(int(is_pair.sum()), 1 / distance, dtype=np.float32)
        total = total + coo_matrix((ones, (left[is_pair], right[is_pair])), shape=(num_words, num_words)).tocsr()
    return total + total.T


def vectors(counts: csr_matrix) -> np.ndarray:
    """Return (V, SIZE) from the positive PMI with smoothed contexts."""
    pairs = counts.tocoo()
    words = np.asarray(counts.sum(1)).ravel()
    contexts = words**SMOOTHING
    contexts /= contexts.sum()
    pmi = np.log(pairs.data / (words[pairs.row] * contexts[pairs.col]))
    positive = csr_matrix((np.maximum(pmi, 0), (pairs.row, pairs.col)), shape=counts.shape)
    left, values, _ = randomized_svd(positive, SIZE, random_state=0)
    found = left * values**EIGENVALUE_WEIGHT
    return found / found.std()


def main() -> None:
    """Make and write."""
    file, *names = sys.argv[1:]
    words, texts = read(names or ["imdb"])
    found = vectors(cooccurrence(texts, len(words))) * 0.1
    lines = (f"{word} {' '.join(f'{value:.4f}' for value in row)}\n" for word, row in zip(words, found, strict=True))
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text("".join(lines), encoding="utf-8")
    print(f"{len(words):,} vectors of {SIZE} numbers from {len(texts):,} texts: {file}")


if __name__ == "__main__":
    main()
