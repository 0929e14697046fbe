"""How the embedded models were made, so that they can be made again."""
