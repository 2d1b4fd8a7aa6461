"""Layers that begin at zero, so that the branch they end adds nothing until it has learned to."""

from __future__ import annotations

from torch import Tensor, nn

from assembler.registry import Channels, Features, op


@op("zero_linear")
class ZeroLinear(nn.Linear):
    """A linear layer whose weights begin at zero, as adaLN-Zero has it (DiT): [..., D] -> [..., out]; by default D."""

    def __init__(self, features: Features, out: int | None = None, bias: bool = True) -> None:
        super().__init__(features, features if out is None else out, bias=bias)

    def reset_parameters(self) -> None:
        """Set weights and biases to zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@op("zero_conv2d")
class ZeroConv2d(nn.Conv2d):
    """A convolution whose weights begin at zero (DDPM, ControlNet), keeping the size: [B, C, H, W] -> [B, out, H, W].

    Raises ValueError for an even kernel.
    """

    def __init__(self, channels: Channels, out: int | None = None, kernel_size: int = 1, bias: bool = True) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}, but only an odd kernel keeps the size")
        super().__init__(channels, channels if out is None else out, kernel_size, padding=kernel_size // 2, bias=bias)

    def reset_parameters(self) -> None:
        """Set weights and biases to zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)
