"""What a trained run is worth: metrics, protocols, statistics, tables and figures."""
