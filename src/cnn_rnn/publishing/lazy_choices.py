"""An ONNX graph computes both sides of a choice; here it computes the one that is chosen.

PyTorch writes the choice between two results as `Where` on a single yes or no. What is needed for one side alone moves
into the branch of an `If`. Choices nest: what comes after one in its second side may hold the next.
"""

from collections.abc import Iterable
from graphlib import TopologicalSorter
from typing import Any


def choose_lazily(model: Any) -> None:
    """Turn every choice of a graph (`onnx.ModelProto`) between two results into an `If`, in place."""
    choices = _choices(model)
    for condition in reversed(choices):  # the one inside first
        _move_into_branches(model.graph, condition)


def _choices(model: Any) -> list[str]:
    """The conditions that are a single yes or no of `Where` nodes, in the order in which they are known."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    single = {value.name for value in inferred.graph.value_info if not value.type.tensor_type.shape.dim}
    conditions = {node.input[0] for node in model.graph.node if node.op_type == "Where"} & single
    return [name for node in model.graph.node for name in node.output if name in conditions]


def _move_into_branches(graph: Any, condition: str) -> None:
    """Put one `If` in the place of all choices by a condition."""
    import onnx

    choices = [node for node in graph.node if node.op_type == "Where" and node.input[0] == condition]
    chosen = {id(node) for node in choices}
    others = [node for node in graph.node if id(node) not in chosen]
    sides = []
    for side in (1, 2):
        kept = {entry.name for entry in graph.output} | {condition} | {node.input[3 - side] for node in choices}
        sides.append(_needed_alone(others, {node.input[side] for node in choices}, kept))
    branches = []
    for side, inside in enumerate(sides, start=1):
        # A result that something outside needs too is handed through.
        results = {node.input[side]: f"{node.input[side]}_chosen_{node.output[0]}" for node in choices}
        nodes = [node for node in others if id(node) in inside]
        nodes += [onnx.helper.make_node("Identity", [result], [output]) for result, output in results.items()]
        values = [onnx.helper.make_empty_tensor_value_info(results[node.input[side]]) for node in choices]
        branches.append(onnx.helper.make_graph(nodes, f"{condition}_{side}", [], values))
    outputs = [node.output[0] for node in choices]
    chooser = onnx.helper.make_node(
        "If", [condition], outputs, f"{condition}_if", then_branch=branches[0], else_branch=branches[1]
    )
    nodes = [*(node for node in others if id(node) not in sides[0] | sides[1]), chooser]
    makers = {output: number for number, node in enumerate(nodes) for output in node.output}
    needs = {number: [makers[name] for name in _inputs(node) if name in makers] for number, node in enumerate(nodes)}
    ordered = [nodes[number] for number in TopologicalSorter(needs).static_order()]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _needed_alone(nodes: list[Any], results: set[str], kept: set[str]) -> set[int]:
    """Which nodes nothing but these results needs; what is kept is needed elsewhere."""
    wanted, outside, inside = set(results), set(kept), set()
    for node in reversed(nodes):
        made = set(node.output)
        if made & wanted and not made & outside:
            inside.add(id(node))
            wanted |= set(_inputs(node))
        else:
            outside |= set(_inputs(node))
    return inside


def _inputs(node: Any) -> Iterable[str]:
    """Names of all that a node reads, its branches included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _inputs(inner)
