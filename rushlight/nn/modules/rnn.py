"""Recurrent layers, where PyTorch keeps them: ``torch.nn.modules.rnn``."""

from rushlight.nn.recurrent import GRU, LSTM, RNN, RNNBase
from rushlight.nn.recurrent_cells import GRUCell, LSTMCell, RNNCell, RNNCellBase

__all__ = [
    "GRU",
    "GRUCell",
    "LSTM",
    "LSTMCell",
    "RNN",
    "RNNBase",
    "RNNCell",
    "RNNCellBase",
]
