"""`slipway loop demo`: the whole loop on this machine, on weeks of synthetic trips that pass in seconds."""
