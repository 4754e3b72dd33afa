"""Pure signal stages: from waveforms and fast scalars to what is worth storing. State is explicit and can be saved."""
