"""A plan as a networkx graph, for people: each step with what it does, why, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.plan.steps import Plan, Remove, ReplicaPlan

if TYPE_CHECKING:
    import networkx as nx


def graph_of(plan: Plan) -> nx.DiGraph[str]:
    """See :attr:`composer.plan.steps.Plan.graph`."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    for network in plan.networks:
        if network.action != "keep":
            graph.add_node(f"network:{network.name}", action=network.action, reason=network.reason)
    for volume in plan.volumes:
        if volume.action != "keep":
            graph.add_node(f"volume:{volume.name}", action=volume.action, reason=volume.reason)
    for replica in plan.replicas:
        if replica.is_change:
            action = type(replica.action).__name__.lower()
            graph.add_node(f"container:{replica.name}", action=action, reason=replica.reason)
    for replica in plan.replicas:
        if replica.is_change and not isinstance(replica.action, Remove):
            _add_needs(graph, plan, replica)
    return graph


def _add_needs(graph: nx.DiGraph[str], plan: Plan, replica: ReplicaPlan) -> None:
    step = f"container:{replica.name}"
    for wait in replica.waits:
        for needed in plan.of_service(wait.service):
            node = f"container:{needed.name}"
            if node not in graph:
                graph.add_node(node, action="keep", reason=needed.reason)
            graph.add_edge(node, step, condition=wait.condition)
    if replica.config is None:
        return
    needs = [f"network:{endpoint.network}" for endpoint in replica.config.endpoints]
    needs += [f"volume:{mount.source}" for mount in replica.config.mounts if mount.type == "volume"]
    for need in needs:
        if need in graph:
            graph.add_edge(need, step, condition="exists")


def explain(plan: Plan) -> tuple[str, ...]:
    """One sentence a step, in an order in which they can be done."""
    import networkx as nx

    lines: list[str] = []
    for node in nx.lexicographical_topological_sort(plan.graph):
        data = plan.graph.nodes[node]
        after = sorted(plan.graph.predecessors(node))
        line = f"{data['action']} {node.replace(':', ' ', 1)}"
        line += f" ({data['reason']})" if data["reason"] else ""
        lines.append(line + (f", after {', '.join(after)}" if after else ""))
    return tuple(lines)
