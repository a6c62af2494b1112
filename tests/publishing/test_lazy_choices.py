"""A graph with choices beside the same graph where each is an `If`: equal results, and only one side is computed."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from cnn_rnn.publishing.lazy_choices import choose_lazily


def nested_choices() -> onnx.ModelProto:
    """One choice by the sum of x; on its other side one by the greatest of x. Both choose what becomes of y and z."""
    nodes = [
        helper.make_node("Constant", [], ["ten"], value_float=10.0),
        helper.make_node("Constant", [], ["three"], value_float=3.0),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "ten"], ["first"]),
        helper.make_node("Sin", ["x"], ["wave"]),  # something on both sides needs it
        helper.make_node("Neg", ["wave"], ["negative"]),
        helper.make_node("Mul", ["x", "x"], ["square"]),  # a result of one side, something on the other needs it
        helper.make_node("ReduceMax", ["x"], ["greatest"], keepdims=0),
        helper.make_node("Greater", ["greatest", "three"], ["second"]),
        helper.make_node("Add", ["wave", "x"], ["shifted"]),
        helper.make_node("Exp", ["x"], ["power"]),
        helper.make_node("Abs", ["square"], ["plain_square"]),
        helper.make_node("Where", ["second", "shifted", "power"], ["inner_y"]),
        helper.make_node("Where", ["first", "negative", "inner_y"], ["y"]),
        helper.make_node("Sqrt", ["square"], ["root"]),
        helper.make_node("Where", ["second", "root", "plain_square"], ["inner_z"]),
        helper.make_node("Where", ["first", "square", "inner_z"], ["chosen_z"]),
        helper.make_node("Add", ["chosen_z", "y"], ["z"]),
    ]
    shape = ["n"]
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y", "z")]
    graph = helper.make_graph(nodes, "choices", entries[:1], entries[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, values: list[float]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y", "z"], {"x": np.array(values, np.float32)})


@pytest.mark.parametrize("values", [[9.0, 8.0], [4.0, -1.0], [1.0, 2.0, -5.0]], ids=["first", "second", "neither"])
def test_what_is_chosen_stays(values: list[float]) -> None:
    model = nested_choices()
    expected = run(model, values)
    choose_lazily(model)
    onnx.checker.check_model(model, full_check=True)
    for found, wanted in zip(run(model, values), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_only_what_both_sides_need_is_always_computed() -> None:
    model = nested_choices()
    choose_lazily(model)
    (chooser,) = [node for node in model.graph.node if node.op_type == "If"]
    outside = {node.op_type for node in model.graph.node}
    branches = {attribute.name: attribute.g for attribute in chooser.attribute}
    then_branch, else_branch = branches["then_branch"], branches["else_branch"]
    assert outside == {"Constant", "ReduceSum", "Greater", "Sin", "Mul", "Add", "If"}
    assert {node.op_type for node in then_branch.node} == {"Neg", "Identity"}
    assert {"ReduceMax", "Greater", "If"} <= {node.op_type for node in else_branch.node}
    assert not {"Exp", "Abs", "Sqrt"} & {node.op_type for node in else_branch.node}  # they lie in the inner branches
