"""Floating-point types that a model can be computed in."""

from espnet_mtasr.errors import UserError

DTYPES = ("float32", "bfloat16", "float16")


def check_dtype(option: str, dtype: str) -> None:
    """Raise `UserError` for a type that is not in `DTYPES`.

    Args:
        option: The option that gave it, for the message.
        dtype: Its name.
    """
    if dtype not in DTYPES:
        raise UserError(f"{option} {dtype}: choose one of {', '.join(DTYPES)}")


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware; emulation is slow."""
    import torch

    cpu = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())
