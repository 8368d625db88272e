"""Backpropagation in Python, node by node: torch's own engine wants a driver as soon as a tensor says it is on CUDA.

The nodes are torch's own, so what they compute is; only the order, the sums and the leaves are ours. Hooks are called
on tensors that some operation made, if they were registered by `register_hook` of this module.
"""

from collections import Counter, defaultdict

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """As `torch.autograd.backward`; all leaves get their gradients."""
    assert inputs is None and grad_variables is None
    roots = _together(tensors)
    _run(roots, _seeds(roots, grad_tensors), create_graph, None)


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, allow_unused=None, **options):
    """As `torch.autograd.grad`."""
    assert not any(options.values())
    roots, wanted = _together(outputs), _together(inputs)
    found = _run(roots, _seeds(roots, grad_outputs), create_graph, wanted)
    if not allow_unused and None in [found.get(place) for place in range(len(wanted))]:
        raise RuntimeError("One of the differentiated Tensors appears to not have been used in the graph.")
    return tuple(found.get(place) for place in range(len(wanted)))


def register_hook(tensor: Tensor, hook) -> None:
    """As `torch.Tensor.register_hook`, of a tensor that is no leaf; there is no way to take it off again."""
    tensor.grad_fn.metadata.setdefault(("hooks", tensor.output_nr), []).append(hook)


def _together(tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _seeds(roots: list[Tensor], given) -> list[Tensor]:
    own = [None] * len(roots) if given is None else _together(given)
    return [torch.ones_like(root) if seed is None else seed for root, seed in zip(roots, own, strict=True)]


def _edge(tensor: Tensor):
    """The node that a tensor's gradient goes into, and as which of its inputs."""
    if tensor.grad_fn is not None:
        return tensor.grad_fn, tensor.output_nr
    with torch.enable_grad():
        return tensor.view_as(tensor).grad_fn.next_functions[0][0], 0


def _run(roots, seeds, create_graph: bool, wanted: list[Tensor] | None) -> dict[int, Tensor]:
    """Gradients of what is wanted by its place; where nothing is named, those of leaves are added to their `grad`."""
    edges, results = [_edge(root) for root in roots], {}
    awaited = _awaited([node for node, _ in edges])
    asked = defaultdict(list)
    for place, tensor in enumerate(wanted or ()):
        asked[_edge(tensor)].append(place)
    given = defaultdict(dict)
    for (node, slot), seed in zip(edges, seeds, strict=True):
        _add(given[node], slot, seed)
    ready = [node for node in dict.fromkeys(node for node, _ in edges) if not awaited[node]]
    with torch.set_grad_enabled(create_graph):
        while ready:
            node = ready.pop()
            own = _hooked(node, given.pop(node, {}))
            for slot, gradient in own.items():
                results.update(dict.fromkeys(asked[node, slot], gradient))
            if hasattr(node, "variable"):
                if wanted is None and own:
                    _accumulate(node.variable, own[0])
                continue
            for (following, slot), gradient in zip(_edges(node), _applied(node, own), strict=True):
                if gradient is not None:
                    _add(given[following], slot, _fitted(following, slot, gradient))
                awaited[following] -= 1
                if not awaited[following]:
                    ready.append(following)
    return results


def _edges(node) -> list:
    """Where a node's gradients go, without those that go nowhere."""
    return [edge for edge in node.next_functions if edge[0] is not None]


def _awaited(nodes: list) -> Counter:
    """How many gradients each node of the graph waits for."""
    awaited, seen, left = Counter(), set(), list(nodes)
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            following = [other for other, _ in _edges(node)]
            awaited.update(following)
            left += following
    return awaited


def _applied(node, given: dict[int, Tensor]) -> list:
    """A node's gradients, one an edge; none where it was given none."""
    if not given:
        return [None] * len(_edges(node))
    described = node._input_metadata
    gradients = [given.get(slot) for slot in range(len(described))]
    if isinstance(node, BackwardCFunction):  # arguments that are no tensors have no edge
        found = node.apply(*(_materialised(*pair) for pair in zip(gradients, described, strict=True)))
        found = found if isinstance(found, tuple) else (found,)
        return [one for one, needed in zip(found, node.needs_input_grad, strict=False) if needed]
    found = node(*gradients)
    found = found if isinstance(found, tuple) else (found,)
    return [one for one, edge in zip(found, node.next_functions, strict=False) if edge[0] is not None]


def _hooked(node, given: dict[int, Tensor]) -> dict[int, Tensor]:
    """Gradients as the hooks on their tensors leave them."""
    for slot in given:
        for hook in node.metadata.get(("hooks", slot), ()):
            changed = hook(given[slot])
            given[slot] = given[slot] if changed is None else changed
    return given


def _materialised(gradient, described) -> Tensor:
    if gradient is not None:
        return gradient
    return torch.zeros(tuple(described.shape), dtype=described.dtype, device=described.device)


def _fitted(node, slot: int, gradient: Tensor) -> Tensor:
    """In the shape and type of what it is the gradient of, as the engine makes sure."""
    described = node.variable if hasattr(node, "variable") else node._input_metadata[slot]
    shape, dtype = tuple(described.shape), described.dtype
    gradient = gradient if tuple(gradient.shape) == shape else gradient.sum_to_size(shape)
    return gradient if gradient.dtype == dtype else gradient.to(dtype)


def _add(given: dict[int, Tensor], slot: int, gradient: Tensor) -> None:
    given[slot] = given[slot] + gradient if slot in given else gradient


def _accumulate(leaf: Tensor, gradient: Tensor) -> None:
    """Take a leaf's first gradient as it is where it is laid out likewise, else a copy; add all others."""
    if leaf.grad is not None:
        leaf.grad = leaf.grad + gradient
        return
    gradient = gradient if torch.is_grad_enabled() else gradient.detach()
    same = gradient.stride() == leaf.stride()
    leaf.grad = gradient if same else torch.empty_like(leaf).copy_(gradient)
