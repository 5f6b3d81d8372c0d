"""The page that `--help` shows: what Hydra would print from `conf/hydra/help`, without composing a configuration for it.

Hydra composes, and then lists each group anew for each line: three times as long as it takes to start.
"""

from pathlib import Path

import yaml

from rnnlab.config import Config
from rnnlab.paths import CONF

HYDRAS = "hydra"
"""The group of Hydra's own settings, which the page leaves out."""


def is_asking_for_help(words: list[str]) -> bool:
    """Tell whether words ask for the page of a command as it stands in `conf/`, whatever else they change."""
    options = {word for word in words if word.startswith("-")}
    return options in ({"--help"}, {"-h"}) and not any(word.startswith(HYDRAS) for word in words)


def help_page(config_name: str) -> str:
    """Return the page of a command, by the name of its file in `conf/`."""
    page = _read(CONF / "hydra" / "help" / f"{_page_of(config_name)}.yaml")
    text: str = page["template"]
    for key in ("header", "footer", "app_name"):
        text = text.replace(f"${{hydra.help.{key}}}", page[key])
    return text.replace("$APP_CONFIG_GROUPS", "".join(f"{group}: {', '.join(choices)}\n" for group, choices in _groups().items()))


def _page_of(config_name: str) -> str:
    overrides = (default for default in _read(CONF / f"{config_name}.yaml")["defaults"] if isinstance(default, dict))
    return next(str(default["override hydra/help"]) for default in overrides if "override hydra/help" in default)


def _groups() -> dict[str, list[str]]:
    """Return the choices of each group that has some."""
    found: dict[str, list[str]] = {}
    for file in CONF.rglob("*.yaml"):
        *parts, _ = file.relative_to(CONF).parts
        if parts and parts[0] != HYDRAS:
            found.setdefault("/".join(parts), []).append(file.stem)
    return {group: sorted(found[group]) for group in sorted(found)}


def _read(file: Path) -> Config:
    content: Config = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content
