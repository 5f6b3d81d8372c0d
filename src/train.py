"""Train one recurrent network, or fit a baseline, on one sequence task, tracked in MLflow.

python src/train.py model=gru data=speech
python src/train.py model=birnn cell=lstm frontend=convolution data.split=speaker data.fold=2
python src/train.py model=birnn data=text data.source=FILE.csv
python src/train.py model=gru data=stock data.target=volatility
python src/train.py model=baseline data=text
python src/train.py model=gru data=speech trainer=ddp trainer.devices=4
python src/train.py -m model=srnn,lstm,gru seed=0,1,2
python src/train.py resume=RUN_ID
python src/train.py --help
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("train")
