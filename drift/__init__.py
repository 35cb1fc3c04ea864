"""The drift worker: compares what was served with what the model was trained on."""
