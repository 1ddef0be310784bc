"""The deployment lab: topologies in network namespaces, with real processes. `make lab`, or `python -m lab.run`."""
