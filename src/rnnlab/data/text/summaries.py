"""`data=summaries`: texts and their summaries, as pairs of which one is much shorter: a named set, the bundled sample, or a table.

All that pairs of sentences have (`data=translation`) holds of them, too; a text may have several summaries, of which the best counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import pandas as pd

from rnnlab.data.text.translation import TranslationData


@final
@dataclass(eq=False, repr=False, kw_only=True)
class SummaryData(TranslationData):
    """Give batches of texts and their summaries.

    `source` is `scitldr`, `ag_titles`, `sample`, or the path of a table with a text and a summary (JSON lines: or a list of them) a row.
    """

    sample = "summaries"
    sample_settings: ClassVar[Mapping[str, str | None]] = {"split": "auto", "source_language": "en", "target_language": "en"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.goal != "summarise":
            raise ValueError(f"data={self.name} is for summaries: data.goal={self.goal} is for data=translation")

    def read_raw(self, raw: Path) -> pd.DataFrame:
        return super().read_raw(raw / "notices.jsonl" if self.source == "sample" else raw)
