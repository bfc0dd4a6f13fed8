"""3D-R2N2 (Choy et al., 2016), 3D-LSTM without output gate. 32,207,266 parameters."""

from configs import r2n2_gru


def get_config():
    """Returns the options of the LSTM network."""
    config = r2n2_gru.get_config()
    config.model.recurrence = 'lstm'
    return config
