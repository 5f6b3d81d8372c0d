"""The command line: Hydra composes, we check first, so that a wrong word costs a third of a second and a line, not a traceback.

Only this file and `sweep.py` know Hydra; nothing heavy is imported before the words have been checked.
"""

import contextlib
import errno
import gc
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from rnnlab.training import signals

with signals.stopping_at_once():  # these take a while
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob, Override
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from rnnlab.config import Config, ConfigError, Failed, flatten, nearest
    from rnnlab.paths import CONF, HOME, root
    from rnnlab.settings import Choices, Composed
    from rnnlab.tracking.address import without_credentials, without_secrets
    from rnnlab.training.launching import begin_worker, refuse_sweep

FLAGS = {"--status": "status=true", "tuned=null": "~tuned"}
"""Words that Hydra reads otherwise than people mean them, and what they mean."""
OTHER_NAMES = {"compare": {"study": "study_name", "data": "data_name"}}
"""What people type where `conf/` has a group of that name, but a script wants a mere name, and the key that takes it."""
LISTS = ("data_name", "run", "filter", "text")
"""Keys whose values are one text, commas included."""
PATHS = ("input", "output", "maps", "explain", "rolls", "data.source", "data.mirror", "data.loader.vectors")
"""Keys whose values are paths, which may hold blanks and letters of any language."""


Command = Callable[[Composed], float | None]


def main(config_name: str, run: Command) -> None:
    """Compose the configuration that the command line asks for and run it, once or for every job of a sweep.

    Exits with 2 if nothing was begun, because words, files or data are wrong; with 1 if what was begun failed; with 130, 143 or 129 after
    SIGINT, SIGTERM or SIGHUP.
    """
    begin_worker()
    with signals.listening(is_own_process=True), _ending_in_a_line():
        _main(config_name, run)


def _main(config_name: str, run: Command) -> None:
    _set_environment()
    sys.argv[1:] = words = [as_hydra_reads(config_name, word) for word in without_secrets(sys.argv[1:])]
    try:
        composed = None if _is_for_hydra(words) else _compose(config_name, words)
        if composed is None or composed.hydra.mode == RunMode.MULTIRUN:
            check_words(config_name, _overrides(words))
            _run_hydra(config_name, run)
            return
    except ConfigError as error:
        _fail(str(error), 2)
    _run(run, as_composed(composed, composed.hydra.runtime.choices, words))


@contextlib.contextmanager
def _ending_in_a_line() -> Iterator[None]:
    """Say in a line what the machine refuses: a full disk, a folder that may not be written, memory."""
    try:
        Path.cwd()
        try:
            yield
        finally:
            sys.stdout.flush()
    except (OSError, MemoryError) as error:
        if os.environ.get("RNNLAB_TRACEBACK"):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written would fail again at the end
        if isinstance(error, BrokenPipeError):  # who read our output has enough
            sys.exit(141)
        _fail(_words_of(error), 1)


def _words_of(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return f"there is not enough memory ({error or 'no more is said'}): give smaller sizes or less data"
    try:
        Path.cwd()
    except OSError:
        return "the folder that you are in was deleted: cd to one that exists"
    place = error.filename or ("standard output" if error.errno == errno.ENOSPC else "something")
    return f"{place} cannot be read or written: {error.strerror or error}"


def _is_for_hydra(words: list[str]) -> bool:
    """Tell whether these words need Hydra's own main function: options, settings of Hydra itself, or several values of a key."""
    if any(word.startswith(("-", "hydra")) for word in words):
        return True
    try:
        return any(override.is_sweep_override() for override in OverridesParser.create().parse_overrides(words))
    except HydraException:
        return False  # composing says what is wrong


def _run_hydra(config_name: str, run: Command) -> None:
    """Let Hydra print help or a configuration, or sweep."""
    import hydra

    def job(composed: DictConfig) -> float | None:
        config = HydraConfig.get()
        if config.mode != RunMode.MULTIRUN:
            return _run(run, as_composed(composed, config.runtime.choices, list(config.overrides.task)))
        try:
            refuse_sweep()
            with signals.listening(is_own_process=True):  # a launcher's process that listens already goes on with that
                return run(as_composed(composed, config.runtime.choices, list(config.overrides.task)))
        except ValueError as error:
            if not os.environ.get("RNNLAB_TRACEBACK"):
                print(f"\nerror: {error}\n", file=sys.stderr)
            raise
        except Exception:  # the sweep goes on, and lists it at the end
            traceback.print_exc()
            raise
        finally:
            gc.collect()  # a trainer, its model and its optimizer point at each other: the next job needs their memory

    with warnings.catch_warnings():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()


def _run(run: Command, composed: Composed) -> float | None:
    """Run one command; exit with a line instead of a traceback where the user has something to mend."""
    try:
        with warnings.catch_warnings():
            return run(composed)
    except ValueError as error:
        if os.environ.get("RNNLAB_TRACEBACK"):
            raise
        _fail(str(error), 1 if isinstance(error, Failed) else 2)


def as_hydra_reads(config_name: str, word: str) -> str:
    """Return what Hydra is given for a word that a person typed."""
    if word in FLAGS:
        return FLAGS[word]
    key, equals, value = word.partition("=")
    return quoted(f"{OTHER_NAMES.get(config_name, {}).get(key, key)}{equals}{value}")


def quoted(word: str) -> str:
    """Quote a value that Hydra's grammar would take apart (`text=don't, please`): a text always, a path if it is no plain word."""
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


def compose_config(config_name: str, words: list[str]) -> Composed:
    """Compose and check one configuration without running it.

    Raises:
        ConfigError: where a word names no group, choice or key; with the nearest that exists.
    """
    _set_environment()
    words = [FLAGS.get(word, word) for word in without_secrets(words)]
    composed = _compose(config_name, words)
    return as_composed(composed, composed.hydra.runtime.choices, words)


def _compose(config_name: str, words: list[str]) -> DictConfig:
    """Compose once; only where that fails, look for what is wrong."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(config_name, words, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        check_words(config_name, words)
        raise ConfigError(" ".join(str(error).split())) from None


def as_composed(composed: DictConfig, choices: Mapping[str, str], words: list[str]) -> Composed:
    """Return what Hydra composed as plain values, with the choices and words that made it."""
    values: Config = OmegaConf.to_container(composed, resolve=False)  # type: ignore[assignment]  # a mapping, since the root is one
    values.pop("hydra", None)
    values = OmegaConf.to_container(OmegaConf.create(values), resolve=True)  # type: ignore[assignment]  # likewise
    for section in (values, values.get("tracking", {})):
        if isinstance(section.get("uri"), str):  # a file of conf/ may hold credentials, too
            section["uri"] = without_credentials(section["uri"])
    if "model" in values:  # the budget is met before the model's class is asked
        values["budget"] = values["model"].pop("budget", None)
    by_group = {group: choice for group, choice in choices.items() if "hydra" not in group and "@" not in group and group != "paths"}
    return Composed(values, Choices(by_group), tuple(words))


def _set_environment() -> None:
    os.environ["RNNLAB_ROOT"], os.environ["RNNLAB_HOME"] = str(root()), str(HOME)
    # Waiting threads must soon sleep: beside another process, spinning ones make a step many times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Each shape of batch has its own compiled kernels: kept for all shapes, they fill gigabytes and save nothing.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def check_words(config_name: str, words: list[str]) -> None:
    """Refuse misspelt groups, choices and keys, in every job of a sweep.

    Raises:
        ConfigError: with the nearest valid name.
    """
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
            known |= _prefixes(flatten(config))  # type: ignore[arg-type]  # a mapping, since the root is one
    for override in keys:
        if override.key_or_group not in known:
            name = override.key_or_group
            hint = nearest(name, known | groups) or _same_ending(name, known)
            listed = sorted(group for group in groups if any((CONF / group).glob("*.yaml")))
            raise ConfigError(f"{name!r} is not a key or group.{hint} Groups: {', '.join(listed)}. All keys: add --cfg job")


def _check_choice(override: Override) -> list[str]:
    """Return the group override as words, one per choice of a sweep; refuse unknown choices."""
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
