"""Where the cards are; imported whenever models are listed, so it must be light."""

from pathlib import Path

CARDS = Path(__file__).parent / "cards"
