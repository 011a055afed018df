"""Where and how precisely a network is computed."""

import torch
from torch import Tensor, nn


def compute_device() -> torch.device:
    """The first GPU that this process may see, else the CPU with the threads that OMP_NUM_THREADS gives it."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, its 3D kernels in the memory layout that convolutions are fastest in."""
    return network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def machine(device: torch.device) -> str:
    """What a training's bits depend on besides its inputs: torch's version, kind of processor or GPU, number of threads."""
    if device.type == "cuda":
        return f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}"
    return f"torch {torch.__version__}, CPU {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def forward(network: nn.Module, clips: Tensor, precision: str) -> Tensor:
    """The network's output in float32, computed under bf16 autocast if `precision` says so."""
    with torch.autocast(clips.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return network(clips).float()
