# JupyterLab with the course. Your work stays in the folder my-vit beside you:
#
#   docker build -t vitcourse .
#   docker run --rm -it -p 127.0.0.1:8888:8888 -v "$PWD/my-vit:/my-vit" vitcourse
#
# For an NVIDIA GPU (the host needs its driver and the NVIDIA Container Toolkit), build with --build-arg TORCH=cu130 and
# run with --gpus all.
FROM python:3.13-slim

ARG TORCH=cpu
RUN pip install --no-cache-dir uv
COPY . /course
RUN uv build --wheel --out-dir /dist /course \
    && uv pip install --system --no-cache --torch-backend=$TORCH \
       "vitcourse[book] @ file://$(ls /dist/*.whl)" jupyterlab \
    && rm -rf /course /dist

RUN useradd --create-home learner && mkdir /my-vit && chown learner /my-vit
USER learner
WORKDIR /my-vit
EXPOSE 8888
CMD ["sh", "-c", "test -d chapters || vitcourse init . ; exec jupyter lab --ip=0.0.0.0 --no-browser"]
