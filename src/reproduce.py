"""Make a finished run again from what it recorded, and say whether its numbers come out the same.

python src/reproduce.py run=RUN_ID
python src/reproduce.py run=RUN_ID check=true
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("reproduce")
