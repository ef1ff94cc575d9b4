# The pipeline on a GPU: conf/gpu with full-size weights, or the small priors with device=cuda.
#
#   docker build -f docker/cuda.Dockerfile -t mpod-cuda .
#   docker run --rm --gpus all -v "$PWD/photos:/photos:ro" -v "$PWD/made:/made" -v "$PWD/full_size:/full_size:ro" mpod-cuda \
#       --env=gpu --params=photos=/photos,workspace=/made,priors=/full_size
#   docker run --rm --gpus all --entrypoint python mpod-cuda benchmarks/gpu.py --out /made/gpu_report
#
# The backend is plain PyTorch, whose wheels bring CUDA with them. PACKAGES=1 adds nerfacc and tinycudann, which are
# compiled for ARCHITECTURES (80 A100, 86 and 89 RTX 30 and 40, 90 H100 and H200).
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04

ARG PACKAGES=0
ARG ARCHITECTURES=90
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 KEDRO_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1
ENV PATH=/venv/bin:$PATH

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git g++ ninja-build python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /venv \
    && useradd --create-home --uid 1001 mpod
WORKDIR /mpod
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --constraint constraints.txt --editable '.[dev]'
# tinycudann's set-up imports pkg_resources, which setuptools no longer has from 82 on.
RUN if [ "$PACKAGES" = 1 ]; then \
        pip install setuptools==75.8.2 wheel==0.45.1 ninja==1.13.0 nerfacc==0.5.3 \
        && TCNN_CUDA_ARCHITECTURES=$ARCHITECTURES pip install --no-build-isolation \
            'git+https://github.com/NVlabs/tiny-cuda-nn@6ee3546#subdirectory=bindings/torch'; \
    fi
COPY benchmarks benchmarks
COPY tests tests
COPY conf conf
COPY data data
RUN mkdir /made && chown -R mpod /made /mpod
USER 1001
ENV MLFLOW_TRACKING_URI=sqlite:////made/mlflow.db
ENTRYPOINT ["kedro", "run"]
