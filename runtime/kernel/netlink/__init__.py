"""Netlink, spoken directly: the few messages that containers need, as pure encoders and decoders plus one
socket.

Standard library only and quick to import, because the shim (a fork of the keeper) uses it in the path of
every container start. ``message`` has the framing, ``transport`` the socket, ``rtnetlink`` links, addresses
and routes, ``nftables`` the firewall, ``conntrack`` tracked connections, and ``sockdiag`` the listing of
sockets.
"""
