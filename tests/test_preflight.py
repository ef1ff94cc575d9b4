"""Before any product is touched: all that is missing is named at once, and only what this run's nodes need."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.batch.parameters import BatchParameters, ExecutorParameters
from mpod_pipeline.cutout.sam import SamParameters
from mpod_pipeline.datasets import WeightsFolder
from mpod_pipeline.datasets.loading import load_from
from mpod_pipeline.hooks import preflight
from mpod_pipeline.hooks.preflight import check_memory, check_run, on_cpu
from mpod_pipeline.method.detail import DetailParameters
from mpod_pipeline.method.evaluation import EvaluationParameters
from mpod_pipeline.method.export import ExportParameters
from mpod_pipeline.method.outline import OutlineParameters
from mpod_pipeline.method.segmentation import SegmentationParameters
from mpod_pipeline.method.steps import STEP_BY_NAME, learn_tokens, refine_detail
from mpod_pipeline.method.textual_inversion import TextualInversionParameters
from mpod_pipeline.method.trial import try_backend, try_meshes, try_volumes
from mpod_pipeline.metrics.encoders import OpenClipParameters
from mpod_pipeline.priors import TextToImagePrior, load_text_to_image_prior
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

INPUTS = {
    "segment": ["params:segmentation"],
    "learn_tokens": ["text_to_image_prior", "params:textual_inversion"],
    "optimize_outline": ["novel_view_prior", "params:outline"],
    "refine_detail": ["text_to_image_prior", "params:detail"],
    "export_models": ["params:export"],
    "evaluate": ["params:evaluation"],
}


def pipeline_of(*steps: str) -> Pipeline:
    return Pipeline([node(lambda *_: None, INPUTS[step], f"{step}_made", name=step) for step in steps])


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("priors")
    save_tiny_text_to_image(folder / "text_to_image")
    save_tiny_novel_view(folder / "novel_view")
    return folder


def catalog_of(priors: Path, **changed: Any) -> DataCatalog:
    datasets: dict[str, Any] = {
        "text_to_image_prior": WeightsFolder(path=str(priors / "text_to_image")),
        "novel_view_prior": WeightsFolder(path=str(priors / "novel_view")),
        "params:segmentation": SegmentationParameters(),
        "params:textual_inversion": TextualInversionParameters(),
        "params:outline": OutlineParameters(),
        "params:detail": DetailParameters(),
        "params:export": ExportParameters(),
        "params:evaluation": EvaluationParameters(),
        **changed,
    }
    return DataCatalog(
        {
            name: value if isinstance(value, WeightsFolder) else MemoryDataset(value, copy_mode="assign")
            for name, value in datasets.items()
        }
    )


def test_a_run_that_has_everything_may_start(priors: Path) -> None:
    check_run(pipeline_of(*INPUTS), catalog_of(priors))


def test_everything_that_is_missing_is_named_at_once_with_its_command(priors: Path, tmp_path: Path) -> None:
    catalog = catalog_of(
        priors,
        text_to_image_prior=WeightsFolder(path=str(tmp_path / "sd"), hub="owner/sd", revision="abc"),
        novel_view_prior=WeightsFolder(path=str(tmp_path / "zero123")),
        **{
            "params:segmentation": SegmentationParameters(
                maker="sam", sam=SamParameters(checkpoint=tmp_path / "sam.pth")
            ),
            "params:evaluation": EvaluationParameters(
                vgg19_weights=tmp_path / "vgg19.pth",
                open_clip=OpenClipParameters(model="RN50", pretrained=str(tmp_path / "clip.pt")),
            ),
        },
    )
    with pytest.raises(SetupError) as caught:
        check_run(pipeline_of(*INPUTS), catalog)
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert "hf download owner/sd --revision abc --include '*/*'" in str(caught.value)
    assert f"--local-dir '{tmp_path / 'sd'}'" in str(caught.value)
    assert "kedro run --pipeline=train_priors" in str(caught.value)
    assert f"curl --create-dirs -o '{tmp_path / 'sam.pth'}'" in str(caught.value)
    assert "clip.pt' are neither a file nor a tag" in str(caught.value)
    assert "vgg19-dcbb9e9d.pth" in str(caught.value)


def test_only_what_the_nodes_of_this_run_need_is_looked_at(priors: Path, tmp_path: Path) -> None:
    catalog = catalog_of(priors, novel_view_prior=WeightsFolder(path=str(tmp_path / "nothing")))
    check_run(pipeline_of("segment", "learn_tokens", "refine_detail", "evaluate"), catalog)
    with pytest.raises(SetupError, match="nothing"):
        check_run(pipeline_of("optimize_outline"), catalog)


def test_a_prior_that_the_settings_have_no_use_for_may_be_missing(priors: Path, tmp_path: Path) -> None:
    absent = WeightsFolder(path=str(tmp_path / "nothing"))
    catalog = catalog_of(priors, text_to_image_prior=absent)
    check_run(pipeline_of("optimize_outline"), catalog)
    assert load_from(catalog, "text_to_image_prior").missing
    with pytest.raises(SetupError, match=r"There are no weights at .*nothing"):
        check_run(pipeline_of("refine_detail"), catalog)


def test_each_prior_is_loaded_once(priors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []

    def load(folder: Path, **options: Any) -> TextToImagePrior:
        loaded.append(folder)
        return load_text_to_image_prior(folder, **options)

    for step in (learn_tokens, refine_detail):
        monkeypatch.setattr(step, "load_text_to_image_prior", load)
    check_run(pipeline_of(*INPUTS), catalog_of(priors))
    assert loaded == [priors / "text_to_image"]


def test_a_hash_that_the_catalog_names_is_compared(priors: Path) -> None:
    name = "unet/diffusion_pytorch_model.safetensors"
    right = hashlib.sha256((priors / "novel_view" / name).read_bytes()).hexdigest()
    for digest, complaint in ((right, None), ("0" * 64, "SHA-256"), (right[::-1], "SHA-256")):
        weights = WeightsFolder(path=str(priors / "novel_view"), sha256={name: digest})
        catalog = catalog_of(priors, novel_view_prior=weights)
        if complaint is None:
            check_run(pipeline_of("optimize_outline"), catalog)
        else:
            with pytest.raises(SetupError, match=complaint):
                check_run(pipeline_of("optimize_outline"), catalog)


def test_an_adapter_that_the_catalog_names_is_opened(priors: Path, tmp_path: Path) -> None:
    adapters = [str(tmp_path / "absent.safetensors")]
    weights = WeightsFolder(path=str(priors / "novel_view"), adapters=adapters)
    with pytest.raises(SetupError, match=r"no adapter at .*absent\.safetensors"):
        check_run(pipeline_of("optimize_outline"), catalog_of(priors, novel_view_prior=weights))


@pytest.mark.skipif(preflight.torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_gpus_environment_is_refused_never_moved_to_the_cpu(priors: Path) -> None:
    catalog = catalog_of(
        priors,
        novel_view_prior=WeightsFolder(path=str(priors / "novel_view"), device="cuda"),
        text_to_image_prior=WeightsFolder(path=str(priors / "text_to_image"), device="cuda"),
    )
    with pytest.raises(SetupError) as caught:
        check_run(pipeline_of("learn_tokens", "optimize_outline", "refine_detail"), catalog)
    message = str(caught.value)
    assert message.count("sees no CUDA device") == 1  # said once for both priors and all steps
    assert "--params=device=cpu" in message and len(message.splitlines()) == 1


def test_where_rays_workers_have_the_gpus_only_the_files_are_looked_at(priors: Path, tmp_path: Path) -> None:
    batch = BatchParameters(
        seed=0,
        max_failed_fraction=1,
        products=None,
        force=False,
        checkpoint_every_seconds=None,
        executor=ExecutorParameters(kind="ray"),
    )
    step = node(lambda *_: None, [*INPUTS["optimize_outline"], "params:batch"], "made", name="optimize_outline")
    parameters = {"params:outline": OutlineParameters(backend="cuda_packages"), "params:batch": batch}
    weights = WeightsFolder(path=str(priors / "novel_view"), device="cuda")
    check_run(Pipeline([step]), catalog_of(priors, novel_view_prior=weights, **parameters))
    absent = WeightsFolder(path=str(tmp_path / "nothing"), device="cuda")
    with pytest.raises(SetupError, match="nothing"):
        check_run(Pipeline([step]), catalog_of(priors, novel_view_prior=absent, **parameters))


def test_for_a_look_at_the_files_every_device_is_the_cpu(tmp_path: Path) -> None:
    sam = SamParameters(checkpoint=tmp_path / "sam.pth", model_type="vit_h", device="cuda")
    looked_at = on_cpu(SegmentationParameters(maker="sam", sam=sam))
    assert looked_at == SegmentationParameters(maker="sam", sam=sam.model_copy(update={"device": "cpu"}))
    assert on_cpu(EvaluationParameters(device="cuda")) == EvaluationParameters()


def test_backend_and_device_have_to_agree(priors: Path) -> None:
    catalog = catalog_of(priors, **{"params:outline": OutlineParameters(backend="cuda_packages")})
    with pytest.raises(SetupError, match=r"'cuda_packages' needs a CUDA device.*'cpu'.*'torch'"):
        check_run(pipeline_of("optimize_outline"), catalog)


def test_memory_is_counted_before_it_runs_out() -> None:
    step, free = STEP_BY_NAME["refine_detail"], int(9.8 * preflight.GIB)  # of 12, beside 2.2 of weights
    one, eight = DetailParameters(novel_views=1), DetailParameters(novel_views=8)
    check_memory(step, one, 512, False, free)
    with pytest.raises(SetupError, match=r"needs about 19.0 GiB.*9.8 GiB are free.*detail.novel_views"):
        check_memory(step, eight, 512, False, free)
    check_memory(step, eight, 512, True, free)


def test_the_small_pieces_of_work_are_work() -> None:
    """What a GPU is tried with goes through on the CPU."""
    for backend in ("numba", "torch"):
        try_volumes(backend, "cpu")
        try_meshes(backend, "cpu")


needs_cuda = pytest.mark.skipif(not preflight.torch.cuda.is_available(), reason="needs CUDA")


@needs_cuda
def test_a_gpu_does_the_pieces_of_work() -> None:
    try_backend(try_volumes, None, "cuda")
    try_backend(try_meshes, None, "cuda")


@needs_cuda
def test_the_cuda_packages_of_stage_1_work() -> None:
    pytest.importorskip("tinycudann", reason="needs CUDA, tinycudann and nerfacc")
    pytest.importorskip("nerfacc", reason="needs CUDA, tinycudann and nerfacc")
    try_backend(try_volumes, "cuda_packages", "cuda")


@needs_cuda
def test_the_cuda_package_of_stage_2_works() -> None:
    pytest.importorskip("kaolin", reason="needs CUDA and kaolin")
    try_backend(try_meshes, "cuda_packages", "cuda")


def test_a_package_that_does_not_fit_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.torch.cuda, "is_available", lambda: True)

    def attempt(backend: str, device: str) -> None:
        raise RuntimeError("no kernel image is available for execution on the device")

    with pytest.raises(SetupError, match=r"'torch' does not work.*no kernel image.*docs/gpu.md"):
        try_backend(attempt, None, "cuda")
