"""Jobs that differ by their seed alone are composed once."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, TaskFunction
from omegaconf import OmegaConf

from rnnlab.config import ConfigError
from rnnlab.paths import CONF, HOME
from rnnlab.studies.runner import Runner


def test_nothing_in_the_configuration_follows_from_the_seed() -> None:
    assert [file for file in CONF.rglob("*.yaml") if re.search(r"\$\{[.\w]*\bseed\}", file.read_text(encoding="utf-8"))] == []


def test_a_job_with_another_seed_is_what_composing_it_gives(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_ROOT", str(root))
    monkeypatch.setenv("RNNLAB_HOME", str(HOME))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["study=cells"], return_hydra_config=True)
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.job.config_name = "config"
        loader = GlobalHydra.instance().config_loader()

        def runner() -> Runner:
            task: TaskFunction = lambda composed: None  # noqa: E731
            return Runner(HydraContext(config_loader=loader, callbacks=None), task, config, {}, ["model.budget=null"])

        kept = runner()
        for words in (["model=lstm", "seed=0"], ["seed=3", "model=lstm"], ["model=lstm", "seed=3"], ["data=text", "seed=3"], ["model=gru"]):
            ours, anew = kept.compose(words), runner()._composed(["model.budget=null", *words])
            assert ours.composed == anew and ours.seed == anew.values["seed"]
        assert len(kept.composed) == 3
        with pytest.raises(ConfigError, match="seed=99999999999 is not allowed"):
            kept.compose(["seed=99999999999"])
