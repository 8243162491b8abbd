# Two images: `detect` finds and classifies, in a tenth of the space; `train` (the default) does all.
#     docker build --target detect -t audiocnn:detect .
#     docker build -t audiocnn .
#     docker run --rm -v "$PWD:/data" audiocnn:detect detect archive/ > segments.jsonl
#     docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" audiocnn train sounds/
# --build-arg FFMPEG=1 adds ffmpeg, for m4a, mp4 and other films.
# --build-arg TORCH_INDEX=https://pypi.org/simple takes the torch for NVIDIA GPUs.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS system
ARG FFMPEG=
RUN if [ -n "$FFMPEG" ]; then \
        apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*; \
    fi
RUN useradd --create-home audiocnn
ENV PATH=/opt/audiocnn/bin:$PATH
USER audiocnn
WORKDIR /data
ENTRYPOINT ["audiocnn"]
CMD ["--help"]

FROM python:${PYTHON}-slim AS detect-build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt requirements-detect.txt ./
COPY audiocnn audiocnn
COPY cli cli
COPY models models
RUN python -m venv /opt/audiocnn
ENV PATH=/opt/audiocnn/bin:$PATH
RUN pip install --no-cache-dir -r requirements-detect.txt && pip install --no-cache-dir --no-deps .

FROM detect-build AS train-build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir -c constraints.txt --index-url "$TORCH_INDEX" torch
RUN pip install --no-cache-dir -c constraints.txt .

FROM system AS detect
COPY --from=detect-build /opt/audiocnn /opt/audiocnn

FROM system AS train
COPY --from=train-build /opt/audiocnn /opt/audiocnn
