"""Plots as SVG, drawn by the runs: dots on a logarithmic axis, and curves on
two of them."""

import math

COLOURS = ("#1668a8", "#c2410c", "#15803d", "#7c3aed", "#b45309", "#0f766e")
GREY = "#6b7280"


def page(width, height, parts):
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
            'font-family="sans-serif" font-size="13">\n'
            '<rect width="100%%" height="100%%" fill="#fff"/>\n%s\n</svg>\n'
            % (width, height, "\n".join(parts)))


def text(x, y, s, anchor="start", **style):
    s = str(s).replace("&", "&amp;").replace("<", "&lt;")
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (
        x, y, anchor, "".join(' %s="%s"' % (k.replace("_", "-"), v)
                              for k, v in style.items()), s)


def line(x1, y1, x2, y2, colour="#ddd", width=1):
    return ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" '
            'stroke-width="%g"/>' % (x1, y1, x2, y2, colour, width))


def duration(x):
    return "%g ms" % (1000 * x) if x < 1 else "%g s" % x


class Log:
    """A logarithmic axis from a to b, drawn from pixel p to pixel q."""

    def __init__(self, a, b, p, q):
        self.a, self.b, self.p, self.q = a, b, p, q

    def __call__(self, x):
        x = min(max(x, self.a), self.b)
        return self.p + (self.q - self.p) * (
            math.log(x / self.a) / math.log(self.b / self.a))

    def decades(self):
        k = math.ceil(math.log10(self.a) - 1e-9)
        while 10 ** k <= self.b * (1 + 1e-9):
            yield 10.0 ** k
            k += 1


def dots(panels, limit, marks, left=390, width=500):
    """panels: [(title, [(label, [spread or None, ...])])]; the spreads of a
    row are drawn as marks (names of them, for the legend) at the median,
    with a line to the 95th percentile. What is beyond the limit is an arrow
    at the edge."""
    out, y = [], 24
    axis = Log(0.001, limit, left, left + width)
    for i, name in enumerate(marks):
        x = left + 170 * i
        out += [_mark(x, y - 5, i), text(x + 12, y, name)]
    y += 14
    for title, rows in panels:
        y += 26
        out.append(text(10, y, title, font_weight="bold"))
        top = y + 8
        bottom = top + 22 * len(rows) + 4
        for d in axis.decades():
            out += [line(axis(d), top, axis(d), bottom),
                    text(axis(d), bottom + 15, duration(d), "middle",
                         fill=GREY)]
        y = top + 4
        for label, spreads in rows:
            y += 22
            out.append(text(left - 14, y - 6, label, "end"))
            for i, s in enumerate(spreads):
                if not s or s["median"] is None:
                    continue
                yy, colour = y - 14 + 8 * (i % 2), COLOURS[i]
                if s["median"] == float("inf"):
                    out.append(text(left + width + 4, yy + 5, "→",
                                    fill=colour, font_weight="bold"))
                    continue
                p95 = min(s["p95"], limit)
                out += [line(axis(s["median"]), yy, axis(p95), yy, colour, 2),
                        _mark(axis(s["median"]), yy, i)]
        y = bottom + 16
    return page(left + width + 40, y + 14, out)


def _mark(x, y, i):
    return '<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>' % (x, y,
                                                              COLOURS[i])


def curves(panels, xs_name, width=360, height=200):
    """panels: [(title, unit, {name: [(x, y), ...]})], two in a row; both axes
    logarithmic."""
    out, left, gap = [], 70, 80
    for k, (title, unit, data) in enumerate(panels):
        x0 = left + (k % 2) * (width + gap)
        y0 = 40 + (k // 2) * (height + gap)
        points = [p for v in data.values() for p in v if p[0] and p[1] > 0]
        if not points:
            continue
        xa = Log(min(p[0] for p in points), max(p[0] for p in points), x0,
                 x0 + width)
        low = 10 ** math.floor(math.log10(min(p[1] for p in points)))
        high = 10 ** math.ceil(math.log10(max(p[1] for p in points)) + 1e-9)
        ya = Log(low, max(high, low * 10), y0 + height, y0)
        out.append(text(x0, y0 - 14, "%s [%s]" % (title, unit),
                        font_weight="bold"))
        for d in ya.decades():
            out += [line(x0, ya(d), x0 + width, ya(d)),
                    text(x0 - 6, ya(d) + 4, "%g" % d, "end", fill=GREY)]
        for x in sorted({p[0] for p in points}):
            out.append(text(xa(x), y0 + height + 16, x, "middle", fill=GREY))
        out.append(text(x0 + width / 2, y0 + height + 34, xs_name, "middle",
                        fill=GREY))
        for i, (name, v) in enumerate(data.items()):
            v = [(x, y) for x, y in v if y > 0]
            out.append('<polyline fill="none" stroke="%s" stroke-width="2" '
                       'points="%s"/>' % (COLOURS[i], " ".join(
                           "%.1f,%.1f" % (xa(x), ya(y)) for x, y in v)))
            out += [_mark(xa(x), ya(y), i) for x, y in v]
            if len(data) > 1:
                out.append(text(x0 + 8, y0 + 16 + 17 * i, name,
                                fill=COLOURS[i]))
    rows = (len(panels) + 1) // 2
    return page(left + 2 * (width + gap), 40 + rows * (height + gap), out)
