"""What Lava runs in the place of a block: its parts.  There is no arithmetic here."""

from __future__ import annotations

from lava.magma.core.decorator import implements, tag
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from lavadl_lite.netx.blocks.process import (
    ComplexDense,
    ComplexInput,
    ComplexRecurrentDense,
    Conv,
    Dense,
    Input,
    RecurrentDense,
    Unrolled,
)

__all__ = [
    "AbstractPyBlockModel",
    "PyComplexDenseModel",
    "PyComplexInputModel",
    "PyComplexRecurrentDenseModel",
    "PyConvModel",
    "PyDenseModel",
    "PyInputModel",
    "PyRecurrentDenseModel",
    "PyUnrolledModel",
]


@tag("fixed_pt")
class AbstractPyBlockModel(AbstractSubProcessModel):
    """Base of the models of blocks: every process that the block holds is a part of it.

    Parameters
    ----------
    proc : AbstractProcess
        The block.
    """

    def __init__(self, proc: AbstractProcess) -> None:
        for name, part in zip(proc.procs.member_names, proc.procs.members, strict=True):
            setattr(self, name, part)


@implements(proc=Input, protocol=LoihiProtocol)
class PyInputModel(AbstractPyBlockModel):
    """Model of :class:`Input`."""


@implements(proc=ComplexInput, protocol=LoihiProtocol)
class PyComplexInputModel(AbstractPyBlockModel):
    """Model of :class:`ComplexInput`."""


@implements(proc=Dense, protocol=LoihiProtocol)
class PyDenseModel(AbstractPyBlockModel):
    """Model of :class:`Dense`."""


@implements(proc=RecurrentDense, protocol=LoihiProtocol)
class PyRecurrentDenseModel(AbstractPyBlockModel):
    """Model of :class:`RecurrentDense`."""


@implements(proc=ComplexDense, protocol=LoihiProtocol)
class PyComplexDenseModel(AbstractPyBlockModel):
    """Model of :class:`ComplexDense`."""


@implements(proc=ComplexRecurrentDense, protocol=LoihiProtocol)
class PyComplexRecurrentDenseModel(AbstractPyBlockModel):
    """Model of :class:`ComplexRecurrentDense`."""


@implements(proc=Conv, protocol=LoihiProtocol)
class PyConvModel(AbstractPyBlockModel):
    """Model of :class:`Conv`."""


@implements(proc=Unrolled, protocol=LoihiProtocol)
class PyUnrolledModel(AbstractPyBlockModel):
    """Model of :class:`Unrolled`."""
