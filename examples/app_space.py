"""Write the page of `app.py` as a folder to push to a Hugging Face Space.

model  ->  README.md, requirements.txt, app.py, what it imports, and the model if it is local
"""

from __future__ import annotations

import shutil
from pathlib import Path

import gradio as gr

from irti_custom import __version__
from irti_custom.formats.atomic import writing_folder

SCRIPTS = ("app.py", "app_html.py", "app_space.py", "app_tagger.py", "label_table.py")
README = """---
title: {title}
sdk: gradio
sdk_version: {version}
app_file: app.py
---
"""


def write_space(folder: str, model: str, package: str) -> None:
    """Write the folder.

    Args:
        folder: a new one.
        model: folder, which is copied without its checkpoints, or Hub id.
        package: what pip installs this package from; "" for the release of this version.

    Raises:
        SystemExit: no model, or `folder` is there.
    """
    named = "model" if Path(model).is_dir() else model
    if not model or Path(folder).exists():
        raise SystemExit(f"--write_space {folder} must be a new folder, and --model be given.")
    with writing_folder(folder) as space:
        if Path(model).is_dir():
            unused = shutil.ignore_patterns("checkpoint-*", "runs", "training_args.bin", ".*")
            shutil.copytree(model, space / named, ignore=unused)
        for name in SCRIPTS:
            source = (Path(__file__).parent / name).read_text("utf-8")
            (space / name).write_text(source.replace('MODEL = ""', f'MODEL = "{named}"'), "utf-8")
        release = f"irti_custom=={__version__}"
        (space / "requirements.txt").write_text(f"{package or release}\npandas\n", "utf-8")
        readme = README.format(title=Path(model).name, version=gr.__version__)
        (space / "README.md").write_text(readme, "utf-8")
