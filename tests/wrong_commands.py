"""Commands as people mistype them, and what they are told: `python -m tests.wrong_commands` types them all and prints
a table of command, exit code, lines, last line. The tests do the same within one process.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from kedro.framework.cli.cli import main as kedro
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project

from tests.command import ROOT, environment

#: So many lines may a mistake cost.
MOST_LINES = 12


@dataclass(frozen=True)
class Wrong:
    """command: after ``kedro``; {here} is a folder that has what `lay_out` puts there. told: in the last line.
    settings: files of an environment `mine`, which the command names.
    """

    command: str
    told: tuple[str, ...]
    code: int = 1
    settings: dict[str, str] = field(default_factory=dict)


RUN = "run --params=workspace={here}/workspace,photos="
MINE = "run --env=mine --params=workspace={here}/workspace"
WRONG = (
    # photos
    Wrong(RUN + "{here}/absent", ("{here}/absent does not exist", "--params=photos=")),
    Wrong(RUN + "~/no-such-photos", ("{home}/no-such-photos does not exist",)),
    Wrong("run --params=photos=https://example.com/a.jpg", ("https://example.com/a.jpg, an address",)),
    Wrong(RUN + "'C:\\Users\\me\\photos'", ("a path of Windows", "/mnt/c/Users/me/photos")),
    Wrong(RUN + "{here}/empty", ("photo", "{here}/empty", "--params=photos=")),
    Wrong(RUN + "{here}/nested", ("photo", "{here}/nested")),
    Wrong(RUN + "2026", ("2026",)),
    Wrong(RUN, ("The setting photos is ''",)),
    Wrong(RUN + "{here}/headings", ("products.csv",)),
    Wrong("status --params=photos={here}/absent", ("{here}/absent does not exist",)),
    # workspace and priors
    Wrong("run --params=photos={here}/photos,workspace={here}/file.txt", ("{here}/file.txt", "--params=workspace=")),
    Wrong("run --params=photos={here}/photos,workspace='D:\\out'", ("a path of Windows", "/mnt/d/out")),
    Wrong("run --params='photos={here}/photos,workspace={here}/{{x}}'", ("braces",)),
    Wrong(RUN + "{here}/photos,priors={here}/absent", ("{here}/absent", "train_priors")),
    # models
    Wrong(
        "run --pipeline=train_priors --params=preset=teach,models={here}/absent,workspace={here}/workspace",
        ("The folder of models {here}/absent does not exist", "--params=models="),
    ),
    Wrong("run --pipeline=train_priors --params=models=https://example.com/a", ("an address",)),
    # --params as such
    Wrong("run --params=photos", ("`photos` in --params is not of the form key=value",), 2),
    Wrong("run --params=products=[mug,force=true", ("`[` is never closed",), 2),
    Wrong("run --params=photos=/srv/a[b,workspace=/w", ("`[` is never closed", "quotes"), 2),
    Wrong("run --params=products=mug]", ("`]` is never opened",), 2),
    Wrong("run '--params=products=[\"mug]'", ('`"` is never closed',), 2),
    Wrong("run '--params=outline={steps: [1}'", ("is never opened",), 2),
    Wrong("run '--params=outline.steps=a: b: c'", ("cannot be read", "quotes"), 2),
    # settings
    Wrong("run --params=photo=x", ("--params names 'photo'", "did you mean 'photos'?")),
    Wrong("run --params=outlin.steps=400", ("'outlin'", "did you mean 'outline'?")),
    Wrong("run --params=outline.step=400", ("'outline.step'", "did you mean 'outline.steps'?")),
    Wrong("run --params=outline.sds.wieght=2", ("'outline.sds.wieght'", "did you mean 'outline.sds.weight'?")),
    Wrong("run --params=outline.field.hash_grid.level=2", ("did you mean 'outline.field.hash_grid.levels'?",)),
    Wrong("run --params=detail.qqq=1", ("'detail.qqq'; there are", "mask_guidance")),
    Wrong("run --params=export.texture_size=40960", ("export.texture_size is 40960, but should be less than",)),
    Wrong("run --params=detail.texture_size=512", ("set export.texture_size",)),
    Wrong("run --params=outline.steps=many", ("outline.steps is 'many', but should be a valid integer",)),
    Wrong("run --params=outline=5", ("outline is 5, but is a section of settings",)),
    Wrong("run --params=detail.mask_guidance=non", ("detail.mask_guidance is 'non', but should be",)),
    Wrong("run --params=outline.elevation_deg=[50,-10]", ("first number must not be larger",)),
    Wrong("run --params=photo_elevation_deg=high", ("photo_elevation_deg is 'high'",)),
    Wrong("run --params=batch.executor.kind=rai", ("batch.executor.kind is 'rai'",)),
    Wrong("run --params=batch.resources.segmant.num_gpus=1", ("batch.resources names segmant",)),
    Wrong("run --params=force=perhaps", ("batch.force is 'perhaps'",)),
    Wrong("run --params=products=[kite-mugg]", ("no product 'kite-mugg'", "did you mean 'kite-mug'?")),
    Wrong("status --params=foto=x", ("--params names 'foto'", "did you mean 'photos'?")),
    # files of settings
    Wrong(MINE, ("conf/mine/globals.yml names 'photo'", "'photos'?"), settings={"globals.yml": "photo: /srv"}),
    Wrong(MINE, ("names 'workspaces'",), settings={"globals.yml": "workspaces: /srv"}),
    Wrong(MINE, ("'detail'", "belongs in conf/mine/parameters.yml"), settings={"globals.yml": "detail: {}"}),
    Wrong(MINE, ("photos is 2026", "in quotes"), settings={"globals.yml": "photos: 2026"}),
    Wrong(MINE, ("photos is None",), settings={"globals.yml": "photos:"}),
    Wrong(MINE, ("globals.yml", "line"), settings={"globals.yml": "photos: [a"}),
    Wrong(MINE, ("names 'details'", "did you mean 'detail'?"), settings={"parameters.yml": "details: {triangles: 5}"}),
    Wrong(MINE, ("'export.triangle'", "'export.triangles'?"), settings={"parameters.yml": "export: {triangle: 5}"}),
    Wrong(MINE, ("'photos' has no effect",), settings={"parameters.yml": "photos: /srv"}),
    Wrong(
        MINE,
        ("settings cannot be read", "'nowhere'", "masks.azimuths"),
        settings={"parameters.yml": "masks: {azimuths: '${nowhere}'}"},
    ),
    Wrong(MINE, ("globals.yml",), settings={"globals.yml": "just words"}),
    Wrong(MINE, ("settings cannot be read",), settings={"globals.yml": "[photos, workspace]"}),
    Wrong(MINE, ("detail is 5, but is a section",), settings={"parameters.yml": "detail: 5"}),
    Wrong(MINE, ("parameters.yml",), settings={"parameters.yml": "a\\tb: {\t"}),
    Wrong(MINE, ("'mlflow.servr'", "'mlflow.server'?"), settings={"mlflow.yml": "servr: {}"}),
    Wrong(MINE, ("The catalog", "nowhere"), settings={"catalog.yml": "photos: {type: nowhere.Dataset}"}),
    # what to run
    Wrong("run --env=nightli", ("no environment 'nightli'", "did you mean 'nightly'?")),
    Wrong("status --env=nightli", ("no environment 'nightli'", "did you mean 'nightly'?")),
    Wrong("run --pipeline=catalog_to3d", ("no pipeline 'catalog_to3d'", "did you mean 'catalog_to_3d'?")),
    Wrong("run --pipelines=segment,evalute", ("no pipeline 'evalute'", "did you mean 'evaluate'?")),
    Wrong("run --pipeline=segment --pipelines=evaluate", ("give one of them",), 2),
    Wrong("run --nodes=export_mask", ("no node 'export_mask'", "did you mean 'export_masks'?")),
    Wrong("run --from-nodes=refine", ("no node 'refine'", "refine_detail")),
    Wrong("run --to-nodes=evaluat", ("no node 'evaluat'", "did you mean 'evaluate'?")),
    Wrong("run --tags=segmnt", ("no tag 'segmnt'", "did you mean 'segment'?")),
    Wrong("run --to-outputs=mesh", ("no dataset 'mesh'", "did you mean 'meshes'?")),
    Wrong("run --from-inputs=cutout", ("no dataset 'cutout'", "did you mean 'cutouts'?")),
    Wrong("run --namespaces=x", ("no namespace 'x'; there is none",)),
    Wrong("run --async", ("--async", "batch.executor")),
    Wrong("run --runner-params=is_async=true", ("--async",)),
    Wrong("run --runner=ParallelRunner", ("--runner=ParallelRunner", "batch.executor")),
    Wrong("run --runner=SequentialRuner", ("no runner 'SequentialRuner'", "did you mean 'SequentialRunner'?")),
    Wrong("run --only-missing-outputs", ("--only-missing-outputs", "only what is missing or changed")),
    Wrong("run --load-versions=photos:x", ("--load-versions",)),
    Wrong("run --conf-source={here}/absent", ("absent",), 2),
    Wrong("run --config={here}/file.txt", ("file.txt",), 2),
    Wrong("run --parms=x", ("--parms",), 2),
    Wrong("status --fail", ("--fail",), 2),
)


def lay_out(here: Path) -> None:
    """Photos, a folder without, one with photos only below it, a table with other headings, a file."""
    for name in ("photos", "empty", "nested/shoes", "headings"):
        (here / name).mkdir(parents=True)
    for name in ("photos", "nested/shoes", "headings"):
        shutil.copy(ROOT / "data/01_raw/kite-mug.png", here / name)
    (here / "headings/products.csv").write_text("sku,image\nmug,kite-mug.png\n")
    (here / "file.txt").write_text("neither a folder nor settings")


def words(wrong: Wrong, here: Path) -> list[str]:
    """The command's words, after ``kedro``."""
    return [
        word.replace("{here}", str(here)).replace("{{", "{").replace("}}", "}") for word in shlex.split(wrong.command)
    ]


def expected(wrong: Wrong, here: Path) -> list[str]:
    return [text.replace("{here}", str(here)).replace("{home}", str(Path.home())) for text in wrong.told]


def with_settings(wrong: Wrong, here: Path) -> list[str]:
    """Where the command has settings of its own: options that name a copy of the project's with these in it."""
    if not wrong.settings:
        return []
    conf = here / "conf"
    shutil.rmtree(conf, ignore_errors=True)
    shutil.copytree(ROOT / "conf", conf)
    (conf / "mine").mkdir()
    for name, text in wrong.settings.items():
        (conf / "mine" / name).write_text(text)
    return [f"--conf-source={conf}"]


def typed(command: list[str]) -> tuple[int, list[str]]:
    """Exit code and lines of ``kedro`` with these words, in a process of its own; forked from this one, which has
    imported everything.
    """
    with tempfile.TemporaryFile() as told:
        if not (child := os.fork()):
            for stream in (1, 2):
                os.dup2(told.fileno(), stream)
            sys.argv = ["kedro", *command]
            code = 1
            try:
                kedro()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        told.seek(0)
        return os.waitstatus_to_exitcode(status), told.read().decode().strip().splitlines()


def main() -> None:
    bootstrap_project(ROOT)
    list(pipelines)  # with PyTorch
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        lay_out(here)
        os.environ |= environment(here)
        os.chdir(ROOT)
        print("| command | exit code | lines | last line |\n|---|---|---|---|", flush=True)
        for wrong in WRONG:
            code, lines = typed([*words(wrong, here), *with_settings(wrong, here)])
            settings = "".join(f" ({name}: {text})" for name, text in wrong.settings.items())
            row = f"| `kedro {wrong.command}`{settings} | {code} | {len(lines)} | {lines[-1]} |"
            print(row.replace("{here}", "HERE").replace(str(here), "HERE"), flush=True)


if __name__ == "__main__":
    main()
