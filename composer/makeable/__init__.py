"""What a Compose file asks for and nothing can be made of: no container, no network, no volume.

The same for ``up``, which would come to it sooner or later, and for ``config``: nothing but the file is needed to know.
What depends on the machine, on images or on what there is already is found when things are made. Pure.
"""
