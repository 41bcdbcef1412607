"""One build, whoever asks for it: where its context comes from, what is checked, and what becomes of the result."""
