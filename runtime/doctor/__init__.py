"""Whether a machine has what the engine needs: facts, how they are found, and what they mean."""
