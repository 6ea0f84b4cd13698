"""Programs that run on GPUs: packing, training, evaluation, latency, registration."""
