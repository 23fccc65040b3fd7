"""What goes over the socket between judge and worker: a header of JSON, then the tensors as safetensors.

Nothing that arrives is unpickled or evaluated. A value is None, a bool, a number, a text, a tensor, a dtype, a name of
something in the worker (Slot, Part), or a list, a tuple or a dict of these; anything else travels as Other, its type's
name.
"""

import dataclasses
import json
import math
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor

LARGEST = 256 * 2**20  # bytes of one message
LARGEST_HEADER = 16 * 2**20  # bytes of what it says of the tensors, and of all else
DEEPEST = 12  # levels of lists in lists
MOST = 20_000  # parts of one value
LONGEST = 20_000  # characters of one text that a call gives back; chapters are longer
LONGEST_NUMBER = 1_000  # bits of a whole number: Python writes no endless ones as text
TIME_OVER = "the time is over"  # what a worker prints before the lines at which endless code stands
_SIZES = struct.Struct(">QQ")
_DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
)


class ProtocolError(Exception):
    """What came over the socket is no message of ours, or is too large."""


class Gone(Exception):
    """The other side has ended."""


class TooLate(Exception):
    """Nothing came before the deadline."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """Something that stays in the worker, by its name there: a module, a model to be trained, an optimizer."""

    name: str


@dataclasses.dataclass(frozen=True)
class Part:
    """A parameter or a buffer of something that stays in the worker: that very object, and not its numbers."""

    slot: str
    name: str


@dataclasses.dataclass(frozen=True)
class Other:
    """A value that can't travel: only its type's name does."""

    kind: str


def pack(value: Any) -> bytes:
    """A message. What is too deep or too large in the value travels as Other."""
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_encode(value, tensors, DEEPEST)).encode()
    body = write_tensors(tensors) if tensors else b""
    return _SIZES.pack(len(header), len(body)) + header + body


def unpack(header: bytes, body: bytes) -> Any:
    """The value of a message. Raises ProtocolError when it is none."""
    try:
        tensors = read_tensors(body) if body else {}
        return _decode(json.loads(header), tensors)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError(f"no message: {type(error).__name__}") from None


def send(channel: socket.socket, value: Any, deadline: float | None = None) -> None:
    """Write a message, until the deadline (of time.monotonic) if there is one.

    Raises Gone when nobody reads it any more, TooLate when nobody has read it in time.
    """
    with _until(channel, deadline):
        channel.sendall(pack(value))


def receive(channel: socket.socket, deadline: float | None = None) -> Any:
    """Read a message, until the deadline if there is one.

    Raises Gone at its end, TooLate after the deadline, ProtocolError for what is no message.
    """
    header_size, body_size = _SIZES.unpack(_read(channel, _SIZES.size, deadline))
    if header_size > LARGEST_HEADER or header_size + body_size > LARGEST:
        raise ProtocolError("a message that is too large")
    header = _read(channel, header_size, deadline)
    return unpack(header, _read(channel, body_size, deadline))


def _read(channel: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        with _until(channel, deadline):
            part = channel.recv(min(size - len(parts), 2**20))
        if not part:
            raise Gone
        parts += part
    return bytes(parts)


@contextmanager
def _until(channel: socket.socket, deadline: float | None) -> Iterator[None]:
    if deadline is not None and deadline <= time.monotonic():
        raise TooLate
    try:
        channel.settimeout(None if deadline is None else deadline - time.monotonic())
        yield
    except TimeoutError:
        raise TooLate from None
    except OSError as error:
        raise Gone from error


def _encode(value: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    if value is None or type(value) is bool or (type(value) is int and value.bit_length() <= LONGEST_NUMBER):
        return value
    if isinstance(value, str):
        return str(value).encode("utf-8", "replace").decode()
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, Slot | Part | Other):
        return {type(value).__name__: list(dataclasses.astuple(value))}
    if isinstance(value, Tensor):
        return _encode_tensor(value, tensors)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list | dict) and depth and len(value) <= MOST:
        if isinstance(value, dict):
            return {"dict": [[str(key), _encode(item, tensors, depth - 1)] for key, item in value.items()]}
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_encode(item, tensors, depth - 1) for item in value]}
    return {"Other": [type(value).__name__[:100]]}


def _encode_tensor(tensor: Tensor, tensors: dict[str, Tensor]) -> Any:
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
    if tensor.dtype not in _DTYPES or not plain:
        return {"Other": [f"tensor of {str(tensor.dtype).removeprefix('torch.')} on {tensor.device.type}"]}
    key = str(len(tensors))
    # A copy of its own: safetensors takes no views of one memory, and what is noted can't be changed later.
    tensors[key] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").copy_(tensor.detach())
    return {"tensor": key}


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise ProtocolError("a list without its kind")
        return value
    ((kind, content),) = value.items()
    if kind not in _DECODERS:
        raise ProtocolError("a value of no known kind")
    return _DECODERS[kind](content, tensors)


_DECODERS: dict[str, Callable[[Any, dict[str, Tensor]], Any]] = {
    "float": lambda content, _: float(str(content)),
    "dtype": lambda content, _: {str(dtype).removeprefix("torch."): dtype for dtype in _DTYPES}[content],
    "Slot": lambda content, _: Slot(*map(str, content)),
    "Part": lambda content, _: Part(*map(str, content)),
    "Other": lambda content, _: Other(*map(str, content)),
    "tensor": lambda content, tensors: tensors[content],
    "tuple": lambda content, tensors: tuple(_decode(item, tensors) for item in content),
    "list": lambda content, tensors: [_decode(item, tensors) for item in content],
    "dict": lambda content, tensors: {str(key): _decode(item, tensors) for key, item in content},
}
