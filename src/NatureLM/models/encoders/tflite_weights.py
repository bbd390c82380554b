"""Reading a TensorFlow Lite file into plain Python: its operations, in order, and its constants.

Only the flatbuffer schema (package ``tflite``) is used; no TensorFlow Lite runtime is needed.
Format: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite

OPERATION_NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}

# The option tables that are read; the operations of other kinds have none that matters here.
OPTION_TABLES: dict[str, Any] = {
    "CONV_2D": tflite.Conv2DOptions,
    "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
    "AVERAGE_POOL_2D": tflite.Pool2DOptions,
    "MAX_POOL_2D": tflite.Pool2DOptions,
    "ADD": tflite.AddOptions,
}
OPTION_FIELDS = (
    "Padding",
    "StrideH",
    "StrideW",
    "FilterHeight",
    "FilterWidth",
    "FusedActivationFunction",
)
DTYPES: dict[int, Any] = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
    tflite.TensorType.INT64: np.int64,
    tflite.TensorType.COMPLEX64: np.complex64,
}


@dataclass(frozen=True)
class Operation:
    """One operation of a graph; tensors are given by their index in the file (-1: input left out)."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]


@dataclass(frozen=True)
class Graph:
    """A graph's operations in the order of execution, and its constants by tensor index."""

    operations: tuple[Operation, ...]
    constants: dict[int, np.ndarray]
    names: dict[int, str]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def index(self, name: str) -> int:
        """Find the index of the tensor with this name.

        Raises
        ------
        ValueError
            If no tensor has this name.
        """
        for index, tensor_name in self.names.items():
            if tensor_name == name:
                return index
        raise ValueError(f"the graph has no tensor named {name!r}")

    def constant(self, name: str) -> np.ndarray:
        """Find the constant whose tensor has this name."""
        return self.constants[self.index(name)]


def read_graph(path: Path | str) -> Graph:
    """Read the first subgraph of a TensorFlow Lite file.

    Parameters
    ----------
    path
        A ``.tflite`` file.

    Returns
    -------
    Graph
        Its constants are read-only views on the file's bytes, which stay in memory with them.

    Raises
    ------
    ValueError
        If the file is not a TensorFlow Lite file or has a data type that is not read here.
    """
    content = Path(path).read_bytes()
    if not tflite.Model.ModelBufferHasIdentifier(content, 0):
        raise ValueError(f"{path} is not a TensorFlow Lite file")
    model = tflite.Model.GetRootAsModel(content, 0)
    subgraph = model.Subgraphs(0)

    constants: dict[int, np.ndarray] = {}
    names: dict[int, str] = {}
    for index in range(subgraph.TensorsLength()):
        tensor = subgraph.Tensors(index)
        names[index] = tensor.Name().decode()
        stored = model.Buffers(tensor.Buffer())
        if stored.DataLength():
            if tensor.Type() not in DTYPES:
                raise ValueError(f"{path}: tensor {names[index]} has the unknown data type {tensor.Type()}")
            shape = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
            constants[index] = stored.DataAsNumpy().view(DTYPES[tensor.Type()]).reshape(shape)

    operations = []
    for index in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # The schema moved the code to a wider field; a file carries it in either, the other is 0.
        kind = OPERATION_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        operations.append(
            Operation(
                kind=kind,
                inputs=tuple(operator.Inputs(i) for i in range(operator.InputsLength())),
                outputs=tuple(operator.Outputs(i) for i in range(operator.OutputsLength())),
                options=_options(kind, operator),
            )
        )
    return Graph(
        operations=tuple(operations),
        constants=constants,
        names=names,
        inputs=tuple(subgraph.Inputs(i) for i in range(subgraph.InputsLength())),
        outputs=tuple(subgraph.Outputs(i) for i in range(subgraph.OutputsLength())),
    )


def _options(kind: str, operator: Any) -> dict[str, int]:
    stored = operator.BuiltinOptions()
    if kind not in OPTION_TABLES or stored is None:
        return {}
    table = OPTION_TABLES[kind]()
    table.Init(stored.Bytes, stored.Pos)
    return {field: getattr(table, field)() for field in OPTION_FIELDS if hasattr(table, field)}
