"""The device that work is done on: the one that is named, or the best there is."""

import torch


def find_device(name: torch.device | str | None) -> torch.device:
    """The device of that name; without one a GPU where there is one, else the CPU.

    Raises:
        ValueError: no device is called so, or this machine has none such.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
    message = (
        f"device: expected one of this machine ({there}), got {str(name)!r}; name another, or none for the default"
    )
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise ValueError(message)
        torch.empty(1, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(message) from error
    return device
