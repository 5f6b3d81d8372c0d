"""Compare groups of runs with evidence, and write a report.

python src/compare.py study=cells data=trec
python src/compare.py study=cells data=trec --status
python src/compare.py parent=RUN_ID
python src/compare.py filter="params.data = 'trec'"
python src/compare.py run=RUN_ID,RUN_ID
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("compare")
