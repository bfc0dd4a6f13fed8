"""What the commands share: flags, extras, the settings of JAX; and `seqface`, which runs them."""
