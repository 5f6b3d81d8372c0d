"""The command line: Hydra composes, we check first, so that a wrong word costs a third of a second and a line, not a traceback.

Only this file and `sweep.py` know Hydra; nothing heavy is imported before the words have been checked.
"""

import gc
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from rnnlab.config import Config, ConfigError, Failed, flatten, nearest
from rnnlab.paths import CONF, HOME, root
from rnnlab.smoke import is_smoke, shortened
from rnnlab.training.launching import begin_worker, refuse_sweep

FLAGS = {"--status": "status=true", "tuned=null": "~tuned"}
"""Words that Hydra reads otherwise than people mean them, and what they mean."""
OTHER_NAMES = {"compare": {"study": "study_name", "data": "data_name"}}
"""What people type where `conf/` has a group of that name, but a script wants a mere name, and the key that takes it."""
LISTS = ("data_name", "run", "filter", "text")
"""Keys whose values are one text, commas included."""
PATHS = ("input", "output", "maps", "explain", "rolls", "data.source", "data.mirror", "data.loader.vectors")
"""Keys whose values are paths, which may hold blanks and letters of any language."""


def main(config_name: str, run: Callable[[Config], float | None]) -> None:
    """Compose the configuration that the command line asks for and run it, once or for every job of a sweep.

    Exits 2 where nothing was begun, since words, files or data are wrong; 1 where what was begun failed; 130 after an interrupt.
    """
    begin_worker()
    _set_environment()
    # Threads that wait must soon sleep: with another process on the machine, spinning ones make a step many times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Each shape of batch has its own compiled kernels: kept for all shapes, they fill gigabytes and save nothing.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig

    typed = shortened(config_name, sys.argv[1:], CONF) if is_smoke() else sys.argv[1:]
    sys.argv[1:] = [as_hydra_reads(config_name, word) for word in typed]
    words = _overrides(sys.argv[1:])
    try:
        check_words(config_name, words)
    except ConfigError as error:
        _fail(str(error), 2)

    def job(composed: DictConfig) -> float | None:
        hydra_config = HydraConfig.get()
        is_sweep = hydra_config.mode == RunMode.MULTIRUN
        config = as_config(composed, hydra_config.runtime.choices, list(hydra_config.overrides.task))
        try:
            if is_sweep:
                refuse_sweep()
            return run(config)
        except ValueError as error:
            if os.environ.get("RNNLAB_TRACEBACK"):
                raise
            if not is_sweep:
                _fail(str(error), 1 if isinstance(error, Failed) else 2)
            print(f"\nerror: {error}\n", file=sys.stderr)
            raise
        except Exception:
            if is_sweep:  # the sweep goes on, and lists it at the end
                traceback.print_exc()
            raise
        finally:
            gc.collect()  # a trainer, its model and its optimizer point at each other: the next job of a sweep needs their room

    with warnings.catch_warnings():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()


def as_hydra_reads(config_name: str, word: str) -> str:
    """Return what Hydra is given for a word that a person typed."""
    if word in FLAGS:
        return FLAGS[word]
    key, equals, value = word.partition("=")
    return quoted(f"{OTHER_NAMES.get(config_name, {}).get(key, key)}{equals}{value}")


def quoted(word: str) -> str:
    """Put quotes around a value that Hydra's grammar would take apart: a text always, a path where it is no plain word.

    Args:
        word: as typed, e.g. `text=don't, please`.
    """
    key, equals, value = word.partition("=")
    comma = "," if key.startswith("data.") else ""  # of several sources, a sweep's
    is_plain = bool(re.fullmatch(rf"[\w./:@%+~{comma}-]*", value, re.ASCII)) or value[:1] in ("[", "{")
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if not equals or is_quoted or not (key in LISTS or (key in PATHS and not is_plain)):
        return word
    escaped = re.sub(r"(\\*)'", r"\1\1\'", value)  # backslashes count only before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped).replace("${", "\\${")
    return f"{key}='{escaped}'"


def _overrides(words: list[str]) -> list[str]:
    """Return the words that change the configuration: not options, nor what belongs to one (`--cfg job`)."""
    takes_value = ("--cfg", "-c", "--package", "-p", "--info", "-i", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")
    return [word for before, word in zip(["", *words], words, strict=False) if not word.startswith("-") and before not in takes_value]


def compose_config(config_name: str, words: list[str]) -> Config:
    """Compose and check one configuration without running it."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    _set_environment()
    words = [FLAGS.get(word, word) for word in words]
    check_words(config_name, words)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(config_name, words, return_hydra_config=True)
    choices = composed.hydra.runtime.choices
    OmegaConf.set_struct(composed, False)
    del composed["hydra"]
    return as_config(composed, choices, words)


def as_config(composed: Any, choices: Any, words: list[str]) -> Config:
    """Return a composed configuration as plain values, with the choices and words that made it."""
    from omegaconf import OmegaConf

    config: Config = OmegaConf.to_container(composed, resolve=False)  # type: ignore[assignment]
    config.pop("hydra", None)
    config = OmegaConf.to_container(OmegaConf.create(config), resolve=True)  # type: ignore[assignment]
    if "model" in config:  # a budget is met before the class is asked
        config["budget"] = config["model"].pop("budget", None)
    config["choices"] = {k: v for k, v in choices.items() if "hydra" not in k and "@" not in k and k != "paths"}
    config["words"] = words
    return config


def _set_environment() -> None:
    os.environ["RNNLAB_ROOT"], os.environ["RNNLAB_HOME"] = str(root()), str(HOME)


def check_words(config_name: str, words: list[str]) -> None:
    """Refuse misspelt groups, choices and keys, in every job of a sweep.

    Raises:
        ConfigError: with the nearest valid name.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        overrides = OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise ConfigError(f"{str(error).splitlines()[0]} Write KEY=VALUE or GROUP=CHOICE; see --help") from None
    groups = {p.relative_to(CONF).as_posix() for p in CONF.rglob("*") if p.is_dir() and "hydra" not in p.parts}
    chosen, keys, left_out = [], [], []
    for override in overrides:
        if override.key_or_group in groups and not override.is_delete():
            chosen.append((override, _check_choice(override)))
        elif override.key_or_group in groups:
            left_out.append(override.input_line)
        elif not override.key_or_group.startswith("hydra") and not override.is_add():
            keys.append(override)
    first = [values[0] for _, values in chosen]
    combinations = [first] + [
        [*first[:index], value, *first[index + 1 :]] for index, (_, values) in enumerate(chosen) for value in values[1:]
    ]
    known: set[str] = set()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for combination in combinations:
            try:
                config = OmegaConf.to_container(compose(config_name, [*combination, *left_out]), resolve=False)
            except (HydraException, OmegaConfBaseException) as error:
                raise ConfigError(" ".join(str(error).split())) from None
            known |= _prefixes(flatten(config))  # type: ignore[arg-type]
    for override in keys:
        if override.key_or_group not in known:
            name = override.key_or_group
            hint = nearest(name, known | groups) or _same_ending(name, known)
            listed = sorted(group for group in groups if any((CONF / group).glob("*.yaml")))
            raise ConfigError(f"{name!r} is not a key or group.{hint} Groups: {', '.join(listed)}. All keys: add --cfg job")


def _check_choice(override: Any) -> list[str]:
    """Return the group override as words, one per choice of a sweep; refuse unknown choices."""
    from hydra.core.override_parser.types import Glob

    group = override.key_or_group
    options = sorted(p.stem for p in (CONF / group).glob("*.yaml"))
    if isinstance(override.value(), Glob):
        raise ConfigError(f"{override.input_line} is not allowed: list the choices, {group}={','.join(options)}")
    values = override.sweep_iterator() if override.is_sweep_override() else [override.get_value_element_as_str()]
    words = []
    for value in (str(v).strip("'\"") for v in values):
        if value not in [*options, "null"]:
            raise ConfigError(f"{group}={value}: there is no such choice.{nearest(value, options)} Choices: {', '.join(options)}")
        words.append(f"{group}={value}")
    return words


def _same_ending(name: str, known: set[str]) -> str:
    """Point at a key elsewhere whose last word is the one meant."""
    last = name.rpartition(".")[2]
    endings: dict[str, str] = {}
    for key in sorted(known, key=len):
        endings.setdefault(key.rpartition(".")[2], key)
    if last in endings:
        return f" Did you mean {endings[last]!r}?"
    close = nearest(last, endings)
    return f" Did you mean {endings[close.split(chr(39))[1]]!r}?" if close else ""


def _prefixes(flat: dict[str, Any]) -> set[str]:
    names = set()
    for key in flat:
        parts = key.split(".")
        names |= {".".join(parts[: index + 1]) for index in range(len(parts))}
    return names


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
