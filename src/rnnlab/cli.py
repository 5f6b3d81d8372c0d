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

    from rnnlab.config import OTHER_WORDS, Config, ConfigError, Failed, flatten, nearest, recipe_for, same_ending
    from rnnlab.help_page import help_page, is_asking_for_help
    from rnnlab.paths import CONF, HOME, as_here, printable, root
    from rnnlab.settings import Choices, Composed
    from rnnlab.tracking.address import without_credentials, without_secrets
    from rnnlab.training.launching import begin_worker, refuse_sweep

FLAGS = {"--status": "status=true", "--follow": "follow=true", "tuned=null": "~tuned"}
"""Words that Hydra reads otherwise than people mean them, and what they mean."""
OTHER_NAMES = {"compare": {"study": "study_name", "data": "data_name"}}
"""What people type where `conf/` has a group of that name, but a script wants a mere name, and the key that takes it."""
TEXTS = ("text", "prompt")
"""Keys whose values are texts exactly as they are typed, quotes included."""
LISTS = ("data_name", "run", "filter")
"""Keys whose values are one text, commas included, which may stand in quotes."""
PATHS = ("input", "output", "to", "maps", "explain", "rolls", "data.source", "data.mirror", "data.loader.vectors")
"""Keys whose values are paths, which may hold blanks and letters of any language."""
NAMES = re.compile(r"(.*_column|.*\.(columns|covariates|tickers|labels)|(study\.)?name|resume|init_from|distil_from)")
"""Keys whose values are names, which may consist of digits."""
OPTIONAL_GROUP = "tuned="
SEVERAL_RUNS = ("-m", "--multirun", "study=", "hydra.mode=", "hydra/")
"""How words begin that ask for several runs."""
ONE_RUN = "hydra.mode=RUN"  # as processes of one training are started
TAKES_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--info", "-i", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--shell-completion", "-sc", "--experimental-rerun"),
)
"""Options of Hydra that are followed by a value."""


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
    sys.argv[1:] = words = options_first([as_hydra_reads(config_name, word) for word in without_secrets(sys.argv[1:])])
    try:
        refuse_several(words)
        composed = None if _is_for_hydra(words) else _compose(config_name, words)
        if composed is None or composed.hydra.mode == RunMode.MULTIRUN:
            words = where_known(words, check_words(config_name, _overrides(words)))
            if is_asking_for_help(words):
                print(as_here(help_page(config_name)))
                return
            sys.argv[1:], overrides = words, _overrides(words)
            if composed is None and not _asks_for_several(words):
                with initialize_config_dir(str(CONF), version_base="1.3"):
                    sys.argv += own_recipe(compose(config_name, overrides, return_hydra_config=True), overrides)
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
    return any(word.startswith(("-", "hydra", "study=")) for word in words) or bool(_sweeping(words))


def _sweeping(words: list[str]) -> list[str]:
    """Return the words that give a key several values."""
    try:
        overrides = OverridesParser.create().parse_overrides(_overrides(words))
        return [override.input_line for override in overrides if override.is_sweep_override()]
    except HydraException:
        return []  # composing says what is wrong


def refuse_several(words: list[str]) -> None:
    """Refuse several values of a key where one run was asked for.

    Raises:
        ConfigError: says how to get one run for each, and how to give one value with a comma.
    """
    if _asks_for_several(words):
        return
    for word in _sweeping(words):
        key, _, value = word.partition("=")
        raise ConfigError(f"{word} gives several values: add -m for one run with each. One value with commas: \"{key}='{value}'\"")


def where_known(words: list[str], partly: list[str]) -> list[str]:
    """Return the words of several runs, those whose key only some of the runs have as the value of `study.where_known`."""
    if not partly:
        return words
    return [*(word for word in words if word not in partly), f"study.where_known=[{','.join(map(_in_quotes, partly))}]"]


def _asks_for_several(words: list[str]) -> bool:
    return any(word.startswith(SEVERAL_RUNS) and word != ONE_RUN for word in words)


def own_recipe(composed: DictConfig, words: list[str]) -> list[str]:
    """Return the word that makes a composed training take the recipe of its own source, none where it does or a recipe was chosen.

    Hydra takes the recipe of the model and the data's name, whatever source was given: one found on IMDB for anybody's texts.
    """
    choices = composed.hydra.runtime.choices
    model, data, taken = (choices.get(group) for group in ("model", "data", "tuned"))
    if taken is None or taken != f"{model}_{data}" or any(re.match(r"[+~]*tuned\b", word) for word in words):
        return []
    found = recipe_for(model, data, composed.data.get("source"))
    if found == taken or (found is None and not (CONF / "tuned" / f"{taken}.yaml").is_file()):
        return []
    return [f"tuned={found}" if found else "~tuned"]


def options_first(words: list[str]) -> list[str]:
    """Return the words with options before the others: Hydra takes them nowhere else."""
    given = list(zip(words, ["", *words], strict=False))
    is_option = [word.startswith("-") or before in TAKES_VALUE for word, before in given]
    return [words[place] for place in sorted(range(len(words)), key=lambda place: not is_option[place])]


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
            free_memory()

    with warnings.catch_warnings():
        warnings.showwarning = say_warning
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()


def free_memory() -> None:
    """Free what a job left: a trainer, its model and its optimizer point at each other, and the next job needs their memory.

    Everything that was imported is looked through once and then left alone: it is millions of objects, half a second for each job.
    """
    gc.collect()
    if not gc.get_freeze_count() and sys.exc_info()[0] is None:  # the traceback of a failure still holds the job
        gc.freeze()


def _run(run: Command, composed: Composed) -> float | None:
    """Run one command; exit with a line instead of a traceback where the user has something to mend."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = say_warning
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
    """Quote a value that Hydra's grammar would take apart: a text always, a path if it is no plain word, else the parts that it refuses."""
    key, equals, value = word.partition("=")
    if not equals or key.startswith("-"):
        return word
    if key in TEXTS:
        return f"{key}={_in_quotes(value)}"
    if _is_quoted(value):
        return word
    comma = "," if key.startswith("data.") else ""  # of several sources, a sweep's
    is_plain = bool(re.fullmatch(rf"[\w./:@%+~{comma}-]*", value, re.ASCII)) or value[:1] in ("[", "{")
    if key in LISTS or (key in PATHS and not is_plain):
        return f"{key}={_in_quotes(value)}"
    return f"{key}={_parts_in_quotes(value, is_name=bool(NAMES.fullmatch(key.lstrip('+'))))}"


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def _in_quotes(value: str) -> str:
    escaped = re.sub(r"(\\*)'", r"\1\1\'", value)  # backslashes count only before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped).replace("${", "\\${")
    return f"'{escaped}'"


def _parts_in_quotes(value: str, is_name: bool) -> str:
    """Quote what the grammar refuses or would take for a number that it is not, item by item of a list or of several values."""
    if value.startswith("[") and value.endswith("]"):
        return f"[{_parts_in_quotes(value[1:-1], is_name)}]"
    items = _items(value)
    if len(items) > 1:
        return ",".join(_parts_in_quotes(item.strip(), is_name) for item in items)
    is_other_number = re.fullmatch(r"0\d+", value) or (is_name and value.isdigit())
    return _in_quotes(value) if is_other_number or not (_is_quoted(value) or _is_taken(value)) else value


def _items(value: str) -> list[str]:
    """Split at commas that are not within brackets or quotes."""
    items, depth, quote = [""], 0, ""
    for character in value:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += (character in "[({") - (character in "])}") if not quote else 0
        if character == "," and not depth and not quote:
            items.append("")
        else:
            items[-1] += character
    return items if not depth and not quote else [value]  # what is not balanced is one text


def _is_taken(value: str) -> bool:
    """Say whether Hydra's grammar takes a value."""
    if re.fullmatch(r"[\w./:@%+~-]*", value, re.ASCII):
        return True
    try:
        OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return False
    return True


def _overrides(words: list[str]) -> list[str]:
    """Return the words that change the configuration: not options, nor what belongs to one (`--cfg job`)."""
    return [word for before, word in zip(["", *words], words, strict=False) if not word.startswith("-") and before not in TAKES_VALUE]


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
            composed = compose(config_name, words, return_hydra_config=True)
            if own := own_recipe(composed, words):
                composed = compose(config_name, [*words, *own], return_hydra_config=True)
        if any(word.startswith(OPTIONAL_GROUP) for word in words):  # a file that is not there is left out without a word
            check_words(config_name, words)
        return composed
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


def check_words(config_name: str, words: list[str]) -> list[str]:
    """Refuse misspelt groups, choices and keys, in every job of a sweep; return the words whose key not all choices have.

    Raises:
        ConfigError: with the nearest valid name.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise ConfigError(f"{str(error).splitlines()[0]} Write KEY=VALUE or GROUP=CHOICE; see --help") from None
    if not overrides:
        return []
    groups = {p.relative_to(CONF).as_posix() for p in CONF.rglob("*") if p.is_dir() and "hydra" not in p.parts}
    chosen, keys, left_out = [], [], []
    for override in overrides:
        if override.key_or_group in groups and not override.is_delete():
            chosen.append((override, _check_choice(override)))
        elif override.key_or_group in groups:
            left_out.append(override.input_line)
        elif not override.key_or_group.startswith("hydra") and not override.is_add():
            keys.append(override)
    found = _keys_of_choices(config_name, chosen, left_out, groups)
    known = set[str]().union(*found)
    for override in keys:
        if override.key_or_group not in known:
            name = override.key_or_group
            near = nearest(name, known) if name.rpartition(".")[2] not in OTHER_WORDS else ""
            hint = near or same_ending(name, known) or nearest(name, groups)
            listed = sorted(group for group in groups if any((CONF / group).glob("*.yaml")))
            raise ConfigError(f"{name!r} is not a key or group.{hint} Groups: {', '.join(listed)}. All keys: add --cfg job")
    partly = [override for override in keys if any(override.key_or_group not in some for some in found)]
    if several := [override for override in partly if override.is_sweep_override()]:
        raise ConfigError(f"{several[0].input_line}: only some of the choices have this key, so it takes one value and no sweep")
    return [override.input_line for override in partly]


def _keys_of_choices(config_name: str, chosen: list[tuple[Override, list[str]]], left_out: list[str], groups: set[str]) -> list[set[str]]:
    """Return the keys of what is composed with each choice of each group, of a sweep or of a study's axes, the others at their first."""
    first = [values[0] for _, values in chosen]
    base = [values[0] for override, values in chosen if not override.is_sweep_override()]
    others = [[*first[:index], value, *first[index + 1 :]] for index, (_, values) in enumerate(chosen) for value in values[1:]]
    combinations = [base, *([first] if first != base else []), *others]
    found: list[set[str]] = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for number, combination in enumerate(combinations):
            try:
                composed = compose(config_name, [*combination, *left_out])
            except (HydraException, OmegaConfBaseException) as error:
                raise ConfigError(" ".join(str(error).split())) from None
            config: Config = OmegaConf.to_container(composed, resolve=False)  # type: ignore[assignment]  # a mapping, since the root is one
            found.append(_prefixes(flatten(config)))
            if number == 0:
                axes = config.get("study", {}).get("axes", {})
                swept = {override.key_or_group for override, _ in chosen}
                combinations += [[*base, f"{key}={value}"] for key in set(axes) & groups - swept for value in axes[key]]
    return found


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


def _prefixes(flat: dict[str, Any]) -> set[str]:
    names = set()
    for key in flat:
        parts = key.split(".")
        names |= {".".join(parts[: index + 1]) for index in range(len(parts))}
    return names


def say_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """Print a library's warning as one line: where in its code it arose tells a user nothing."""
    text = " ".join(str(message).split())
    print(f"warning: {text}", file=sys.stderr)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {printable(as_here(message))}", file=sys.stderr)
    sys.exit(code)
