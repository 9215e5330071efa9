"""Training steps of the tiled form: first all data points (F1-F6, F9), then all weights (F7, F8, F10)."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from jitnet._jit import inline_function, kernel, outlined_function, vector_function
from jitnet.bare import bare
from jitnet.forms.tiled_narrow import gradient_of_group, group_panels
from jitnet.forms.tiled_nonzeros import (
    FEW,
    STRIPS_OF_AN_ITEM,
    finite_range,
    note_nonzeros,
    note_rows,
    sort_entries,
    sums_over_nonzeros_above,
    transpose_weights,
    weighted_sums_skipping_zeros,
)
from jitnet.forms.tiled_panels import (
    Few,
    Wanted,
    forward_panels,
    losses_of_panel,
    output_deltas,
    silence,
    sums_over_layer_above,
    through_layer,
)
from jitnet.forms.tiled_weights import blocks_of, clip_piece, gradient_item, penalty_of_piece, update_tile
from jitnet.forms.tiled_work import TiledWork, team_work
from jitnet.layout import Array, Data, Dropout, Ints, Net, Rule, all_finite
from jitnet.panels import (
    gather_points,
    layer_of_panel,
    load_some,
    panel_to_strips,
    panel_width,
    share_of_worker,
    store_some,
)
from jitnet.registers import broadcast, lane_sum, lanes, store
from jitnet.subnormals import flush_subnormals, restore_subnormals
from jitnet.teams import claim, join, leave, meet, meet_and_let_in, members_of, no_claims, open_door

IN_PARALLEL = False
"""Whether a `prange` has threads: `_jit.Kernel` makes it True in its parallel build."""


@inline_function
def deltas_below_skipping_zeros(
    net: Net, theta: Array, dropout: Dropout, n: int, count: int, x_at: int, y_at: int, delta_at: int, worker: int,
    w: TiledWork,
) -> None:  # fmt: skip
    """F9 and F5 for m = M-1..1 of `count` data points, the batch's n-th and on, in w.x[x_at], w.y[y_at] and on.

    F9 goes over the non-zeros where a wide layer's delta has few.
    """
    width = panel_width(theta)
    wide, panels, first = STRIPS_OF_AN_ITEM * width, (count + width - 1) // width, worker * w.together
    for m in range(len(net.W_at) - 2, -1, -1):
        n_in, n_out, few = net.widths[m + 1], net.widths[m + 2], False
        if n_in >= wide and n_out >= wide:
            nonzeros = 0
            for p in range(panels):
                rows, points = w.rows[first + p], min(width, count - p * width)
                panel_to_strips(layer_of_panel(net, w.delta[delta_at + p], m + 1), n_out, rows, 0, 0, width)
                nonzeros += note_rows(
                    rows, w.in_order, 0, points, n_out, width, width * width, w.bits[first + p]
                )  # fmt: skip
            few = nonzeros < FEW * count * n_out
        if few:
            sums_over_nonzeros_above(
                net, theta, m + 1, count, w.rows, w.bits, first, w.below[worker], w.sums[worker],
                layer_of_panel(net, w.delta[delta_at], m), w.delta.shape[1],
            )  # fmt: skip
        for p in range(panels):
            delta = w.delta[delta_at + p]
            if not few:
                sums_over_layer_above(
                    net, theta, m + 1, layer_of_panel(net, delta, m + 1), layer_of_panel(net, delta, m)
                )  # fmt: skip
            through_layer(net, dropout, m, n + p * width, w.x[x_at + p], w.y[y_at + p], delta)


@inline_function
def panels_of_unit(width: int, narrow: bool) -> int:
    """Panels that one worker takes, whoever takes the next: a group in a narrow network."""
    return group_panels(width) if narrow else 1


@inline_function
def place_of_panel(block: int, width: int, worker: int, narrow: bool) -> np.intp:
    """Which panel of `TiledWork.delta` is the batch's number `block`."""
    if narrow:
        return np.intp(worker * group_panels(width) + block % group_panels(width))
    return np.intp(block)


@inline_function
def clear_idle_places(panel: Array, rows: int, count: int) -> None:
    """0 behind the first `count` data points of a panel.

    There the inputs were 0, or x the bias alone, and what a network makes of these may be infinite though no data
    point's numbers are.
    """
    width = panel_width(panel)
    if count < width:
        for at in range(0, rows * width, width):
            for q in range(0, width, lanes(panel)):
                store(load_some(panel, at + q, count - q), panel, at + q)


@vector_function
def factors_of_points(data: Data, share: float, first: int, count: int, c: Array) -> None:
    """c of the data points order[first], ...: the weight times `share`, and 0 behind the last."""
    for q in range(panel_width(c)):
        c[q] = share
    if not data.equal:
        for q in range(count):
            c[q] = data.weight[data.order[first + q]] * share
    for q in range(count, panel_width(c)):
        c[q] = 0


@vector_function
def weigh_losses(equal: bool, c: Array, L: Array, first: int, count: int) -> None:
    """L times c for the data points of a panel: 0 where c is 0, whatever their loss."""
    if equal:
        factor = np.float64(c[0])
        for q in range(0, count, lanes(L)):
            store_some(load_some(L, first + q, count - q) * factor, L, first + q, count - q)
        return
    for q in range(count):
        L[first + q] = c[q] * L[first + q] if c[q] > 0.0 else 0.0


@vector_function
def total(A: Array, count: int) -> float:
    """The sum of the first numbers, lane by lane and then over the lanes."""
    totals = broadcast(0.0, A)
    for n in range(0, count, lanes(A)):
        totals = totals + load_some(A, n, count - n)
    return lane_sum(totals)


@inline_function
def weight_of_points(data: Data, first: int, N: int) -> float:
    """The sum of the weights of the data points order[first], ..."""
    if data.equal:
        return np.float64(N)
    weight = 0.0
    for n in range(N):
        weight += data.weight[data.order[first + n]]
    return weight


@inline_function
def train_together(
    net: Net, theta: Array, data: Data, dropout: Dropout, share: float, first: int, N: int, begin: int, end: int,
    following: int, worker: int, judges: bool, w: TiledWork,
) -> None:  # fmt: skip
    """Part 1: the batch's panels begin, ..., end - 1, forward and backward; their neurons as strips.

    In a narrow network they stay panels until the group is summed up. Likely the data points order[following], ... are
    this worker's next.
    """
    d, n_out, width = net.widths[0], net.widths[-1], panel_width(theta)
    panels, n, place = end - begin, begin * width, place_of_panel(begin, width, worker, w.narrow)
    x_at = np.intp(worker * w.together)
    y_at = place if w.narrow else x_at
    c = w.c[worker]
    skips, sparse = skips_zeros(data), data.starts is not None
    for p in range(panels):
        point, count = first + n + p * width, min(width, N - n - p * width)
        if skips:
            weighted_sums_skipping_zeros(
                net, theta, data, data.starts, point, count, following if p == panels - 1 else point + count,
                w.transposed, w.bits[x_at + p], w.sums[worker], layer_of_panel(net, w.x[x_at + p], 0),
            )  # fmt: skip
        for targets in range(1 if skips else 0, 2):  # a loop, for one piece of code
            A, columns, panel = (data.T, n_out, w.t[x_at + p]) if targets else (data.X, d, w.inputs[y_at + p])
            gather_points(A, columns, data.order, point, count, panel)
    coming = 0 if w.narrow else max(0, min(w.together * width, len(data.order) - following))
    wanted = Wanted(data.X, data.order, following, coming)
    few = Few(min(panels * width, N - n), w.below[worker])
    forward_panels(net, theta, dropout, n, panels, w.inputs, y_at, w.x, x_at, w.y, skips, wanted, few)
    for p in range(panels):
        point, count = n + p * width, min(width, N - n - p * width)
        x, y, t = w.x[x_at + p], w.y[y_at + p], w.t[x_at + p]
        factors_of_points(data, share, first + point, count, c)
        losses_of_panel(net, x, y, t, w.L, point, count)
        weigh_losses(data.equal, c, w.L, point, count)
        if not judges:
            output_deltas(net, x, y, t, c, w.delta[place + p])
    if judges:
        return
    if not w.narrow:
        for p in range(panels):
            point, count = n + p * width, min(width, N - n - p * width)
            for m in range(len(net.W_at) - 1):
                y_m, at = layer_of_panel(net, w.y[y_at + p], m), w.strips_at[m + 1] * w.height * width
                panel_to_strips(y_m, net.widths[m + 1], w.strips, at, point, w.height)
    deltas_below_skipping_zeros(
        net, theta, dropout, n, min(panels * width, N - n), x_at, y_at, place, worker, w
    )  # fmt: skip
    for p in range(panels):
        point, count = n + p * width, min(width, N - n - p * width)
        y, delta = w.y[y_at + p], w.delta[place + p]
        clear_idle_places(delta, net.y_at[-1], count)
        if w.narrow:
            for m in range(len(net.W_at) - 1):  # F5 went back to σ(x), F7 wants y
                if dropout.rates[m] > 0.0:
                    silence(net, dropout, m, point, layer_of_panel(net, y, m))
            clear_idle_places(y, net.y_at[-1], count)
            continue
        if sparse:
            panel_to_strips(layer_of_panel(net, delta, 0), net.widths[1], w.delta_strips, 0, point, w.height)
        for m in range(len(net.W_at)):
            if net.widths[m] > width and (m > 0 or not sparse):
                note_nonzeros(
                    layer_of_panel(net, delta, m), net.widths[m + 1], count, w.nonzero[begin + p], net.y_at[m]
                )  # fmt: skip


@inline_function
def skips_zeros(data: Data) -> bool:
    """Whether F1 of the first layer runs over the inputs that are not 0."""
    return data.skip_zeros or data.starts is not None


@inline_function
def transpose_share(net: Net, theta: Array, worker: int, workers: int, transposed: Array) -> bool:
    """A worker's part of `transpose_weights`; returns whether its weights are finite."""
    d, size = net.widths[0], lanes(theta)
    blocks = (d + size - 1) // size
    begin, end = share_of_worker(blocks, worker, workers) * size, share_of_worker(blocks, worker + 1, workers) * size
    transpose_weights(net, theta, 0, begin, end, transposed, 0)
    at, last = net.W_at[0] + begin * net.widths[1], net.W_at[0] + min(end, d) * net.widths[1]  # as many weights
    return finite_range(theta, at, last)


@vector_function
def sums_are_finite(net: Net, panel: Array) -> bool:
    """Whether all neurons' x of a panel's first data point are."""
    finite = True
    for i in range(net.y_at[-1]):
        finite = finite and math.isfinite(panel[i * panel_width(panel)])
    return finite


@inline_function
def train_panels(
    net: Net, theta: Array, data: Data, dropout: Dropout, share: float, first: int, N: int, member: int, members: int,
    judges: bool, w: TiledWork,
) -> bool:  # fmt: skip
    """A member's share of part 1: some panels, whole groups of them in a narrow network.

    Each begins with a share of its own, if there are so many panels, and goes on with what others have not come to.
    Returns whether the sums x of one of its data points are finite; true if it has none.
    """
    has_some = False
    width, size = panel_width(theta), panels_of_unit(panel_width(theta), w.narrow)
    blocks, at_once = (N + width - 1) // width, size * w.together  # where units are groups, `together` is 1
    units = (blocks + at_once - 1) // at_once
    shares = min(members, units)  # in a narrow network others have no buffers
    for k in range(shares if member < shares else 0):
        part = (member + k) % shares
        first_unit, last_unit = share_of_worker(units, part, shares), share_of_worker(units, part + 1, shares)
        unit = claim(w.panels_claimed, part, first_unit, last_unit, members)
        while unit < last_unit:
            begin, end, has_some = unit * at_once, min((unit + 1) * at_once, blocks), True
            # After the share's last unit its first one of the next step.
            following = end * width if unit + 1 < last_unit else data.batch + first_unit * at_once * width
            for block in range(begin, end, w.together):
                train_together(
                    net, theta, data, dropout, share, first, N, block, min(block + w.together, end), first + following,
                    member, judges, w,
                )  # fmt: skip
            if w.narrow and not judges:
                place = place_of_panel(begin, width, member, w.narrow)
                gradient_of_group(net, end - begin, place, w.inputs, w.y, w.delta, w.gradients[unit])
            unit = claim(w.panels_claimed, part, first_unit, last_unit, members)
    return sums_are_finite(net, w.x[member * w.together]) if has_some else True


@inline_function
def penalties(
    net: Net, theta: Array, pieces: Ints, begin: int, end: int, narrow: bool, l1: float, l2: float, partial: Array
) -> None:
    """partial[piece]: the penalty of each piece (a block of weights).

    A function, as `limits` is: in the parallel build Numba loses the assignment where it stands in a prange's body.
    """
    for piece in range(begin, end):
        block, _ = blocks_of(net, pieces, piece, narrow, STRIPS_OF_AN_ITEM * panel_width(theta))
        partial[piece] = penalty_of_piece(net, theta, block, narrow, l1, l2)


@inline_function
def limits(net: Net, g: Array, pieces: Ints, begin: int, end: int, narrow: bool, limit: float, partial: Array) -> None:
    """partial[piece]: the sum of squares of each piece's gradient, which is cut to [-limit, limit]."""
    for piece in range(begin, end):
        partial[piece] = clip_piece(
            g, blocks_of(net, pieces, piece, narrow, STRIPS_OF_AN_ITEM * panel_width(g)), limit
        )  # fmt: skip


@inline_function
def updates(
    net: Net, theta: Array, rule: Rule, s: int, scale: float, pieces: Ints, begin: int, end: int, narrow: bool,
    g: Array, after: Array,
) -> None:  # fmt: skip
    """F10 for some pieces from the gradient g, times `scale`: what theta becomes is written to `after`."""
    for piece in range(begin, end):
        for block in blocks_of(net, pieces, piece, narrow, STRIPS_OF_AN_ITEM * panel_width(theta)):
            update_tile(
                theta, block, g, block.at, block.stride, scale, rule.optimizer, rule.coefficients[s], rule.state, after
            )  # fmt: skip


@vector_function
def swap(A: Array, B: Array, begin: int, end: int) -> None:
    """A[begin], ..., A[end - 1] become B's, and B's A's."""
    for p in range(begin, end):
        A[p], B[p] = B[p], A[p]


@outlined_function
def take_steps(net: Net, theta: Array, data: Data, rule: Rule, wanted: int, w: TiledWork) -> None:
    """A member's part of `steps`, in a team of so many at most. They decide alike: all look at the same numbers."""
    member, begins = join(w.meeting, wanted)
    if member < 0:
        return
    clips = rule.clip_value < np.inf or rule.clip_norm < np.inf
    penalises = rule.l1 > 0.0 or rule.l2 > 0.0
    now, after = theta, w.before  # the parameters of a step, and where it writes what it makes of them
    if begins % 2 == 1:
        now, after = after, now
    taken, members, pieces = len(rule.coefficients), 1, len(w.pieces)
    mode = flush_subnormals()  # of this thread
    for s in range(begins, len(rule.coefficients)):
        members = members_of(w.meeting)
        first = s * data.batch
        N = min(data.batch, len(data.order) - first)
        dropout = Dropout(rule.dropout_rates, rule.dropout_keys[s])
        total_weight = weight_of_points(data, first, N)
        share = 1.0 / total_weight if rule.mean and total_weight > 0.0 else 1.0
        finite = True
        if skips_zeros(data):
            finite = transpose_share(net, now, member, members, w.transposed)
            if member == 0 and not rule.judge:
                sort_entries(
                    data, data.starts, data.columns, first, N, w.column_starts, w.entry_points, w.entries
                )  # fmt: skip
            meet(w.meeting, members)
        if member == 0:
            no_claims(w.items_claimed)
        sums_finite = train_panels(net, now, data, dropout, share, first, N, member, members, rule.judge, w)
        w.finite[member] = finite and sums_finite
        if penalises:
            begin, end = share_of_worker(pieces, member, members), share_of_worker(pieces, member + 1, members)
            penalties(net, now, w.pieces, begin, end, w.narrow, rule.l1, rule.l2, w.partial)
        meet(w.meeting, members)
        J = total(w.L, N)  # F3  J = Σ_n c L(t, ŷ)
        if penalises:
            for piece in range(pieces):
                J += w.partial[piece]
        # The loss may be finite behind a saturated neuron. No weight is infinite where the sums x are finite, if those
        # of zeros are among them.
        for k in range(members):
            finite = finite and w.finite[k]
        if not finite:
            if not all_finite(now):
                J = math.nan
            meet(w.meeting, members)  # before anybody swaps what others look at
        if member == 0:
            w.loss[s] = J
            w.loss_weight[s] = total_weight if rule.mean else 1.0
        if not math.isfinite(J) or rule.judge:
            taken = s
            break
        if member == 0:
            no_claims(w.panels_claimed)
        shares = len(w.first_items) - 1
        for k in range(shares):  # its own share, if it has one, and then what others have not come to
            part = (member + k) % shares
            begin, end = w.first_items[part], w.first_items[part + 1]
            item = claim(w.items_claimed, part, begin, end, members)
            while item < end:
                gradient_item(net, now, data, rule, s, first, N, item, member, not clips, after, w)
                item = claim(w.items_claimed, part, begin, end, members)
        if clips:
            meet(w.meeting, members)
            begin, end = share_of_worker(pieces, member, members), share_of_worker(pieces, member + 1, members)
            limits(net, w.g, w.pieces, begin, end, w.narrow, rule.clip_value, w.partial)
            meet(w.meeting, members)
            squares = 0.0
            for piece in range(pieces):
                squares += w.partial[piece]
            scale = rule.clip_norm / math.sqrt(squares) if squares > rule.clip_norm**2 else 1.0
            updates(net, now, rule, s, scale, w.pieces, begin, end, w.narrow, w.g, after)
        if members < wanted and s + 1 < taken:
            meet_and_let_in(w.meeting, member, members, s + 1)
        else:
            meet(w.meeting, members)
        now, after = after, now
    leave(w.meeting, member)
    if taken % 2 == 1:  # the caller's theta has what was there before the last step
        begin, end = share_of_worker(len(theta), member, members), share_of_worker(len(theta), member + 1, members)
        swap(theta, w.before, begin, end)
    restore_subnormals(mode)
    if member == 0:
        w.taken[0] = taken


@kernel(work=lambda net, theta, data, rule, work: team_work(data.batch, len(theta)), borrows=True)
def steps(net: Net, theta: Array, data: Data, rule: Rule, work: TiledWork) -> int:
    """Training steps over the data points `data.order`, `data.batch` of them a step; theta moves in place.

    Each step has two parts: all data points (F1-F6, F9), then all weights, with their sums over the data points (F7,
    F8) and their update (F10). Where gradients are clipped the update is a part of its own. A team of threads goes
    through all steps in one parallel region (teams.py). Returns how many steps were taken; fewer than there are when a
    step's loss is not finite, or a parameter (the loss is then NaN): that step's parameters are then in `theta`. Those
    of the step before, in this call or the last one with the same `work`, are in `work.before`. A rule that only judges
    takes no step and writes down the loss of the first. Numbers too small to be normal are 0 here, in a user's own
    activation and loss too.
    """
    open_door(work.meeting)
    no_claims(work.panels_claimed)
    wanted = work.workers if IN_PARALLEL else 1
    for _ in prange(wanted):
        take_steps(bare(net), bare(theta), bare(data), bare(rule), wanted, bare(work))
    return work.taken[0]
