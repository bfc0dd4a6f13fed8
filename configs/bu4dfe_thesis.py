"""The thesis to the letter: its network, loss, optimiser and split. 43,348,523 parameters.

Thomassen, 2022, table 1 and appendices B-2 to B-4. Its figures (NME): best training checkpoint
0.0034 on train and 0.0258 on test, best validation checkpoint 0.0150 and 0.0156. One deviation:
every epoch sees every frame, where its generator saw a fifth of them.
"""

from configs import default


def get_config():
    """Returns the thesis's options."""
    config = default.get_config()

    config.data.num_frames = 8
    config.data.batch_size = 5
    config.data.normalization = 'min_max_bgr'
    config.data.target = 'points'
    # Selected on test: the thesis validates, stops and reports on the same 26 subjects.
    config.data.validation_split = 'validation+test'
    config.data.test_split = 'validation+test'
    config.data.augmentation.enabled = False

    model = config.model
    model.name = 'seqface'
    model.encoder = (  # Sides at 256 pixels in the comments.
        {'kind': 'conv_lstm', 'features': 32, 'stride': 2},  # 128
        {'kind': 'inverted_residual', 'features': 16, 'expansion': 1},
        {'kind': 'conv_lstm', 'features': 24, 'stride': 2},  # 64
        {'kind': 'conv_lstm', 'features': 32, 'stride': 2},  # 32
        {'kind': 'conv_lstm', 'features': 64, 'stride': 2},  # 16
        {'kind': 'conv_lstm', 'features': 96},
        {'kind': 'inverted_residual', 'features': 160, 'expansion': 6, 'stride': 2, 'repeats': 2},
        {'kind': 'inverted_residual', 'features': 320, 'expansion': 6},  # 8
        {'kind': 'conv_lstm', 'features': 512},
        {'kind': 'conv_lstm', 'features': 512},
    )
    model.decoder = (
        {'kind': 'conv_transpose', 'features': 512},
        {'kind': 'conv_transpose', 'features': 256, 'stride': 2},  # 16
        {'kind': 'conv_transpose', 'features': 128, 'stride': 2},  # 32
        {'kind': 'conv_transpose', 'features': 64, 'stride': 2},  # 64
        {'kind': 'conv_transpose', 'features': 32, 'stride': 2},  # 128
        {'kind': 'conv_transpose', 'features': 16},
        {'kind': 'conv_transpose', 'features': 8},
        {'kind': 'conv_transpose', 'features': 3},
    )
    model.norm = 'batch'
    model.recurrent_activation = 'hard_sigmoid'
    model.output_activation = 'tanh'
    model.remat_frames = 0  # 8: far longer sequences in the same memory, more time.

    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay_factor = 0.5
    config.optimizer.decay_every_epochs = 10
    config.optimizer.name = 'keras_adam'
    config.optimizer.epsilon = 1e-7
    config.optimizer.clip_norm = 0.0
    config.optimizer.weight_decay = 0.0

    config.train.num_epochs = 300
    config.train.loss_weights.masked_l1 = 0.0
    config.train.loss_weights.index_mse = 1.0
    config.train.early_stop_epochs = 30
    config.train.ema_decay = 0.0
    return config
