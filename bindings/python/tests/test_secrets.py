"""A client's secret is read from the one place that ``providers.json`` names, and from no other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from lazaretto.storage import ABSENT, FileStorage, Loaded, StorageError


def read(folder: Path, profiles: Dict[str, Any], mode: int = 0o600) -> Optional[str]:
    path = folder / "providers.json"
    path.write_text(json.dumps({"profiles": profiles}))
    path.chmod(mode)
    found = FileStorage(folder / "vault.json", providers=path).load("secret/a", None)
    if found == ABSENT:
        return None
    assert isinstance(found, Loaded)
    return found.document.text


def profile(**members: Any) -> Dict[str, Any]:
    return {"a": {"token_endpoint": "https://a.example/t", "client_id": "c", **members}}


def test_a_secret_is_the_first_line_of_what_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "secret").write_text("s-file\r\nrest\n")
    monkeypatch.setenv("ACME_SECRET", "s-env")
    assert read(tmp_path, profile(client_secret_file="secret")) == "s-file"
    assert read(tmp_path, profile(client_secret_env="ACME_SECRET")) == "s-env"
    assert read(tmp_path, profile(client_secret_command=["printf", "%s\n%s", "s-command", "rest"])) == "s-command"
    assert read(tmp_path, profile(client_secret="s")) is None
    assert read(tmp_path, profile(client_secret_env="ACME_SECRET", client_secret_file="secret")) is None
    assert FileStorage(tmp_path / "vault.json").load("secret/a", None) == ABSENT


def test_a_layer_of_another_client_inherits_no_secret(tmp_path: Path, monkeypatch: Any) -> None:
    """A layer that names another client or server inherits no secret."""
    monkeypatch.setenv("ACME_SECRET", "s")
    base = {"token_endpoint": "https://b.example/t", "client_id": "c", "client_secret_env": "ACME_SECRET"}
    assert read(tmp_path, {"a": {"extends": "b"}, "b": base}) == "s"
    for top in ({"token_endpoint": "https://a.example/t"}, {"client_id": "d"}, {"client_secret": None}):
        assert read(tmp_path, {"a": {"extends": "b", **top}, "b": base}) is None
    assert read(tmp_path, {"a": {"extends": "a"}}) is None


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({"client_secret_env": "LAZARETTO_TEST_NO_SUCH"}, "LAZARETTO_TEST_NO_SUCH is not set"),
        ({"client_secret_file": "none"}, "cannot read"),
        ({"client_secret_file": "."}, "it is no file"),
        ({"client_secret_command": ["/no/such/program"]}, "cannot run /no/such/program"),
        ({"client_secret_command": ["sh", "-c", "echo s-secret; exit 3"]}, "sh failed (exit status: 3)"),
    ],
)
def test_what_cannot_be_read_is_said_without_what_was_read(tmp_path: Path, members: Dict[str, Any], wanted: str) -> None:
    with pytest.raises(StorageError) as raised:
        read(tmp_path, profile(**members))
    assert wanted in raised.value.message and "s-secret" not in raised.value.message


def test_a_program_is_run_once_and_only_from_a_file_that_is_ours(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    path = tmp_path / "providers.json"
    path.write_text(json.dumps({"profiles": profile(client_secret_command=["sh", "-c", f"echo x >> {runs}; echo s"])}))
    path.chmod(0o600)
    storage = FileStorage(tmp_path / "vault.json", providers=path)
    for _ in range(2):
        found = storage.load("secret/a", None)
        assert isinstance(found, Loaded) and found.document.text == "s"
    assert runs.read_text() == "x\n"
    os.chmod(path, 0o620)
    with pytest.raises(StorageError) as raised:
        storage.load("secret/a", None)
    assert "mode 0620" in raised.value.message
