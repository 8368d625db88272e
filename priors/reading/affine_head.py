"""A function that gives logits, as the linear layer that it is: a head that is no `torch.nn.Linear`."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from priors.checks.floats import own_dtype
from priors.errors import InputError
from priors.reading.dry_pass import evaluating, without_autocast


class AffineHead(nn.Linear):
    """logits(a) = weight . a + bias by a function of activations, which may be computed in any way.

    It has no weights of its own: those that the function uses are its owner's, who calls it. `weight` and `bias` are
    what the function does in evaluation mode, read off unit vectors and on the graph of the owner's weights; the bias
    is None where it is 0. Final; made by `priors.zoo.Adapted`.

    Args:
        owner: the module that holds the function's weights; it is no part of this one.
        logits: name of the owner's method: activations (N, m) in, logits (N, classes) out.
        width: m.

    Raises:
        InputError: it gives no logits (1, classes) for one vector.
    """

    def __init__(self, owner: nn.Module, logits: str, width: int):
        nn.Module.__init__(self)
        # In a tuple, or the owner would be one of its own modules; a copy of the owner has its copy there.
        self._owner, self._logits, self.in_features = (owner,), logits, width
        with torch.no_grad():
            given = self._measured(self._rows(torch.zeros, 1))
        if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != 1:
            said = tuple(given.shape) if isinstance(given, Tensor) else f"a {type(given).__name__}"
            raise InputError(f"it gives {said} for one vector of {width} activations: (1, classes) was expected")
        self.out_features = given.shape[1]

    def forward(self, activations: Tensor) -> Tensor:
        """The function itself."""
        return self._function(activations)

    @property
    def weight(self) -> Tensor:
        """(classes, m)."""
        rows = self._rows(torch.zeros, self.in_features + 1)
        rows = rows + torch.eye(self.in_features + 1, self.in_features).to(rows)
        given = self._measured(rows)
        return (given[:-1] - given[-1]).T.contiguous()

    @property
    def bias(self) -> Tensor | None:
        """(classes,); None where it is 0."""
        given = self._measured(self._rows(torch.zeros, 1))[0]
        return given if bool((given != 0).any()) else None

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of the owner's parameters that logits are computed from, by their names there; none without recursion.

        A module's own parameters are none, as its state has it; an owner lists each of them once.
        """
        if not recurse:
            return
        owner = self._owner[0]
        named = list(owner.named_parameters(remove_duplicate=remove_duplicate))
        floats = list(dict.fromkeys(one for _, one in named if one.is_floating_point()))
        asking = [one for one in floats if one.requires_grad]
        try:
            for one in floats:
                one.requires_grad_(True)
            with torch.inference_mode(False), torch.enable_grad():
                total = self._measured(self._rows(torch.ones, 2)).sum()
                slopes = torch.autograd.grad(total, floats, allow_unused=True) if total.requires_grad else []
        finally:
            for one in floats:
                one.requires_grad_(False)
            for one in asking:
                one.requires_grad_(True)
        used = {one for one, slope in zip(floats, slopes, strict=False) if slope is not None}
        before = f"{prefix}." if prefix else ""
        yield from ((f"{before}{name}", one) for name, one in named if one in used)

    def extra_repr(self) -> str:
        """What a printout shows between the brackets."""
        return f"in_features={self.in_features}, out_features={self.out_features}"

    @property
    def _function(self) -> Callable[[Tensor], Tensor]:
        return getattr(self._owner[0], self._logits)

    def _rows(self, make: Callable[..., Tensor], count: int) -> Tensor:
        """Activations of the owner's type, on its device."""
        owner = self._owner[0]
        like = next((one for one in owner.parameters() if one.is_floating_point()), torch.empty(0))
        return make(count, self.in_features, dtype=own_dtype(owner) or like.dtype, device=like.device)

    def _measured(self, rows: Tensor) -> Tensor:
        """Logits in evaluation mode, in the precision of the rows."""
        with evaluating(self._owner[0]), without_autocast(rows.device):
            return self._function(rows)
