"""List what deleted and killed runs left on the disk, and free it when asked.

python src/clean.py
python src/clean.py remove=true
python src/clean.py only=deleted remove=true
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("clean")
