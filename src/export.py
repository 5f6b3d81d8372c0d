"""Export a run's network to files that run without rnnlab: ONNX graphs or TorchScript programs.

python src/export.py run=RUN_ID
python src/export.py run=RUN_ID format=torch
python src/export.py run=RUN_ID part=step to=FOLDER
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("export")
