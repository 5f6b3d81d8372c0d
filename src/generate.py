"""Let a model go on with a text or a piece of music.

python src/generate.py run=RUN_ID prompt="the beginning of a text"
python src/generate.py run=last prompt="KING:" temperature=0.8 num_tokens=500
python src/generate.py run=RUN_ID prompt="..." num_samples=3 top_p=0.9 seed=7
python src/generate.py run=RUN_ON_MUSIC prompt=piece.mid num_tokens=64 output=continued.mid
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("generate")
