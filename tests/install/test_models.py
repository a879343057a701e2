"""``minimoto_install.sh --models``: fetched models beside the program."""

from __future__ import annotations

from pathlib import Path

from .test_script import Install, configuration, install, prefix

__all__ = ["configuration", "install", "prefix"]


def test_models_are_put_beside_the_program_once_and_checked(install: Install, prefix: Path, tmp_path: Path) -> None:
    folder, baked = tmp_path / "fetched", prefix / "opt/minimoto/models"
    folder.mkdir()
    (folder / "vgg19.safetensors").write_bytes(b"weights")
    (folder / "vgg19.json").write_text("{}")
    (folder / "yunet.onnx").write_bytes(b"weights")
    (folder / "notes.txt").write_text("stays")
    refused = install("client", "--models", str(folder))
    assert refused.returncode == 1
    assert "--models is for the role service only" in refused.stderr
    done = install("service", "--models", str(folder))
    assert "minimoto_install: models: put vgg19.safetensors yunet.onnx vgg19.json" in done.stdout
    assert {path.name for path in baked.iterdir()} == {"vgg19.safetensors", "vgg19.json", "yunet.onnx"}
    # They are no model that was ever published: the machine does not take them.
    assert done.returncode == 1
    assert "check models: FAILED" in done.stderr
