"""Which steps of builds have to be done, in which order, and which of them were done before. Pure: knows neither
Dockerfiles nor file systems."""
