"""Addresses of tracking stores: what is shown and recorded of one never holds credentials. Nothing heavy is imported here."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
"""Where MLflow looks for the credentials of a server."""
WHOLE = "RNNLAB_TRACKING_URI"
"""Where this process and those it starts find the whole address that was given, if it holds more than may be shown."""
SECRET = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*)://(?P<rest>[^\s'\",]+)")


def default_uri(root: Path) -> str:
    """Return the address of the one database of this project."""
    return f"sqlite:///{quote(str(root / 'mlflow.db'))}"


def database_file(uri: str) -> Path | None:
    """Return the file of an SQLite store; None for other stores."""
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0])) if uri.startswith("sqlite:///") else None


def public(uri: str) -> str:
    """Return an address without user, password and query; of an SQLite store as its file is called."""
    if (file := database_file(uri)) is not None:
        return f"sqlite:///{file}"
    scheme, _, rest = uri.partition("://")
    parts = urlsplit(uri)
    host = re.split(r"[/?#]", rest)[0].rpartition("@")[2]
    return urlunsplit((scheme, host, parts.path, "", "")) if host else uri


def without_credentials(text: str) -> str:
    """Return a text in which every address is public, and keep what was left out in the environment (see `whole_address`)."""

    def kept(found: re.Match[str]) -> str:
        uri = found[0]
        shown = public(uri)
        if shown == uri or uri.startswith("sqlite"):
            return uri
        user, has_user, _ = re.split(r"[/?#]", found["rest"])[0].rpartition("@")
        if has_user and found["scheme"] in ("http", "https"):
            name, _, password = user.partition(":")
            os.environ[USER], os.environ[PASSWORD] = unquote(name), unquote(password)
        else:
            os.environ[WHOLE] = uri
        return shown

    return SECRET.sub(kept, text)


def without_secrets(words: Sequence[str]) -> list[str]:
    """Return words of a command line in which addresses of tracking stores are public."""
    return [without_credentials(word) if word.partition("=")[0].lstrip("+").endswith("uri") else word for word in words]


def whole_address(uri: str) -> str:
    """Return the address that a public one was made from in this process or the one that started it."""
    whole = os.environ.get(WHOLE, "")
    return whole if whole and public(whole) == uri else without_credentials(uri)
