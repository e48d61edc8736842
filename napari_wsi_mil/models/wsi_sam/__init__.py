"""WSI-SAM: prompts to outlines from two resolutions about one centre (Liu et al., COMPAYL 2024, PMLR 254:25-37)."""
