"""What training needs beside neurons: quantisation, filters, statistics, the assistant, optimizer groups."""

from . import filter, time
from .assistant import Assistant
from .observe import count, record, summary
from .optim import param_groups
from .quantize import MODE as QUANTIZE_MODE
from .quantize import quantize, quantize_hook_fx
from .stats import LearningStat, LearningStats
from .utils import diagonal_mask, dotdict, event_rate, staticproperty

__all__ = [
    "QUANTIZE_MODE",
    "Assistant",
    "LearningStat",
    "LearningStats",
    "count",
    "diagonal_mask",
    "dotdict",
    "event_rate",
    "filter",
    "param_groups",
    "quantize",
    "quantize_hook_fx",
    "record",
    "staticproperty",
    "summary",
    "time",
]
