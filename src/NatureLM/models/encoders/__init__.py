"""Audio encoders: BirdNET of the bundled model, BEATs of the published one."""
