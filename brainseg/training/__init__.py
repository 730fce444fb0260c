"""Lightning: datamodule, module, loss, tracking, fit."""
