"""A recording in, keywords out: what the trainer, the evaluation and the service must do alike."""
