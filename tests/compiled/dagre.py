"""Where Kubeflow's UI draws the boxes of a graph: the layout of dagre 0.8.5, for what the UI asks of it.

The UI calls dagre with boxes of 224 by 48 pixels, edges without labels, and its defaults (`buildGraphLayout`,
frontend/src/lib/v2/StaticFlow.ts). This follows dagre (MIT, Chris Pettitt) to its ties, so that widths are the same:
ranks by network simplex (Gansner and others, 1993), order by barycentres, positions by Brandes and Köpf (2001).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

BOX, NODE_SEPARATION, EDGE_SEPARATION = 224.0, 50.0, 20.0
# dagre leaves room for an edge's label on a rank of its own.
RANKS_OF_EDGE = 2
_ROOT = "\0root"

Edge = tuple[str, str]
Layers = list[list[str]]


def layout(nodes: Iterable[str], edges: Iterable[Edge]) -> dict[str, float]:
    """The middle of each box, in pixels from the left; nodes and edges in the order in which the UI adds them."""
    boxes, drawn = list(nodes), list(dict.fromkeys(edges))
    layered = _Layered(boxes, drawn, _network_simplex(boxes, drawn))
    placed = _place(layered, _order(layered))
    return {box: placed[box] for box in boxes}


def width(nodes: Iterable[str], edges: Iterable[Edge]) -> float:
    """Width of the whole picture."""
    middles = layout(nodes, edges).values()
    return max(middles) - min(middles) + BOX


class _Tree:
    """A spanning tree, with the numbers by which a cut is found; neighbours as graphlib lists them."""

    def __init__(self, start: str) -> None:
        self.nodes = [start]
        self.edges: dict[Edge, int] = {}  # with their cut values
        self.low: dict[str, int] = {}
        self.limit: dict[str, int] = {}
        self.parent: dict[str, str] = {}

    def neighbors(self, node: str) -> list[str]:
        heads = [u for u, v in self.edges if v == node]
        return heads + [v for u, v in self.edges if u == node]

    def number(self) -> None:
        self.parent = {}
        self._number(self.nodes[0], 1, set())

    def _number(self, node: str, following: int, seen: set[str]) -> int:
        low = following
        seen.add(node)
        for other in self.neighbors(node):
            if other not in seen:
                self.parent[other] = node
                following = self._number(other, following, seen)
        self.low[node], self.limit[node] = low, following
        return following + 1

    def below(self, node: str, root: str) -> bool:
        return self.low[root] <= self.limit[node] <= self.limit[root]

    def walk(self, node: str, seen: set[str]) -> Iterator[str]:
        """Parents before their children."""
        seen.add(node)
        yield node
        for other in self.neighbors(node):
            if other not in seen:
                yield from self.walk(other, seen)


def _key(one: str, other: str) -> Edge:
    return (one, other) if one <= other else (other, one)


def _network_simplex(boxes: list[str], drawn: list[Edge]) -> dict[str, int]:
    """Ranks with the least length of all edges."""
    lengths = dict.fromkeys(drawn, RANKS_OF_EDGE) | {(_ROOT, box): 1 for box in boxes}
    weights = {edge: 0 if edge[0] == _ROOT else 1 for edge in lengths}
    nodes = [*boxes, _ROOT]
    touching = {node: [e for e in lengths if e[1] == node] + [e for e in lengths if e[0] == node] for node in nodes}
    rank: dict[str, int] = {}

    def longest_path(node: str) -> int:
        if node not in rank:
            rank[node] = min((longest_path(e[1]) - lengths[e] for e in touching[node] if e[0] == node), default=0)
        return rank[node]

    longest_path(_ROOT)

    def slack(edge: Edge) -> int:
        return rank[edge[1]] - rank[edge[0]] - lengths[edge]

    tree = _Tree(nodes[0])

    def grow(node: str) -> None:
        for edge in touching[node]:
            other = edge[1] if edge[0] == node else edge[0]
            if other not in tree.nodes and not slack(edge):
                tree.nodes.append(other)
                tree.edges[_key(node, other)] = 0
                grow(other)

    while True:
        for node in list(tree.nodes):
            grow(node)
        if len(tree.nodes) == len(nodes):
            break
        nearest = min((e for e in lengths if (e[0] in tree.nodes) != (e[1] in tree.nodes)), key=slack)
        delta = slack(nearest) if nearest[0] in tree.nodes else -slack(nearest)
        for node in tree.nodes:
            rank[node] += delta

    def cut_value(child: str) -> int:
        parent = tree.parent[child]
        is_tail = (child, parent) in lengths
        value = weights[(child, parent) if is_tail else (parent, child)]
        for edge in touching[child]:
            out = edge[0] == child
            other = edge[1] if out else edge[0]
            if other != parent:
                sign = 1 if out == is_tail else -1
                value += sign * (weights[edge] - tree.edges.get(_key(child, other), 0))
        return value

    def value_cuts() -> None:
        tree.number()
        for child in reversed(list(tree.walk(tree.nodes[0], set()))[1:]):
            tree.edges[_key(child, tree.parent[child])] = cut_value(child)

    value_cuts()
    while leaving := next((edge for edge, value in tree.edges.items() if value < 0), None):
        tail, head = leaving if leaving in lengths else leaving[::-1]
        flip = tree.limit[tail] > tree.limit[head]
        under = head if flip else tail
        candidates = [e for e in lengths if tree.below(e[0], under) == flip and tree.below(e[1], under) != flip]
        entering = min(candidates, key=slack)
        del tree.edges[leaving]
        tree.edges[_key(*entering)] = 0
        value_cuts()
        for node in list(tree.walk(tree.nodes[0], set()))[1:]:
            parent = tree.parent[node]
            below = (parent, node) in lengths
            rank[node] = rank[parent] + (lengths[parent, node] if below else -lengths[node, parent])
    least = min(rank[box] for box in boxes)
    return {box: rank[box] - least for box in boxes}


class _Layered:
    """The graph with edges from one rank to the next: longer ones pass dummies."""

    def __init__(self, boxes: list[str], drawn: list[Edge], rank: dict[str, int]) -> None:
        self.rank, self.dummies = dict(rank), set[str]()
        links = dict.fromkeys(drawn)
        for tail, head in drawn:
            if rank[head] == rank[tail] + 1:
                continue
            del links[tail, head]
            last = tail
            for between in range(rank[tail] + 1, rank[head]):
                dummy = f"\1dummy {len(self.dummies)}"
                self.dummies.add(dummy)
                self.rank[dummy] = between
                links[last, dummy] = None
                last = dummy
            links[last, head] = None
        self.links = list(links)
        self.above: dict[str, list[str]] = {node: [] for node in self.rank}
        self.below: dict[str, list[str]] = {node: [] for node in self.rank}
        for tail, head in self.links:
            self.above[head].append(tail)
            self.below[tail].append(head)
        self.ranks = range(max(self.rank.values()) + 1)

    def separation(self, one: str, other: str) -> float:
        return sum(
            EDGE_SEPARATION / 2 if node in self.dummies else (BOX + NODE_SEPARATION) / 2 for node in (one, other)
        )


def _order(graph: _Layered) -> Layers:
    """The layers with the fewest crossings that were found, from left to right."""
    layers: Layers = [[] for _ in graph.ranks]
    seen: set[str] = set()

    def descend(node: str) -> None:
        if node not in seen:
            seen.add(node)
            layers[graph.rank[node]].append(node)
            for other in graph.below[node]:
                descend(other)

    for node in sorted(graph.rank, key=lambda one: graph.rank[one]):
        descend(node)
    members: Layers = [[node for node in graph.rank if graph.rank[node] == rank] for rank in graph.ranks]
    best, fewest, sweep, since = layers, math.inf, 0, 0
    while since < 4:
        down = sweep % 2 == 1
        position = {node: place for layer in layers for place, node in enumerate(layer)}
        for rank in graph.ranks[1:] if down else graph.ranks[-2::-1]:
            neighbors = graph.above if down else graph.below
            layers[rank] = _sorted_layer(members[rank], neighbors, position, bias_right=sweep % 4 >= 2)
            position |= {node: place for place, node in enumerate(layers[rank])}
        crossings = sum(_crossings(graph, north, south) for north, south in pairwise(layers))
        if crossings < fewest:
            best, fewest, since = [list(layer) for layer in layers], crossings, 0
        sweep, since = sweep + 1, since + 1
    return best


def _sorted_layer(
    members: list[str], neighbors: dict[str, list[str]], position: dict[str, int], *, bias_right: bool
) -> list[str]:
    centers = {
        node: sum(position[other] for other in neighbors[node]) / len(neighbors[node])
        for node in members
        if neighbors[node]
    }
    index = {node: place for place, node in enumerate(members)}
    moved = sorted(centers, key=lambda node: (centers[node], -index[node] if bias_right else index[node]))
    fixed = [node for node in members if node not in centers]
    result: list[str] = []
    for node in [*moved, None]:
        while fixed and index[fixed[0]] <= len(result):
            result.append(fixed.pop(0))
        if node is not None:
            result.append(node)
    return result


def _crossings(graph: _Layered, north: list[str], south: list[str]) -> int:
    place = {node: number for number, node in enumerate(south)}
    ends = [end for node in north for end in sorted(place[other] for other in graph.below[node])]
    return sum(later < end for number, end in enumerate(ends) for later in ends[number + 1 :])


def _place(graph: _Layered, layers: Layers) -> dict[str, float]:
    """The middle of four extreme alignments: up and down, to the left and to the right."""
    conflicts = _conflicts(graph, layers)
    found: list[dict[str, float]] = []
    for vertical, neighbors in ((layers, graph.above), (layers[::-1], graph.below)):
        for mirrored in (False, True):
            adjusted = [layer[::-1] if mirrored else layer for layer in vertical]
            xs = _compact(graph, adjusted, _align(adjusted, conflicts, neighbors.__getitem__))
            found.append({node: -x for node, x in xs.items()} if mirrored else xs)

    def extent(xs: dict[str, float]) -> float:
        half = {node: 0 if node in graph.dummies else BOX / 2 for node in xs}
        return max(x + half[node] for node, x in xs.items()) - min(x - half[node] for node, x in xs.items())

    narrowest = min(found, key=extent)
    low, high = min(narrowest.values()), max(narrowest.values())
    for number, xs in enumerate(found):
        delta = high - max(xs.values()) if number % 2 else low - min(xs.values())
        if xs is not narrowest:
            found[number] = {node: x + delta for node, x in xs.items()}
    return {node: sum(sorted(xs[node] for xs in found)[1:3]) / 2 for node in graph.rank}


def _conflicts(graph: _Layered, layers: Layers) -> set[Edge]:
    """Links that cross one between two dummies, which stays straight."""
    found: set[Edge] = set()
    for north, south in pairwise(layers):
        place = {node: number for number, node in enumerate(north)}
        first, scanned = 0, 0
        for number, node in enumerate(south):
            inner = next((u for u in graph.above[node] if u in graph.dummies), None) if node in graph.dummies else None
            if inner is None and node != south[-1]:
                continue
            last = len(north) if inner is None else place[inner]
            for other in south[scanned : number + 1]:
                for upper in graph.above[other]:
                    both = upper in graph.dummies and other in graph.dummies
                    if not first <= place[upper] <= last and not both:
                        found.add(_key(upper, other))
            scanned, first = number + 1, last
    return found


def _align(layers: Layers, conflicts: set[Edge], neighbors: Callable[[str], list[str]]) -> dict[str, str]:
    """The root of each node's block: nodes above each other."""
    place = {node: number for layer in layers for number, node in enumerate(layer)}
    root, aligned = {node: node for node in place}, {node: node for node in place}
    for layer in layers:
        previous = -1
        for node in layer:
            others = sorted(neighbors(node), key=place.__getitem__)
            middle = (len(others) - 1) / 2
            for other in others[math.floor(middle) : math.ceil(middle) + 1] if others else []:
                if aligned[node] == node and previous < place[other] and _key(node, other) not in conflicts:
                    aligned[other] = node
                    aligned[node] = root[node] = root[other]
                    previous = place[other]
    return root


def _compact(graph: _Layered, layers: Layers, root: dict[str, str]) -> dict[str, float]:
    """Blocks as far left as they can be, then as far right as they can be without moving others."""
    blocks: dict[str, None] = {}
    gaps: dict[Edge, float] = {}
    for layer in layers:
        for node in layer:
            blocks[root[node]] = None
        for left, right in pairwise(layer):
            pair = root[left], root[right]
            gaps[pair] = max(graph.separation(left, right), gaps.get(pair, 0))
    before = {block: [pair[0] for pair in gaps if pair[1] == block] for block in blocks}
    after = {block: [pair[1] for pair in gaps if pair[0] == block] for block in blocks}
    xs: dict[str, float] = {}
    for block in _finished(blocks, before):
        xs[block] = max((xs[left] + gaps[left, block] for left in before[block]), default=0)
    for block in _finished(blocks, after):
        xs[block] = max(xs[block], min((xs[right] - gaps[block, right] for right in after[block]), default=0))
    return {node: xs[root[node]] for node in root}


def _finished(blocks: Iterable[str], needs: dict[str, list[str]]) -> Iterator[str]:
    """Each block after those that it needs."""
    done: set[str] = set()

    def visit(block: str) -> Iterator[str]:
        if block not in done:
            done.add(block)
            for other in needs[block]:
                yield from visit(other)
            yield block

    for block in blocks:
        yield from visit(block)
