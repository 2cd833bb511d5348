"""Compiled sweep that traces the outlines of the regions of a label raster; `vectorise` is its public face.

Method. A row is a list of runs of equal labels. Where a run of this row or the one above begins, up to four
edges meet, and each region there gets a vertex if its outline turns. A vertex has one horizontal and one
vertical edge, each coming from an earlier vertex or leading to a later one, so linking costs O(1): every edge
in progress remembers its last vertex, once for each of the two regions that it parts. Outlines run with their
region on the left as seen on a screen, so shells are counter-clockwise on the screen (and on a north-up map)
and holes clockwise. Regions are joined by union-find over runs; one with no run in the row below is complete.

Where two diagonal pixels of one region pinch a corner, both get a vertex, each marked as the other's twin. If
they turn out to belong to one region its outline passes that corner twice; swapping the twins' successors
splits it into a shell and a hole that touch in a point, which is valid. All rings are then simple.

The tables are numpy arrays of records, one of a kind, because handing many arrays from function to function
costs more than the work itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from swath.geometry._compile import compiled

Records: TypeAlias = NDArray[np.void]

VOID = -(1 << 62)  # label of ignored pixels and of everything outside the raster; no int32 label equals it
NOWHERE = 0  # component of void runs, and the vertex that void regions write to and nobody reads
BEYOND = 1 << 62  # column past every raster

# A run of one row; the first begins left of the raster and the last reaches beyond it, both void. `west` and
# `east` are the last vertices on the edge where the run begins, for the regions west and east of that edge.
RUN = np.dtype([("label", "i8"), ("start", "i4"), ("component", "i4"), ("west", "i4"), ("east", "i4")])
# `opening` chains the vertices of a region where a ring may begin; `visit` is 0 until the region closes.
# `free` has nothing to do with the vertex of its record: together these fields are a stack of vertices to
# use.
VERTEX = np.dtype([(name, "i4") for name in ("x", "y", "successor", "twin", "opening", "visit", "free")])
# Union-find over runs: `head` and `tail` bound the chain of openings, the head at the region's first pixel.
# `free` and `merged` are stacks, as above.
COMPONENT = np.dtype([(name, "i4") for name in ("parent", "head", "tail", "last_row", "free", "merged")])
CLOSED = np.dtype([("label", "i8"), ("head", "i4")])
# One record: the row at work, the heights of the stacks, the lengths of the lists, and the last vertices on
# the horizontal edge in progress for the regions north and south of it.
PROGRESS = np.dtype(
    [
        (name, "i8")
        for name in (
            "row", "free_vertices", "free_components", "merged", "runs_above", "runs_here", "closed",
            "north_side", "south_side",
        )
    ]
)  # fmt: skip


class Corner(NamedTuple):
    """A corner between two rows where a run begins: run `i` above, run `j` here, or both."""

    column: int
    i: int
    j: int
    edge_north: bool
    edge_south: bool
    northwest: int
    northeast: int
    southwest: int
    southeast: int


class State(NamedTuple):
    """Everything that is carried from one strip to the next; `even` and `odd` hold the runs of those rows."""

    ignored: NDArray[np.int64]
    progress: Records
    even: Records
    odd: Records
    vertices: Records
    components: Records
    closed: Records


def new_state(width: int, ignored: NDArray[np.int64]) -> State:
    """Start above the first row, where everything is void."""
    most_runs = width + 2
    # A row opens at most one component a run, beside those of the row above; slot 0 is for void runs.
    slots = 2 * most_runs + 1
    components = np.zeros(slots, dtype=COMPONENT)
    components["last_row"] = -1
    components["free"] = np.arange(slots - 1, -1, -1)
    odd = np.zeros(most_runs, dtype=RUN)
    odd["label"][0] = VOID
    odd["start"][0] = -1
    progress = np.zeros(1, dtype=PROGRESS)
    progress["free_components"] = slots - 1
    progress["runs_above"] = 1
    return State(
        ignored=ignored,
        progress=progress,
        even=np.zeros(most_runs, dtype=RUN),
        odd=odd,
        vertices=np.zeros(1, dtype=VERTEX),
        components=components,
        closed=np.zeros(most_runs + 1024, dtype=CLOSED),
    )


def with_room(state: State) -> State:
    """Enlarge the vertex store, at least twofold, if the row that waits might not fit in what is free."""
    progress = state.progress[0]
    free_count = int(progress["free_vertices"])
    missing = 4 * int(progress["runs_above"] + progress["runs_here"]) - free_count
    if missing <= 0:
        return state
    old = len(state.vertices)
    new = max(2 * old, old + missing)
    vertices = np.zeros(new, dtype=VERTEX)
    vertices[:old] = state.vertices
    vertices["free"][free_count : free_count + new - old] = np.arange(new - 1, old - 1, -1)
    progress["free_vertices"] += new - old
    return state._replace(vertices=vertices)


@compiled
def sweep(rows: NDArray[np.int32], first: int, state: State) -> int:
    """Take rows from `first` on for as long as they surely fit, and return the first one not taken."""
    progress, vertices, components, closed = state.progress, state.vertices, state.components, state.closed
    here, above = state.even, state.odd
    if progress[0].row % 2 == 1:
        here, above = above, here
    for number in range(first, len(rows)):
        progress[0].runs_here = _find_runs(rows[number], state.ignored, here)
        # At most four vertices at each place where a run begins.
        needed = 4 * (progress[0].runs_above + progress[0].runs_here)
        if needed > progress[0].free_vertices or progress[0].closed + progress[0].runs_above > len(closed):
            return number
        _join_rows(above, here, progress, vertices, components)
        _close_components(above, here, progress, components, closed)
        progress[0].runs_above = progress[0].runs_here
        progress[0].row += 1
        here, above = above, here
    return len(rows)


@compiled
def _find_runs(row: NDArray[np.int32], ignored: NDArray[np.int64], runs: Records) -> int:
    """Write the runs of a row, merging ignored labels into void ones, and return how many there are."""
    runs[0].start = -1
    runs[0].label = VOID
    count = 1
    width = len(row)
    column = 0
    while column < width:
        value = row[column]
        label = int(value)
        for other in ignored:
            if label == other:
                label = VOID
                break
        if label != runs[count - 1].label:
            runs[count].start = column
            runs[count].label = label
            count += 1
        column += 1
        while column < width and row[column] == value:
            column += 1
    if runs[count - 1].label != VOID:
        runs[count].start = width
        runs[count].label = VOID
        count += 1
    for position in range(count):
        runs[position].component = NOWHERE
    return count


@compiled
def _join_rows(above: Records, here: Records, progress: Records, vertices: Records, components: Records) -> None:
    """Sweep the corners between two rows from west to east, joining regions and linking outlines."""
    runs_above, runs_here = progress[0].runs_above, progress[0].runs_here
    i = j = 0
    next_above = int(above[1].start) if runs_above > 1 else BEYOND
    next_here = int(here[1].start) if runs_here > 1 else BEYOND
    while next_above != BEYOND or next_here != BEYOND:
        column = min(next_above, next_here)
        edge_north, edge_south = next_above == column, next_here == column
        if edge_north:
            i += 1
            next_above = int(above[i + 1].start) if i + 1 < runs_above else BEYOND
        if edge_south:
            j += 1
            next_here = int(here[j + 1].start) if j + 1 < runs_here else BEYOND
        if here[j].label != VOID:
            _assign_component(above[i], here[j], edge_south, progress, vertices, components)
        corner = Corner(
            column,
            i,
            j,
            edge_north,
            edge_south,
            above[i - edge_north].label,
            above[i].label,
            here[j - edge_south].label,
            here[j].label,
        )
        _link_corner(corner, above, here, progress, vertices, components)


@compiled
def _link_corner(
    corner: Corner, above: Records, here: Records, progress: Records, vertices: Records, components: Records
) -> None:
    """Give every outline that turns at a corner a vertex, and hand on those that pass straight through."""
    edge_west, edge_east = corner.northwest != corner.southwest, corner.northeast != corner.southeast
    at_northwest = at_southwest = at_northeast = at_southeast = NOWHERE
    # A lone bend parts one pixel from three of one region, whose outline turns here too.
    bend = corner.edge_north != corner.edge_south and edge_west != edge_east
    if edge_west:
        at_northwest, at_southwest = _turn_west(corner, bend, above, here, progress, vertices)
    if edge_east:
        at_northeast, at_southeast = _turn_east(corner, bend, above, here, progress, vertices, components)
    if not (corner.edge_north and corner.edge_south):
        return
    if not edge_west:
        here[corner.j].west = above[corner.i].west
    if not edge_east:
        here[corner.j].east = above[corner.i].east
    if edge_west and edge_east:
        if corner.northwest == corner.southeast and at_northwest != NOWHERE:
            vertices[at_northwest].twin = at_southeast
            vertices[at_southeast].twin = at_northwest
        if corner.northeast == corner.southwest and at_northeast != NOWHERE:
            vertices[at_northeast].twin = at_southwest
            vertices[at_southwest].twin = at_northeast
            # Once split, the ring around the south-east pixel may have this corner as its first.
            _append_opening(here[corner.j - 1].component, at_southwest, vertices, components)


@compiled
def _turn_west(
    corner: Corner, bend: bool, above: Records, here: Records, progress: Records, vertices: Records
) -> tuple[int, int]:
    """Link outlines that turn onto the edge west of a corner; return those vertices, northern first."""
    at_northwest = at_southwest = NOWHERE
    if corner.edge_north:
        at_northwest = _new_vertex(corner.column, corner.northwest, progress, vertices)
        vertices[at_northwest].successor = above[corner.i].west
        vertices[progress[0].north_side].successor = at_northwest
        if bend:
            around = _new_vertex(corner.column, corner.southeast, progress, vertices)
            vertices[around].successor = progress[0].south_side
            vertices[above[corner.i].east].successor = around
    if corner.edge_south:
        at_southwest = _new_vertex(corner.column, corner.southwest, progress, vertices)
        vertices[at_southwest].successor = progress[0].south_side
        here[corner.j].west = at_southwest
        if bend:
            around = _new_vertex(corner.column, corner.northeast, progress, vertices)
            vertices[progress[0].north_side].successor = around
            here[corner.j].east = around
    return at_northwest, at_southwest


@compiled
def _turn_east(
    corner: Corner,
    bend: bool,
    above: Records,
    here: Records,
    progress: Records,
    vertices: Records,
    components: Records,
) -> tuple[int, int]:
    """Link outlines that turn onto the edge east of a corner; return those vertices, northern first."""
    at_northeast = at_southeast = NOWHERE
    if corner.edge_north:
        at_northeast = _new_vertex(corner.column, corner.northeast, progress, vertices)
        vertices[above[corner.i].east].successor = at_northeast
        progress[0].north_side = at_northeast
        if bend:
            around = _new_vertex(corner.column, corner.southwest, progress, vertices)
            vertices[around].successor = above[corner.i].west
            progress[0].south_side = around
    if corner.edge_south:
        at_southeast = _new_vertex(corner.column, corner.southeast, progress, vertices)
        here[corner.j].east = at_southeast
        progress[0].south_side = at_southeast
        _append_opening(here[corner.j].component, at_southeast, vertices, components)
        if bend:
            around = _new_vertex(corner.column, corner.northwest, progress, vertices)
            here[corner.j].west = around
            progress[0].north_side = around
            _append_opening(here[corner.j - 1].component, around, vertices, components)
    return at_northeast, at_southeast


@compiled
def _new_vertex(column: int, label: int, progress: Records, vertices: Records) -> int:
    """Take a free vertex for a region at a corner of the present row; void regions share vertex `NOWHERE`."""
    if label == VOID:
        return NOWHERE
    progress[0].free_vertices -= 1
    vertex = int(vertices[progress[0].free_vertices].free)
    vertices[vertex].x = column
    vertices[vertex].y = progress[0].row
    return vertex


@compiled
def _append_opening(component: int, vertex: int, vertices: Records, components: Records) -> None:
    """Note a vertex whose both edges lead to later ones, the only kind at which a ring can begin."""
    root = _find(component, components)
    vertices[vertex].opening = NOWHERE
    if components[root].head == NOWHERE:
        components[root].head = vertex
    else:
        vertices[components[root].tail].opening = vertex
    components[root].tail = vertex


@compiled
def _assign_component(
    run_above: Any,
    run_here: Any,
    begins: bool,
    progress: Records,
    vertices: Records,
    components: Records,
) -> None:
    """Give a run that begins a component, and join it with the run above where both have one label."""
    if run_here.label == run_above.label:
        if begins:
            run_here.component = _find(run_above.component, components)
        else:
            _unite(run_here.component, run_above.component, progress, vertices, components)
    elif begins:
        progress[0].free_components -= 1
        component = components[progress[0].free_components].free
        components[component].parent = component
        components[component].head = NOWHERE
        run_here.component = component


@compiled
def _find(component: int, components: Records) -> int:
    root = int(component)
    while components[root].parent != root:
        components[root].parent = components[components[root].parent].parent
        root = int(components[root].parent)
    return root


@compiled
def _unite(first: int, second: int, progress: Records, vertices: Records, components: Records) -> None:
    """Join two components; the one whose first pixel comes earlier, by row then column, leads the chain."""
    leader, follower = _find(first, components), _find(second, components)
    if leader == follower:
        return
    head, other = vertices[components[leader].head], vertices[components[follower].head]
    if (other.y, other.x) < (head.y, head.x):
        leader, follower = follower, leader
    components[follower].parent = leader
    vertices[components[leader].tail].opening = components[follower].head
    components[leader].tail = components[follower].tail
    # Runs still name the follower's slot, so it is freed only when the row is done.
    components[progress[0].merged].merged = follower
    progress[0].merged += 1


@compiled
def _close_components(above: Records, here: Records, progress: Records, components: Records, closed: Records) -> None:
    """Queue the regions that end with the row above, and free the component slots that nothing names now."""
    row = progress[0].row
    for j in range(progress[0].runs_here):
        root = _find(here[j].component, components)
        here[j].component = root
        components[root].last_row = row
    for i in range(progress[0].runs_above):
        root = _find(above[i].component, components)
        if root == NOWHERE or components[root].last_row == row:
            continue
        components[root].last_row = row
        closed[progress[0].closed].head = components[root].head
        closed[progress[0].closed].label = above[i].label
        progress[0].closed += 1
        components[progress[0].free_components].free = root
        progress[0].free_components += 1
    for position in range(progress[0].merged):
        components[progress[0].free_components].free = components[position].merged
        progress[0].free_components += 1
    progress[0].merged = 0


@compiled
def mark_closed(state: State) -> tuple[int, int]:
    """Mark the vertices of each closed region with its number from 1; count the vertices and openings."""
    vertices = state.vertices
    vertex_count = opening_count = 0
    for position in range(state.progress[0].closed):
        start = state.closed[position].head
        while start != NOWHERE:
            opening_count += 1
            vertex = start
            while vertices[vertex].visit == 0:
                vertices[vertex].visit = position + 1
                vertex_count += 1
                vertex = vertices[vertex].successor
            start = vertices[start].opening
    return vertex_count, opening_count


@compiled
def write_closed(
    state: State,
    corners: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
    areas: NDArray[np.int64],
) -> int:
    """Write the rings of closed regions, each shell before its holes; free the vertices; count the rings."""
    vertices, progress = state.vertices, state.progress
    freed_from = progress[0].free_vertices
    rings = 0
    for position in range(progress[0].closed):
        start = state.closed[position].head
        while start != NOWHERE:
            if vertices[start].visit > 0:
                ring_offsets[rings + 1], area = _write_ring(
                    start, position + 1, progress, vertices, corners, ring_offsets[rings]
                )
                rings += 1
                areas[position] += area
            start = vertices[start].opening
        polygon_offsets[position + 1] = rings
    for place in range(freed_from, progress[0].free_vertices):
        vertex = vertices[place].free
        # A twin in a region that is still open must not point to a vertex that will be used again.
        vertices[vertices[vertex].twin].twin = NOWHERE
        vertices[vertex].twin = NOWHERE
        vertices[vertex].visit = 0
    progress[0].closed = 0
    return rings


@compiled
def _write_ring(
    start: int, number: int, progress: Records, vertices: Records, corners: NDArray[np.float64], first: int
) -> tuple[int, int]:
    """Write one ring from `first` on, free its vertices; return the place after it and its signed area."""
    area = 0
    place = first
    vertex = start
    while vertices[vertex].visit > 0:
        vertices[vertex].visit = -number
        vertices[progress[0].free_vertices].free = vertex
        progress[0].free_vertices += 1
        corners[place, 0] = vertices[vertex].x
        corners[place, 1] = vertices[vertex].y
        place += 1
        leaving = vertex
        twin = vertices[vertex].twin
        if twin != NOWHERE and abs(vertices[twin].visit) == number:
            leaving = twin
        following = vertices[leaving].successor
        # Shells run down their west side and up their east side, so this sum is positive for them.
        area += int(vertices[vertex].x) * (int(vertices[vertex].y) - int(vertices[following].y))
        vertex = following
    corners[place] = corners[first]
    return place + 1, area
