# The pipeline on a CPU, with the small priors.
#
#   docker build -f docker/cpu.Dockerfile -t mpod .
#   docker run --rm -v "$PWD/photos:/photos:ro" -v "$PWD/made:/made" mpod --params=photos=/photos,workspace=/made
#
# What is made belongs to the user 1000; another: docker run --user.
FROM python:3.12-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 KEDRO_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1

RUN useradd --create-home --uid 1000 mpod
WORKDIR /mpod
# PyTorch alone is some 200 MB without CUDA; the rest comes from PyPI in the versions that the tests passed with.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu --editable .
COPY conf conf
COPY data data
RUN mkdir /made && chown -R mpod /made /mpod
USER 1000
ENV MLFLOW_TRACKING_URI=sqlite:////made/mlflow.db
ENTRYPOINT ["kedro", "run"]
