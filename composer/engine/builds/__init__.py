"""One build, whoever asks for it: its context, its checks, its steps, and what becomes of the result."""
